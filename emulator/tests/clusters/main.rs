//! Thread block clusters: what a launch may ask for, what its blocks see of themselves and of each other, and that
//! what they do together is right under every schedule.

mod addresses;
#[allow(dead_code, reason = "a test takes from the common part what it needs")]
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod exchange;
mod harness;
mod rules;
