//! Arithmetic, bit, comparison and conversion instructions against plain Rust, over edge cases and random operands.
//!
//! Integers are computed in 128 bits or bit by bit, floating point by `rustc_apfloat`, another implementation of IEEE
//! 754; nothing here is taken from the emulator. Which result is right where IEEE 754 leaves it open (NaN, minimum,
//! saturation) is PTX ISA 9.7.3 to 9.7.5.

mod bits;
mod carry;
mod cases;
#[allow(dead_code, reason = "a test takes from the common part what it needs")]
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod convert;
mod convert_float;
mod float;
mod float_extremes;
mod half;
mod ieee;
mod integer;
mod table;
