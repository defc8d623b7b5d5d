//! One block: its warps run in turn until all have exited.

use crate::fault::{AccessKind, FaultKind, Party, Standing, Trouble, WarpStanding};

use super::chance::Chance;
use super::context::Context;
use super::launch::Options;
use super::step::{Processor, Stop};
use super::sync::Barriers;
use super::warp::{Place, Warp};

/// A fault and the warp that committed it.
pub(crate) struct WarpTrouble {
    pub warp: u32,
    pub trouble: Box<Trouble>,
}

/// Memory and registers for one block at a time, used again for the next.
pub(crate) struct Block<'a> {
    pub context: Context<'a>,
    warps: Vec<Warp>,
    barriers: Barriers,
    processor: Processor,
    block_index: [u32; 3],
}

impl<'a> Block<'a> {
    pub fn new(context: Context<'a>, num_warps: u32, processor: Processor) -> Self {
        let warps = (0..num_warps)
            .map(|index| Warp::new(context.kernel, index))
            .collect();
        Self {
            context,
            warps,
            barriers: Barriers::new(num_warps),
            processor,
            block_index: [0; 3],
        }
    }

    /// Runs the block at `place` from its first instruction to the exit of its last thread.
    pub fn run(
        &mut self,
        place: &Place,
        globals: &[u64],
        options: &Options,
    ) -> Result<(), WarpTrouble> {
        let [x, y, z] = place.block_index.map(u64::from);
        let [nx, ny, _] = place.grid.map(u64::from);
        let number = x + nx * (y + ny * z);
        self.context.chance = Chance::new(options.schedule, number, place.num_warps);
        let plan = self.context.chance.plan;
        self.context.shared.reset(plan.fill);
        self.context.warpgroups.reset();
        self.barriers.reset();
        self.block_index = place.block_index;
        for warp in &mut self.warps {
            warp.start(
                self.context.kernel,
                &Place {
                    warp: warp.index,
                    ..*place
                },
                &plan,
                globals,
            );
        }
        if let Some(mut observers) = self.context.observers.take() {
            observers.block_start(number);
            self.context.observers = Some(observers);
        }
        self.run_warps(options.instruction_limit)
    }

    fn run_warps(&mut self, limit: Option<u64>) -> Result<(), WarpTrouble> {
        let end = limit.map_or(u64::MAX, |limit| {
            self.context.warp_instructions.saturating_add(limit)
        });
        let mut live = u32::MAX >> (32 - self.warps.len());
        let mut ready = live;
        let mut last = 31;
        while live != 0 {
            if ready == 0 {
                return Err(self.deadlock(live));
            }
            let left = end - self.context.warp_instructions;
            if let Some(limit) = limit.filter(|_| left == 0) {
                return Err(self.endless(live, limit));
            }
            last = self.context.chance.next_warp(ready, last);
            let index = last as usize;
            let turn = self.context.chance.turn();
            let start = self.context.warp_instructions;
            self.context.turn_end = start.saturating_add(left.min(turn.into()));
            let stop = self
                .processor
                .run(&mut self.warps[index], &mut self.context)
                .map_err(|trouble| self.located(last, trouble))?;
            let instructions = self.context.warp_instructions - start;
            self.context.chance.ran(last, instructions);
            match stop {
                Stop::Turn => self.end_turn(index, turn, instructions),
                Stop::Barrier => {
                    ready &= !(1 << last);
                    let arrived =
                        self.barriers
                            .arrive(&mut self.context, &mut self.warps, index, live);
                    ready |= arrived.map_err(|trouble| self.located(last, trouble))?;
                }
                Stop::Exited => {
                    live &= !(1 << last);
                    ready &= live;
                    ready |= self
                        .barriers
                        .after_exit(&mut self.context, &mut self.warps, live);
                }
            }
        }
        Ok(())
    }

    /// A fault of `warp`, with the copy that an access came too early for.
    fn located(&self, warp: u32, mut trouble: Box<Trouble>) -> WarpTrouble {
        if let FaultKind::AsyncReadEarly { address, copy }
        | FaultKind::AsyncOverlap { address, copy } = &mut trouble.kind
        {
            *copy = self.copy_to(*address).map(Box::new);
        }
        WarpTrouble { warp, trouble }
    }

    /// The copy in flight to a byte of shared memory.
    fn copy_to(&self, address: u64) -> Option<Party> {
        self.warps.iter().find_map(|warp| {
            let (lane, pc) = warp.copies.writing_to(address)?;
            let (line, source) = self.context.kernel.place(pc);
            Some(Party {
                access: AccessKind::CopyWrite,
                block: self.block_index,
                warp: warp.index,
                lane: lane.into(),
                line,
                source,
            })
        })
    }

    /// Decides which of the warp's lanes run first in its next turn, when it has used up this one.
    fn end_turn(&mut self, index: usize, turn: u32, instructions: u64) {
        if instructions >= u64::from(turn) {
            let warp = &mut self.warps[index];
            warp.favour_last = self.context.chance.highest_first(turn, warp.favour_last);
        }
    }

    fn endless(&self, live: u32, limit: u64) -> WarpTrouble {
        let standing = Box::new(self.standing(live));
        self.blocks_trouble(live, FaultKind::InstructionLimit { limit, standing })
    }

    fn deadlock(&self, live: u32) -> WarpTrouble {
        let standing = Box::new(self.standing(live));
        self.blocks_trouble(live, FaultKind::Deadlock { standing })
    }

    /// The fault of a block that does not end, at the first warp that has not.
    fn blocks_trouble(&self, live: u32, kind: FaultKind) -> WarpTrouble {
        let warp = live.trailing_zeros();
        let group = self.warps[warp as usize].groups.first();
        WarpTrouble {
            warp,
            trouble: Box::new(Trouble {
                kind,
                lane: None,
                pc: group.map_or(0, |group| group.pc),
            }),
        }
    }

    fn standing(&self, live: u32) -> Standing {
        let warps = self.warps.iter().map(|warp| WarpStanding {
            warp: warp.index,
            barrier: self.barriers.waited_for_by(warp.index),
            places: warp.places(self.context.kernel),
        });
        Standing {
            warps: warps.collect(),
            barriers: self.barriers.standing(live),
        }
    }
}
