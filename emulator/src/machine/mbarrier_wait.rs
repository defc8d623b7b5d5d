//! Waiting for the phase of an mbarrier: `test_wait`, and `try_wait`, which lets lanes sleep until it is complete.
//!
//! Lanes whose phase is not complete leave the instruction with false, or they stay at it and their warp gives way.
//! Both are legal for `try_wait`, whose time limit is up to the hardware; which of them happens is up to the plan.

use std::collections::BTreeMap;

use crate::fault::{AwaitedPhase, FaultKind, MbarrierRule, MbarrierStanding, Outcome, lane_fault};
use crate::ir::{Kernel, MbarrierPhase, MbarrierWait, Op, Space};
use crate::observe::Waited;

use super::address::effective;
use super::context::Context;
use super::mbarrier::phase_of;
use super::mbarriers::locate_barrier;
use super::registers::{Mask, lanes_of};
use super::warp::Warp;

/// What the lanes that stand at a wait find.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Their phase is complete.
    done: u32,
    /// It is not.
    left: u32,
}

/// The lanes of the mask look. The instruction is executed for those that `Some` names; the others have to sleep.
#[inline(never)]
pub(crate) fn wait(
    warp: &mut Warp,
    context: &mut Context,
    (pc, mask): (u32, Mask),
    wait: &MbarrierWait,
) -> Outcome<u32> {
    let found = look(warp, context, mask, wait)?;
    let Found { done, left } = found;
    // A phase that is complete may be noticed late, as long as it is looked at again.
    let denied = if !wait.sleeps && context.chance.wait_fails() {
        done
    } else {
        0
    };
    let gives_up = !wait.sleeps || context.chance.wait_fails();
    let executed = if gives_up { done | left } else { done };
    if left != 0 {
        ask(warp, context, left, wait);
    }
    let true_for = done & !denied;
    let lanes = Mask {
        lanes: executed,
        whole: mask.whole && executed == mask.lanes,
    };
    warp.regs.set_pred(lanes, wait.d, true_for);
    observe(warp, context, pc, (executed, true_for), wait)?;
    note(warp, context, true_for, wait);
    // A loop around the wait must not keep the others from bringing what it waits for.
    if left | denied != 0 {
        context.turn_end = context.warp_instructions;
    }
    context.synchronised();
    Ok(executed)
}

/// Lets the lanes that sleep at waits look again.
pub(crate) fn wake(warp: &mut Warp, kernel: &Kernel) {
    for group in &mut warp.groups {
        if group.waiting && op_at(kernel, group.pc).is_some_and(sleeps) {
            group.waiting = false;
        }
    }
}

/// True for instructions at which lanes sleep until an mbarrier wakes them.
pub(crate) fn sleeps(op: &Op) -> bool {
    matches!(op, Op::MbarrierWait(wait) if wait.sleeps)
}

/// The mbarriers of a block of which somebody waits for something, and which of its warps do.
pub(crate) fn standing(context: &Context, rank: u32, warps: &[Warp]) -> Vec<MbarrierStanding> {
    let base = context.blocks[rank as usize].shared.base();
    let mut waiting: BTreeMap<u32, Vec<(u32, AwaitedPhase)>> = BTreeMap::new();
    for warp in warps {
        for group in warp.groups.iter().filter(|group| group.waiting) {
            let Some(Op::MbarrierWait(wait)) = op_at(context.kernel, group.pc) else {
                continue;
            };
            for lane in lanes_of(group.lanes) {
                let address = address_of(warp, lane, wait);
                let start = match wait.place.space {
                    Space::Generic => context.kernel.shared.model.window(),
                    _ => 0,
                };
                // It sleeps there, so that the mbarrier is one of its own block.
                let offset = address.wrapping_sub(start).wrapping_sub(base) as u32;
                let awaited = (warp.index, awaited(warp, lane, wait));
                let list = waiting.entry(offset).or_default();
                if !list.contains(&awaited) {
                    list.push(awaited);
                }
            }
        }
    }
    let live = context.blocks[rank as usize].mbarriers.iter();
    let standing = live.filter_map(|(offset, state)| {
        let waiting = waiting.remove(&offset).unwrap_or_default();
        let has_begun = state.pending != state.expected || state.tx != 0;
        (has_begun || !waiting.is_empty()).then_some(MbarrierStanding {
            address: base as u32 + offset,
            phase: state.phase,
            pending: state.pending,
            expected: state.expected,
            bytes: state.tx,
            waiting,
        })
    });
    standing.collect()
}

fn op_at(kernel: &Kernel, pc: u32) -> Option<&Op> {
    kernel.program.get(pc as usize).map(|line| &line.op)
}

fn awaited(warp: &Warp, lane: usize, wait: &MbarrierWait) -> AwaitedPhase {
    match wait.phase {
        MbarrierPhase::State(state) => AwaitedPhase::Number(phase_of(warp.regs.get64(state)[lane])),
        MbarrierPhase::Parity(parity) => AwaitedPhase::Parity(warp.regs.get32(parity)[lane] & 1),
    }
}

/// The address that a lane names.
fn address_of(warp: &Warp, lane: usize, wait: &MbarrierWait) -> u64 {
    let mask = Mask {
        lanes: 1 << lane,
        whole: false,
    };
    effective(&warp.regs, mask, wait.place.address)[lane]
}

/// Offset of the mbarrier that a lane names.
fn place(
    warp: &Warp,
    context: &Context,
    lane: usize,
    wait: &MbarrierWait,
) -> Result<u32, FaultKind> {
    let address = address_of(warp, lane, wait);
    let (rank, offset) = locate_barrier(context, wait.place.space, address)?;
    if rank != context.rank {
        let mbarriers = &context.blocks[rank as usize].mbarriers;
        return Err(mbarriers.broken(offset, MbarrierRule::RemoteWait));
    }
    Ok(offset)
}

fn look(warp: &Warp, context: &Context, mask: Mask, wait: &MbarrierWait) -> Outcome<Found> {
    let mut found = Found::default();
    for lane in mask.iter() {
        let complete = place(warp, context, lane, wait)
            .and_then(|offset| is_complete(warp, context, lane, wait, offset));
        match complete {
            Ok(true) => found.done |= 1 << lane,
            Ok(false) => found.left |= 1 << lane,
            Err(kind) => return lane_fault(lane as u32, kind),
        }
    }
    Ok(found)
}

fn is_complete(
    warp: &Warp,
    context: &Context,
    lane: usize,
    wait: &MbarrierWait,
    offset: u32,
) -> Result<bool, FaultKind> {
    let mbarriers = &context.block().mbarriers;
    let live = mbarriers.live(offset)?;
    let broken = |rule| mbarriers.broken(offset, rule);
    match wait.phase {
        MbarrierPhase::State(state) => {
            let past = live.state.is_past(warp.regs.get64(state)[lane]);
            past.map_err(broken)
        }
        MbarrierPhase::Parity(parity) => {
            let parity = warp.regs.get32(parity)[lane] & 1;
            let running = live.state.phase;
            // Who has seen k phases and names the parity of phase k means that one; two phases later its parity
            // says the opposite again.
            if context.sanitizers.synccheck
                && let Some(awaited) = live.awaited_by(warp.number, lane)
                && awaited & 1 == u64::from(parity)
                && running >= awaited + 2
            {
                let rule = MbarrierRule::PhaseSkipped { awaited, running };
                return Err(broken(rule));
            }
            Ok(live.state.is_past_parity(parity))
        }
    }
}

/// Lanes are waiting for copies that have not moved.
fn ask(warp: &Warp, context: &mut Context, lanes: u32, wait: &MbarrierWait) {
    let lane = lanes.trailing_zeros() as usize;
    if let Ok(offset) = place(warp, context, lane, wait) {
        let patience = context.chance.wait_patience();
        context.flights.ask((context.rank, offset), patience);
    }
}

/// Tells the observers of the lanes that have executed a wait, and of those whose phase was complete.
fn observe(
    warp: &Warp,
    context: &mut Context,
    pc: u32,
    (executed, complete): (u32, u32),
    wait: &MbarrierWait,
) -> Outcome {
    if context.observers.is_none() || executed == 0 {
        return Ok(());
    }
    let waited = |lanes, offset| Waited {
        lanes,
        rank: context.rank,
        offset,
        acquire: wait.acquire,
    };
    let mut seen: Vec<Waited> = Vec::new();
    for lane in lanes_of(complete) {
        // Every lane that was let go on has named an mbarrier.
        let Ok(offset) = place(warp, context, lane, wait) else {
            continue;
        };
        match seen.iter_mut().find(|waited| waited.offset == offset) {
            Some(waited) => waited.lanes |= 1 << lane,
            None => seen.push(waited(1 << lane, offset)),
        }
    }
    let counted = if wait.sleeps { executed } else { 0 };
    context.observe(|observers, context| observers.waited(warp, context, (pc, counted), &seen))
}

/// Synccheck remembers which phases a lane has seen complete.
fn note(warp: &Warp, context: &mut Context, lanes: u32, wait: &MbarrierWait) {
    if !context.sanitizers.synccheck {
        return;
    }
    for lane in lanes_of(lanes) {
        let Ok(offset) = place(warp, context, lane, wait) else {
            continue;
        };
        if let Ok(live) = context.block_mut().mbarriers.live_mut(offset) {
            live.seen_by(warp.number, lane);
        }
    }
}
