//! Rules of mbarriers and of bulk and tensor copies.

use super::{Party, Sanitizer};

/// What was done wrong with an mbarrier, as the end of a sentence about it (PTX ISA, "mbarrier").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MbarrierRule {
    /// An operation on bytes that hold no live mbarrier.
    #[error("has not been initialised, or has been invalidated")]
    Uninitialised,
    /// `mbarrier.init` on a live mbarrier.
    #[error("is initialised a second time without mbarrier.inval")]
    Reinitialised,
    /// A count of arrivals that no mbarrier can have.
    #[error("would expect {count} arrivals; 1 to 1048575 are possible")]
    InitCount {
        /// The count.
        count: u32,
    },
    /// More arrivals than a phase expects, or none.
    #[error("gets an arrival of count {count} and awaits {pending} in this phase")]
    OverArrival {
        /// Arrivals of the instruction.
        count: u32,
        /// Arrivals that the phase still awaits.
        pending: u32,
    },
    /// `.noComplete` on the arrival that completes the phase.
    #[error("would complete its phase with {count} arrivals that are marked .noComplete")]
    Completes {
        /// Arrivals of the instruction.
        count: u32,
    },
    /// More transaction bytes than an mbarrier can count.
    #[error("would await {bytes} transaction bytes, beyond the 1048575 that it can count")]
    Transactions {
        /// Bytes that would be outstanding.
        bytes: i64,
    },
    /// A state token that is older than the phase before the running one, or from the future.
    #[error("runs phase {running} and is tested with a token of phase {phase}")]
    StaleState {
        /// Phase of the token.
        phase: u64,
        /// Running phase.
        running: u64,
    },
    /// A waiter has missed a whole phase, so that its parity means another one.
    #[error(
        "runs phase {running} while the thread waits for phase {awaited} to be complete: parity tells no more which"
    )]
    PhaseSkipped {
        /// The phase that the thread would wait for next.
        awaited: u64,
        /// Running phase.
        running: u64,
    },
    /// An ordinary access to the bytes of a live mbarrier.
    #[error("is accessed like data")]
    RawAccess,
    /// A wait for an mbarrier of another block.
    #[error("belongs to another block of the cluster; only its own block can wait for it")]
    RemoteWait,
    /// A copy completes in another phase than the one it was issued in.
    #[error("runs phase {running} when a copy issued in phase {issued} completes")]
    LateTransaction {
        /// Phase at the issue.
        issued: u64,
        /// Running phase.
        running: u64,
    },
    /// A copy signals an mbarrier whose initialisation the asynchronous proxy may not see.
    #[error("is signalled by a copy, and no fence has followed its mbarrier.init")]
    NotFenced,
}

/// What is wrong with a bulk or tensor copy (PTX ISA, "cp.async.bulk", "cp.async.bulk.tensor").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BulkRule {
    /// A size that is not a multiple of 16 bytes, or 0.
    #[error("a bulk copy of {bytes} bytes; the size must be a positive multiple of 16")]
    Size {
        /// The size.
        bytes: u32,
    },
    /// An address that is not aligned as copies need it.
    #[error("{space} address {address:#x} of a bulk copy is not a multiple of {alignment}")]
    Alignment {
        /// Its space.
        space: &'static str,
        /// The address.
        address: u64,
        /// Required alignment in bytes.
        alignment: u32,
    },
    /// A tensor map that is not aligned to 64 bytes.
    #[error("the tensor map at {address:#x} is not aligned to 64 bytes")]
    MapAlignment {
        /// Generic address.
        address: u64,
    },
    /// Bytes that are no tensor map.
    #[error("the 128 bytes at {address:#x} are no tensor map")]
    MapCorrupt {
        /// Generic address.
        address: u64,
    },
    /// The instruction has another number of coordinates than the map has dimensions.
    #[error("the instruction is for {instruction} dimensions, the tensor map has {map}")]
    Rank {
        /// Of the instruction.
        instruction: u32,
        /// Of the map.
        map: u32,
    },
    /// A store or reduction at a negative coordinate.
    #[error(
        "a tensor store begins at coordinate {value} of dimension {axis}; only loads may begin below 0"
    )]
    NegativeCoordinate {
        /// Dimension, 0 innermost.
        axis: u32,
        /// The coordinate.
        value: i32,
    },
    /// Rows narrower than the swizzle, whose place in shared memory is documented nowhere.
    #[error("rows of {row} bytes under a swizzle of {width} bytes have no documented layout")]
    PartialSwizzleRow {
        /// Bytes of the box along dimension 0.
        row: u32,
        /// Bytes of the swizzle's row.
        width: u32,
    },
    /// A reduction that does not exist for the map's type.
    #[error("the reduction does not exist for the element type of the tensor map")]
    Reduction,
    /// A multicast to blocks that the cluster does not have.
    #[error("the multicast mask {mask:#06x} names blocks beyond the {blocks} of the cluster")]
    MulticastMask {
        /// The mask.
        mask: u32,
        /// Blocks of the cluster.
        blocks: u32,
    },
    /// The mbarrier is in another block than the destination.
    #[error(
        "the mbarrier is in block {mbarrier} of the cluster, the destination in block {destination}"
    )]
    OtherBlock {
        /// Rank of the mbarrier's block.
        mbarrier: u32,
        /// Rank of the destination's block.
        destination: u32,
    },
    /// A thread ends while copies may still read shared memory.
    #[error(
        "the thread exits while bulk copies of it may still read shared memory, {copies} in number, the first from PTX line {line}"
    )]
    ReadsPending {
        /// Their number.
        copies: u32,
        /// PTX line of the first.
        line: u32,
    },
    /// A block has ended without a wait for a copy into its shared memory.
    #[error(
        "block ({}, {}, {}) has exited and nobody has waited for a copy into its shared memory",
        .block[0], .block[1], .block[2]
    )]
    DestinationExited {
        /// Block index.
        block: [u32; 3],
    },
    /// An access to the destination of a copy that is not complete.
    #[error("shared address {address:#x} is the destination of a bulk copy that is not complete")]
    Early {
        /// Shared address.
        address: u64,
        /// The copy.
        copy: Option<Box<Party>>,
    },
    /// A write to bytes that an asynchronous operation may still read.
    #[error(
        "shared address {address:#x} is overwritten while an asynchronous operation may still read it"
    )]
    SourceOverwritten {
        /// Shared address.
        address: u64,
        /// The operation, when it is a copy.
        copy: Option<Box<Party>>,
    },
}

impl MbarrierRule {
    pub(super) fn sanitizer(&self) -> Sanitizer {
        match self {
            MbarrierRule::NotFenced => Sanitizer::Racecheck,
            MbarrierRule::RawAccess => Sanitizer::Memcheck,
            _ => Sanitizer::Synccheck,
        }
    }

    pub(super) fn help(&self) -> &'static str {
        use MbarrierRule as R;
        match self {
            R::Uninitialised => "mbarrier.init in one thread, then bar.sync, before any other use",
            R::Reinitialised => "initialise once, or mbarrier.inval before",
            R::InitCount { .. } => "give the number of arrivals of one phase",
            R::OverArrival { .. } => "let as many threads arrive as mbarrier.init has said",
            R::Completes { .. } => "leave out .noComplete",
            R::Transactions { .. } => "announce fewer bytes in one phase",
            R::StaleState { .. } => "test the token of the latest arrival",
            R::PhaseSkipped { .. } => "wait for every phase of the barrier, one after the other",
            R::RawAccess => "use mbarrier instructions, or mbarrier.inval before",
            R::RemoteWait => "wait in the block that owns it, and arrive there from others",
            R::LateTransaction { .. } => {
                "announce with expect_tx exactly the bytes that copies bring"
            }
            R::NotFenced => {
                "fence.mbarrier_init.release.cluster or fence.proxy.async behind mbarrier.init"
            }
        }
    }
}

impl BulkRule {
    pub(super) fn sanitizer(&self) -> Sanitizer {
        match self {
            BulkRule::Early { .. } | BulkRule::SourceOverwritten { .. } => Sanitizer::Racecheck,
            BulkRule::ReadsPending { .. } | BulkRule::DestinationExited { .. } => {
                Sanitizer::Synccheck
            }
            _ => Sanitizer::Memcheck,
        }
    }

    pub(super) fn help(&self) -> &'static str {
        use BulkRule as R;
        match self {
            R::Size { .. } => "copy multiples of 16 bytes, and the rest with ld and st",
            R::Alignment { .. } => "align to 16 bytes, and shared memory of tensor copies to 128",
            R::MapAlignment { .. } => "align the map, and the parameter that holds it, to 64 bytes",
            R::MapCorrupt { .. } => {
                "pass the map that the host has encoded, and its address with cvta"
            }
            R::Rank { .. } => "give as many coordinates as the tensor has dimensions",
            R::NegativeCoordinate { .. } => "begin at 0 and store a smaller box",
            R::PartialSwizzleRow { .. } => "make the innermost box as wide as the swizzle",
            R::Reduction => "add integers and floats; min and max are for integers only here",
            R::MulticastMask { .. } => "set bits of blocks that the cluster has",
            R::OtherBlock { .. } => "signal an mbarrier of the block that gets the bytes",
            R::ReadsPending { .. } => "cp.async.bulk.wait_group.read 0 before the thread ends",
            R::DestinationExited { .. } => {
                "wait for the mbarrier of every copy before the block ends"
            }
            R::Early { .. } => "wait for the phase of the mbarrier that the copy completes",
            R::SourceOverwritten { .. } => {
                "cp.async.bulk.wait_group.read, or wgmma.wait_group, before the bytes change"
            }
        }
    }

    /// The copy that the report names.
    pub(super) fn copy(&self) -> Option<&Party> {
        match self {
            BulkRule::Early { copy, .. } | BulkRule::SourceOverwritten { copy, .. } => {
                copy.as_deref()
            }
            _ => None,
        }
    }
}
