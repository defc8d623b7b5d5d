//! The ancestors of FlashAttention-2, to compare it with: standard attention and FlashAttention-1.
//!
//! Their results hold the same rule as those of [`Attention::forward`]; what differs is the memory that they hold and
//! the bytes that they move. They take less than it: head_dim 64 and 128, and contiguous tensors.
//!
//! ```
//! use flash_attention::baseline::{self, Algorithm};
//! use flash_attention::{Attention, Device, Tensor, f16};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let q = Tensor::<f16>::zeros(&Device::emulated(), [1, 100, 2, 64])?;
//! for algorithm in Algorithm::ALL {
//!     let result = baseline::forward(algorithm, &Attention::new(), &q, &q, &q)?;
//!     println!("{}: {} bytes of workspace, kernels {:?}", algorithm.name(), result.workspace_bytes, result.entries);
//! }
//! # Ok(())
//! # }
//! ```

use abi::{
    BASELINE_VARIANTS, BaselineStep, BaselineVariant, Flash1Params, KernelSpec, StandardParams,
};
use thiserror::Error;

use crate::attention::Attention;
use crate::device::Device;
use crate::dispatch::{self, DispatchError};
use crate::element::AttentionElement;
use crate::error::Error;
use crate::layout;
use crate::problem::Problem;
use crate::tensor::Tensor;

/// A way to compute exact attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// S = softmax_scale · Q·Kᵀ, P = softmax(S) and O = P·V by one kernel each, S (f32) and P in device memory.
    Standard,
    /// FlashAttention (Dao et al., 2022, arXiv:2205.14135, Algorithm 1): keys outside, queries inside, O rescaled in
    /// device memory, K sliced between the warps.
    Flash1,
    /// FlashAttention-2 (Dao, 2023, arXiv:2307.08691): [`Attention::forward`].
    Flash2,
}

impl Algorithm {
    /// Every algorithm, oldest first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Standard, Algorithm::Flash1, Algorithm::Flash2];

    /// What a table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Standard => "standard attention",
            Algorithm::Flash1 => "FlashAttention-1",
            Algorithm::Flash2 => "FlashAttention-2",
        }
    }
}

/// Result of a forward pass by one of the algorithms.
#[derive(Clone, Debug)]
pub struct BaselineForward<T: AttentionElement> {
    /// Output, row-major, shape and type of q. A row without visible keys is 0.
    pub out: Tensor<T>,
    /// Natural logarithm of the sum of `exp(softmax_scale · q·k)` over the visible keys,
    /// `[batch, num_heads, seqlen_q]`; -inf for a row without visible keys.
    pub lse: Tensor<f32, 3>,
    /// Device memory held during the call beside inputs, output and log-sum-exp, in bytes.
    pub workspace_bytes: usize,
    /// PTX symbols of the kernels that ran, in order.
    pub entries: Vec<&'static str>,
}

/// Arguments that [`Attention::forward`] takes and a baseline does not. Nothing has been launched.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BaselineError {
    /// There are kernels for few head dimensions.
    #[error(
        "head_dim {head_dim} is not supported by the baselines, only {supported:?}: use one of these, or \
         Attention::forward"
    )]
    HeadDim {
        /// What was asked for.
        head_dim: usize,
        /// What there is.
        supported: Vec<u32>,
    },
    /// The tensor is a view with gaps or in another order.
    #[error(
        "the baselines need contiguous tensors, {tensor} has strides {got:?} instead of {want:?}: copy it, or use \
         Attention::forward"
    )]
    NotContiguous {
        /// Whose.
        tensor: &'static str,
        /// Its strides in elements.
        got: [i64; 4],
        /// Strides of the contiguous layout.
        want: [i64; 4],
    },
    /// The baselines know two masks and nothing else.
    #[error(
        "the baselines take softmax_scale and causal (bottom right), and no other option: use Attention::forward"
    )]
    Options,
    /// The tensor starts in the middle of 16 bytes.
    #[error(
        "the baselines need tensors aligned to 16 bytes, {tensor} is at {ptr:#x}: copy it, or use Attention::forward"
    )]
    Alignment {
        /// Whose.
        tensor: &'static str,
        /// Its device address.
        ptr: u64,
    },
}

/// Computes `softmax(softmax_scale · q·kᵀ) · v` with the options of `attention` by `algorithm`, and waits for it.
///
/// Workspaces are allocated on the device of q and freed before it returns.
///
/// # Errors
///
/// [`Error::Baseline`] for arguments that only [`Algorithm::Flash2`] takes, otherwise as [`Attention::forward`];
/// [`Error::Tensor`] also when a workspace does not fit in memory.
pub fn forward<T: AttentionElement>(
    algorithm: Algorithm,
    attention: &Attention,
    q: &Tensor<T>,
    k: &Tensor<T>,
    v: &Tensor<T>,
) -> Result<BaselineForward<T>, Error> {
    match algorithm {
        Algorithm::Standard => ancestor(attention, q, k, v, standard::<T>),
        Algorithm::Flash1 => ancestor(attention, q, k, v, flash1),
        Algorithm::Flash2 => {
            let result = attention.forward(q, k, v)?;
            let entry = result.variant.map(|variant| variant.entry());
            Ok(BaselineForward {
                out: result.out,
                lse: result.lse,
                workspace_bytes: 0,
                entries: entry.into_iter().collect(),
            })
        }
    }
}

/// What an ancestor did besides its result.
struct Work {
    workspace_bytes: usize,
    entries: Vec<&'static str>,
}

/// Checks the arguments, allocates the result and lets `algorithm` fill it.
fn ancestor<T: AttentionElement>(
    attention: &Attention,
    q: &Tensor<T>,
    k: &Tensor<T>,
    v: &Tensor<T>,
    algorithm: impl FnOnce(&Device, &Problem) -> Result<Work, Error>,
) -> Result<BaselineForward<T>, Error> {
    attention.check(q.shape(), k.shape(), v.shape())?;
    for (tensor, input) in [("q", q), ("k", k), ("v", v)] {
        check(tensor, input)?;
    }
    if !attention.is_plain() {
        return Err(BaselineError::Options.into());
    }
    let [batch, seqlen_q, num_heads, _] = q.shape();
    let out = Tensor::unspecified(q.device(), q.shape())?;
    let lse = Tensor::unspecified(q.device(), [batch, num_heads, seqlen_q])?;
    let problem = Problem::new(&attention.arguments([q, k, v], &out, &lse)?)?;
    let work = if problem.has_no_rows() {
        Work {
            workspace_bytes: 0,
            entries: Vec::new(),
        }
    } else {
        algorithm(q.device(), &problem)?
    };
    Ok(BaselineForward {
        out,
        lse,
        workspace_bytes: work.workspace_bytes,
        entries: work.entries,
    })
}

/// Checks what the baselines ask for beyond the rules of attention.
fn check<T: AttentionElement>(
    tensor: &'static str,
    input: &Tensor<T>,
) -> Result<(), BaselineError> {
    let (shape, got, ptr) = (input.shape(), input.strides(), input.device_ptr());
    let mut supported: Vec<u32> = BASELINE_VARIANTS.iter().map(|v| v.head_dim).collect();
    supported.retain(|&head_dim| head_dim > 0);
    supported.sort_unstable();
    supported.dedup();
    let head_dim = shape[3];
    if !supported.iter().any(|&d| d as usize == head_dim) {
        return Err(BaselineError::HeadDim {
            head_dim,
            supported,
        });
    }
    if shape.contains(&0) {
        return Ok(());
    }
    let (contiguous_dimensions, _) = layout::contiguous_suffix(&shape, &got);
    if contiguous_dimensions < shape.len() {
        let want = layout::contiguous_strides(&shape);
        return Err(BaselineError::NotContiguous { tensor, got, want });
    }
    match ptr.is_multiple_of(16) {
        true => Ok(()),
        false => Err(BaselineError::Alignment { tensor, ptr }),
    }
}

/// S and P in device memory and three kernels.
fn standard<T: AttentionElement>(device: &Device, problem: &Problem) -> Result<Work, Error> {
    let [batch, num_heads, seqlen_q, seqlen_k] = problem.score_shape();
    let row_stride = seqlen_k.next_multiple_of(8);
    let shape = [batch, num_heads, seqlen_q, row_stride];
    let scores = Tensor::<f32>::unspecified(device, shape)?;
    let probabilities = Tensor::<T>::unspecified(device, shape)?;
    let prepare = |step| -> Result<_, Error> {
        let variant = variant(step, device, problem)?;
        let n_blocks = (seqlen_k as u32).div_ceil(variant.block_n);
        let tiles_per_row = if step == BaselineStep::Scores {
            n_blocks
        } else {
            1
        };
        let m_blocks = problem.m_blocks(variant.block_m);
        let (problem, blocks) = problem.launch_params(m_blocks, tiles_per_row)?;
        let params = StandardParams {
            problem,
            scores: scores.device_ptr(),
            probabilities: probabilities.device_ptr(),
            row_stride: row_stride as u32,
            n_blocks,
        };
        Ok((variant.spec(), params, blocks))
    };
    // All before the first launch: what is refused has not run in part.
    let launches = [
        prepare(BaselineStep::Scores)?,
        prepare(BaselineStep::Softmax)?,
        prepare(BaselineStep::Output)?,
    ];
    let mut entries = Vec::new();
    // Without keys there is no block of scores.
    for (kernel, params, blocks) in launches.iter().filter(|(_, _, blocks)| *blocks > 0) {
        // SAFETY: S and P have the shape of their parameters and live until the kernel has finished.
        unsafe { run(device, kernel, params.as_bytes(), *blocks)? };
        entries.push(kernel.entry);
    }
    Ok(Work {
        workspace_bytes: scores.buffer().len_bytes() + probabilities.buffer().len_bytes(),
        entries,
    })
}

/// O in f32, l and m in device memory and one kernel.
fn flash1(device: &Device, problem: &Problem) -> Result<Work, Error> {
    let [batch, num_heads, seqlen_q, _] = problem.score_shape();
    let out_shape = [batch, num_heads, seqlen_q, problem.head_dim as usize];
    let out = Tensor::<f32>::unspecified(device, out_shape)?;
    let row_sum = Tensor::<f32, 3>::unspecified(device, [batch, num_heads, seqlen_q])?;
    let row_max = Tensor::<f32, 3>::unspecified(device, [batch, num_heads, seqlen_q])?;
    let kernel = variant(BaselineStep::Flash1, device, problem)?.spec();
    let (problem, blocks) = problem.launch_params(1, 1)?;
    let params = Flash1Params {
        problem,
        out: out.device_ptr(),
        row_sum: row_sum.device_ptr(),
        row_max: row_max.device_ptr(),
    };
    // SAFETY: the workspaces have the shapes of their parameters and live until the kernel has finished.
    unsafe { run(device, &kernel, params.as_bytes(), blocks)? };
    let stats = row_sum.buffer().len_bytes() + row_max.buffer().len_bytes();
    Ok(Work {
        workspace_bytes: out.buffer().len_bytes() + stats,
        entries: vec![kernel.entry],
    })
}

/// The kernel of a step for a problem whose head_dim has been checked.
fn variant(
    step: BaselineStep,
    device: &Device,
    problem: &Problem,
) -> Result<&'static BaselineVariant, DispatchError> {
    let variant = BASELINE_VARIANTS
        .iter()
        .find(|v| {
            v.step == step
                && v.dtype == problem.dtype
                && [0, problem.head_dim].contains(&v.head_dim)
        })
        .expect("every step has a row for each dtype and supported head_dim");
    let limits = device.backend().limits();
    match dispatch::fits(&variant.spec(), limits) {
        Ok(()) => Ok(variant),
        Err(rule) => Err(dispatch::refusal(
            &problem.needs(),
            limits,
            variant.entry,
            rule,
        )),
    }
}

/// Launches `blocks` blocks of a kernel and waits for them.
///
/// # Safety
///
/// `params` is the parameter of the kernel, and all that it describes is live memory of `device`.
unsafe fn run(
    device: &Device,
    kernel: &KernelSpec,
    params: &[u8],
    blocks: u32,
) -> Result<(), Error> {
    // SAFETY: the caller vouches for the memory; nobody else knows the outputs and workspaces.
    unsafe {
        device
            .backend()
            .launch(kernel, params, blocks, std::ptr::null_mut())?
    };
    Ok(device.backend().synchronize()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    #[test]
    fn every_step_has_a_row_for_each_dtype_and_supported_head_dim() {
        let rows = |step, dtype| {
            let mut rows: Vec<u32> = BASELINE_VARIANTS
                .iter()
                .filter(|v| v.step == step && v.dtype == dtype)
                .map(|v| v.head_dim)
                .collect();
            rows.sort_unstable();
            rows
        };
        for dtype in [Dtype::F16, Dtype::Bf16] {
            for step in [
                BaselineStep::Scores,
                BaselineStep::Output,
                BaselineStep::Flash1,
            ] {
                assert_eq!(rows(step, dtype), [64, 128], "{step:?} {dtype:?}");
            }
            assert_eq!(rows(BaselineStep::Softmax, dtype), [0]);
        }
    }
}
