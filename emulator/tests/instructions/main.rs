//! One line per rule of an instruction: operands in, result out, from the PTX ISA's own definitions.

mod check;
#[allow(dead_code, reason = "a test takes from the common part what it needs")]
#[path = "../common/mod.rs"]
mod common;
mod float;
mod integer;
mod matrix;
mod memory;
mod vector_atomics;
mod warp;
