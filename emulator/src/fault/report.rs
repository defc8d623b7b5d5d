//! Which sanitizer found a fault, the way out, and the text that people read.

use std::fmt;

use super::{Fault, FaultKind, Origin};

/// The sanitizers, named as NVIDIA's compute-sanitizer names its tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sanitizer {
    /// Bounds, alignment, state spaces, read-only memory.
    Memcheck,
    /// Values that nobody has written.
    Initcheck,
    /// Conflicting accesses that nothing orders.
    Racecheck,
    /// Barriers, warps, asynchronous groups.
    Synccheck,
}

impl fmt::Display for Sanitizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sanitizer::Memcheck => "memcheck",
            Sanitizer::Initcheck => "initcheck",
            Sanitizer::Racecheck => "racecheck",
            Sanitizer::Synccheck => "synccheck",
        })
    }
}

impl FaultKind {
    /// The sanitizer that reports it; `None` for what is no sanitizer's business: a refused launch,
    /// a trap, a division by zero.
    pub fn sanitizer(&self) -> Option<Sanitizer> {
        use FaultKind as F;
        Some(match self {
            F::OutOfBounds { .. }
            | F::Misaligned { .. }
            | F::WrongSpace { .. }
            | F::ReadOnly { .. }
            | F::Freed { .. }
            | F::CopySize { .. } => Sanitizer::Memcheck,
            F::Uninitialised {
                origin: Origin::Shuffle { .. },
                ..
            } => Sanitizer::Synccheck,
            F::Uninitialised { .. } => Sanitizer::Initcheck,
            F::Race(_)
            | F::NonCoherentWrite(_)
            | F::AsyncReadEarly { .. }
            | F::AsyncOverlap { .. }
            | F::CopySourceModified { .. } => Sanitizer::Racecheck,
            F::NonUniformBranch
            | F::NonUniformOperand { .. }
            | F::AlignedDivergent { .. }
            | F::MissingLanes { .. }
            | F::MaskWithoutSelf { .. }
            | F::MaskNamesExited { .. }
            | F::WarpDeadlock { .. }
            | F::Deadlock { .. }
            | F::BarrierId { .. }
            | F::BarrierCount { .. }
            | F::BarrierMismatch { .. }
            | F::BarrierMixed { .. }
            | F::BarrierTwice { .. }
            | F::BarrierMissed { .. }
            | F::CopiesPending { .. }
            | F::InstructionLimit { .. } => Sanitizer::Synccheck,
            F::Launch(_) | F::DivisionByZero | F::NotExecuted | F::Trap | F::BranchRange { .. } => {
                return None;
            }
        })
    }
}

impl Fault {
    /// The fault over several lines: rule, places, way out.
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }
}

/// A [`Fault`] as several lines of text.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a>(&'a Fault);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.0;
        match fault.kind.sanitizer() {
            Some(sanitizer) => write!(f, "{sanitizer}: ")?,
            None => write!(f, "fault: ")?,
        }
        writeln!(f, "{}", fault.kind)
    }
}
