//! Bringing the lanes of a warp together (PTX ISA, "Independent Thread Scheduling", membermask and
//! `.aligned` rules).
//!
//! Lanes that wait are served when nothing else in the warp can run: lanes of one member mask meet
//! even at different program counters; aligned instructions need all live lanes at one.

use crate::fault::{FaultKind, Outcome, Trouble};
use crate::ir::{Kernel, Op};
use crate::observe::Exchange;

use super::context::Context;
use super::control_flow::needs_whole_warp;
use super::mbarrier_wait::sleeps;
use super::register_pool;
use super::registers::{Mask, lanes_of};
use super::warp::{Group, Warp};
use super::warp_ops::{Inputs, Meeting, exchange, meeting, scatter};

/// Whether the lanes that arrived were all that was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meet {
    Done,
    Incomplete,
}

/// What a warp without a ready group can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// A group became ready.
    Ready,
    /// All live lanes stand at block barriers.
    Barrier,
    /// Lanes sleep at an mbarrier, and no others can go on.
    Asleep,
    /// All live lanes stand at a `setmaxnreg` that there are not enough registers for.
    Starved,
    /// No lane is left.
    Exited,
}

/// Executes a warp-wide exchange at once when every lane of `mask` finds all live lanes of its
/// member mask among them.
pub(crate) fn meet(
    warp: &mut Warp,
    context: &mut Context,
    pc: u32,
    op: &Op,
    mask: Mask,
) -> Outcome<Meet> {
    let Some((meeting, members)) = meeting(op) else {
        return Ok(Meet::Done);
    };
    let masks = *warp.regs.get32(members);
    let mut inputs = Inputs::under(&context.chance.plan);
    inputs.gather(&warp.regs, op, mask.lanes);
    for partition in partitions(mask.lanes, &masks) {
        let members = masks[partition.trailing_zeros() as usize];
        if members & warp.live != partition {
            return Ok(Meet::Incomplete);
        }
        check_members(warp, context, pc, meeting, members)?;
    }
    for partition in partitions(mask.lanes, &masks) {
        told(warp, context, pc, op, partition, partition)?;
        let results = exchange(meeting, &inputs, partition);
        let whole = mask.whole && partition == mask.lanes;
        scatter(
            &mut warp.regs,
            op,
            Mask {
                lanes: partition,
                whole,
            },
            &results,
        );
    }
    Ok(Meet::Done)
}

/// Tells the observers of an exchange among `lanes` before its results are stored for `part`, which
/// stands at `pc`.
pub(crate) fn told(
    warp: &Warp,
    context: &mut Context,
    pc: u32,
    op: &Op,
    part: u32,
    lanes: u32,
) -> Outcome {
    let exchange = Exchange {
        op,
        pc,
        part,
        lanes,
    };
    context
        .observe(|observers, _| observers.exchange(warp, &exchange))
        .map_err(|mut trouble| {
            trouble.pc = pc;
            trouble
        })
}

/// Synccheck: `bar.warp.sync` waits for all lanes of its mask, whereas the other meetings leave out
/// those that have exited (PTX ISA, "bar.warp.sync", "shfl.sync").
fn check_members(
    warp: &Warp,
    context: &Context,
    pc: u32,
    meeting: Meeting,
    members: u32,
) -> Outcome {
    let exited = members & warp.exited();
    if exited == 0 || meeting != Meeting::WarpSync || !context.sanitizers.synccheck {
        return Ok(());
    }
    Err(Box::new(Trouble {
        kind: FaultKind::MaskNamesExited {
            mask: members,
            exited,
        },
        lane: None,
        pc,
    }))
}

/// Splits `lanes` by their member masks.
fn partitions(lanes: u32, masks: &[u32; 32]) -> impl Iterator<Item = u32> {
    let mut rest = lanes;
    std::iter::from_fn(move || {
        let first = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
        let same = lanes_of(rest)
            .filter(|lane| masks[*lane] == masks[first])
            .fold(0, |same, lane| same | 1 << lane);
        rest &= !same;
        Some(same)
    })
}

fn op_at<'k>(kernel: &'k Kernel, group: &Group) -> &'k Op {
    // A waiting group stands at an instruction; past the end of the program lanes exit.
    &kernel.program[group.pc as usize].op
}

pub(crate) fn is_barrier(op: &Op) -> bool {
    matches!(
        op,
        Op::Barrier { .. }
            | Op::BarrierPopc { .. }
            | Op::BarrierLogic { .. }
            | Op::ClusterArrive { .. }
            | Op::ClusterWait { .. }
    )
}

/// True for instructions that all lanes of the warp must execute at one program counter.
pub(crate) fn is_aligned(op: &Op) -> bool {
    match op {
        Op::Barrier { aligned, .. }
        | Op::BarrierPopc { aligned, .. }
        | Op::BarrierLogic { aligned, .. }
        | Op::ClusterArrive { aligned, .. }
        | Op::ClusterWait { aligned } => *aligned,
        _ => needs_whole_warp(op),
    }
}

/// Called when no group is ready: finds lanes that can go on together.
pub(crate) fn resolve(warp: &mut Warp, context: &mut Context) -> Outcome<Resolution> {
    let kernel = context.kernel;
    if warp.groups.is_empty() {
        return Ok(Resolution::Exited);
    }
    let alone = warp.groups.len() == 1;
    let at = |group: &Group| op_at(kernel, group);
    if warp.groups.iter().all(|group| is_barrier(at(group)))
        && (alone || !warp.groups.iter().any(|group| is_aligned(at(group))))
    {
        return Ok(Resolution::Barrier);
    }
    if let Some((key, members, lanes)) = find_meeting(warp, kernel) {
        perform(warp, context, key, members, lanes)?;
        return Ok(Resolution::Ready);
    }
    if alone && register_pool::must_wait(warp, context, at(&warp.groups[0])) {
        return Ok(Resolution::Starved);
    }
    if alone && warp.groups[0].lanes == warp.live && is_aligned(at(&warp.groups[0])) {
        // The lanes it waited for have exited.
        warp.groups[0].waiting = false;
        return Ok(Resolution::Ready);
    }
    if warp.groups.iter().any(|group| sleeps(at(group))) {
        return Ok(Resolution::Asleep);
    }
    Err(stuck(warp, kernel))
}

/// A meeting whose live members all wait for it: the operation, the member mask, the lanes.
fn find_meeting(warp: &Warp, kernel: &Kernel) -> Option<(Meeting, u32, u32)> {
    for group in &warp.groups {
        let Some((key, register)) = meeting(op_at(kernel, group)) else {
            continue;
        };
        for lane in lanes_of(group.lanes) {
            let members = warp.regs.get32(register)[lane];
            let lanes = waiting_for(warp, kernel, key, members);
            if members & warp.live == lanes {
                return Some((key, members, lanes));
            }
        }
    }
    None
}

/// Lanes that wait for the meeting `key` with this member mask.
fn waiting_for(warp: &Warp, kernel: &Kernel, key: Meeting, members: u32) -> u32 {
    let mut lanes = 0;
    for group in &warp.groups {
        let Some((other, register)) = meeting(op_at(kernel, group)) else {
            continue;
        };
        if other == key {
            let masks = warp.regs.get32(register);
            let same = lanes_of(group.lanes).filter(|lane| masks[*lane] == members);
            lanes |= same.fold(0, |lanes, lane| lanes | 1 << lane);
        }
    }
    lanes
}

/// Executes a meeting and sends its lanes on.
fn perform(
    warp: &mut Warp,
    context: &mut Context,
    key: Meeting,
    members: u32,
    lanes: u32,
) -> Outcome {
    let kernel = context.kernel;
    let takes_part = |warp: &Warp, group: &Group| match meeting(op_at(kernel, group)) {
        Some((other, register)) if other == key => {
            let masks = warp.regs.get32(register);
            let same = lanes_of(group.lanes & lanes).filter(|lane| masks[*lane] == members);
            same.fold(0, |lanes, lane| lanes | 1 << lane)
        }
        _ => 0,
    };
    let groups = std::mem::take(&mut warp.groups);
    let parts: Vec<u32> = groups.iter().map(|group| takes_part(warp, group)).collect();
    let mut inputs = Inputs::under(&context.chance.plan);
    for (group, part) in groups.iter().zip(&parts) {
        inputs.gather(&warp.regs, op_at(kernel, group), *part);
    }
    for (group, part) in groups.iter().zip(&parts).filter(|(_, part)| **part != 0) {
        check_members(warp, context, group.pc, key, members)?;
        told(warp, context, group.pc, op_at(kernel, group), *part, lanes)?;
    }
    let results = exchange(key, &inputs, lanes);
    for (group, part) in groups.iter().zip(&parts) {
        if *part != 0 {
            let mask = Mask {
                lanes: *part,
                whole: false,
            };
            scatter(&mut warp.regs, op_at(kernel, group), mask, &results);
            warp.put(Group {
                pc: group.pc + 1,
                lanes: *part,
                waiting: false,
            });
        }
        let rest = group.lanes & !part;
        if rest != 0 {
            warp.put(Group {
                lanes: rest,
                ..*group
            });
        }
    }
    Ok(())
}

fn stuck(warp: &Warp, kernel: &Kernel) -> Box<Trouble> {
    let mut groups = warp.groups.clone();
    groups.sort_unstable_by_key(|group| group.pc);
    let places = warp.places(kernel);
    let aligned = groups.iter().find(|group| is_aligned(op_at(kernel, group)));
    let (kind, group) = match aligned {
        Some(group) => (FaultKind::AlignedDivergent { places }, group),
        None => (FaultKind::WarpDeadlock { places }, &groups[0]),
    };
    Box::new(Trouble {
        kind,
        lane: Some(group.lanes.trailing_zeros()),
        pc: group.pc,
    })
}
