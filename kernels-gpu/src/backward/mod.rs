//! The backward pass: dQ, dK, dV and the gradient of the bias.
//!
//! FlashAttention-2, Algorithm 2 (arXiv:2307.08691); line numbers in comments are those of the algorithm. Kernels run
//! in this order:
//!
//! | module | one block | what it does |
//! |---|---|---|
//! | `delta` | query tile of a head | line 4: D = rowsum(dO ∘ O); zeros for dQ |
//! | `key_tile`, `wide` | key tile of a key head | lines 5 to 19: dK, dV, and its part of dQ |
//! | `dq` | query tile of a head | dQ from its accumulator |
//! | `bias` | tile of the bias | its gradient, summed over what shares it |
//!
//! | module | what it knows |
//! |---|---|
//! | `block` | which key tiles a block has, and which query tiles see them |
//! | `walk` | the loops over query heads and query tiles |
//! | `queries` | when Q, dO and row statistics are copied and waited for |
//! | `rows` | the scratch: row statistics of query tiles |
//! | `probabilities` | from products to P, from gradients of P to dS |
//! | `gradients` | dK and dV to global memory |
//!
//! P and dS are recomputed tile by tile and transposed, keys along the rows: every warp owns some keys of the tile, so
//! Pᵀ and dSᵀ are in its registers what dV += Pᵀ·dO and dK += dSᵀ·Q need as their first operand. Only dS is handed to
//! other warps, through shared memory, for dQ += dS·K, which sums over the keys of all warps.

pub mod block;

#[cfg(target_arch = "nvptx64")]
pub mod bias;
#[cfg(target_arch = "nvptx64")]
pub mod delta;
#[cfg(target_arch = "nvptx64")]
pub mod dq;
#[cfg(target_arch = "nvptx64")]
pub mod gradients;
#[cfg(target_arch = "nvptx64")]
pub mod key_tile;
#[cfg(target_arch = "nvptx64")]
pub mod probabilities;
#[cfg(target_arch = "nvptx64")]
pub mod queries;
#[cfg(target_arch = "nvptx64")]
pub mod rows;
#[cfg(target_arch = "nvptx64")]
pub mod walk;
#[cfg(target_arch = "nvptx64")]
pub mod wide;
