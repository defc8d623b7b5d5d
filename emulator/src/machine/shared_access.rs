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
    /// The rank of a block whose shared memory the block of rank `own` may use now: a peer must have started,
    /// and must not have ended.
    pub fn reach(&self, own: u32, rank: u64) -> Result<u32, FaultKind> {
        if rank == u64::from(own) {
            return Ok(own);
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

/// The block that has `size` bytes at `address`, an address of `space` in the block of rank `own`, and their offset
/// in its shared memory.
pub(crate) fn resolve(
    context: &Context,
    own: u32,
    space: Space,
    address: u64,
    size: u32,
) -> Result<(u32, usize), FaultKind> {
    let rank = match context.kernel.shared.model.rank(address) {
        Some(rank) if space == Space::SharedCluster => match space_of(address) {
            Space::Global => context.reach(own, rank)?,
            _ => return Err(out_of_bounds(address, size, space)),
        },
        _ => own,
    };
    let shared = &context.blocks[rank as usize].shared;
    let (len, wide) = (shared.usable(), u64::from(size));
    let offset = address.wrapping_sub(shared.first());
    if offset >= len || wide > len - offset {
        return Err(missed(context, own, space, address, size));
    }
    Ok((rank, (address - shared.base()) as usize))
}

/// Faults unless the `size` bytes from every address, an address of `space`, lie in the shared memory of the
/// block of this rank, and nobody has refused them to accesses of this kind.
#[inline(always)]
pub(crate) fn check(
    context: &Context,
    (rank, space): (u32, Space),
    lanes: u32,
    addresses: &Lanes<u64>,
    size: u32,
    refused: impl Fn(&SharedMemory, usize, usize) -> Result<(), FaultKind>,
) -> Outcome {
    let shared = &context.blocks[rank as usize].shared;
    if !all_inside(addresses, size, shared.first(), shared.usable()) {
        return outside(context, (rank, space), lanes, addresses, size);
    }
    if shared.is_guarded() {
        for lane in lanes_of(lanes) {
            let offset = (addresses[lane] - shared.base()) as usize;
            if let Err(kind) = refused(shared, offset, size as usize) {
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
    let (base, len) = (shared.first(), shared.usable());
    let is_outside = |lane: &usize| {
        let offset = addresses[*lane].wrapping_sub(base);
        offset >= len || u64::from(size) > len - offset
    };
    let lane = lanes_of(lanes).find(is_outside).unwrap_or(0);
    let kind = missed(context, context.rank, space, addresses[lane], size);
    lane_fault(lane as u32, kind)
}

/// The fault for an address that the shared memory does not have which it is to be in, of the block of rank `own`.
#[cold]
fn missed(context: &Context, own: u32, space: Space, address: u64, size: u32) -> FaultKind {
    let names = context.kernel.shared.model.rank(address);
    match names {
        Some(rank)
            if space == Space::Shared
                && rank != u64::from(own)
                && rank < context.blocks.len() as u64 =>
        {
            FaultKind::PeerAddress { address, own }
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
        let rank = match names.map(|rank| context.reach(context.rank, rank)) {
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
