//! One block: its warps run in turn until all have exited.

use crate::fault::{FaultKind, Trouble};

use super::chance::{Chance, Schedule};
use super::context::Context;
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
        }
    }

    /// Runs the block at `place` from its first instruction to the exit of its last thread.
    pub fn run(
        &mut self,
        place: &Place,
        globals: &[u64],
        schedule: Schedule,
    ) -> Result<(), WarpTrouble> {
        let [x, y, z] = place.block_index.map(u64::from);
        let [nx, ny, _] = place.grid.map(u64::from);
        let number = x + nx * (y + ny * z);
        self.context.chance = Chance::new(schedule, number);
        self.context.shared.reset();
        self.barriers.reset();
        for warp in &mut self.warps {
            warp.start(
                self.context.kernel,
                &Place {
                    warp: warp.index,
                    ..*place
                },
                globals,
            );
        }
        if let Some(mut observers) = self.context.observers.take() {
            observers.block_start(number);
            self.context.observers = Some(observers);
        }
        self.run_warps()
    }

    fn run_warps(&mut self) -> Result<(), WarpTrouble> {
        let mut live = u32::MAX >> (32 - self.warps.len());
        let mut ready = live;
        let mut last = 31;
        while live != 0 {
            if ready == 0 {
                return Err(self.deadlock(live));
            }
            last = self.context.chance.next_warp(ready, last);
            let index = last as usize;
            let turn = self.context.chance.turn();
            let located = |trouble| WarpTrouble {
                warp: last,
                trouble,
            };
            let stop = self
                .processor
                .run(&mut self.warps[index], &mut self.context, turn);
            match stop.map_err(located)? {
                Stop::Turn => {}
                Stop::Barrier => {
                    ready &= !(1 << last);
                    let arrived =
                        self.barriers
                            .arrive(&mut self.context, &mut self.warps, index, live);
                    ready |= arrived.map_err(located)?;
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

    fn deadlock(&self, live: u32) -> WarpTrouble {
        let warp = live.trailing_zeros();
        let waiting = self.barriers.describe(live);
        let pc = self.warps[warp as usize]
            .groups
            .first()
            .map_or(0, |group| group.pc);
        let kind = FaultKind::Deadlock { waiting };
        WarpTrouble {
            warp,
            trouble: Box::new(Trouble {
                kind,
                lane: None,
                pc,
            }),
        }
    }
}
