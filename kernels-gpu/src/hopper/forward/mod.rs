//! Forward attention on Hopper: O = softmax(scale · Q·Kᵀ) · V and the log-sum-exp L of every row.
//!
//! FlashAttention-3, Algorithm 2 (arXiv:2407.08608); line numbers in comments are those of the algorithm, which is for
//! one warpgroup.
//!
//! | module | what it knows |
//! |---|---|
//! | `kernel` | the sizes of a kernel, its shared memory, who has which role |
//! | `producer` | the warpgroup that copies |
//! | `consumer` | a warpgroup that computes: the algorithm |
//! | `amend` | what is done to loaded tiles before products read them |
//! | `epilogue` | O and L to global memory |
//! | `schedule` | which tiles a block computes |
//! | `work` | what one tile needs |

pub mod schedule;
pub mod work;

#[cfg(kernel_arch = "sm_90a")]
pub mod amend;
#[cfg(kernel_arch = "sm_90a")]
pub mod consumer;
#[cfg(kernel_arch = "sm_90a")]
pub mod epilogue;
#[cfg(kernel_arch = "sm_90a")]
pub mod kernel;
#[cfg(kernel_arch = "sm_90a")]
pub mod producer;
