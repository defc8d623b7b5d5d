//! What a main loop costs a multiprocessor of sm_90, predicted from its machine code and its tile.
//!
//! ```text
//! demand      what one trip asks of each part, from its instructions
//! attention   what the tile of an attention kernel asks for at least, from its shape
//! flash3      FlashAttention-3's loops, to compare with
//! ```
//! Each part of the multiprocessor is busy for some cycles with a step of all its warps; no schedule gets below the
//! largest of them, the floor. What a step takes beyond it depends on how the warpgroups take turns:
//! [`Trip::predicted`] has a formula for each way.
//!
//! These are predictions, not times. They know nothing of clocks, caches, device memory, the first and last steps of a
//! tile, or of results that instructions wait for longer than the compiler planned; the cost of a hand-over is a guess.
//! They tell which part binds, and rank variants.

mod attention;
mod demand;
mod flash3;

pub use attention::{Pass, Product, Tile};
pub use demand::Demand;
pub use flash3::{FLASH3, Reference};

/// Bytes that shared memory gives or takes per cycle, to whomever.
const SHARED_BYTES_PER_CYCLE: f64 = 128.0;
/// Stall cycles that go with the issue of a product: they pass while the tensor cores already work on it.
const ISSUE_OF_PRODUCT: u32 = 12;
/// Cycles from the end of one warpgroup's turn at the tensor cores to the beginning of the next one's: the named barrier,
/// filling the pipeline, coming back from the wait. A guess until it is measured.
const HAND_OVER: f64 = 100.0;

/// The main loop of a block that has a multiprocessor to itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// What one trip of one warp and its warpgroup asks for.
    pub demand: Demand,
    /// Steps of the algorithm in one trip.
    pub steps: u32,
    /// What a step works on.
    pub tile: Tile,
}

/// How warpgroups share the tensor cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Forward: one multiplies while the others exponentiate. A warpgroup waits for each of its products.
    PingPong,
    /// Forward: each has the next scores computed and the last ones multiplied with V while it exponentiates.
    Overlap,
    /// Backward: all are at the same place, because a barrier of all is in each step.
    Lockstep,
}

/// Cycles for which each part of the multiprocessor is busy with one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycles {
    /// Tensor cores.
    pub tensor: f64,
    /// Special functions.
    pub mufu: f64,
    /// Floating-point multiply and add.
    pub fma: f64,
    /// Maximum, selection, packing, integers.
    pub alu: f64,
    /// Issue of instructions.
    pub issue: f64,
    /// Shared memory: operands of products, loads, stores, copies that land.
    pub shared: f64,
}

impl Cycles {
    /// Names of the parts, in the order of [`Cycles::parts`].
    pub const PARTS: [&str; 6] = ["tensor", "mufu", "fma", "alu", "issue", "shared"];

    /// Every part.
    pub fn parts(&self) -> [f64; 6] {
        [
            self.tensor,
            self.mufu,
            self.fma,
            self.alu,
            self.issue,
            self.shared,
        ]
    }

    /// The part that is busy longest, and for how long: no schedule is faster. Of equal parts the first.
    pub fn floor(&self) -> (&'static str, f64) {
        let parts = Cycles::PARTS.into_iter().zip(self.parts());
        let longer = |most: (_, f64), part: (_, f64)| if part.1 > most.1 { part } else { most };
        parts.fold(("tensor", 0.0), longer)
    }
}

impl Trip {
    /// `None` when the products are not those of a whole number of steps of the tile.
    pub fn new(demand: Demand, tile: Tile) -> Option<Trip> {
        let step = tile.demand();
        let steps = demand.products.checked_div(step.products)?;
        let is_whole = steps > 0
            && demand.products == steps * step.products
            && demand.tensor_cycles == steps * step.tensor_cycles;
        is_whole.then_some(Trip {
            demand,
            steps,
            tile,
        })
    }

    /// A number of one trip, per step.
    fn per_step(&self, of_trip: u32) -> f64 {
        f64::from(of_trip) / f64::from(self.steps)
    }

    /// Instructions of one warp in a step.
    pub fn instructions(&self) -> f64 {
        self.per_step(self.demand.instructions)
    }

    /// Sum of the issue stalls of one warp in a step.
    pub fn stall_cycles(&self) -> f64 {
        self.per_step(self.demand.stall_cycles)
    }

    /// Bytes that shared memory gives or takes in a step.
    pub fn shared_bytes(&self) -> f64 {
        let of_warpgroup = self.demand.product_bytes + 4 * self.demand.access_bytes;
        f64::from(self.tile.warpgroups) * self.per_step(of_warpgroup)
            + f64::from(self.tile.copied_bytes())
    }

    /// How long each part is busy with a step. A warpgroup has one warp in each quarter of the multiprocessor.
    pub fn cycles(&self) -> Cycles {
        let of_all = |of_warp: u32| f64::from(self.tile.warpgroups) * self.per_step(of_warp);
        Cycles {
            tensor: of_all(self.demand.tensor_cycles),
            mufu: of_all(self.demand.mufu_cycles),
            fma: of_all(self.demand.fma_cycles),
            alu: of_all(self.demand.alu_cycles),
            issue: of_all(self.demand.instructions),
            shared: self.shared_bytes() / SHARED_BYTES_PER_CYCLE,
        }
    }

    /// Cycles in which a warp issues what is not a product: what has to hide behind products.
    pub fn latency(&self) -> f64 {
        let of_products = ISSUE_OF_PRODUCT * self.demand.products;
        self.per_step(self.demand.stall_cycles.saturating_sub(of_products))
    }

    /// Cycles of one step of all warpgroups under a schedule, hand-overs included.
    ///
    /// What must pass one after the other: the products that nothing hides and, side by side, the other instructions
    /// and the products that run meanwhile. Those are P·V, half of the forward pass, and dO·Vᵀ, a fifth of the backward
    /// pass. In lockstep the products of all warpgroups are waited for.
    pub fn predicted(&self, schedule: Schedule) -> f64 {
        let (_, floor) = self.cycles().floor();
        let own = self.per_step(self.demand.tensor_cycles);
        let (products, hidden) = match schedule {
            Schedule::PingPong => (own, 0.0),
            Schedule::Overlap => (own, own / 2.0),
            Schedule::Lockstep => {
                let of_all = f64::from(self.tile.warpgroups) * own;
                (of_all, of_all / 5.0)
            }
        };
        let chain = products - hidden + self.latency().max(hidden);
        floor.max(chain) + HAND_OVER * f64::from(self.tile.warpgroups)
    }

    /// Share of the tensor cores' peak at a prediction.
    pub fn utilization(&self, schedule: Schedule) -> f64 {
        self.cycles().tensor / self.predicted(schedule)
    }

    /// Bytes per cycle that L2 has to give and take for a prediction to hold.
    pub fn l2_bytes_per_cycle(&self, schedule: Schedule) -> f64 {
        f64::from(self.tile.l2_bytes()) / self.predicted(schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> Trip {
        let found = FLASH3.iter().find(|reference| reference.name == name);
        found.expect("a name of the table").trip()
    }

    #[test]
    fn the_floor_is_the_busiest_part() {
        // Tensor 2048, shared memory 1792; what FlashAttention-3 does about d64 without P in shared memory is level.
        let (part, floor) = reference("forward d128 128x128").cycles().floor();
        assert_eq!((part, floor), ("tensor", 2048.0));
        let (part, floor) = reference("forward d64 192x192").cycles().floor();
        assert_eq!((part, floor), ("shared", 2880.0));
        let (part, floor) = reference("backward d128 64x128").cycles().floor();
        assert_eq!((part, floor), ("shared", 2944.0));
    }

    #[test]
    fn every_warpgroup_issues_its_own_instructions() {
        assert_eq!(reference("forward d128 128x128").cycles().issue, 938.0);
        assert_eq!(reference("forward d64 192x128").cycles().issue, 1293.0);
        assert_eq!(reference("forward d64 192x192").cycles().issue, 1896.0);
    }

    #[test]
    fn what_does_not_hide_is_added_to_the_products_of_a_warpgroup() {
        // Own products take 1024 of 2048 cycles, the rest of a warp 1017 - 16 * 12: both fit under the floor.
        let hides = reference("forward d128 128x128");
        assert_eq!(hides.latency(), 825.0);
        for schedule in [Schedule::PingPong, Schedule::Overlap] {
            assert_eq!(hides.predicted(schedule), 2048.0 + 200.0);
        }
        // With a slower warp ping-pong shows it and overlap still hides it.
        let mut slow = hides;
        slow.demand.stall_cycles += 1000;
        assert_eq!(slow.predicted(Schedule::PingPong), 1024.0 + 1825.0 + 200.0);
        assert_eq!(slow.predicted(Schedule::Overlap), 512.0 + 1825.0 + 200.0);
        slow.demand.stall_cycles = 0;
        assert_eq!(slow.predicted(Schedule::Overlap), 2048.0 + 200.0);
        // Backward: four fifths of all products, then the latency or the last fifth.
        let backward = reference("backward d128 64x128");
        assert_eq!(backward.latency(), f64::from(913 - 32 * 12));
        assert_eq!(backward.predicted(Schedule::Lockstep), 2944.0 + 200.0);
        assert_eq!(backward.utilization(Schedule::Lockstep), 2560.0 / 3144.0);
    }

    #[test]
    fn a_trip_may_have_several_steps_and_never_part_of_one() {
        let one = reference("forward d128 128x128");
        let twice = |n: &mut u32| *n *= 2;
        let mut demand = one.demand;
        for field in [
            &mut demand.instructions,
            &mut demand.stall_cycles,
            &mut demand.products,
            &mut demand.tensor_cycles,
            &mut demand.product_bytes,
            &mut demand.mufu_cycles,
            &mut demand.fma_cycles,
            &mut demand.alu_cycles,
            &mut demand.access_bytes,
        ] {
            twice(field);
        }
        let two = Trip::new(demand, one.tile).unwrap();
        assert_eq!((two.steps, two.cycles()), (2, one.cycles()));
        let predicted = |trip: &Trip| trip.predicted(Schedule::PingPong);
        assert_eq!(predicted(&two), predicted(&one));
        demand.products += 1;
        assert_eq!(Trip::new(demand, one.tile), None);
        assert_eq!(Trip::new(Demand::default(), one.tile), None);
    }
}
