//! What the warps of one cluster share while they run.

use crate::fault::Outcome;
use crate::ir::Kernel;
use crate::observe::{Observers, Sanitizers};

use super::address::GlobalView;
use super::block::Block;
use super::bulk::Flights;
use super::chance::Chance;
use super::plan::Turns;

/// How `mma` and `wgmma` add up their products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MmaNumerics {
    /// Products and sums in f32, k ascending.
    #[default]
    F32,
    /// As an Ampere tensor core is understood to do it: eight products and the accumulator aligned
    /// to the largest exponent, truncated to 24 fractional bits, summed exactly, truncated to f32. For
    /// `wgmma` as a Hopper one is: all sixteen products, 25 fractional bits.
    Hardware,
}

/// Everything of a cluster but its warps.
pub(crate) struct Context<'a> {
    pub kernel: &'a Kernel,
    pub params: &'a [u8],
    pub global: GlobalView,
    /// The blocks of the cluster, by their rank.
    pub blocks: Vec<Block>,
    /// Rank of the block whose warp is running.
    pub rank: u32,
    /// Bulk copies on their way.
    pub flights: Flights,
    /// Blocks, by rank, that have an mbarrier which has completed a phase since their sleeping warps were woken.
    pub woken: u32,
    pub numerics: MmaNumerics,
    pub chance: Chance,
    /// What the machine itself checks beyond what it always does.
    pub sanitizers: Sanitizers,
    /// Warp and thread instructions executed so far.
    pub warp_instructions: u64,
    pub thread_instructions: u64,
    /// Value of `warp_instructions` at which the running warp gives way.
    pub turn_end: u64,
    /// Sanitizers and counters; none in a plain launch.
    pub observers: Option<Box<Observers>>,
}

impl Context<'_> {
    /// The block whose warp is running.
    #[inline(always)]
    pub fn block(&self) -> &Block {
        &self.blocks[self.rank as usize]
    }

    /// The block whose warp is running.
    #[inline(always)]
    pub fn block_mut(&mut self) -> &mut Block {
        &mut self.blocks[self.rank as usize]
    }

    #[inline(always)]
    pub fn turn_is_over(&self) -> bool {
        self.warp_instructions >= self.turn_end
    }

    /// The running warp has executed an instruction that orders it among others: under some plans it
    /// gives way now.
    pub fn synchronised(&mut self) {
        if self.chance.plan.turns == Turns::Synchronisation {
            self.turn_end = self.warp_instructions;
        }
    }

    /// The running warp lets others catch up, if the plan leaves its turns alone.
    pub fn gives_way(&mut self) {
        if self.chance.plan.turns == Turns::Unbroken {
            self.turn_end = self.warp_instructions;
        }
    }

    /// An mbarrier of the block of this rank has completed a phase.
    pub fn flipped(&mut self, rank: u32, offset: u32) {
        self.woken |= 1 << rank;
        if let Some(observers) = &mut self.observers {
            observers.flipped(rank, offset);
        }
    }

    /// Tells the observers something, when there are any.
    #[inline]
    pub fn observe(&mut self, tell: impl FnOnce(&mut Observers, &mut Self) -> Outcome) -> Outcome {
        let Some(mut observers) = self.observers.take() else {
            return Ok(());
        };
        let outcome = tell(&mut observers, self);
        self.observers = Some(observers);
        outcome
    }
}
