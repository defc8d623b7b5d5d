//! The rules that a kernel can break.

use super::{Conflict, Origin, Use};

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
    /// An access to memory that has been freed.
    #[error("{bytes}-byte access to global address {address:#x}, which has been freed")]
    Freed {
        /// First byte.
        address: u64,
        /// Bytes of the access.
        bytes: u32,
    },
    /// A value that nobody has written arrives where it matters.
    #[error("{used} depends on {origin}")]
    Uninitialised {
        /// Where the value comes from.
        origin: Origin,
        /// Where it arrived.
        used: Use,
    },
    /// Two accesses of which one writes, and nothing orders them.
    #[error("{0}")]
    Race(Box<Conflict>),
    /// Memory is written in a launch that reads it through the non-coherent path.
    #[error("{0}")]
    NonCoherentWrite(Box<Conflict>),
    /// The source of an asynchronous copy changed between issue and wait.
    #[error(
        "global address {address:#x}, the source of a cp.async, changed before the copy was waited for"
    )]
    CopySourceModified {
        /// First byte of the source.
        address: u64,
    },
    /// A thread ends while asynchronous copies of it have not been waited for.
    #[error("the thread exits with {copies} cp.async copies that it has not waited for")]
    CopiesPending {
        /// Their number.
        copies: u32,
    },
    /// Lanes of a warp have exited without the barrier that the others arrive at.
    #[error("lanes {exited:#010x} of the warp have exited without reaching the barrier")]
    BarrierMissed {
        /// The lanes.
        exited: u32,
    },
    /// `bar.warp.sync` waits for lanes that have exited.
    #[error("the member mask {mask:#010x} names lanes {exited:#010x}, which have exited")]
    MaskNamesExited {
        /// The mask.
        mask: u32,
        /// The lanes.
        exited: u32,
    },
    /// The launch used up [`Options::instruction_limit`](crate::Options).
    #[error("a block has executed {limit} warp instructions without ending: {waiting}")]
    InstructionLimit {
        /// The limit.
        limit: u64,
        /// Where its warps stand.
        waiting: String,
    },
}
