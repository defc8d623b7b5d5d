//! initcheck: what nobody has written is reported where it matters, with where it came from, and
//! nothing else is.

mod check;
#[allow(dead_code, reason = "a test takes from the common part what it needs")]
#[path = "../common/mod.rs"]
mod common;
mod matrix;
mod memory;
mod registers;
mod warp;
