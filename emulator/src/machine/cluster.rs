//! One cluster: the warps of its blocks run in turn until all have exited (PTX ISA, "Cluster of
//! Cooperative Thread Arrays"). A launch without clusters has clusters of one block.

use crate::fault::{FaultKind, Outcome, Standing, Trouble};

use super::chance::Chance;
use super::cluster_barrier;
use super::context::Context;
use super::launch::Options;
use super::registers::lanes_of;
use super::step::{Processor, Stop};
use super::sync;
use super::warp::{Place, Warp};
use super::{bulk, mbarrier_wait};

/// A fault, the block and the warp that committed it.
pub(crate) struct WarpTrouble {
    pub block: [u32; 3],
    pub warp: u32,
    pub trouble: Box<Trouble>,
}

/// Memory and registers for one cluster at a time, used again for the next.
pub(crate) struct Cluster<'a> {
    pub context: Context<'a>,
    /// The warps of each block, by its rank.
    warps: Vec<Vec<Warp>>,
    processor: Processor,
}

impl<'a> Cluster<'a> {
    pub fn new(context: Context<'a>, num_warps: u32, processor: Processor) -> Self {
        let ranks = 0..context.blocks.len() as u32;
        let warps_of = |rank| {
            (0..num_warps)
                .map(|index| Warp::new(context.kernel, index, rank * num_warps + index))
                .collect()
        };
        Self {
            warps: ranks.map(warps_of).collect(),
            context,
            processor,
        }
    }

    /// Runs cluster `number` of the grid from its first instruction to the exit of its last thread.
    /// `places` has the place of each block.
    pub fn run(
        &mut self,
        number: u64,
        places: &[Place],
        globals: &[u64],
        options: &Options,
    ) -> Result<(), WarpTrouble> {
        let num_warps = places[0].num_warps;
        let context = &mut self.context;
        context.chance = Chance::new(options.schedule, number, num_warps, places.len() as u32);
        let plan = context.chance.plan;
        for ((block, place), warps) in context.blocks.iter_mut().zip(places).zip(&mut self.warps) {
            block.start(context.kernel, place, plan.fill);
            for warp in warps {
                let place = Place {
                    warp: warp.index,
                    ..*place
                };
                warp.start(context.kernel, &place, &plan, globals);
            }
        }
        context.flights.clear();
        context.woken = 0;
        if let Some(observers) = &mut context.observers {
            observers.cluster_start(number);
        }
        self.run_warps(options.instruction_limit)
    }

    fn run_warps(&mut self, limit: Option<u64>) -> Result<(), WarpTrouble> {
        loop {
            let (mut live, mut ready) = (0, 0);
            for (rank, block) in self.context.blocks.iter().enumerate() {
                live |= u32::from(block.live != 0) << rank;
                ready |= u32::from(block.ready != 0) << rank;
            }
            if live == 0 {
                return self.finish_copies();
            }
            if self.context.flights.any_moving() && self.move_copies(ready == 0)? {
                continue;
            }
            if ready == 0 {
                return Err(self.deadlock(live.trailing_zeros()));
            }
            self.context.rank = self.context.chance.next_block(ready);
            self.turn(limit)?;
        }
    }

    /// Bulk copies move, as the plan says; `idle` when no warp can run. True when that may have let one run.
    fn move_copies(&mut self, idle: bool) -> Result<bool, WarpTrouble> {
        let moved = bulk::step(&mut self.context, idle);
        self.wake();
        moved.map_err(|(issuer, trouble)| self.located(issuer.rank, issuer.warp, trouble))
    }

    /// What is under way when the last thread has exited.
    fn finish_copies(&mut self) -> Result<(), WarpTrouble> {
        let finished = bulk::finish_all(&mut self.context);
        finished.map_err(|(issuer, trouble)| self.located(issuer.rank, issuer.warp, trouble))
    }

    /// Lets lanes look again that sleep at mbarriers of blocks where one has completed a phase.
    fn wake(&mut self) {
        let ranks = std::mem::take(&mut self.context.woken);
        for rank in lanes_of(ranks) {
            let block = &mut self.context.blocks[rank];
            block.ready |= std::mem::take(&mut block.asleep);
            for warp in &mut self.warps[rank] {
                mbarrier_wait::wake(warp, self.context.kernel);
            }
        }
    }

    /// One warp of the block of the context's rank runs for a turn.
    fn turn(&mut self, limit: Option<u64>) -> Result<(), WarpTrouble> {
        let context = &mut self.context;
        let rank = context.rank;
        let block = &mut context.blocks[rank as usize];
        let left = limit.map_or(u64::MAX, |limit| limit - block.instructions);
        if let Some(limit) = limit.filter(|_| left == 0) {
            return Err(self.endless(rank, limit));
        }
        let index = context.chance.next_warp(rank, block.ready);
        block.started = true;
        let turn = context.chance.turn();
        let start = context.warp_instructions;
        context.turn_end = start.saturating_add(left.min(turn.into()));
        let warp = &mut self.warps[rank as usize][index as usize];
        let stop = self.processor.run(warp, context);
        let instructions = context.warp_instructions - start;
        context.block_mut().instructions += instructions;
        context.chance.ran(rank, index, instructions);
        let is_used_up = instructions >= u64::from(turn);
        let done = stop.and_then(|stop| self.stopped(stop, index, is_used_up.then_some(turn)));
        if self.context.woken != 0 {
            self.wake();
        }
        let block = &mut self.context.blocks[rank as usize];
        block.ready |= block.registers.served();
        done.map_err(|trouble| self.located(rank, index, trouble))
    }

    /// Warp `index` of the running block has given way; `turn` is the length of its turn, if it has used it up.
    fn stopped(&mut self, stop: Stop, index: u32, turn: Option<u32>) -> Outcome {
        let context = &mut self.context;
        let warps = &mut self.warps[context.rank as usize];
        let warp = &mut warps[index as usize];
        match stop {
            Stop::Turn => {
                if let Some(turn) = turn {
                    warp.favour_last = context.chance.highest_first(turn, warp.favour_last);
                }
                Ok(())
            }
            Stop::Barrier if cluster_barrier::is_there(context.kernel, warp) => {
                cluster_barrier::step(context, &mut self.warps, index as usize)
            }
            Stop::Barrier => sync::arrive(context, warps, index as usize),
            Stop::Asleep => {
                let block = context.block_mut();
                block.ready &= !(1 << index);
                block.asleep |= 1 << index;
                Ok(())
            }
            Stop::Starved => {
                let block = context.block_mut();
                block.ready &= !(1 << index);
                block.registers.starve(index);
                Ok(())
            }
            Stop::Exited => {
                sync::exited(context, warps, index);
                if context.block().live == 0 && context.blocks.len() > 1 {
                    let warp = &self.warps[context.rank as usize][index as usize];
                    context.observe(|observers, context| observers.block_exited(warp, context))?;
                }
                cluster_barrier::complete(context, &mut self.warps);
                Ok(())
            }
        }
    }

    /// A fault of a warp, with the copy that an access came too early for.
    fn located(&self, rank: u32, warp: u32, mut trouble: Box<Trouble>) -> WarpTrouble {
        let block = &self.context.blocks[rank as usize];
        if let FaultKind::AsyncReadEarly { address, copy }
        | FaultKind::AsyncOverlap { address, copy } = &mut trouble.kind
        {
            let warps = &self.warps[rank as usize];
            *copy = block
                .copy_to(*address, warps, self.context.kernel)
                .map(Box::new);
        }
        bulk::explain(&self.context, &mut trouble.kind);
        WarpTrouble {
            block: block.index,
            warp,
            trouble,
        }
    }

    fn endless(&self, rank: u32, limit: u64) -> WarpTrouble {
        let standing = self.standing();
        self.blocks_trouble(rank, FaultKind::InstructionLimit { limit, standing })
    }

    fn deadlock(&self, rank: u32) -> WarpTrouble {
        let standing = self.standing();
        let starved = |block: &super::block::Block| block.registers.is_awaited();
        let kind = match self.context.blocks.iter().any(starved) {
            true => FaultKind::RegisterDeadlock { standing },
            false => FaultKind::Deadlock { standing },
        };
        self.blocks_trouble(rank, kind)
    }

    /// The fault of a block that does not end, at its first warp that has not.
    fn blocks_trouble(&self, rank: u32, kind: FaultKind) -> WarpTrouble {
        let block = &self.context.blocks[rank as usize];
        let warp = block.live.trailing_zeros();
        let group = self.warps[rank as usize][warp as usize].groups.first();
        WarpTrouble {
            block: block.index,
            warp,
            trouble: Box::new(Trouble {
                kind,
                lane: None,
                pc: group.map_or(0, |group| group.pc),
            }),
        }
    }

    fn standing(&self) -> Box<Standing> {
        let kernel = self.context.kernel;
        let blocks = self.context.blocks.iter().zip(&self.warps).enumerate();
        let blocks = blocks.map(|(rank, (block, warps))| {
            let mbarriers = mbarrier_wait::standing(&self.context, rank as u32, warps);
            block.standing(warps, kernel, mbarriers)
        });
        Box::new(Standing {
            blocks: blocks.collect(),
        })
    }
}
