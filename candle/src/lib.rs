//! Attention for [candle](https://docs.rs/candle-core): the functions of `candle-flash-attn` 0.11, with gradients, on
//! CUDA and on any CPU.
//!
//! Where a model says `use candle_flash_attn::flash_attn;` it says `use flash_attention_candle::flash_attn;` instead;
//! names, arguments and results are the same.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use flash_attention_candle::flash_attn;
//! # fn main() -> candle_core::Result<()> {
//! // [batch, seqlen, heads, head_dim]; k and v have half as many heads as q.
//! let q = Var::randn(0f32, 1., (1, 9, 4, 32), &Device::Cpu)?;
//! let k = Tensor::randn(0f32, 1., (1, 9, 2, 32), &Device::Cpu)?.to_dtype(DType::BF16)?;
//! let out = flash_attn(&q.to_dtype(DType::BF16)?, &k, &k, 0.18, true)?;
//! assert_eq!(out.dims(), [1, 9, 4, 32]);
//! let gradients = out.to_dtype(DType::F32)?.sqr()?.sum_all()?.backward()?;
//! assert_eq!(gradients.get(&q).map(|d_q| d_q.dims()), Some(&[1, 9, 4, 32][..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Beyond candle-flash-attn
//!
//! - **Gradients**: `loss.backward()` reaches q, k and v. Only the log-sum-exp is kept for it, never a matrix of scores.
//!   Slopes of ALiBi get no gradient. A gradient of a gradient does not exist.
//! - **CPU**: tensors on `Device::Cpu` are computed by the very kernels of the GPU, run by flash-attention's emulated
//!   device: exact, for tests and for models on machines without a GPU.
//! - **Log-sum-exp, determinism, dropout** by [`FlashAttention`], the options behind all functions.
//!
//! # What is different
//!
//! - There is no function for paged keys and values (`flash_attn_varlen_paged_windowed`), and no `FlashAttn`, the
//!   operation behind theirs for sequences of one length: [`FlashAttention`] takes what its fields take.
//! - head_dim is at most 256 (theirs 512), a multiple of 8, the last dimension contiguous, as with theirs.
//! - `seqlens_q` and `seqlens_k` are read by the host and checked, because kernels trust them; that waits for their
//!   device. [`Sequences`] does it once for all layers. They may belong to any device; lengths may be 0.
//! - `max_seqlen_q` and `max_seqlen_k` must not be below the longest sequence; nothing else depends on them.
//! - A softcap that is negative or no number is an error; 0 is none.
//! - A window hides exactly what its bounds say. Theirs ignores bounds above seqlen_k, and bounds a window that has only
//!   a left side by seqlen_k on the right, which is something else if there are more than twice as many queries as keys.
//!
//! # CUDA
//!
//! The feature `cuda` uses candle's devices: kernels are launched on candle's stream and read and write its memory, so
//! nothing is copied and nothing waits. Like candle's own feature of that name it needs a CUDA toolkit to build. If
//! another dependency turns candle's feature on and this crate's is off, CUDA tensors are an error.

mod attention;
mod call;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod dense;
mod error;
mod op;
mod sequences;
mod varlen;

pub use attention::{FlashAttention, Output};
pub use dense::{
    flash_attn, flash_attn_alibi, flash_attn_alibi_windowed, flash_attn_alibi_windowed_softcap,
    flash_attn_windowed,
};
pub use error::Error;
/// What the options of [`FlashAttention`] are made of.
pub use flash_attention::{Arch, Device as EmulatedDevice, Dropout};
pub use sequences::Sequences;
pub use varlen::{
    flash_attn_varlen, flash_attn_varlen_alibi, flash_attn_varlen_alibi_windowed,
    flash_attn_varlen_alibi_windowed_softcap, flash_attn_varlen_windowed,
};
