//! Thread block clusters: what a launch may ask for, what its blocks see of themselves and of each other, and that
//! what they do together is right under every schedule.

mod addresses;
mod exchange;
mod harness;
mod rules;
