//! The machine: executes decoded kernels.
//!
//! ```text
//! launch      deals clusters out to threads, builds the fault; rules checks the launch; explain adds what is known of its address
//! cluster     runs the warps of one cluster in turn, by the open choices of chance, as a plan says
//! block       what the warps of one block share, peers' warps included; sync has its barriers, cluster_barrier that of the cluster
//! warp        registers and groups of lanes; reconverge brings waiting lanes together
//! step        the instruction loop; lane_op and execute dispatch to the families below
//! integer carry bits compare float approx half convert data_movement address_conversion        one file per ISA chapter
//! memory_access shared_access address elements storage shared atomics reduce async_copy    memory
//! mbarrier mbarriers mbarrier_wait   the object, operations on it, waiting for it
//! bulk tensor_box swizzle   bulk and tensor copies
//! warp_ops matrix mma fused_dot control_flow                          warp-wide instructions
//! warpgroup wgmma descriptor register_pool                            warpgroup-wide instructions
//! ```
//!
//! Divergence: the live lanes of a warp are partitioned into groups with a program counter each. The
//! group with the lowest one runs; groups that meet merge. Lanes at an instruction that needs others
//! wait until those arrive.

pub(crate) mod address;
mod address_conversion;
mod approx;
pub(crate) mod async_copy;
mod atomics;
mod bits;
mod block;
pub(crate) mod bulk;
mod carry;
mod chance;
mod cluster;
mod cluster_barrier;
mod compare;
pub(crate) mod context;
mod control_flow;
mod convert;
pub(crate) mod data_movement;
pub(crate) mod descriptor;
mod elements;
mod execute;
mod explain;
mod float;
mod fused_dot;
mod half;
mod integer;
mod lane_op;
pub(crate) mod launch;
mod matrix;
pub(crate) mod mbarrier;
pub(crate) mod mbarrier_wait;
pub(crate) mod mbarriers;
mod memory_access;
mod mma;
mod plan;
mod reconverge;
mod reduce;
mod register_pool;
pub(crate) mod registers;
mod rules;
mod shared;
pub(crate) mod shared_access;
mod step;
mod storage;
mod swizzle;
mod sync;
pub(crate) mod tensor_box;
pub(crate) mod warp;
pub(crate) mod warp_ops;
mod warpgroup;
pub(crate) mod wgmma;

pub use chance::Schedule;
pub use context::MmaNumerics;
pub use launch::{Launch, LaunchReport, Options, launch};
pub use plan::{BlockOrder, CopyTiming, Fill, LaneOrder, PeerOrder, Plan, Turns, WarpOrder};
