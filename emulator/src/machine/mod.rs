//! The machine: executes decoded kernels.
//!
//! ```text
//! launch      deals clusters out to threads, builds the fault; rules checks the launch; explain adds what is known of its address
//! cluster     runs the warps of one cluster in turn, by the open choices of chance, as a plan says
//! block       what the warps of one block share, peers' warps included; sync has its barriers, cluster_barrier that of the cluster
//! warp        registers and groups of lanes; reconverge brings waiting lanes together
//! step        the instruction loop; execute dispatches to the families below
//! integer carry bits compare float approx half convert data_movement address_conversion        one file per ISA chapter
//! memory_access shared_access address elements storage shared atomics async_copy    memory
//! warp_ops matrix mma fused_dot control_flow                          warp-wide instructions
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
mod carry;
mod chance;
mod cluster;
mod cluster_barrier;
mod compare;
pub(crate) mod context;
mod control_flow;
mod convert;
pub(crate) mod data_movement;
mod elements;
mod execute;
mod explain;
mod float;
mod fused_dot;
mod half;
mod integer;
pub(crate) mod launch;
mod matrix;
mod memory_access;
mod mma;
mod plan;
mod reconverge;
pub(crate) mod registers;
mod rules;
mod shared;
pub(crate) mod shared_access;
mod step;
mod storage;
mod sync;
pub(crate) mod warp;
pub(crate) mod warp_ops;

pub use chance::Schedule;
pub use context::MmaNumerics;
pub use launch::{Launch, LaunchReport, Options, launch};
pub use plan::{BlockOrder, CopyTiming, Fill, LaneOrder, PeerOrder, Plan, Turns, WarpOrder};
