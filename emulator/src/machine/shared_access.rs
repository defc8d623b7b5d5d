//! Whose shared memory an address names: the running block's, or that of a peer in its cluster (PTX ISA,
//! "Shared State Space", `.shared::cta` and `.shared::cluster`).

use crate::fault::{FaultKind, Outcome, lane_fault};
use crate::ir::{SharedModel, Space};

use super::address::{all_inside, fill, out_of_bounds};
use super::context::Context;
use super::data_movement::space_of;
use super::registers::{LANES, Lanes, Mask, ballot, lanes_of};
use super::shared::SharedMemory;

impl Context<'_> {
    /// The rank of a block whose shared memory the running one may use now: a peer must have started, and
    /// must not have ended.
    pub fn reach(&self, rank: u64) -> Result<u32, FaultKind> {
        if rank == u64::from(self.rank) {
            return Ok(self.rank);
        }
        let peer = usize::try_from(rank)
            .ok()
            .and_then(|rank| self.blocks.get(rank));
        match peer {
            None => Err(FaultKind::NoSuchRank {
                rank,
                blocks: self.blocks.len() as u32,
            }),
            Some(peer) if peer.live == 0 => Err(FaultKind::PeerExited { block: peer.index }),
            Some(peer) if !peer.started => Err(FaultKind::PeerNotStarted { block: peer.index }),
            Some(_) => Ok(rank as u32),
        }
    }
}

/// The block that has `size` bytes at `address`, an address of `space`, and their offset in its shared memory.
pub(crate) fn resolve(
    context: &Context,
    space: Space,
    address: u64,
    size: u32,
) -> Result<(u32, usize), FaultKind> {
    let rank = match context.kernel.shared.model.rank(address) {
        Some(rank) if space == Space::SharedCluster => match space_of(address) {
            Space::Global => context.reach(rank)?,
            _ => return Err(out_of_bounds(address, size, space)),
        },
        _ => context.rank,
    };
    let shared = &context.blocks[rank as usize].shared;
    let (len, wide) = (shared.bytes().len() as u64, u64::from(size));
    let offset = address.wrapping_sub(shared.base());
    if offset >= len || wide > len - offset {
        return Err(missed(context, space, address, size));
    }
    Ok((rank, offset as usize))
}

/// Whether an access to some bytes of shared memory is allowed: [`SharedMemory::check_landed`] or
/// [`SharedMemory::check_writable`].
pub(crate) type Check = fn(&SharedMemory, usize, usize) -> Result<(), FaultKind>;

/// Faults unless the `size` bytes from every address, an address of `space`, lie in the shared memory of the
/// block of this rank, and `check` allows it.
#[inline(always)]
pub(crate) fn check(
    context: &Context,
    (rank, space): (u32, Space),
    lanes: u32,
    addresses: &Lanes<u64>,
    size: u32,
    check: Check,
) -> Outcome {
    let shared = &context.blocks[rank as usize].shared;
    let (base, len) = (shared.base(), shared.bytes().len() as u64);
    if !all_inside(addresses, size, base, len) {
        return outside(context, (rank, space), lanes, addresses, size);
    }
    if shared.is_guarded() {
        for lane in lanes_of(lanes) {
            let offset = (addresses[lane] - base) as usize;
            if let Err(kind) = check(shared, offset, size as usize) {
                return lane_fault(lane as u32, kind);
            }
        }
    }
    Ok(())
}

#[cold]
fn outside(
    context: &Context,
    (rank, space): (u32, Space),
    lanes: u32,
    addresses: &Lanes<u64>,
    size: u32,
) -> Outcome {
    let shared = &context.blocks[rank as usize].shared;
    let (base, len) = (shared.base(), shared.bytes().len() as u64);
    let is_outside = |lane: &usize| {
        let offset = addresses[*lane].wrapping_sub(base);
        offset >= len || u64::from(size) > len - offset
    };
    let lane = lanes_of(lanes).find(is_outside).unwrap_or(0);
    lane_fault(lane as u32, missed(context, space, addresses[lane], size))
}

/// The fault for an address that is not in the block's own shared memory.
#[cold]
pub(crate) fn missed(context: &Context, space: Space, address: u64, size: u32) -> FaultKind {
    let names = context.kernel.shared.model.rank(address);
    match names {
        Some(rank)
            if space == Space::Shared
                && rank != u64::from(context.rank)
                && rank < context.blocks.len() as u64 =>
        {
            FaultKind::PeerAddress {
                address,
                own: context.rank,
            }
        }
        _ => out_of_bounds(address, size, space),
    }
}

/// Splits addresses of `.shared::cluster` by the blocks that they name.
pub(crate) fn each_rank(
    context: &mut Context,
    mask: Mask,
    addresses: &Lanes<u64>,
    mut access: impl FnMut(&mut Context, u32, Mask, &Lanes<u64>) -> Outcome,
) -> Outcome {
    let model = context.kernel.shared.model;
    let mut rest = mask.lanes;
    while rest != 0 {
        let first = rest.trailing_zeros();
        let names = model.rank(addresses[first as usize & (LANES - 1)]);
        let rank = match names.map(|rank| context.reach(rank)) {
            None => context.rank,
            Some(Ok(rank)) => rank,
            Some(Err(kind)) => return lane_fault(first, kind),
        };
        let lanes = ballot(|lane| model.rank(addresses[lane]) == names) & rest;
        let mut inside = *addresses;
        fill(&mut inside, lanes);
        let whole = mask.whole && lanes == mask.lanes;
        access(context, rank, Mask { lanes, whole }, &inside)?;
        rest &= !lanes;
    }
    Ok(())
}

/// The space of an access that a generic address in the window of shared memory stands for.
pub(crate) fn generic_space(model: SharedModel) -> Space {
    match model {
        SharedModel::Flat => Space::Shared,
        SharedModel::Ranked => Space::SharedCluster,
    }
}

/// Like [`resolve`], for an address that may also be generic; offsets fit 32 bits.
pub(crate) fn locate(
    context: &Context,
    space: Space,
    address: u64,
    size: u32,
) -> Result<(u32, u32), FaultKind> {
    let model = context.kernel.shared.model;
    let (space, address) = match space {
        Space::Generic if space_of(address) == Space::Shared => {
            (generic_space(model), address.wrapping_sub(model.window()))
        }
        Space::Generic => {
            return Err(FaultKind::WrongSpace {
                expected: "shared",
                address,
            });
        }
        space => (space, address),
    };
    let (rank, offset) = resolve(context, space, address, size)?;
    Ok((rank, offset as u32))
}
