//! Barriers of a block (PTX ISA, "Parallel Synchronization and Communication Instructions: bar,
//! barrier").
//!
//! Arrival is counted in whole warps: a warp arrives when all its live lanes stand at the barrier,
//! and counts for 32 threads.

use crate::fault::{BarrierStanding, FaultKind, Outcome, Trouble, warp_fault};
use crate::ir::{Kernel, Op, Pred, R32};
use crate::observe;

use super::context::Context;
use super::reconverge::is_aligned;
use super::registers::{LANES, Mask, lanes_of};
use super::warp::{Group, Warp};

/// Barriers per block.
pub(crate) const BARRIERS: usize = 16;

/// One barrier; between rounds it is `Default`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Barrier {
    /// Threads awaited, once the first warp has said so.
    count: Option<Count>,
    /// Warps that arrived, and those of them that wait for completion.
    arrived: u32,
    waiting: u32,
    is_reduction: bool,
    /// Threads whose predicate is true, and whether all are.
    popc: u32,
    all: bool,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    threads: u32,
    /// False when every thread of the block is meant: exited warps then are not awaited.
    explicit: bool,
}

/// What a warp does at a barrier.
struct Arrival {
    id: u32,
    count: Option<u32>,
    waits: bool,
    /// For a reduction: lanes whose predicate is true, and whether it is so for all live lanes.
    reduction: Option<Truths>,
}

#[derive(Clone, Copy)]
struct Truths {
    popc: u32,
    all: bool,
}

/// The barriers of one block and the warps that use them.
pub(crate) struct Barriers {
    barriers: [Barrier; BARRIERS],
    /// Threads of the block, rounded up to whole warps.
    threads: u32,
}

impl Barriers {
    pub fn new(num_warps: u32) -> Self {
        Self {
            barriers: Default::default(),
            threads: 32 * num_warps,
        }
    }

    /// Back to the state of `new`.
    pub fn reset(&mut self) {
        self.barriers = Default::default();
    }

    fn register(&mut self, arrival: &Arrival, warp_bit: u32) -> Outcome {
        let id = arrival.id;
        let Some(barrier) = self.barriers.get_mut(id as usize) else {
            return warp_fault(FaultKind::BarrierId { id });
        };
        let threads = arrival.count.unwrap_or(self.threads);
        if threads == 0 || !threads.is_multiple_of(32) || threads > self.threads {
            return warp_fault(FaultKind::BarrierCount {
                count: threads,
                max: self.threads,
            });
        }
        let is_reduction = arrival.reduction.is_some();
        if let Some(earlier) = barrier.count {
            if barrier.is_reduction != is_reduction {
                return warp_fault(FaultKind::BarrierMixed { id });
            }
            if earlier.threads != threads {
                let (expected, found) = (earlier.threads, threads);
                return warp_fault(FaultKind::BarrierMismatch {
                    id,
                    expected,
                    found,
                });
            }
            if barrier.arrived & warp_bit != 0 {
                return warp_fault(FaultKind::BarrierTwice { id });
            }
        } else {
            barrier.count = Some(Count {
                threads,
                explicit: arrival.count.is_some(),
            });
            barrier.is_reduction = is_reduction;
            barrier.all = true;
        }
        barrier.arrived |= warp_bit;
        if arrival.waits {
            barrier.waiting |= warp_bit;
        }
        if let Some(truths) = arrival.reduction {
            barrier.popc += truths.popc;
            barrier.all &= truths.all;
        }
        Ok(())
    }

    /// Ends the round of barrier `id` if all that it waits for have arrived. `live` are the warps that
    /// have not exited.
    fn complete(&mut self, id: usize, live: u32) -> Option<Barrier> {
        let barrier = &mut self.barriers[id];
        let count = barrier.count?;
        let complete = if count.explicit {
            32 * barrier.arrived.count_ones() >= count.threads
        } else {
            live & !barrier.arrived == 0
        };
        complete.then(|| std::mem::take(barrier))
    }

    /// The barrier that a warp waits at.
    pub fn waited_for_by(&self, warp: u32) -> Option<u32> {
        let waits = |barrier: &Barrier| barrier.waiting >> warp & 1 != 0;
        let id = self.barriers.iter().position(waits)?;
        Some(id as u32)
    }

    /// The barriers that somebody has arrived at. `live` are the warps that have not exited.
    pub fn standing(&self, live: u32) -> Vec<BarrierStanding> {
        let standing = |(id, barrier): (usize, &Barrier)| {
            let count = barrier.count?;
            let threads = if count.explicit {
                count.threads
            } else {
                32 * (live | barrier.arrived).count_ones()
            };
            Some(BarrierStanding {
                id: id as u32,
                arrived: lanes_of(barrier.arrived).map(|warp| warp as u32).collect(),
                threads,
            })
        };
        self.barriers
            .iter()
            .enumerate()
            .filter_map(standing)
            .collect()
    }
}

/// Warp `index` of the running block, whose live lanes all stand at barriers, arrives. `warps` are those of
/// the block.
pub(crate) fn arrive(context: &mut Context, warps: &mut [Warp], index: usize) -> Outcome {
    let pc = warps[index].groups.first().map_or(0, |group| group.pc);
    let located = |mut trouble: Box<Trouble>| {
        trouble.pc = pc;
        trouble
    };
    context.block_mut().ready &= !(1 << index);
    let arrival = read_arrival(context.kernel, &warps[index]).map_err(located)?;
    check_missed(context, &warps[index]).map_err(located)?;
    let told = observe::Arrival {
        id: arrival.id,
        waits: arrival.waits,
    };
    context
        .observe(|observers, context| observers.arrive(&warps[index], context, &told))
        .map_err(located)?;
    let block = context.block_mut();
    block
        .barriers
        .register(&arrival, 1 << index)
        .map_err(located)?;
    if !arrival.waits {
        warps[index].advance_all();
        block.ready |= 1 << index;
    }
    complete(context, warps, arrival.id as usize);
    Ok(())
}

/// Warp `index` of the running block has exited: barriers that waited for the whole block may be complete.
pub(crate) fn exited(context: &mut Context, warps: &mut [Warp], index: u32) {
    let block = context.block_mut();
    block.live &= !(1 << index);
    block.ready &= block.live;
    for id in 0..BARRIERS {
        complete(context, warps, id);
    }
}

/// Lets the warps go on that wait at barrier `id` of the running block, if it is complete.
fn complete(context: &mut Context, warps: &mut [Warp], id: usize) {
    let block = context.block_mut();
    let Some(barrier) = block.barriers.complete(id, block.live) else {
        return;
    };
    block.ready |= barrier.waiting;
    for index in lanes_of(barrier.waiting) {
        deliver(context.kernel, &mut warps[index], &barrier);
        warps[index].advance_all();
    }
    let rank = context.rank;
    if let Some(observers) = &mut context.observers {
        observers.complete(rank, id as u32, barrier.waiting);
    }
}

/// Synccheck: an aligned barrier is for all threads of the warp, also for those that have exited. Warps
/// that have exited as a whole are a matter of the barrier's thread count.
fn check_missed(context: &Context, warp: &Warp) -> Outcome {
    let op_at = |group: &Group| &context.kernel.program[group.pc as usize].op;
    let exited = warp.exited();
    if exited == 0
        || !context.sanitizers.synccheck
        || !warp.groups.iter().any(|group| is_aligned(op_at(group)))
    {
        return Ok(());
    }
    warp_fault(FaultKind::BarrierMissed { exited })
}

/// Reads the operands of the barrier that all live lanes of `warp` stand at.
fn read_arrival(kernel: &Kernel, warp: &Warp) -> Outcome<Arrival> {
    let mut arrival: Option<Arrival> = None;
    for group in &warp.groups {
        let (id, count, waits, predicate) = match kernel.program[group.pc as usize].op {
            Op::Barrier {
                arrive, id, count, ..
            } => (id, count, !arrive, None),
            Op::BarrierPopc { a, id, count, .. } => (id, count, true, Some(a)),
            Op::BarrierLogic { a, id, count, .. } => (id, count, true, Some(a)),
            _ => continue,
        };
        let id = agreed(warp, group.lanes, id, "barrier number")?;
        let count = match count {
            Some(count) => Some(agreed(warp, group.lanes, count, "barrier thread count")?),
            None => None,
        };
        let truths = predicate.map(|p: Pred| {
            let bits = warp.regs.get_pred(p) & group.lanes;
            Truths {
                popc: bits.count_ones(),
                all: bits == group.lanes,
            }
        });
        arrival = Some(match arrival {
            None => Arrival {
                id,
                count,
                waits,
                reduction: truths,
            },
            Some(other) if (other.id, other.count, other.waits) == (id, count, waits) => Arrival {
                reduction: both(other.reduction, truths),
                ..other
            },
            Some(_) => {
                return warp_fault(FaultKind::NonUniformOperand { operand: "barrier" });
            }
        });
    }
    arrival.map_or_else(
        || warp_fault(FaultKind::NonUniformOperand { operand: "barrier" }),
        Ok,
    )
}

fn both(x: Option<Truths>, y: Option<Truths>) -> Option<Truths> {
    match (x, y) {
        (Some(x), Some(y)) => Some(Truths {
            popc: x.popc + y.popc,
            all: x.all && y.all,
        }),
        (x, y) => x.or(y),
    }
}

/// The value that all of `lanes` hold.
fn agreed(warp: &Warp, lanes: u32, register: R32, operand: &'static str) -> Outcome<u32> {
    let values = warp.regs.get32(register);
    let first = values[lanes.trailing_zeros() as usize & (LANES - 1)];
    if lanes_of(lanes).any(|lane| values[lane] != first) {
        return warp_fault(FaultKind::NonUniformOperand { operand });
    }
    Ok(first)
}

/// Stores the result of a reduction for each lane of a waiting warp.
fn deliver(kernel: &Kernel, warp: &mut Warp, barrier: &Barrier) {
    for index in 0..warp.groups.len() {
        let group = warp.groups[index];
        let mask = Mask {
            lanes: group.lanes,
            whole: false,
        };
        match kernel.program[group.pc as usize].op {
            Op::BarrierPopc { d, .. } => warp.regs.set32(mask, d, &[barrier.popc; LANES]),
            Op::BarrierLogic { or, d, .. } => {
                let holds = if or { barrier.popc > 0 } else { barrier.all };
                warp.regs
                    .set_pred(mask, d, if holds { u32::MAX } else { 0 });
            }
            _ => {}
        }
    }
}
