//! Warpgroup products: what they compute, and when.

mod products;
mod program;
