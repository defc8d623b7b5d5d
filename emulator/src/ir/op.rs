//! The operations: those of a lane alone are [`LaneOp`].

use super::{
    Address, AtomicOp, AtomicType, AtomicVector, BulkCopy, Consistency, CpAsync, LaneOp,
    MbarrierOp, MbarrierWait, MemoryType, Mma, Pred, R32, R64, ReduxOp, Scope, ShflMode, Space,
    VoteMode, Wgmma,
};

/// One operation. Field order is PTX operand order: destination first.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// What each lane computes for itself.
    Lane(LaneOp),

    // ---- addresses (address_conversion.rs) ----
    /// `cvta`: address in a space to generic, or back when `to_space`.
    Cvta {
        space: Space,
        to_space: bool,
        d: R64,
        a: R64,
    },
    /// `mapa` of a 32-bit shared address: the same byte in the block of another rank.
    MapAddress32 { d: R32, a: R32, rank: R32 },
    /// `mapa` of a 64-bit address; `space` is shared::cluster or generic.
    MapAddress64 {
        space: Space,
        d: R64,
        a: R64,
        rank: R32,
    },
    /// `getctarank` of a 64-bit address; `space` is shared::cluster or generic.
    RankOfAddress { space: Space, d: R32, a: R64 },
    /// `isspacep`.
    IsSpace { space: Space, d: Pred, a: R64 },

    // ---- clocks (execute.rs) ----
    /// `%clock`, low 32 bits: warp instructions so far.
    Clock32 { d: R32 },
    /// `%clock64` and `%globaltimer`.
    Clock64 { d: R64 },

    // ---- memory (memory_access.rs, atomics.rs) ----
    /// Load of 1, 2 or 4 elements (`vector`); only that many of `d` are used, in the file that
    /// `ty.register` names.
    Load {
        space: Space,
        consistency: Consistency,
        ty: MemoryType,
        vector: u8,
        d: [u16; 4],
        address: Address,
    },
    /// Store of 1, 2 or 4 elements.
    Store {
        space: Space,
        consistency: Consistency,
        ty: MemoryType,
        vector: u8,
        a: [u16; 4],
        address: Address,
    },
    /// `atom`: old value into d. Slots are in the file of the type's width. `c` is used by `Cas`
    /// only (the new value; `b` is the expected one).
    Atom {
        op: AtomicOp,
        ty: AtomicType,
        space: Space,
        scope: Scope,
        d: u16,
        b: u16,
        c: u16,
        address: Address,
    },
    /// `red`: as `Atom` without a result.
    Red {
        op: AtomicOp,
        ty: AtomicType,
        space: Space,
        scope: Scope,
        b: u16,
        address: Address,
    },
    /// `atom` and `red` of a vector of floats.
    AtomicVector(Box<AtomicVector>),
    /// `fence`, `membar`, and the halves of acquire and release accesses.
    Fence {
        scope: Scope,
        acquire: bool,
        release: bool,
    },

    // ---- asynchronous copies (async_copy.rs) ----
    /// `cp.async`.
    CpAsync(Box<CpAsync>),
    /// `cp.async.commit_group`.
    CpAsyncCommit,
    /// `cp.async.wait_group n`: at most the `pending` youngest groups may be unfinished.
    CpAsyncWait { pending: u32 },
    /// `cp.async.wait_all`: committed or not.
    CpAsyncWaitAll,

    // ---- mbarriers (mbarriers.rs) ----
    /// Everything that does not wait, and `cp.async.mbarrier.arrive`.
    Mbarrier(Box<MbarrierOp>),
    /// `mbarrier.test_wait`, `.try_wait`.
    MbarrierWait(Box<MbarrierWait>),
    /// `mbarrier.pending_count`.
    MbarrierPending { d: R32, a: R64 },
    /// `fence.mbarrier_init`.
    MbarrierInitFence,

    // ---- bulk and tensor copies (bulk.rs) ----
    /// A copy or reduction.
    BulkCopy(Box<BulkCopy>),
    /// `cp.async.bulk.commit_group`.
    BulkCommit,
    /// `cp.async.bulk.wait_group[.read]`: at most the `pending` youngest groups may be unfinished, or
    /// may still read their sources.
    BulkWait { pending: u32, read: bool },
    /// `fence.proxy.async`: what generic accesses did before is visible to asynchronous ones, and the
    /// reverse.
    ProxyFence,

    // ---- warp-wide (warp_ops.rs) ----
    /// `shfl.sync`; `p` is true where the source lane is in range.
    Shfl {
        mode: ShflMode,
        d: R32,
        p: Pred,
        a: R32,
        b: R32,
        c: R32,
        mask: R32,
    },
    /// `vote.sync.{all,any,uni}`.
    Vote {
        mode: VoteMode,
        d: Pred,
        a: Pred,
        mask: R32,
    },
    /// `vote.sync.ballot`.
    Ballot { d: R32, a: Pred, mask: R32 },
    /// `match.any.sync.b32`.
    MatchAny32 { d: R32, a: R32, mask: R32 },
    /// `match.any.sync.b64`.
    MatchAny64 { d: R32, a: R64, mask: R32 },
    /// `match.all.sync.b32`.
    MatchAll32 { d: R32, p: Pred, a: R32, mask: R32 },
    /// `match.all.sync.b64`.
    MatchAll64 { d: R32, p: Pred, a: R64, mask: R32 },
    /// `redux.sync`.
    Redux {
        op: ReduxOp,
        d: R32,
        a: R32,
        mask: R32,
    },
    /// `elect.sync`: `p` is true in one lane of the mask, whose number goes to `d` of all.
    Elect { d: R32, p: Pred, mask: R32 },
    /// `activemask`.
    ActiveMask { d: R32 },
    /// `bar.warp.sync`.
    WarpSync { mask: R32 },

    // ---- block-wide barriers (sync.rs) ----
    /// `bar`/`barrier` `.sync` and `.arrive`; `count` is in threads, all of the block when absent
    /// (arrive always has one).
    Barrier {
        arrive: bool,
        aligned: bool,
        id: R32,
        count: Option<R32>,
    },
    /// `bar.red.popc`.
    BarrierPopc {
        aligned: bool,
        d: R32,
        a: Pred,
        id: R32,
        count: Option<R32>,
    },
    /// `bar.red.and` and `.or`.
    BarrierLogic {
        or: bool,
        aligned: bool,
        d: Pred,
        a: Pred,
        id: R32,
        count: Option<R32>,
    },

    // ---- cluster-wide barrier (cluster_barrier.rs) ----
    /// `barrier.cluster.arrive`; it orders no memory when not `release`.
    ClusterArrive { aligned: bool, release: bool },
    /// `barrier.cluster.wait`.
    ClusterWait { aligned: bool },

    // ---- tensor cores (matrix.rs) ----
    /// `ldmatrix.m8n8` of 1, 2 or 4 matrices of 16-bit elements; `space` is shared or generic.
    LdMatrix {
        count: u8,
        transpose: bool,
        space: Space,
        d: [R32; 4],
        address: Address,
    },
    /// `stmatrix.m8n8` of 1, 2 or 4 matrices; the inverse of [`Op::LdMatrix`].
    StMatrix {
        count: u8,
        transpose: bool,
        space: Space,
        a: [R32; 4],
        address: Address,
    },
    /// `movmatrix.m8n8.trans.b16`.
    MovMatrix { d: R32, a: R32 },
    /// `mma.sync`.
    Mma(Box<Mma>),

    // ---- warpgroup products (wgmma.rs) ----
    /// `wgmma.mma_async`.
    Wgmma(Box<Wgmma>),
    /// `wgmma.fence`.
    WgmmaFence,
    /// `wgmma.commit_group`.
    WgmmaCommit,
    /// `wgmma.wait_group n`: at most the `pending` youngest groups may be unfinished.
    WgmmaWait { pending: u32 },
    /// `setmaxnreg`: registers per thread from now on (register_pool.rs).
    SetMaxRegisters { increase: bool, registers: u16 },

    // ---- control flow (control_flow.rs) ----
    /// Jump; lanes that the guard excludes fall through. `uniform` promises that all active lanes
    /// agree.
    Bra { target: u32, uniform: bool },
    /// `brx.idx`: jump to `branch_tables[table][index]`.
    BranchIndexed {
        table: u32,
        index: R32,
        uniform: bool,
    },
    /// The thread ends (`exit`, and `ret` of an entry).
    Exit,
    /// The grid ends with a fault.
    Trap,
    /// `nanosleep`: other warps may run.
    Yield,
    /// An instruction without functional effect (`prefetch`, `createpolicy`'s users, `pmevent`).
    Nop,
}
