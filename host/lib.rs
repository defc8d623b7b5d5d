//! Exact attention: FlashAttention kernels written in plain Rust, compiled to PTX by stock rustc, executed by an
//! NVIDIA GPU or, from the very same PTX, by any CPU.
//!
//! ```
//! use flash_attention::{Attention, Device, Tensor, bf16};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::emulated();
//! let shape = [1, 7, 2, 64]; // [batch, seqlen, heads, head_dim]
//! let data: Vec<bf16> = (0..7 * 2 * 64).map(|i| bf16::from_f32((i % 13) as f32 / 13.0)).collect();
//! let (q, k, v) = (
//!     Tensor::from_slice(&device, shape, &data)?,
//!     Tensor::from_slice(&device, shape, &data)?,
//!     Tensor::from_slice(&device, shape, &data)?,
//! );
//! let result = Attention::new().causal().forward(&q, &k, &v)?;
//! assert_eq!(result.out.shape(), shape);
//! assert_eq!(result.lse.shape(), [1, 2, 7]); // [batch, num_heads, seqlen_q]
//! # Ok(())
//! # }
//! ```
//!
//! | file | question it answers |
//! |---|---|
//! | `attention.rs`, `options.rs`, `bias.rs` | which options are there? |
//! | `gradients.rs` | how do I train? |
//! | `varlen.rs` | how do I pack sequences of different lengths? |
//! | `tensor.rs`, `buffer.rs`, `layout.rs` | where do elements lie, and who owns them? |
//! | `problem/` | which arguments are refused, and why? |
//! | `dispatch.rs`, `launch.rs`, `tensor_map.rs` | which kernel runs, and what is it told? |
//! | `baseline.rs` | how did one compute attention before FlashAttention-2? |
//! | `raw.rs`, `raw_backward.rs` | how do I use memory and streams of my own? |
//! | `backend.rs`, `device.rs`, `emulated.rs`, `cuda/` | what executes it? |
//! | `kernels.rs` | where is the PTX? |
//! | `profile.rs` | what did a kernel do, and what did that cost? |
//! | `growth.rs` | how does that grow with the sequence? |
//! | `reference.rs`, `rule.rs` | what is right, and how close must a kernel be? |
//!
//! The algorithm is FlashAttention-2 (Dao, 2023, "FlashAttention-2: Faster Attention with Better Parallelism and Work
//! Partitioning"): scores are never written to memory, the softmax is computed online, and what is returned is exact
//! attention up to rounding. Masks and layouts follow that paper's implementation, except that a row without visible
//! keys has log-sum-exp -inf (the logarithm of an empty sum).

mod attention;
mod backend;
pub mod baseline;
mod bias;
mod buffer;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod dispatch;
mod element;
mod emulated;
mod error;
mod gradients;
pub mod growth;
mod kernels;
mod launch;
mod layout;
mod options;
mod problem;
pub mod profile;
mod raw;
mod raw_backward;
pub mod reference;
pub mod rule;
mod tensor;
mod tensor_map;
mod varlen;

pub use abi::{
    Arch, BaselineStep, BaselineVariant, BwdStep, BwdVariant, CopyKind, Dtype, FwdVariant,
    HopperBwdVariant, HopperFwdVariant, HopperScores, HopperVariant, KernelSpec, KernelVariant,
    ScoreKind,
};
pub use attention::{Attention, Forward};
pub use backend::{BackendError, RawStream};
pub use bias::Bias;
pub use buffer::Buffer;
#[cfg(feature = "cuda")]
pub use cuda::{CudaError, DriverError};
pub use device::{Device, DeviceName};
pub use dispatch::{DispatchError, Rule};
pub use element::{AttentionElement, Element};
pub use emulated::{EmulatorOptions, Progress};
pub use error::{Error, ProblemError};
pub use gradients::Gradients;
pub use half::{bf16, f16};
pub use kernels::{KERNEL_BUILD_SECONDS, KERNEL_COMPILER, Kernel, kernels};
pub use options::{Dropout, Mask, Options, Window};
pub use ptx_emulator::{Fault, FaultKind, MmaNumerics, Sanitizer, Sanitizers, Schedule};
pub use raw::{RawBias, RawForward, RawSequences, RawTensor, forward_raw};
pub use raw_backward::{RawBackward, backward_raw, backward_workspace};
pub use tensor::{Tensor, TensorError};
pub use varlen::{CuSeqlens, ForwardVarlen, GradientsVarlen};

/// The example of the README is compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
