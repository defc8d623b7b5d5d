//! Which sanitizer finds a fault, and the way out.

use std::fmt;

use super::{AccessKind, Conflict, FaultKind, Origin};

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
            | F::MatrixDescriptor { .. }
            | F::PeerAddress { .. }
            | F::NoSuchRank { .. }
            | F::PeerExited { .. }
            | F::PeerNotStarted { .. }
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
            | F::CopySourceModified { .. }
            | F::ProductRegister { .. }
            | F::ProductFence { .. }
            | F::OperandOverwritten { .. } => Sanitizer::Racecheck,
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
            | F::ClusterArriveTwice { .. }
            | F::ClusterWaitFirst
            | F::CopiesPending { .. }
            | F::PartialWarpgroup { .. }
            | F::WarpgroupDivergent { .. }
            | F::WarpgroupOperand { .. }
            | F::ProductsPending { .. }
            | F::RegisterBound
            | F::RegisterDirection { .. }
            | F::RegisterDeadlock { .. }
            | F::InstructionLimit { .. } => Sanitizer::Synccheck,
            F::Mbarrier { rule, .. } => rule.sanitizer(),
            F::Bulk(rule) => rule.sanitizer(),
            F::Proxy(_) => Sanitizer::Racecheck,
            F::Launch(_) | F::DivisionByZero | F::NotExecuted | F::Trap | F::BranchRange { .. } => {
                return None;
            }
        })
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        use FaultKind as F;
        match self {
            F::Launch(_) => "change the launch, or what the kernel declares",
            F::OutOfBounds { space, address, .. } => out_of_bounds(space, *address),
            F::Misaligned { .. } => "align the base and every stride, or use narrower accesses",
            F::WrongSpace { .. } => "name the space of the address, or convert it with cvta",
            F::PeerAddress { .. } => "use .shared::cluster for what may lie in another block",
            F::NoSuchRank { .. } => "compare the rank with %cluster_nctarank",
            F::PeerExited { .. } => {
                "put a barrier.cluster behind the last access to a peer, before any exit"
            }
            F::PeerNotStarted { .. } => "put a barrier.cluster before the first access to a peer",
            F::ClusterArriveTwice { .. } => "barrier.cluster.wait between two arrivals",
            F::ClusterWaitFirst => "barrier.cluster.arrive before each wait",
            F::ReadOnly { .. } => "write to global, shared or local memory instead",
            F::Freed { .. } => "keep the buffer until the launch that uses it has returned",
            F::CopySize { .. } => "let cp.async read at most the bytes that it writes",
            F::DivisionByZero => "the result is unspecified: test the divisor first",
            F::NotExecuted => "the emulator is at fault, not the kernel",
            F::Trap => "see the source for the assertion or bounds check that failed",
            F::BranchRange { .. } => "compare the index with the table's length before brx.idx",
            F::NonUniformBranch => "leave out .uni, or branch on what is equal in all lanes",
            F::NonUniformOperand { .. } => "compute the operand from what is equal in all lanes",
            F::AlignedDivergent { .. } => "move it out of the branch, to where all lanes come",
            F::MissingLanes { .. } => "let lanes without work run on with zeros, not exit",
            F::MaskWithoutSelf { .. } => "put every lane that comes here into the mask",
            F::MaskNamesExited { .. } => "take lanes that exit out of the mask",
            F::WarpDeadlock { .. } => "lead all lanes of a mask to one operation",
            F::Deadlock { .. } => "let as many threads arrive at each barrier as it awaits",
            F::BarrierId { .. } => "number barriers from 0 to 15",
            F::BarrierCount { .. } => "count the threads of whole warps of this block",
            F::BarrierMismatch { .. } => "give all uses of a barrier in one round the same count",
            F::BarrierMixed { .. } => "use bar.red in all warps of a round, or another barrier",
            F::BarrierTwice { .. } => "wait at another barrier than the one arrived at",
            F::BarrierMissed { .. } => "let lanes without work come to the barrier and exit then",
            F::AsyncReadEarly { .. } => {
                "cp.async.wait_group first, then bar.sync for other threads"
            }
            F::AsyncOverlap { .. } => "wait for the first copy, or give each its own bytes",
            F::CopySourceModified { .. } => "write to the source after the copy's wait",
            F::CopiesPending { .. } => "cp.async.wait_all before the thread ends",
            F::Uninitialised { origin, .. } => uninitialised(origin),
            F::Race(conflict) => race(conflict),
            F::NonCoherentWrite(_) => "read without .nc, or write in another launch",
            F::Mbarrier { rule, .. } => rule.help(),
            F::Bulk(rule) => rule.help(),
            F::Proxy(_) => "fence.proxy.async in the thread that wrote, before it synchronises",
            F::ProductRegister { .. } => {
                "wgmma.wait_group first: until then the registers are in use"
            }
            F::ProductFence { .. } => {
                "put a wgmma.fence before it, behind what reads or writes these registers"
            }
            F::OperandOverwritten { .. } => {
                "write after the wgmma.wait_group of all four warps, and a barrier behind it"
            }
            F::MatrixDescriptor { .. } => {
                "build it of start, leading and stride offsets / 16 and the swizzle, zeros elsewhere"
            }
            F::PartialWarpgroup { .. } => "launch a multiple of 128 threads",
            F::WarpgroupDivergent { .. } => {
                "branch on what is equal in the four warps, and let none of them exit earlier"
            }
            F::WarpgroupOperand { .. } => {
                "compute it from what is equal in the four warps: thread index / 128"
            }
            F::RegisterBound => "declare .maxnreg, or .reqntid or .maxntid with .minnctapersm",
            F::RegisterDirection { .. } => {
                "use .inc to get more registers and .dec to give some back"
            }
            F::RegisterDeadlock { .. } => {
                "let the warpgroups hold no more in all than the block was launched with"
            }
            F::ProductsPending { .. } => "wgmma.wait_group 0 before the warp ends",
            F::InstructionLimit { .. } => "look for a loop whose condition never changes",
        }
    }
}

/// Generic and global addresses below this are offsets into another space, or null with an offset.
const LOWEST_POINTER: u64 = 1 << 32;

fn out_of_bounds(space: &str, address: u64) -> &'static str {
    match space {
        "global" if address < LOWEST_POINTER => {
            "no pointer is that small: is it null, or an offset in shared memory without cvta?"
        }
        "global" => "compare the index with the length of the buffer",
        "shared" => "compare the index with the array and the launch's dynamic shared bytes",
        "param" => "compare the offset with the entry's parameter list",
        _ => "compare the index with the length of the array",
    }
}

fn uninitialised(origin: &Origin) -> &'static str {
    match origin {
        Origin::Register { .. } => "write the register on every path that leads there",
        Origin::Memory {
            space: "global", ..
        } => "write the buffer from the host or an earlier launch",
        Origin::Memory { .. } => "store to the bytes first: a block's memory starts undefined",
        Origin::Shuffle { .. } => "read only from lanes that execute the shuffle",
    }
}

fn race(conflict: &Conflict) -> &'static str {
    let (first, second) = (&conflict.first, &conflict.second);
    if first.access == AccessKind::BulkWrite {
        "wait for the phase of the mbarrier that the copy completes"
    } else if second.access == AccessKind::BulkWrite {
        "issue the copy behind a wait for an mbarrier that whoever used the bytes arrives at"
    } else if matches!(first.access, AccessKind::BulkRead | AccessKind::MatrixRead) {
        "order the write behind the wait of the thread that issued the operation"
    } else if [first.access, second.access].contains(&AccessKind::CopyWrite) {
        "cp.async.wait_group in the thread that copies, then bar.sync for the others"
    } else if second.access == AccessKind::Exit {
        "put a barrier.cluster behind the last access to a peer, before any exit"
    } else if first.block != second.block && conflict.space != "global" {
        "put a barrier.cluster between the two, or release and acquire at .cluster scope"
    } else if first.block != second.block {
        "order the blocks by release and acquire at .gpu scope, or use two launches"
    } else if first.warp != second.warp {
        "put a bar.sync between the two that both warps execute"
    } else {
        "put a bar.warp.sync between the two: lanes do not run in lockstep"
    }
}
