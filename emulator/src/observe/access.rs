//! What an instruction is about to touch: its memory accesses with their addresses resolved.
//!
//! Observers see an access before the machine checks it. Lanes whose address is misaligned or outside
//! the memory they name are left out: the machine reports those by itself.

use crate::fault::Outcome;
use crate::ir::{Address, AtomicType, Consistency, CpAsync, MbarrierAction, Op, Scope, Space};
use crate::machine::address::effective;
use crate::machine::async_copy::source_bytes;
use crate::machine::context::Context;
use crate::machine::data_movement::{space_of, window_base};
use crate::machine::registers::{LANES, Lanes, Mask, ballot, each_lane};
use crate::machine::shared_access::generic_space;
use crate::machine::warp::Warp;

/// Memory that an access falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// Shared memory of the block of a rank of the cluster; offsets from its first byte.
    Shared(u32),
    /// An allocation of device memory: its index in the launch's snapshot.
    Global(usize),
    /// The lane's own local memory.
    Local,
    /// The constant bank or the parameter buffer: written by nobody.
    ReadOnly,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Load(Consistency),
    /// `ldmatrix`: the row that a lane names is read by the whole warp.
    LoadMatrixRow,
    /// `stmatrix`: the row that a lane names is written by the lanes that hold it.
    StoreMatrixRow {
        transpose: bool,
    },
    Store(Consistency),
    /// `atom` and `red`: read and write in one step.
    Atomic(Scope),
    /// Source of a `cp.async` that is being issued.
    CopySource,
    /// Destination of a `cp.async` that is being issued.
    CopyDestination,
}

impl Action {
    pub fn writes(self) -> bool {
        matches!(
            self,
            Action::Store(_)
                | Action::StoreMatrixRow { .. }
                | Action::Atomic(_)
                | Action::CopyDestination
        )
    }
}

/// One warp-wide access to one region.
pub(crate) struct Access<'a> {
    pub action: Action,
    pub region: Region,
    /// The space that the region is in; never generic.
    pub space: Space,
    /// Lanes that take part; not empty.
    pub lanes: u32,
    /// Byte offset in the region of each lane in `lanes`; the range is inside the region.
    pub offsets: &'a Lanes<u64>,
    /// Bytes of each lane. For a copy's source, see `lane_bytes`.
    pub bytes: u32,
    /// Bytes of each lane where they differ: the source of a `cp.async`.
    pub lane_bytes: Option<&'a Lanes<u32>>,
}

impl Access<'_> {
    /// Bytes that `lane` touches.
    pub fn bytes_of(&self, lane: usize) -> u32 {
        self.lane_bytes.map_or(self.bytes, |bytes| bytes[lane])
    }
}

/// Sees the accesses of one instruction.
type Visit<'a> = dyn FnMut(&mut Context, &Access) -> Outcome + 'a;

/// Calls `visit` for every access of `op` by `lanes`: one per region that they fall into.
pub(crate) fn accesses(
    warp: &Warp,
    context: &mut Context,
    lanes: u32,
    op: &Op,
    visit: &mut Visit,
) -> Outcome {
    let request = |action, space, address, bytes| Request {
        action,
        space,
        address,
        bytes,
        lane_bytes: None,
        lanes,
    };
    let request = match op {
        &Op::Load {
            space,
            consistency,
            ty,
            vector,
            address,
            ..
        } => {
            let bytes = u32::from(ty.bytes) * u32::from(vector);
            request(Action::Load(consistency), space, address, bytes)
        }
        &Op::Store {
            space,
            consistency,
            ty,
            vector,
            address,
            ..
        } => {
            let bytes = u32::from(ty.bytes) * u32::from(vector);
            request(Action::Store(consistency), space, address, bytes)
        }
        &Op::Atom {
            ty,
            space,
            scope,
            address,
            ..
        }
        | &Op::Red {
            ty,
            space,
            scope,
            address,
            ..
        } => request(Action::Atomic(scope), space, address, atomic_bytes(ty)),
        &Op::LdMatrix {
            count,
            space,
            address,
            ..
        } => Request {
            lanes: u32::MAX >> (32 - 8 * u32::from(count)),
            ..request(Action::LoadMatrixRow, space, address, 16)
        },
        &Op::StMatrix {
            count,
            transpose,
            space,
            address,
            ..
        } => Request {
            lanes: u32::MAX >> (32 - 8 * u32::from(count)),
            ..request(Action::StoreMatrixRow { transpose }, space, address, 16)
        },
        Op::AtomicVector(atomic) => {
            let bytes = atomic_bytes(atomic.ty) * atomic.b.len() as u32;
            let action = Action::Atomic(atomic.scope);
            request(action, Space::Global, atomic.address, bytes)
        }
        // What is at the address is nobody's data; but its initialisation has to be ordered with its use.
        Op::Mbarrier(op) => {
            let action = match op.action {
                MbarrierAction::Init { .. } | MbarrierAction::Invalidate => {
                    Action::Store(Consistency::Weak)
                }
                _ => Action::Atomic(Scope::Cluster),
            };
            request(action, op.place.space, op.place.address, 8)
        }
        Op::CpAsync(copy) => return copy_accesses(warp, context, lanes, copy, visit),
        _ => return Ok(()),
    };
    request.split(warp, context, visit)
}

/// Bytes of one lane of an atomic.
pub(super) fn atomic_bytes(ty: AtomicType) -> u32 {
    match ty {
        AtomicType::U16 | AtomicType::F16 | AtomicType::Bf16 => 2,
        AtomicType::U64 | AtomicType::S64 | AtomicType::F64 => 8,
        _ => 4,
    }
}

/// Source and destination of a `cp.async`.
fn copy_accesses(
    warp: &Warp,
    context: &mut Context,
    lanes: u32,
    copy: &CpAsync,
    visit: &mut Visit,
) -> Outcome {
    let sizes = each_lane(|lane| source_bytes(&warp.regs, copy, lane));
    let source = Request {
        action: Action::CopySource,
        space: Space::Global,
        address: copy.src,
        bytes: u32::from(copy.size),
        lane_bytes: Some(sizes),
        lanes: lanes & ballot(|lane| sizes[lane] > 0),
    };
    source.split(warp, context, visit)?;
    let destination = Request {
        action: Action::CopyDestination,
        space: Space::Shared,
        address: copy.dst,
        bytes: u32::from(copy.size),
        lane_bytes: None,
        lanes,
    };
    destination.split(warp, context, visit)
}

/// An access whose addresses have not been looked at yet.
struct Request {
    action: Action,
    space: Space,
    address: Address,
    bytes: u32,
    lane_bytes: Option<Lanes<u32>>,
    lanes: u32,
}

impl Request {
    /// Splits by space and allocation.
    fn split(&self, warp: &Warp, context: &mut Context, visit: &mut Visit) -> Outcome {
        if self.lanes == 0 {
            return Ok(());
        }
        let mask = Mask {
            lanes: self.lanes,
            whole: false,
        };
        let addresses = effective(&warp.regs, mask, self.address);
        if self.space != Space::Generic {
            return self.in_space(context, self.space, self.lanes, &addresses, visit);
        }
        let mut rest = self.lanes;
        while rest != 0 {
            let space = space_of(addresses[rest.trailing_zeros() as usize & (LANES - 1)]);
            let lanes = ballot(|lane| space_of(addresses[lane]) == space) & rest;
            rest &= !lanes;
            let model = context.kernel.shared.model;
            let base = window_base(model, space);
            let inside = each_lane(|lane| addresses[lane].wrapping_sub(base));
            let space = match space {
                Space::Shared => generic_space(model),
                space => space,
            };
            self.in_space(context, space, lanes, &inside, visit)?;
        }
        Ok(())
    }

    fn in_space(
        &self,
        context: &mut Context,
        space: Space,
        lanes: u32,
        addresses: &Lanes<u64>,
        visit: &mut Visit,
    ) -> Outcome {
        let (region, len) = match space {
            Space::Global | Space::Generic => {
                return self.in_allocations(context, lanes, addresses, visit);
            }
            Space::Shared => {
                return self.in_block(context, (context.rank, space), lanes, addresses, visit);
            }
            Space::SharedCluster => return self.in_cluster(context, lanes, addresses, visit),
            Space::Local => (Region::Local, u64::from(context.kernel.local_bytes)),
            Space::Const => (Region::ReadOnly, context.kernel.constants.len() as u64),
            Space::Param => (Region::ReadOnly, context.params.len() as u64),
        };
        let lanes = self.inside(lanes, addresses, 0, len);
        self.visit(context, (region, space), lanes, addresses, visit)
    }

    /// `.shared::cluster`: one access for each block that is there.
    fn in_cluster(
        &self,
        context: &mut Context,
        lanes: u32,
        addresses: &Lanes<u64>,
        visit: &mut Visit,
    ) -> Outcome {
        let model = context.kernel.shared.model;
        let mut rest = lanes;
        while rest != 0 {
            let names = model.rank(addresses[rest.trailing_zeros() as usize & (LANES - 1)]);
            let here = ballot(|lane| model.rank(addresses[lane]) == names) & rest;
            rest &= !here;
            let own = u64::from(context.rank);
            if let Ok(rank) = context.reach(names.unwrap_or(own)) {
                let place = (rank, Space::SharedCluster);
                self.in_block(context, place, here, addresses, visit)?;
            }
        }
        Ok(())
    }

    /// Shared memory of the block of a rank.
    fn in_block(
        &self,
        context: &mut Context,
        (rank, space): (u32, Space),
        lanes: u32,
        addresses: &Lanes<u64>,
        visit: &mut Visit,
    ) -> Outcome {
        let shared = &context.blocks[rank as usize].shared;
        let (base, len) = (shared.base(), shared.bytes().len() as u64);
        let lanes = self.inside(lanes, addresses, base, len);
        let offsets = each_lane(|lane| addresses[lane].wrapping_sub(base));
        self.visit(
            context,
            (Region::Shared(rank), space),
            lanes,
            &offsets,
            visit,
        )
    }

    fn in_allocations(
        &self,
        context: &mut Context,
        lanes: u32,
        addresses: &Lanes<u64>,
        visit: &mut Visit,
    ) -> Outcome {
        let mut rest = lanes;
        while rest != 0 {
            let first = rest.trailing_zeros() as usize & (LANES - 1);
            rest &= rest - 1;
            let Some(index) = context.global.locate(addresses[first]) else {
                continue;
            };
            let allocation = context.global.get(index);
            let (base, len) = (allocation.base, allocation.bytes);
            let here = self.inside(lanes, addresses, base, len);
            rest &= !here;
            let offsets = each_lane(|lane| addresses[lane].wrapping_sub(base));
            let place = (Region::Global(index), Space::Global);
            self.visit(context, place, here, &offsets, visit)?;
        }
        Ok(())
    }

    /// The lanes that are aligned and whose bytes lie in the `len` bytes from `base` on.
    fn inside(&self, lanes: u32, addresses: &Lanes<u64>, base: u64, len: u64) -> u32 {
        lanes
            & ballot(|lane| {
                let bytes = self.lane_bytes.map_or(self.bytes, |bytes| bytes[lane]);
                let offset = addresses[lane].wrapping_sub(base);
                let fits = offset < len && u64::from(bytes) <= len - offset;
                fits && addresses[lane] & u64::from(self.bytes - 1) == 0
            })
    }

    fn visit(
        &self,
        context: &mut Context,
        (region, space): (Region, Space),
        lanes: u32,
        offsets: &Lanes<u64>,
        visit: &mut Visit,
    ) -> Outcome {
        if lanes == 0 {
            return Ok(());
        }
        let access = Access {
            action: self.action,
            region,
            space,
            lanes,
            offsets,
            bytes: self.bytes,
            lane_bytes: self.lane_bytes.as_ref(),
        };
        visit(context, &access)
    }
}
