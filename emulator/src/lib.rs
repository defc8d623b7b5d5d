//! Executes PTX on the CPU, exactly as the ISA allows and no more.
//!
//! ```text
//! text ── Module::parse ──► Module ── kernel(entry) ──► Kernel ── launch ──► LaunchReport | Fault
//!                                                         GlobalMemory ──┘
//! ```
//! A [`Module`] is PTX text decoded once. [`launch`] runs one of its kernels over a grid: blocks in
//! parallel over the cores, the warps of a block in turn, each instruction for 32 lanes at a time.
//!
//! What the text says and this crate does not know is a [`PtxError`] with its line; what a kernel
//! does wrong is a [`Fault`] with entry, line, block, warp and lane. Neither ever panics, and no
//! instruction is skipped silently.
//!
//! The crate knows PTX and nothing of what kernels compute. It models no time.

mod decode;
mod error;
mod fault;
mod ir;
mod lexer;
mod machine;
mod memory;
mod module;
mod observe;
mod occupancy;
mod parser;
mod seeds;
mod syntax;
mod tensor_map;

pub use error::{MemoryError, PtxError, PtxErrorKind};
pub use fault::{
    AccessKind, Awaited, AwaitedPhase, BarrierStanding, BlockStanding, BulkRule, Conflict, Extent,
    Fault, FaultKind, LanesAt, MbarrierRule, MbarrierStanding, Origin, Party, Report, Sanitizer,
    Standing, Use, WarpStanding,
};
pub use ir::Kernel;
pub use machine::{
    BlockOrder, CopyTiming, Fill, LaneOrder, Launch, LaunchReport, MmaNumerics, Options, PeerOrder,
    Plan, Schedule, Turns, WarpOrder, launch,
};
pub use memory::GlobalMemory;
pub use module::Module;
pub use observe::{
    AllocationCounters, BankCounts, CounterOptions, Counters, Counts, Executed, GlobalCounts,
    HbmCounts, InstructionClass, L2Cache, L2CacheError, LineCounters, LocalCounts, Operations,
    SECTOR_BYTES, Sanitizers, SectorCounts, SharedCounts,
};
pub use occupancy::{BlockNeeds, Occupancy, OccupancyError, Resource, occupancy};
pub use seeds::{SeedFailure, for_each_seed};
pub use tensor_map::{
    TensorFill, TensorInterleave, TensorL2Promotion, TensorMap, TensorMapError, TensorSwizzle,
    TensorTile, TensorType,
};
