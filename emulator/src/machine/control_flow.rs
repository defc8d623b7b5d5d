//! Instructions that decide where lanes go next, or whether they may go at all (PTX ISA, "Control
//! Flow Instructions").

use crate::fault::{FaultKind, Outcome, lane_fault, warp_fault};
use crate::ir::{Op, R32};

use super::context::Context;
use super::reconverge::{Meet, is_barrier, meet, told};
use super::register_pool;
use super::registers::Mask;
use super::warp::{Group, Warp};
use super::warp_ops::{meeting, shuffle_whole};
use super::warpgroup::Event;
use super::{async_copy, bulk, mbarrier_wait, wgmma};

/// What becomes of the running group.
pub(crate) enum Flow {
    /// It goes on with the next instruction.
    Next,
    /// Its program counter has been set.
    Jumped,
    /// It has been put back, split up, or has exited.
    Gone,
    /// Not a matter of control: the instruction is to be computed.
    Compute,
}

/// True when `op` may have to wait for other lanes, or is an exchange or barrier, which observers are
/// told of when its lanes have met.
pub(crate) fn waits(op: &Op, lanes: u32) -> bool {
    match op {
        op if is_barrier(op) => true,
        _ if needs_whole_warp(op) => lanes != u32::MAX,
        Op::MbarrierWait(wait) => wait.sleeps,
        _ => meeting(op).is_some(),
    }
}

/// True for instructions that all 32 lanes of a warp must execute at one program counter, and that
/// need no more than that.
pub(crate) fn needs_whole_warp(op: &Op) -> bool {
    matches!(
        op,
        Op::LdMatrix { .. }
            | Op::StMatrix { .. }
            | Op::MovMatrix { .. }
            | Op::Mma(_)
            | Op::Wgmma(_)
            | Op::WgmmaFence
            | Op::WgmmaCommit
            | Op::WgmmaWait { .. }
            | Op::SetMaxRegisters { .. }
    )
}

/// Executes `op` for the lanes of `mask` if it is one that moves or holds lanes.
#[inline(always)]
pub(crate) fn control(
    warp: &mut Warp,
    context: &mut Context,
    group: &mut Group,
    mask: Mask,
    op: &Op,
) -> Outcome<Flow> {
    match *op {
        Op::Bra { target, uniform } => branch(warp, group, mask, target, uniform),
        Op::BranchIndexed {
            table,
            index,
            uniform,
        } => {
            let table = &context.kernel.branch_tables[table as usize];
            branch_indexed(warp, group, mask, table, index, uniform)
        }
        Op::Exit => exit(warp, context, group, mask),
        Op::Trap => lane_fault(mask.lanes.trailing_zeros(), FaultKind::Trap),
        Op::Yield | Op::Nop => Ok(Flow::Next),
        Op::ActiveMask { d } => {
            warp.regs.set32(mask, d, &[mask.lanes; 32]);
            Ok(Flow::Next)
        }
        // Here because a copy remembers where it was issued.
        Op::CpAsync(ref copy) => {
            async_copy::issue(warp, context, (group.pc, mask), copy)?;
            Ok(Flow::Next)
        }
        Op::BulkCopy(ref copy) => {
            bulk::issue(warp, context, (group.pc, mask), copy)?;
            Ok(Flow::Next)
        }
        Op::MbarrierWait(ref wait) => {
            let executed = mbarrier_wait::wait(warp, context, (group.pc, mask), wait)?;
            Ok(split(warp, group, mask, executed))
        }
        Op::Shfl {
            mode,
            d,
            p,
            a,
            b,
            c,
            mask: members,
        } if mask.lanes == u32::MAX && warp.regs.get32(members) == &[u32::MAX; 32] => {
            if context.observers.is_some() {
                told(warp, context, group.pc, op, u32::MAX, u32::MAX)?;
            }
            shuffle_whole(&mut warp.regs, mode, d, p, [a, b, c]);
            Ok(Flow::Next)
        }
        Op::Shfl { .. }
        | Op::Vote { .. }
        | Op::Ballot { .. }
        | Op::MatchAny32 { .. }
        | Op::MatchAny64 { .. }
        | Op::MatchAll32 { .. }
        | Op::MatchAll64 { .. }
        | Op::Redux { .. }
        | Op::Elect { .. }
        | Op::WarpSync { .. } => rendezvous(warp, context, group, mask, op),
        Op::LdMatrix { .. } | Op::StMatrix { .. } | Op::MovMatrix { .. } | Op::Mma(_) => {
            if mask.lanes == u32::MAX {
                return Ok(Flow::Compute);
            }
            matrix_needs_others(warp, group, mask)
        }
        Op::Wgmma(_)
        | Op::WgmmaFence
        | Op::WgmmaCommit
        | Op::WgmmaWait { .. }
        | Op::SetMaxRegisters { .. } => warpgroup(warp, context, group, mask, op),
        // All live lanes, or those that got here, wait; the scheduler counts the arrival.
        Op::Barrier { .. }
        | Op::BarrierPopc { .. }
        | Op::BarrierLogic { .. }
        | Op::ClusterArrive { .. }
        | Op::ClusterWait { .. } => Ok(wait(warp, group, mask)),
        _ => Ok(Flow::Compute),
    }
}

fn exit(warp: &mut Warp, context: &mut Context, group: &mut Group, mask: Mask) -> Outcome<Flow> {
    warp.exit_pc = group.pc;
    leave(warp, context, mask)?;
    group.lanes &= !mask.lanes;
    Ok(if group.lanes == 0 {
        Flow::Gone
    } else {
        Flow::Next
    })
}

/// The lanes of the mask exist no longer.
pub(crate) fn leave(warp: &mut Warp, context: &mut Context, mask: Mask) -> Outcome {
    if context.sanitizers.synccheck {
        warp.copies.check_none(context.kernel, mask)?;
    }
    async_copy::wait_all(warp, context, mask);
    if context.flights.iter().next().is_some() {
        bulk::check_exit(warp, context, mask)?;
    }
    warp.live &= !mask.lanes;
    if warp.live == 0 {
        wgmma::exit(warp, context)?;
    }
    Ok(())
}

/// The lanes of the mask wait at the instruction; the others of the group go on.
fn wait(warp: &mut Warp, group: &Group, mask: Mask) -> Flow {
    let others = group.lanes & !mask.lanes;
    warp.put(Group {
        pc: group.pc,
        lanes: mask.lanes,
        waiting: true,
    });
    if others != 0 {
        warp.put(Group {
            pc: group.pc + 1,
            lanes: others,
            waiting: false,
        });
    }
    Flow::Gone
}

/// Of the lanes of the mask, those of `executed` go on with the others of the group, the rest stays and sleeps.
fn split(warp: &mut Warp, group: &Group, mask: Mask, executed: u32) -> Flow {
    let asleep = mask.lanes & !executed;
    if asleep == 0 {
        return Flow::Next;
    }
    let mask = Mask {
        lanes: asleep,
        whole: false,
    };
    wait(warp, group, mask)
}

/// What a warp does together with the others of its warpgroup, up to arithmetic.
#[inline(never)]
fn warpgroup(
    warp: &mut Warp,
    context: &mut Context,
    group: &Group,
    mask: Mask,
    op: &Op,
) -> Outcome<Flow> {
    if mask.lanes != u32::MAX {
        return matrix_needs_others(warp, group, mask);
    }
    match *op {
        Op::Wgmma(ref op) => wgmma::issue(warp, context, group.pc, op)?,
        Op::WgmmaFence => wgmma::fence(warp, context, group.pc)?,
        Op::WgmmaCommit => wgmma::commit(warp, context, group.pc)?,
        Op::WgmmaWait { .. } => {
            context.log(warp.index, Event::at(group.pc))?;
        }
        Op::SetMaxRegisters {
            increase,
            registers,
        } => {
            if !register_pool::set(warp, context, increase, registers.into())? {
                return Ok(wait(warp, group, mask));
            }
            context.log(warp.index, Event::at(group.pc))?;
            context.synchronised();
        }
        _ => {}
    }
    Ok(Flow::Compute)
}

#[cold]
fn matrix_needs_others(warp: &mut Warp, group: &Group, mask: Mask) -> Outcome<Flow> {
    if mask.lanes == warp.live {
        return warp_fault(FaultKind::MissingLanes { live: warp.live });
    }
    Ok(wait(warp, group, mask))
}

#[inline(always)]
fn branch(
    warp: &mut Warp,
    group: &mut Group,
    mask: Mask,
    target: u32,
    uniform: bool,
) -> Outcome<Flow> {
    let others = group.lanes & !mask.lanes;
    if others == 0 {
        group.pc = target;
        return Ok(Flow::Jumped);
    }
    if uniform {
        return lane_fault(others.trailing_zeros(), FaultKind::NonUniformBranch);
    }
    warp.put(Group {
        pc: group.pc + 1,
        lanes: others,
        waiting: false,
    });
    warp.put(Group {
        pc: target,
        lanes: mask.lanes,
        waiting: false,
    });
    Ok(Flow::Gone)
}

#[inline(never)]
fn branch_indexed(
    warp: &mut Warp,
    group: &mut Group,
    mask: Mask,
    table: &[u32],
    index: R32,
    uniform: bool,
) -> Outcome<Flow> {
    let indices = *warp.regs.get32(index);
    let first = indices[mask.lanes.trailing_zeros() as usize & 31];
    let others = group.lanes & !mask.lanes;
    if let Some(lane) = mask
        .iter()
        .find(|lane| indices[*lane] as usize >= table.len())
    {
        let kind = FaultKind::BranchRange {
            index: indices[lane],
            len: table.len() as u32,
        };
        return lane_fault(lane as u32, kind);
    }
    if uniform && (others != 0 || mask.iter().any(|lane| indices[lane] != first)) {
        return lane_fault(mask.lanes.trailing_zeros(), FaultKind::NonUniformBranch);
    }
    for lane in mask.iter() {
        let pc = table[indices[lane] as usize];
        warp.put(Group {
            pc,
            lanes: 1 << lane,
            waiting: false,
        });
    }
    if others != 0 {
        warp.put(Group {
            pc: group.pc + 1,
            lanes: others,
            waiting: false,
        });
    }
    Ok(Flow::Gone)
}

#[inline(never)]
fn rendezvous(
    warp: &mut Warp,
    context: &mut Context,
    group: &Group,
    mask: Mask,
    op: &Op,
) -> Outcome<Flow> {
    let Some((_, members)) = meeting(op) else {
        return Ok(Flow::Compute);
    };
    let masks = *warp.regs.get32(members);
    if let Some(lane) = mask.iter().find(|lane| masks[*lane] >> lane & 1 == 0) {
        return lane_fault(
            lane as u32,
            FaultKind::MaskWithoutSelf { mask: masks[lane] },
        );
    }
    match meet(warp, context, group.pc, op, mask)? {
        Meet::Done => Ok(Flow::Next),
        Meet::Incomplete => Ok(wait(warp, group, mask)),
    }
}
