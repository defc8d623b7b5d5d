//! Where the lanes of an access go: one part for each region that they fall into.

use crate::fault::Outcome;
use crate::ir::{Address, Space};
use crate::machine::address::effective;
use crate::machine::context::Context;
use crate::machine::data_movement::{space_of, window_base};
use crate::machine::registers::{LANES, Lanes, Mask, ballot, each_lane};
use crate::machine::shared_access::generic_space;
use crate::machine::warp::Warp;

use super::{Access, Action, Region, Visit};

/// An access whose addresses have not been looked at yet.
pub(super) struct Request {
    pub action: Action,
    pub space: Space,
    pub address: Address,
    pub bytes: u32,
    pub lane_bytes: Option<Lanes<u32>>,
    pub lanes: u32,
}

impl Request {
    /// Calls `visit` for each part of it.
    pub fn split(&self, warp: &Warp, context: &mut Context, visit: &mut Visit) -> Outcome {
        if self.lanes == 0 {
            return Ok(());
        }
        let mask = Mask {
            lanes: self.lanes,
            whole: false,
        };
        let addresses = effective(&warp.regs, mask, self.address);
        let mut split = Split {
            request: self,
            context,
            visit,
        };
        match self.space {
            Space::Generic => split.generic(&addresses),
            space => split.in_space(space, self.lanes, &addresses),
        }
    }
}

/// A request that is being split. Addresses are those of the space in question.
struct Split<'s, 'c, 'v> {
    request: &'s Request,
    context: &'s mut Context<'c>,
    visit: &'s mut Visit<'v>,
}

impl Split<'_, '_, '_> {
    /// One part at least for each space that the windows of generic addresses lead to.
    fn generic(&mut self, addresses: &Lanes<u64>) -> Outcome {
        let model = self.context.kernel.shared.model;
        let mut rest = self.request.lanes;
        while rest != 0 {
            let space = space_of(addresses[first_of(rest)]);
            let lanes = ballot(|lane| space_of(addresses[lane]) == space) & rest;
            rest &= !lanes;
            let base = window_base(model, space);
            let inside = each_lane(|lane| addresses[lane].wrapping_sub(base));
            let space = match space {
                Space::Shared => generic_space(model),
                space => space,
            };
            self.in_space(space, lanes, &inside)?;
        }
        Ok(())
    }

    fn in_space(&mut self, space: Space, lanes: u32, addresses: &Lanes<u64>) -> Outcome {
        let kernel = self.context.kernel;
        let (region, len) = match space {
            Space::Global | Space::Generic => return self.in_allocations(lanes, addresses),
            Space::Shared => return self.in_block((self.context.rank, space), lanes, addresses),
            Space::SharedCluster => return self.in_cluster(lanes, addresses),
            Space::Local => (Region::Local, u64::from(kernel.local_bytes)),
            Space::Const => (Region::ReadOnly, kernel.constants.len() as u64),
            Space::Param => (Region::ReadOnly, self.context.params.len() as u64),
        };
        let lanes = self.inside(lanes, addresses, 0, len);
        self.part((region, space), lanes, addresses)
    }

    /// `.shared::cluster`: one part for each block that is there.
    fn in_cluster(&mut self, lanes: u32, addresses: &Lanes<u64>) -> Outcome {
        let model = self.context.kernel.shared.model;
        let mut rest = lanes;
        while rest != 0 {
            let names = model.rank(addresses[first_of(rest)]);
            let here = ballot(|lane| model.rank(addresses[lane]) == names) & rest;
            rest &= !here;
            let own = u64::from(self.context.rank);
            if let Ok(rank) = self.context.reach(names.unwrap_or(own)) {
                self.in_block((rank, Space::SharedCluster), here, addresses)?;
            }
        }
        Ok(())
    }

    /// Shared memory of the block of a rank.
    fn in_block(
        &mut self,
        (rank, space): (u32, Space),
        lanes: u32,
        addresses: &Lanes<u64>,
    ) -> Outcome {
        let shared = &self.context.blocks[rank as usize].shared;
        let (base, len) = (shared.base(), shared.bytes().len() as u64);
        let lanes = self.inside(lanes, addresses, base, len);
        let offsets = each_lane(|lane| addresses[lane].wrapping_sub(base));
        self.part((Region::Shared(rank), space), lanes, &offsets)
    }

    /// Device memory: one part for each allocation.
    fn in_allocations(&mut self, lanes: u32, addresses: &Lanes<u64>) -> Outcome {
        let mut rest = lanes;
        while rest != 0 {
            let first = first_of(rest);
            rest &= rest - 1;
            let Some(index) = self.context.global.locate(addresses[first]) else {
                continue;
            };
            let allocation = self.context.global.get(index);
            let (base, len) = (allocation.base, allocation.bytes);
            let here = self.inside(lanes, addresses, base, len);
            rest &= !here;
            let offsets = each_lane(|lane| addresses[lane].wrapping_sub(base));
            self.part((Region::Global(index), Space::Global), here, &offsets)?;
        }
        Ok(())
    }

    /// The lanes that are aligned and whose bytes lie in the `len` bytes from `base` on.
    fn inside(&self, lanes: u32, addresses: &Lanes<u64>, base: u64, len: u64) -> u32 {
        let request = self.request;
        lanes
            & ballot(|lane| {
                let bytes = match &request.lane_bytes {
                    Some(bytes) => bytes[lane],
                    None => request.bytes,
                };
                let offset = addresses[lane].wrapping_sub(base);
                let fits = offset < len && u64::from(bytes) <= len - offset;
                fits && addresses[lane] & u64::from(request.bytes - 1) == 0
            })
    }

    /// Tells of a part, if there are lanes in it.
    fn part(
        &mut self,
        (region, space): (Region, Space),
        lanes: u32,
        offsets: &Lanes<u64>,
    ) -> Outcome {
        if lanes == 0 {
            return Ok(());
        }
        let access = Access {
            action: self.request.action,
            region,
            space,
            lanes,
            offsets,
            bytes: self.request.bytes,
            lane_bytes: self.request.lane_bytes.as_ref(),
        };
        (self.visit)(self.context, &access)
    }
}

/// The first of some lanes.
fn first_of(lanes: u32) -> usize {
    lanes.trailing_zeros() as usize & (LANES - 1)
}
