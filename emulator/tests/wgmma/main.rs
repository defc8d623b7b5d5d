//! Warpgroup products: what they compute, and when.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
#[path = "../common/mod.rs"]
mod common;
mod products;
mod program;
