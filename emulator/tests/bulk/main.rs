//! mbarriers, bulk copies and tensor copies: what single instructions do, and small pipelines, under many schedules.

mod copies;
mod counted;
mod launched;
mod mbarriers;
mod tensors;
