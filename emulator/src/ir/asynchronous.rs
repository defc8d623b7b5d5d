//! Operations on mbarriers, and bulk and tensor copies.

use super::{Address, AtomicOp, AtomicType, Pred, R32, R64, Scope, Space};

/// An address in shared memory: of the executing block, of any block of the cluster, or generic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedOperand {
    /// `Shared`, `SharedCluster` or `Generic`.
    pub space: Space,
    /// The address.
    pub address: Address,
}

/// `mbarrier` operations that do not wait, and `cp.async.mbarrier.arrive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbarrierOp {
    /// What happens to the barrier.
    pub action: MbarrierAction,
    /// The barrier.
    pub place: SharedOperand,
    /// Scope of the release; `None` for `.relaxed`, and where there is none.
    pub release: Option<Scope>,
}

/// What a [`MbarrierOp`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MbarrierAction {
    /// `init`.
    Init {
        /// Arrivals that a phase expects.
        count: R32,
    },
    /// `inval`.
    Invalidate,
    /// `arrive` and `arrive_drop`.
    Arrive {
        /// Gets the token of the phase.
        state: Option<R64>,
        /// Arrivals it stands for; 1 when absent.
        count: Option<R32>,
        /// `.expect_tx`: bytes announced before.
        expect: Option<R32>,
        /// `arrive_drop`.
        drops: bool,
        /// `.noComplete`.
        no_complete: bool,
    },
    /// `expect_tx`.
    Expect {
        /// Bytes.
        bytes: R32,
    },
    /// `complete_tx`.
    Complete {
        /// Bytes.
        bytes: R32,
    },
    /// `cp.async.mbarrier.arrive`.
    AfterCopies {
        /// `.noinc`: the arrival was counted when the barrier was initialised.
        counted: bool,
    },
}

/// `mbarrier.test_wait` and `.try_wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbarrierWait {
    /// Whether the phase is complete.
    pub d: Pred,
    /// The barrier.
    pub place: SharedOperand,
    /// The phase.
    pub phase: MbarrierPhase,
    /// `try_wait`: the thread may sleep until it is complete.
    pub sleeps: bool,
    /// Scope of the acquire; `None` for `.relaxed`.
    pub acquire: Option<Scope>,
}

/// How a wait names its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MbarrierPhase {
    /// A token from `arrive`.
    State(R64),
    /// Parity of its number.
    Parity(R32),
}

/// `cp.async.bulk`, `cp.async.bulk.tensor` and their `cp.reduce` forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkCopy {
    /// Destination.
    pub to: BulkEnd,
    /// Source.
    pub from: BulkEnd,
    /// Its size; a tensor copy has that of its box.
    pub bytes: Option<R32>,
    /// The mbarrier that is told; without one the copy belongs to a bulk group.
    pub mbarrier: Option<SharedOperand>,
    /// `.multicast::cluster`: bit i is the block of rank i.
    pub multicast: Option<R32>,
    /// What happens at the destination; the source replaces it when absent.
    pub reduction: Option<BulkReduction>,
}

/// One end of a [`BulkCopy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkEnd {
    /// Contiguous device memory.
    Global(Address),
    /// A box of a tensor.
    Tensor(TensorPlace),
    /// Shared memory.
    Shared(SharedOperand),
}

/// A box of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    /// Generic address of the tensor map.
    pub map: Address,
    /// Number of coordinates.
    pub rank: u8,
    /// Coordinates of its first element, innermost first.
    pub start: [R32; 5],
}

/// `cp.reduce.async.bulk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkReduction {
    /// The operation.
    pub op: AtomicOp,
    /// Type of the elements; that of the tensor map when absent.
    pub ty: Option<AtomicType>,
}
