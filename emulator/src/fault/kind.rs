//! The rules that a kernel can break.

use super::extent::{Extent, missed};
use super::space_name;
use super::standing::listed;
use super::{BulkRule, Conflict, LanesAt, MbarrierRule, Origin, Party, Standing, Use};
use crate::ir::SharedModel;
use crate::machine::data_movement::space_of;

/// The rule that a [`Fault`](super::Fault) reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The launch configuration does not fit the kernel or the ISA.
    #[error("{0}")]
    Launch(String),
    /// An access outside every live allocation, or past the end of its space.
    #[error(
        "{bytes}-byte access to {space} address {address:#x} is out of bounds{}",
        missed(.space, *.address, *.bytes, .nearest.as_deref())
    )]
    OutOfBounds {
        /// Space of the access.
        space: &'static str,
        /// First byte.
        address: u64,
        /// Bytes of the access.
        bytes: u32,
        /// The memory of that space that lies nearest, unless all is far away.
        nearest: Option<Box<Extent>>,
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
    #[error(
        "address {address:#x} lies in {} memory and is used in {expected} space",
        space_name(space_of(*.address))
    )]
    WrongSpace {
        /// The space the instruction names.
        expected: &'static str,
        /// The address.
        address: u64,
    },
    /// A shared address of another block where only the own block's are possible.
    #[error(
        "shared address {address:#x} lies in the block of rank {}, and the access is to that of rank {own} itself",
        .address >> SharedModel::RANK_SHIFT
    )]
    PeerAddress {
        /// The address.
        address: u64,
        /// Rank of the block that uses it.
        own: u32,
    },
    /// A rank that the cluster does not have.
    #[error("rank {rank} does not exist; the cluster has {blocks} blocks, ranks from 0")]
    NoSuchRank {
        /// The rank.
        rank: u64,
        /// Blocks of the cluster.
        blocks: u32,
    },
    /// Shared memory of a block whose threads have all exited.
    #[error("the shared memory is that of block {}, which has exited", listed_index(.block))]
    PeerExited {
        /// Its block index.
        block: [u32; 3],
    },
    /// Shared memory of a block of which no thread has run yet.
    #[error("the shared memory is that of block {}, which has not started", listed_index(.block))]
    PeerNotStarted {
        /// Its block index.
        block: [u32; 3],
    },
    /// `barrier.cluster.arrive` twice without a wait between them.
    #[error(
        "the warp arrives at barrier.cluster and has not waited since its last arrival, at PTX line {line}"
    )]
    ClusterArriveTwice {
        /// PTX line of the last arrival.
        line: u32,
    },
    /// `barrier.cluster.wait` without an arrival before it.
    #[error("the warp waits at barrier.cluster and has not arrived since its last wait")]
    ClusterWaitFirst,
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
    #[error("an aligned instruction needs the whole warp at one place, but {}", listed(.places))]
    AlignedDivergent {
        /// Where the lanes wait.
        places: Vec<LanesAt>,
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
    #[error("the lanes of a warp wait for each other: {}", listed(.places))]
    WarpDeadlock {
        /// Where the lanes wait.
        places: Vec<LanesAt>,
    },
    /// The warps of a block wait for arrivals that cannot come.
    #[error("deadlock: {standing}")]
    Deadlock {
        /// Who waits for what.
        standing: Box<Standing>,
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
        /// The copy.
        copy: Option<Box<Party>>,
    },
    /// Two unfinished asynchronous copies write the same bytes.
    #[error("two unfinished cp.async copies write shared address {address:#x}")]
    AsyncOverlap {
        /// Shared offset.
        address: u64,
        /// The one that was issued first.
        copy: Option<Box<Party>>,
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
    #[error(
        "{bytes}-byte access to global address {address:#x}, {} bytes into {allocation}, which has been freed",
        .address - .allocation.base
    )]
    Freed {
        /// First byte.
        address: u64,
        /// Bytes of the access.
        bytes: u32,
        /// What the host had allocated there.
        allocation: Box<Extent>,
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
    #[error(
        "the thread exits and has not waited for its cp.async copies, {copies} in number, the first from PTX line {line}"
    )]
    CopiesPending {
        /// Their number.
        copies: u32,
        /// PTX line of the first.
        line: u32,
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
    /// A rule of mbarriers.
    #[error("the mbarrier at shared address {address:#x} {rule}")]
    Mbarrier {
        /// Shared address of its first byte.
        address: u64,
        /// The rule.
        rule: MbarrierRule,
    },
    /// A rule of bulk and tensor copies.
    #[error("{0}")]
    Bulk(BulkRule),
    /// An asynchronous operation reads what nothing has made visible to its proxy.
    #[error("{0}")]
    Proxy(Box<Conflict>),
    /// A register of a warpgroup product is touched before the wait that covers the product.
    #[error(
        "{} {operand} of the wgmma of PTX line {line}, which no wgmma.wait_group has covered yet",
        if *.writes { "the instruction writes a register of" } else { "the instruction reads a register of" }
    )]
    ProductRegister {
        /// `A` or `D`.
        operand: &'static str,
        /// Whether the register is written.
        writes: bool,
        /// PTX line of the product.
        line: u32,
    },
    /// A warpgroup product without a fence between other uses of its registers and itself.
    #[error(
        "no wgmma.fence stands between the last use of a register of {operand} and the wgmma that takes it"
    )]
    ProductFence {
        /// `A` or `D`.
        operand: &'static str,
    },
    /// Shared memory is written that a warpgroup product may still read.
    #[error(
        "shared address {address:#x} is an operand of the wgmma of PTX line {line}, which warp {warp} has not waited for"
    )]
    OperandOverwritten {
        /// Shared offset.
        address: u64,
        /// Warp of the product.
        warp: u32,
        /// Its PTX line.
        line: u32,
    },
    /// A matrix descriptor that does not describe an operand.
    #[error("{descriptor:#018x} is no matrix descriptor: {rule}")]
    MatrixDescriptor {
        /// Its bits.
        descriptor: u64,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// A warpgroup instruction in a block whose last warps are not four.
    #[error("a warpgroup has 4 warps, but this one only {warps}")]
    PartialWarpgroup {
        /// Warps that the block has of it.
        warps: u32,
    },
    /// The warps of a warpgroup execute different sequences of its instructions.
    #[error(
        "the warps of a warpgroup execute wgmma and setmaxnreg together, but {} where warp {other} {}",
        here.map_or("this one exits".to_string(), |line| format!("this one executes PTX line {line}")),
        there.map_or("has exited".to_string(), |line| format!("executes PTX line {line}"))
    )]
    WarpgroupDivergent {
        /// PTX line of this warp's instruction, unless it exits.
        here: Option<u32>,
        /// Another warp.
        other: u32,
        /// PTX line of its instruction, unless it has exited.
        there: Option<u32>,
    },
    /// The warps of a warpgroup give different values to an operand that must be one.
    #[error(
        "the warps of a warpgroup must agree on {operand}, but it is {here:#x} here and {there:#x} in warp {other}"
    )]
    WarpgroupOperand {
        /// The operand.
        operand: &'static str,
        /// Its value in this warp.
        here: u64,
        /// Another warp.
        other: u32,
        /// Its value there.
        there: u64,
    },
    /// `setmaxnreg` in a kernel without a bound on registers known to the compiler, which then ignores it.
    #[error("setmaxnreg needs a bound on the registers of the kernel, and the entry declares none")]
    RegisterBound,
    /// `setmaxnreg.dec` to more registers than the warp has, or `.inc` to fewer.
    #[error(
        "setmaxnreg.{} to {registers} registers, and the warp has {held}",
        if *.increase { "inc" } else { "dec" }
    )]
    RegisterDirection {
        /// Whether it is `.inc`.
        increase: bool,
        /// Registers per thread that the warp has.
        held: u32,
        /// Those that it asks for.
        registers: u32,
    },
    /// Warps wait for registers that nobody will give back.
    #[error("deadlock in the register pool: {standing}")]
    RegisterDeadlock {
        /// Who waits for what.
        standing: Box<Standing>,
    },
    /// A thread ends while warpgroup products have not been waited for.
    #[error(
        "the warp exits and has not waited for its wgmma products, {products} in number, the first from PTX line {line}"
    )]
    ProductsPending {
        /// Their number.
        products: u32,
        /// PTX line of the first.
        line: u32,
    },
    /// The launch used up [`Options::instruction_limit`](crate::Options).
    #[error("a block has executed {limit} warp instructions without ending: {standing}")]
    InstructionLimit {
        /// The limit.
        limit: u64,
        /// Where its warps stand.
        standing: Box<Standing>,
    },
}

/// A block index in messages.
fn listed_index(block: &[u32; 3]) -> String {
    let [x, y, z] = block;
    format!("({x}, {y}, {z})")
}
