//! mbarriers, bulk copies and tensor copies: what single instructions do, and small pipelines, under many schedules.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod counted;
mod launched;
mod mbarriers;
mod tensors;
