//! The mbarriers of a block, and the instructions that do not wait for them.

use std::collections::BTreeMap;

use crate::fault::{FaultKind, MbarrierRule, Outcome, lane_fault, space_name};
use crate::ir::{MbarrierAction, MbarrierOp, R32, Space};

use super::address::effective;
use super::async_copy;
use super::context::Context;
use super::mbarrier::{Arriving, MBARRIER_BYTES, Mbarrier, pending_count};
use super::registers::{LANES, Mask, each_lane};
use super::shared_access::locate;
use super::warp::Warp;

/// An mbarrier between its init and its inval.
pub(crate) struct Live {
    pub state: Mbarrier,
    /// Warp in the cluster and lane that initialised it.
    by: (u32, u32),
    /// True once a fence has made the initialisation visible to asynchronous copies.
    pub is_fenced: bool,
    /// By warp of the cluster: phases that each lane has seen complete, 0 for none.
    seen: BTreeMap<u32, [u64; LANES]>,
}

/// The mbarriers of one block, by their offset in shared memory.
#[derive(Default)]
pub(crate) struct Mbarriers {
    live: BTreeMap<u32, Live>,
    /// Shared address of offset 0.
    base: u64,
}

impl Mbarriers {
    /// None is live in shared memory that begins at an address.
    pub fn reset(&mut self, base: u64) {
        self.live.clear();
        self.base = base;
    }

    /// A rule that is broken with the mbarrier at an offset.
    pub fn broken(&self, offset: u32, rule: MbarrierRule) -> FaultKind {
        FaultKind::Mbarrier {
            address: self.base + u64::from(offset),
            rule,
        }
    }

    /// The live mbarrier at an offset.
    pub fn live(&self, offset: u32) -> Result<&Live, FaultKind> {
        self.live
            .get(&offset)
            .ok_or_else(|| self.broken(offset, MbarrierRule::Uninitialised))
    }

    /// The live mbarrier at an offset.
    pub fn live_mut(&mut self, offset: u32) -> Result<&mut Live, FaultKind> {
        if !self.live.contains_key(&offset) {
            return Err(self.broken(offset, MbarrierRule::Uninitialised));
        }
        self.live.get_mut(&offset).ok_or(FaultKind::NotExecuted)
    }

    /// All live mbarriers with their offsets.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Mbarrier)> {
        self.live
            .iter()
            .map(|(offset, live)| (*offset, &live.state))
    }

    /// Lanes of a warp have executed a fence that covers their initialisations.
    pub fn fence(&mut self, warp: u32, lanes: u32) {
        for live in self.live.values_mut() {
            live.is_fenced |= live.by.0 == warp && lanes >> live.by.1 & 1 != 0;
        }
    }
}

impl Live {
    /// The next phase that a lane has not seen complete, when it has seen one.
    pub fn awaited_by(&self, warp: u32, lane: usize) -> Option<u64> {
        let seen = self.seen.get(&warp)?[lane];
        (seen > 0).then_some(seen)
    }

    /// A lane has seen that all phases before the running one are complete.
    pub fn seen_by(&mut self, warp: u32, lane: usize) {
        let phase = self.state.phase;
        self.seen.entry(warp).or_insert([0; LANES])[lane] = phase;
    }
}

/// Rank of the block and offset in its shared memory of the mbarrier that an address names.
pub(crate) fn locate_barrier(
    context: &Context,
    space: Space,
    address: u64,
) -> Result<(u32, u32), FaultKind> {
    let place = locate(context, space, address, MBARRIER_BYTES)?;
    if !address.is_multiple_of(MBARRIER_BYTES.into()) {
        return Err(FaultKind::Misaligned {
            space: space_name(Space::Shared),
            address,
            alignment: MBARRIER_BYTES,
        });
    }
    Ok(place)
}

/// An operation that does not wait, lane by lane: they act one after the other.
#[inline(never)]
pub(crate) fn operate(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &MbarrierOp,
) -> Outcome {
    if let MbarrierAction::AfterCopies { .. } = op.action {
        // The copies of the thread are complete from now on, which they may be, so that the arrival can come at once.
        async_copy::wait_all(warp, context, mask);
    }
    let addresses = effective(&warp.regs, mask, op.place.address);
    if context.observers.is_some() {
        release(warp, context, mask, op, &addresses);
    }
    let mut states = [0; LANES];
    for lane in mask.iter() {
        let place = locate_barrier(context, op.place.space, addresses[lane]);
        let done = place.and_then(|place| one(warp, context, lane, place, &op.action));
        match done {
            Ok(state) => states[lane] = state,
            Err(kind) => return lane_fault(lane as u32, kind),
        }
    }
    if let MbarrierAction::Arrive { state: Some(d), .. } = op.action {
        warp.regs.set64(mask, d, &states);
    }
    context.synchronised();
    Ok(())
}

/// Tells the observers what lanes release that are about to arrive, those at one mbarrier together.
fn release(
    warp: &Warp,
    context: &mut Context,
    mask: Mask,
    op: &MbarrierOp,
    addresses: &[u64; LANES],
) {
    let arrives = matches!(
        op.action,
        MbarrierAction::Arrive { .. } | MbarrierAction::AfterCopies { .. }
    );
    let Some(scope) = op.release.filter(|_| arrives) else {
        return;
    };
    let mut rest = mask.lanes;
    while rest != 0 {
        let address = addresses[rest.trailing_zeros() as usize];
        let same = mask.iter().filter(|lane| addresses[*lane] == address);
        let lanes = same.fold(0, |lanes, lane| lanes | 1 << lane);
        if let Ok(place) = locate_barrier(context, op.place.space, address)
            && let Some(observers) = &mut context.observers
        {
            observers.mbarrier_arrive(warp, lanes, place, scope);
        }
        rest &= !lanes;
    }
}

/// What one lane does to the mbarrier of a block at an offset; the token of its phase.
fn one(
    warp: &mut Warp,
    context: &mut Context,
    lane: usize,
    (rank, offset): (u32, u32),
    action: &MbarrierAction,
) -> Result<u64, FaultKind> {
    let value = |register: R32| warp.regs.get32(register)[lane];
    let by = (warp.number, lane as u32);
    let base = context.blocks[rank as usize].shared.base();
    let rule = |rule| FaultKind::Mbarrier {
        address: base + u64::from(offset),
        rule,
    };
    let block = &mut context.blocks[rank as usize];
    let arriving = match *action {
        MbarrierAction::Init { count } => {
            return init(context, (rank, offset), by, value(count)).map(|()| 0);
        }
        MbarrierAction::Invalidate => {
            block.mbarriers.live(offset)?;
            block.mbarriers.live.remove(&offset);
            block.shared.end_barrier(offset);
            return Ok(0);
        }
        MbarrierAction::Expect { bytes } => {
            let live = block.mbarriers.live_mut(offset)?;
            live.state.expect(value(bytes)).map_err(rule)?;
            return Ok(0);
        }
        MbarrierAction::Complete { bytes } => {
            let live = block.mbarriers.live_mut(offset)?;
            if live.state.complete(value(bytes)).map_err(rule)? {
                context.flipped(rank, offset);
            }
            return Ok(0);
        }
        MbarrierAction::AfterCopies { counted } => {
            if !counted {
                let live = block.mbarriers.live_mut(offset)?;
                live.state.await_one_more().map_err(rule)?;
            }
            Arriving::ONE
        }
        MbarrierAction::Arrive {
            count,
            expect,
            drops,
            no_complete,
            ..
        } => Arriving {
            count: count.map_or(1, value),
            expect: expect.map_or(0, value),
            drops,
            no_complete,
        },
    };
    let live = block.mbarriers.live_mut(offset)?;
    let (state, complete) = live.state.arrive(arriving).map_err(rule)?;
    if complete {
        context.flipped(rank, offset);
    }
    Ok(state)
}

fn init(
    context: &mut Context,
    (rank, offset): (u32, u32),
    by: (u32, u32),
    count: u32,
) -> Result<(), FaultKind> {
    let block = &mut context.blocks[rank as usize];
    if block.mbarriers.live(offset).is_ok() {
        return Err(block.mbarriers.broken(offset, MbarrierRule::Reinitialised));
    }
    let state = Mbarrier::new(count);
    let state = state.map_err(|rule| block.mbarriers.broken(offset, rule))?;
    block.shared.begin_barrier(offset)?;
    let live = Live {
        state,
        by,
        is_fenced: false,
        seen: BTreeMap::new(),
    };
    block.mbarriers.live.insert(offset, live);
    Ok(())
}

/// `fence.mbarrier_init`, and `fence.proxy.async`, which does the same and more.
pub(crate) fn fence(warp: &Warp, context: &mut Context, mask: Mask) {
    for block in &mut context.blocks {
        block.mbarriers.fence(warp.number, mask.lanes);
    }
    context.synchronised();
}

/// `mbarrier.pending_count`.
pub(crate) fn pending(states: &[u64; LANES]) -> [u32; LANES] {
    each_lane(|lane| pending_count(states[lane]))
}
