//! Faults: what a kernel did wrong, and where.

use crate::ir::Space;

/// A kernel broke a rule of the ISA, or could not be launched. The launch stopped there; the
/// contents of device memory are those at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The broken rule, with the address where there is one.
    pub kind: FaultKind,
    /// Entry name.
    pub entry: String,
    /// One-based PTX line; 0 when the launch itself was refused.
    pub line: u32,
    /// Source file and one-based line, when the text carries `.loc` directives: of nested calls that the compiler
    /// inlined, the innermost one outside of Rust's `core/`.
    pub source: Option<(String, u32)>,
    /// Block index (`%ctaid`).
    pub block: [u32; 3],
    /// Warp inside the block.
    pub warp: u32,
    /// The first lane concerned, when the fault is not one of the whole warp.
    pub lane: Option<u32>,
}

impl std::error::Error for Fault {}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let FaultKind::Launch(_) = self.kind {
            return write!(f, "cannot launch {}: {}", self.entry, self.kind);
        }
        let [x, y, z] = self.block;
        write!(f, "{}, PTX line {}", self.entry, self.line)?;
        if let Some((file, line)) = &self.source {
            write!(f, " ({file}:{line})")?;
        }
        write!(f, ", block ({x}, {y}, {z}), warp {}", self.warp)?;
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

/// The rule that a [`Fault`] reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The launch configuration does not fit the kernel or the ISA.
    #[error("{0}")]
    Launch(String),
    /// An access outside every live allocation, or past the end of its space.
    #[error("{bytes}-byte access to {space} address {address:#x} is out of bounds")]
    OutOfBounds {
        /// Space of the access.
        space: &'static str,
        /// First byte.
        address: u64,
        /// Bytes of the access.
        bytes: u32,
    },
    /// An address that is not a multiple of the access size.
    #[error(
        "{space} address {address:#x} is not a multiple of {alignment}, the size of the access"
    )]
    Misaligned {
        /// Space of the access.
        space: &'static str,
        /// The address.
        address: u64,
        /// Required alignment in bytes.
        alignment: u32,
    },
    /// An address of one space used in another.
    #[error("address {address:#x} is not in {expected} space; is a cvta missing or wrong?")]
    WrongSpace {
        /// The space the instruction names.
        expected: &'static str,
        /// The address.
        address: u64,
    },
    /// A write to constant or parameter space.
    #[error("write to {space} address {address:#x}, which is read-only")]
    ReadOnly {
        /// The space.
        space: &'static str,
        /// The address.
        address: u64,
    },
    /// Integer division or remainder by zero, which the ISA leaves unspecified.
    #[error("integer division by zero")]
    DivisionByZero,
    /// A decoded operation that the machine has no code for.
    #[error("the emulator decodes this instruction but does not execute it; please report it")]
    NotExecuted,
    /// `trap`.
    #[error("the kernel executed trap (a Rust panic ends in one)")]
    Trap,
    /// `brx.idx` past the end of its table.
    #[error("brx.idx index {index} is outside its table of {len} targets")]
    BranchRange {
        /// The index.
        index: u32,
        /// Number of targets.
        len: u32,
    },
    /// A `.uni` branch on which the active lanes disagree.
    #[error("lanes disagree on a branch that is marked .uni")]
    NonUniformBranch,
    /// Lanes give different values to an operand that a warp must agree on.
    #[error("lanes of the warp give different values for the {operand}")]
    NonUniformOperand {
        /// The operand.
        operand: &'static str,
    },
    /// An aligned instruction was reached by part of the warp while other lanes wait elsewhere.
    #[error(
        "an aligned instruction needs the whole warp, but its lanes wait at PTX lines {lines:?}"
    )]
    AlignedDivergent {
        /// PTX lines at which lanes wait.
        lines: Vec<u32>,
    },
    /// A matrix instruction in a warp with missing or exited lanes.
    #[error("a matrix instruction needs all 32 lanes, but only lanes {live:#010x} are alive")]
    MissingLanes {
        /// Live lanes.
        live: u32,
    },
    /// A lane executes a warp-wide instruction whose member mask omits it.
    #[error("the lane is not in its own member mask {mask:#010x}")]
    MaskWithoutSelf {
        /// The mask.
        mask: u32,
    },
    /// The lanes of one warp wait for each other.
    #[error("the lanes of the warp wait for each other at PTX lines {lines:?}")]
    WarpDeadlock {
        /// PTX lines at which lanes wait.
        lines: Vec<u32>,
    },
    /// The warps of a block wait for arrivals that cannot come.
    #[error("deadlock: {waiting}")]
    Deadlock {
        /// Who waits for what.
        waiting: String,
    },
    /// Barrier number past 15.
    #[error("barrier {id} does not exist; a block has barriers 0 to 15")]
    BarrierId {
        /// The number.
        id: u32,
    },
    /// A thread count that a barrier cannot have.
    #[error(
        "barrier thread count {count} is not a multiple of 32 between 32 and {max}, the block's size in whole warps"
    )]
    BarrierCount {
        /// The count.
        count: u32,
        /// Threads of the block, rounded up to whole warps.
        max: u32,
    },
    /// Warps arrive at one barrier with different counts.
    #[error("barrier {id} is awaited for {expected} threads and for {found}")]
    BarrierMismatch {
        /// The barrier.
        id: u32,
        /// Count of the earlier arrivals.
        expected: u32,
        /// Count of this one.
        found: u32,
    },
    /// One round of a barrier mixes reductions with other arrivals.
    #[error("barrier {id} mixes bar.red with another operation in one round")]
    BarrierMixed {
        /// The barrier.
        id: u32,
    },
    /// A warp arrives twice in one round.
    #[error("the warp arrives at barrier {id} a second time before it is complete")]
    BarrierTwice {
        /// The barrier.
        id: u32,
    },
    /// An access to the destination of an asynchronous copy that has not been waited for.
    #[error(
        "shared address {address:#x} is the destination of a cp.async that its thread has not waited for"
    )]
    AsyncReadEarly {
        /// Shared offset.
        address: u64,
    },
    /// Two unfinished asynchronous copies write the same bytes.
    #[error("two unfinished cp.async copies write shared address {address:#x}")]
    AsyncOverlap {
        /// Shared offset.
        address: u64,
    },
    /// `cp.async` with more source bytes than its size.
    #[error("cp.async of {size} bytes has a source size of {source_bytes}")]
    CopySize {
        /// Source bytes asked for.
        source_bytes: u32,
        /// Bytes of the copy.
        size: u32,
    },
}

/// A fault before the machine adds where it happened.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The rule.
    pub kind: FaultKind,
    /// First lane concerned.
    pub lane: Option<u32>,
    /// Program counter, once known.
    pub pc: u32,
}

/// Result of executing something: a fault is rare and boxed, so that success costs one register.
pub(crate) type Outcome<T = ()> = Result<T, Box<Trouble>>;

/// A fault of one lane.
#[cold]
pub(crate) fn lane_fault<T>(lane: u32, kind: FaultKind) -> Outcome<T> {
    Err(Box::new(Trouble {
        kind,
        lane: Some(lane),
        pc: 0,
    }))
}

/// A fault of the whole warp.
#[cold]
pub(crate) fn warp_fault<T>(kind: FaultKind) -> Outcome<T> {
    Err(Box::new(Trouble {
        kind,
        lane: None,
        pc: 0,
    }))
}

/// The name of a space in messages.
pub(crate) fn space_name(space: Space) -> &'static str {
    match space {
        Space::Global => "global",
        Space::Shared => "shared",
        Space::Local => "local",
        Space::Const => "const",
        Space::Param => "param",
        Space::Generic => "generic",
    }
}
