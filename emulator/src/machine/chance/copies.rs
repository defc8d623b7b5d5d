//! When bulk copies move, and how waits for mbarriers end.

use super::Chance;
use crate::machine::plan::CopyTiming;

/// When a bulk copy moves its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyMoment {
    /// When somebody waits for it.
    Awaited,
    /// When it is issued.
    AtOnce,
    /// Piece by piece in between, in any order.
    InPieces,
}

impl Chance {
    /// When a bulk copy, which is being issued, moves.
    pub fn bulk_moment(&mut self) -> CopyMoment {
        match self.plan.copies {
            CopyTiming::AtWait => CopyMoment::Awaited,
            CopyTiming::AtIssue => CopyMoment::AtOnce,
            CopyTiming::DrawnPerInstruction => self.generator.pick([
                CopyMoment::Awaited,
                CopyMoment::AtOnce,
                CopyMoment::InPieces,
            ]),
            CopyTiming::DrawnPerLane => CopyMoment::InPieces,
        }
    }

    /// Whether a piece of a bulk copy moves between the turns of two warps.
    pub fn copies_drift(&mut self) -> bool {
        match self.plan.copies {
            CopyTiming::AtWait | CopyTiming::AtIssue => false,
            CopyTiming::DrawnPerInstruction | CopyTiming::DrawnPerLane => {
                self.generator.below(4) == 0
            }
        }
    }

    /// Whether a wait for an mbarrier returns without success: before the phase is complete, or, when it does not
    /// sleep, although it is.
    pub fn wait_fails(&mut self) -> bool {
        match self.plan.copies {
            CopyTiming::AtWait | CopyTiming::AtIssue => false,
            CopyTiming::DrawnPerInstruction | CopyTiming::DrawnPerLane => {
                self.generator.below(4) == 0
            }
        }
    }

    /// How often an mbarrier is looked at in vain before the copy that it waits for moves.
    pub fn wait_patience(&mut self) -> u32 {
        match self.plan.copies {
            CopyTiming::AtWait | CopyTiming::AtIssue => 4,
            _ => 1 + self.generator.below(8) as u32,
        }
    }

    /// One of some copies: the oldest, or a drawn one.
    pub fn one_of(&mut self, copies: &[usize]) -> Option<usize> {
        match self.plan.copies {
            _ if copies.is_empty() => None,
            CopyTiming::AtWait | CopyTiming::AtIssue => copies.first().copied(),
            _ => {
                let nth = self.generator.below(copies.len() as u64);
                copies.get(nth as usize).copied()
            }
        }
    }

    /// A number from 1 to `most`, or 0 when that is 0.
    pub fn up_to(&mut self, most: usize) -> usize {
        match most {
            0 => 0,
            _ => 1 + self.generator.below(most as u64) as usize,
        }
    }

    /// Brings `items` into a drawn order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.generator.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}
