//! The machine: executes decoded kernels.
//!
//! ```text
//! launch      checks the launch, deals blocks out to threads, builds the fault; explain adds what is known of its address
//! block       runs the warps of one block in turn; sync has its barriers, chance its open choices, as a plan says
//! warp        registers and groups of lanes; reconverge brings waiting lanes together
//! step        the instruction loop; execute dispatches to the families below
//! integer carry bits compare float approx half convert data_movement        one file per ISA chapter
//! memory_access address elements storage shared atomics async_copy swizzle    memory
//! warp_ops matrix mma fused_dot control_flow                          warp-wide instructions
//! ```
//!
//! Divergence: the live lanes of a warp are partitioned into groups with a program counter each. The
//! group with the lowest one runs; groups that meet merge. Lanes at an instruction that needs others
//! wait until those arrive.

pub(crate) mod address;
mod approx;
pub(crate) mod async_copy;
mod atomics;
mod bits;
mod block;
mod carry;
mod chance;
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
mod launch;
mod matrix;
mod mbarrier;
mod memory_access;
mod mma;
mod plan;
mod reconverge;
pub(crate) mod registers;
mod shared;
mod step;
mod storage;
// Used by tests alone until an instruction that swizzles is known.
#[allow(dead_code)]
mod swizzle;
mod sync;
mod tensor_box;
pub(crate) mod warp;
pub(crate) mod warp_ops;

pub use chance::Schedule;
pub use context::MmaNumerics;
pub use launch::{Launch, LaunchReport, Options, launch};
pub use plan::{BlockOrder, CopyTiming, Fill, LaneOrder, Plan, Turns, WarpOrder};
