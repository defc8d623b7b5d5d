//! The mbarrier object (PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier"): its state and
//! what each operation does to it.
//!
//! A phase is complete when all arrivals and all transaction bytes that it expects have come; the next one begins
//! in the same step. The 8 bytes in shared memory are opaque, so the state is kept beside them.

use crate::fault::MbarrierRule;

/// Largest count of arrivals, and of transaction bytes outstanding in either direction (PTX ISA, "Contents of the
/// mbarrier object").
pub(crate) const MAX_COUNT: u32 = (1 << 20) - 1;

/// Bytes of an mbarrier, and its alignment.
pub(crate) const MBARRIER_BYTES: u32 = 8;

/// Bits of a state token that hold pending arrivals; the phase stands above them.
const PENDING_BITS: u32 = 20;

/// One mbarrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mbarrier {
    /// Phases that are complete.
    pub phase: u64,
    /// Arrivals that a phase expects.
    pub expected: u32,
    /// Those of the running phase that have not come.
    pub pending: u32,
    /// Transaction bytes of the running phase that were announced and have not come; negative when they come first.
    pub tx: i64,
}

/// What an arrival does beyond counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arriving {
    /// Arrivals it stands for.
    pub count: u32,
    /// `.arrive_drop`: later phases expect as many fewer.
    pub drops: bool,
    /// `.noComplete`: it must not complete the phase.
    pub no_complete: bool,
    /// `.expect_tx`: bytes announced in the same step.
    pub expect: u32,
}

impl Arriving {
    /// A single arrival.
    pub const ONE: Arriving = Arriving {
        count: 1,
        drops: false,
        no_complete: false,
        expect: 0,
    };
}

impl Mbarrier {
    /// `mbarrier.init`.
    pub fn new(count: u32) -> Result<Self, MbarrierRule> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(MbarrierRule::InitCount { count });
        }
        Ok(Self {
            phase: 0,
            expected: count,
            pending: count,
            tx: 0,
        })
    }

    /// `mbarrier.expect_tx`.
    pub fn expect(&mut self, bytes: u32) -> Result<(), MbarrierRule> {
        self.tx += i64::from(bytes);
        self.check_transactions()
    }

    /// `mbarrier.complete_tx`, and the end of a copy. True when it completes the phase.
    pub fn complete(&mut self, bytes: u32) -> Result<bool, MbarrierRule> {
        self.tx -= i64::from(bytes);
        self.check_transactions()?;
        Ok(self.turn())
    }

    fn check_transactions(&self) -> Result<(), MbarrierRule> {
        if self.tx.unsigned_abs() > u64::from(MAX_COUNT) {
            return Err(MbarrierRule::Transactions { bytes: self.tx });
        }
        Ok(())
    }

    /// `mbarrier.arrive` and its kin: the state before, and whether the phase is complete.
    pub fn arrive(&mut self, arriving: Arriving) -> Result<(u64, bool), MbarrierRule> {
        let Arriving { count, drops, .. } = arriving;
        let pending = self.pending;
        if count == 0 || count > pending {
            return Err(MbarrierRule::OverArrival { count, pending });
        }
        if arriving.no_complete && count == pending && self.tx == 0 {
            return Err(MbarrierRule::Completes { count });
        }
        self.expect(arriving.expect)?;
        let state = self.state();
        if drops {
            self.expected -= count;
        }
        self.pending -= count;
        Ok((state, self.turn()))
    }

    /// One more arrival is awaited in the running phase: `cp.async.mbarrier.arrive` without `.noinc`.
    pub fn await_one_more(&mut self) -> Result<(), MbarrierRule> {
        if self.pending == MAX_COUNT {
            return Err(MbarrierRule::InitCount {
                count: self.pending + 1,
            });
        }
        self.pending += 1;
        Ok(())
    }

    /// Begins the next phase when everything has come.
    fn turn(&mut self) -> bool {
        let complete = self.pending == 0 && self.tx == 0;
        if complete {
            self.phase += 1;
            self.pending = self.expected;
        }
        complete
    }

    /// The token that stands for the running phase.
    pub fn state(&self) -> u64 {
        self.phase << PENDING_BITS | u64::from(self.pending)
    }

    /// Whether the phase of a token is complete. A token names the running phase or the one before.
    pub fn is_past(&self, state: u64) -> Result<bool, MbarrierRule> {
        match self.phase.checked_sub(phase_of(state)) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(MbarrierRule::StaleState {
                phase: phase_of(state),
                running: self.phase,
            }),
        }
    }

    /// Whether the running phase has the other parity: the phase before, of parity `parity`, is complete. A fresh
    /// barrier has one of parity 1 behind it.
    pub fn is_past_parity(&self, parity: u32) -> bool {
        self.phase & 1 != u64::from(parity & 1)
    }
}

/// The phase of a token.
pub(crate) fn phase_of(state: u64) -> u64 {
    state >> PENDING_BITS
}

/// `mbarrier.pending_count`.
pub(crate) fn pending_count(state: u64) -> u32 {
    (state & ((1 << PENDING_BITS) - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Arriving = Arriving::ONE;

    #[test]
    fn a_phase_waits_for_arrivals_and_for_bytes() {
        let mut barrier = Mbarrier::new(2).unwrap();
        assert!(barrier.is_past_parity(1) && !barrier.is_past_parity(0));
        let expecting = Arriving {
            expect: 8192,
            ..ONE
        };
        let (first, complete) = barrier.arrive(expecting).unwrap();
        assert!(!complete);
        assert_eq!((barrier.tx, barrier.pending), (8192, 1));
        assert!(!barrier.complete(4096).unwrap());
        assert!(!barrier.arrive(ONE).unwrap().1);
        assert_eq!((barrier.phase, barrier.pending, barrier.tx), (0, 0, 4096));
        assert_eq!(barrier.is_past(first), Ok(false));
        assert!(barrier.complete(4096).unwrap());
        assert_eq!((barrier.phase, barrier.pending, barrier.tx), (1, 2, 0));
        assert!(barrier.is_past_parity(0) && !barrier.is_past_parity(1));
        assert_eq!(barrier.is_past(first), Ok(true));
        let (second, _) = barrier.arrive(ONE).unwrap();
        assert_eq!(barrier.is_past(second), Ok(false));
    }

    #[test]
    fn bytes_may_come_before_they_are_announced() {
        let mut barrier = Mbarrier::new(1).unwrap();
        assert!(!barrier.complete(16).unwrap());
        assert_eq!(barrier.tx, -16);
        let (_, complete) = barrier.arrive(Arriving { expect: 16, ..ONE }).unwrap();
        assert!(complete);
    }

    #[test]
    fn dropping_lowers_what_later_phases_expect() {
        let mut barrier = Mbarrier::new(3).unwrap();
        let two = Arriving {
            count: 2,
            drops: true,
            ..ONE
        };
        assert!(!barrier.arrive(two).unwrap().1);
        assert!(barrier.arrive(ONE).unwrap().1);
        assert_eq!((barrier.expected, barrier.pending), (1, 1));
        assert!(barrier.arrive(ONE).unwrap().1);
    }

    #[test]
    fn what_the_isa_leaves_undefined_is_refused() {
        assert!(Mbarrier::new(0).is_err() && Mbarrier::new(1 << 20).is_err());
        let mut barrier = Mbarrier::new(1).unwrap();
        let refused = |result: Result<_, MbarrierRule>| result.is_err();
        assert!(refused(barrier.arrive(Arriving { count: 2, ..ONE })));
        let quiet = Arriving {
            no_complete: true,
            ..ONE
        };
        assert!(refused(barrier.arrive(quiet)));
        let (old, _) = barrier.arrive(ONE).unwrap();
        barrier.arrive(ONE).unwrap();
        assert!(barrier.is_past(old).is_err());
        assert!(barrier.expect(MAX_COUNT).is_ok() && barrier.expect(1).is_err());
    }

    #[test]
    fn a_token_tells_the_arrivals_that_were_pending() {
        let mut barrier = Mbarrier::new(5).unwrap();
        let (before, _) = barrier.arrive(ONE).unwrap();
        let (after, _) = barrier.arrive(ONE).unwrap();
        assert_eq!((pending_count(before), pending_count(after)), (5, 4));
    }
}
