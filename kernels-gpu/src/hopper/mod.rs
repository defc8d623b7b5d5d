//! The kernels for Hopper (sm_90a): copies by the tensor memory accelerator, products of warpgroups.
//!
//! FlashAttention-3 (arXiv:2407.08608). A block is warpgroups with roles: one thread of the first starts all copies,
//! the others compute, and they meet only at barriers in shared memory that count the bytes of copies.
//!
//! | module | what it knows |
//! |---|---|
//! | `descriptor` | how a product finds an operand in shared memory |
//! | `product` | matrix products of a warpgroup, step by step |
//! | `tile` | copies of tiles, page by page |
//! | `pipeline` | rings of tiles: who waits for whom |
//! | `forward` | the forward kernels |
//! | `roles` | which warpgroup a thread is in, and what it may do alone |
//!
//! `descriptor` and parts of `forward` are pure arithmetic and are tested on the host, like the modules at the root of
//! the crate.

pub mod descriptor;
pub mod forward;

#[cfg(kernel_arch = "sm_90a")]
pub mod pipeline;
#[cfg(kernel_arch = "sm_90a")]
pub mod product;
#[cfg(kernel_arch = "sm_90a")]
pub mod roles;
#[cfg(kernel_arch = "sm_90a")]
pub mod tile;

#[cfg(kernel_arch = "sm_90a")]
pub mod backward;
