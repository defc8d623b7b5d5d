//! The barrier of a cluster (PTX ISA, "barrier.cluster").
//!
//! A warp arrives when all its live lanes stand there, and waits at a later instruction. A phase ends when
//! every warp of the cluster has arrived or exited; a warp arrives for the next one when it has waited for it.

use crate::fault::{FaultKind, Outcome, Trouble, warp_fault};
use crate::ir::{Kernel, Op};

use super::block::Block;
use super::context::Context;
use super::registers::lanes_of;
use super::warp::{Group, Warp};

/// How far the warps of one block are with the barrier of its cluster.
#[derive(Default)]
pub(crate) struct ClusterArrivals {
    /// Warps that have arrived in this phase.
    arrived: u32,
    /// Warps that have arrived and not waited since.
    owing: u32,
    /// Warps that wait for the end of this phase.
    waiting: u32,
    /// Where each warp has arrived last.
    last_arrival: [u32; 32],
}

impl ClusterArrivals {
    /// True when the warp waits.
    pub fn waits(&self, warp: u32) -> bool {
        self.waiting >> warp & 1 != 0
    }

    /// Those of the `live` warps that this phase still waits for, when it has begun in the block.
    pub fn awaited(&self, live: u32) -> u32 {
        live & !self.arrived
    }

    /// True when a warp of the block has arrived in this phase.
    pub fn has_begun(&self) -> bool {
        self.arrived != 0
    }
}

/// What a warp does at the barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Arrive { release: bool },
    Wait,
}

fn step_at(kernel: &Kernel, group: &Group) -> Option<Step> {
    match kernel.program[group.pc as usize].op {
        Op::ClusterArrive { release, .. } => Some(Step::Arrive { release }),
        Op::ClusterWait { .. } => Some(Step::Wait),
        _ => None,
    }
}

/// True when a lane of `warp`, whose live lanes all stand at barriers, stands at this one.
pub(crate) fn is_there(kernel: &Kernel, warp: &Warp) -> bool {
    let mut groups = warp.groups.iter();
    groups.any(|group| step_at(kernel, group).is_some())
}

/// Warp `index` of the running block arrives, or waits. `warps` are those of the cluster, by rank.
pub(crate) fn step(context: &mut Context, warps: &mut [Vec<Warp>], index: usize) -> Outcome {
    let warp = &mut warps[context.rank as usize][index];
    let pc = warp.groups.first().map_or(0, |group| group.pc);
    let located = |mut trouble: Box<Trouble>| {
        trouble.pc = pc;
        trouble
    };
    match agreed(context.kernel, warp).map_err(located)? {
        Step::Arrive { release } => {
            arrive(context, warp, release).map_err(located)?;
            complete(context, warps);
            Ok(())
        }
        Step::Wait => wait(context, warp).map_err(located),
    }
}

/// What all groups of the warp stand at.
fn agreed(kernel: &Kernel, warp: &Warp) -> Outcome<Step> {
    let mut steps = warp.groups.iter().map(|group| step_at(kernel, group));
    match steps.next().flatten() {
        Some(first) if steps.all(|step| step == Some(first)) => Ok(first),
        _ => warp_fault(FaultKind::NonUniformOperand { operand: "barrier" }),
    }
}

fn arrive(context: &mut Context, warp: &mut Warp, release: bool) -> Outcome {
    let bit = 1 << warp.index;
    let (kernel, pc) = (context.kernel, warp.groups[0].pc);
    let arrivals = &mut context.block_mut().cluster;
    let last = &mut arrivals.last_arrival[warp.index as usize];
    if arrivals.owing & bit != 0 {
        let (line, _) = kernel.place(*last);
        return warp_fault(FaultKind::ClusterArriveTwice { line });
    }
    *last = pc;
    arrivals.arrived |= bit;
    arrivals.owing |= bit;
    context.observe(|observers, context| observers.cluster_arrive(warp, context, release))?;
    warp.advance_all();
    Ok(())
}

fn wait(context: &mut Context, warp: &mut Warp) -> Outcome {
    let bit = 1 << warp.index;
    let block = context.block_mut();
    if block.cluster.owing & bit == 0 {
        return warp_fault(FaultKind::ClusterWaitFirst);
    }
    block.cluster.owing &= !bit;
    let is_over = block.cluster.arrived & bit == 0;
    if !is_over {
        block.cluster.waiting |= bit;
        block.ready &= !bit;
    }
    if let Some(observers) = &mut context.observers {
        observers.cluster_wait(warp);
    }
    if is_over {
        pass(context, warp);
    }
    Ok(())
}

/// The phase is over for a warp that stands at its wait.
fn pass(context: &mut Context, warp: &mut Warp) {
    if let Some(observers) = &mut context.observers {
        observers.cluster_pass(warp.number);
    }
    warp.advance_all();
}

/// Ends the phase if every warp of the cluster has arrived or exited.
pub(crate) fn complete(context: &mut Context, warps: &mut [Vec<Warp>]) {
    let blocks = &context.blocks;
    let has_begun = blocks.iter().any(|block| block.cluster.has_begun());
    let is_awaited = |block: &Block| block.cluster.awaited(block.live) != 0;
    if !has_begun || blocks.iter().any(is_awaited) {
        return;
    }
    if let Some(observers) = &mut context.observers {
        observers.cluster_complete();
    }
    for (rank, warps) in warps.iter_mut().enumerate() {
        let block = &mut context.blocks[rank];
        block.cluster.arrived = 0;
        let waiting = std::mem::take(&mut block.cluster.waiting);
        block.ready |= waiting;
        for index in lanes_of(waiting) {
            pass(context, &mut warps[index]);
        }
    }
}
