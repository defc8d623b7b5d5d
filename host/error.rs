//! Errors of a call: [`ProblemError`] for its arguments, [`Error`] for whatever stage refused it. The other stages
//! keep their errors beside their code.

use abi::Dtype;
use thiserror::Error;

use crate::backend::BackendError;
use crate::baseline::BaselineError;
use crate::dispatch::DispatchError;
use crate::problem::MAX_HEAD_DIM;
use crate::tensor::TensorError;

/// Why attention was not computed.
#[derive(Debug, Error)]
pub enum Error {
    /// The arguments break a rule; nothing was launched.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The arguments break a rule of a baseline; nothing was launched.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// No kernel fits the device; nothing was launched.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The output could not be allocated.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Arguments that break a rule of attention or of this library. Nothing has been launched.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ProblemError {
    /// Two tensors disagree about an extent that they share.
    #[error(
        "{tensor} and {other} must have the same {dimension}: {tensor} has {got}, {other} has {want}"
    )]
    Mismatch {
        /// The tensor found wrong.
        tensor: &'static str,
        /// The one it was compared with.
        other: &'static str,
        /// Name of the extent.
        dimension: &'static str,
        /// Extent of `tensor`.
        got: usize,
        /// Extent of `other`.
        want: usize,
    },
    /// head_dim is zero or no multiple of 8.
    #[error(
        "head_dim {0} is not supported: it must be a positive multiple of 8; append zeros to each row of q, k and v \
         and pass the softmax_scale of the unpadded head_dim"
    )]
    HeadDimNotMultipleOf8(usize),
    /// head_dim is beyond the largest kernel.
    #[error(
        "head_dim {0} is not supported: at most {MAX_HEAD_DIM}; split wider heads into several"
    )]
    HeadDimTooLarge(usize),
    /// Query heads cannot be shared out evenly.
    #[error(
        "num_heads {num_heads} must be a multiple of num_heads_k {num_heads_k}: each key head serves a group of \
         num_heads / num_heads_k query heads"
    )]
    HeadGroups {
        /// Heads of q.
        num_heads: usize,
        /// Heads of k and v.
        num_heads_k: usize,
    },
    /// softmax_scale is NaN or infinite, or so large that its base-2 form is.
    #[error(
        "softmax_scale {0} must be a finite number of at most 2.35e38; leave it out for 1/sqrt(head_dim)"
    )]
    ScaleNotFinite(f32),
    /// Kernels read rows as runs of memory.
    #[error(
        "the last dimension of {tensor} must be contiguous (stride 1), got stride {stride}: copy it row-major"
    )]
    LastStride {
        /// Whose.
        tensor: &'static str,
        /// Its last stride in elements.
        stride: i64,
    },
    /// Row values have no gaps.
    #[error("{tensor} must be contiguous, got strides {got:?} instead of {want:?}")]
    LseStrides {
        /// Whose.
        tensor: &'static str,
        /// Strides passed.
        got: [i64; 3],
        /// Strides of the contiguous layout.
        want: [i64; 3],
    },
    /// A device pointer no element can have.
    #[error(
        "{tensor} is at {ptr:#x}, which must be a multiple of its element size, {bytes} bytes, and not null"
    )]
    Pointer {
        /// Whose.
        tensor: &'static str,
        /// Device address passed.
        ptr: u64,
        /// Size of one element.
        bytes: u64,
    },
    /// An extent or the number of blocks is beyond what one launch can hold.
    #[error(
        "{what} {value} is not supported: at most {limit} in one call; split the batch or the sequence"
    )]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How many.
        value: u128,
        /// How many one launch can hold.
        limit: u128,
    },
    /// Elements would lie outside the 64-bit address space.
    #[error(
        "{tensor} with shape {shape:?} and strides {strides:?} leaves the 64-bit address space: check the strides"
    )]
    AddressRange {
        /// Whose.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides in elements.
        strides: Vec<i64>,
    },
    /// Two elements of an output share an address.
    #[error(
        "elements of {tensor} with shape {shape:?} and strides {strides:?} may share memory: use larger strides"
    )]
    OverlapsItself {
        /// The output.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides in elements.
        strides: Vec<i64>,
    },
    /// An output would overwrite something that is still needed.
    #[error("the memory of {output} overlaps that of {other}: give {output} memory of its own")]
    Aliased {
        /// The tensor written.
        output: &'static str,
        /// The tensor it would damage.
        other: &'static str,
    },
    /// Tensors of two devices in one call.
    #[error("{tensor} is on another device than q: copy it to the device of q")]
    Device {
        /// The tensor on the other device.
        tensor: &'static str,
    },
    /// Nothing is aligned to a corner.
    #[error(
        "top_left chooses where the diagonal of a mask or of ALiBi starts: add causal, a window or ALiBi slopes, or \
         leave it out"
    )]
    TopLeftWithoutMask,
    /// The softcap is negative or no number.
    #[error("softcap {0} must be a positive finite number, or 0 for none")]
    Softcap(f32),
    /// The drop probability is outside of 0 .. 1.
    #[error(
        "dropout probability {0} must be at least 0 and less than 1 - 2^-17 (it is rounded to multiples of 2^-16)"
    )]
    DropoutProbability(f32),
    /// The bias has another type than q.
    #[error("{tensor} must be f32 or, as q, {}: convert it", want.name())]
    BiasDtype {
        /// The bias or its gradient.
        tensor: &'static str,
        /// Type of q.
        want: Dtype,
    },
    /// The gradient of the bias has another type than the bias.
    #[error("d_bias must have the type of bias: give it that type")]
    BiasGradientDtype,
    /// The gradient of a bias is wanted where there is none.
    #[error("d_bias was asked for without a bias: pass the bias of the forward pass, or no d_bias")]
    NoBias,
    /// Packed sequences have no batch dimension.
    #[error(
        "{tensor} has batch {batch}, packed sequences must be [1, total, heads, head_dim]: put all rows in one entry"
    )]
    PackedBatch {
        /// Whose.
        tensor: &'static str,
        /// Its batch extent.
        batch: usize,
    },
    /// The workspace of a backward pass starts in the middle of a line.
    #[error("the workspace is at {0:#x}, which must be a multiple of 256 and not null")]
    Workspace(u64),
    /// Offsets of packed sequences make no sense.
    #[error("{array} is not valid: {reason}")]
    Sequences {
        /// cu_seqlens_q, cu_seqlens_k, seqused_q or seqused_k.
        array: &'static str,
        /// The rule, the value and the way out.
        reason: String,
    },
}
