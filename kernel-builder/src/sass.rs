//! Machine code without a GPU: what `ptxas` makes of a PTX module, and what the hottest loop of a kernel costs.
//!
//! ```text
//! assemble ── ptxas -v ─────► usage      registers, stack, spills, and advice
//!                  └ cubin ─ nvdisasm ─► listing ── control    instructions, each with its control word
//!                                           └────── flow ── loops ── class   figures of the hottest loop
//! ```
//! `model` predicts from them what a step of a kernel for Hopper costs each part of a multiprocessor.
//!
//! The figures are counted, not measured: they are the same at every run and tell nothing about caches or waiting. What
//! a machine word means is not documented by NVIDIA; sources are named where it is read.

mod assemble;
mod class;
mod control;
mod error;
mod flow;
mod listing;
mod loops;
pub mod model;
mod usage;

pub use assemble::{KernelCode, MachineCode, assemble, ptxas_version};
pub use class::{Class, class_of, tensor_flop};
pub use control::Control;
pub use error::SassError;
pub use listing::{Function, Instruction, functions};
pub use loops::{LoopFigures, hottest_loop, hottest_trip};
pub use usage::Usage;
