//! Errors of a call: [`ProblemError`] for its arguments, [`Error`] for whatever stage refused it. The other stages
//! keep their errors beside their code.

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
    /// The log-sum-exp is written without gaps.
    #[error("lse must be contiguous, got strides {got:?} instead of {want:?}")]
    LseStrides {
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
    /// Two elements of the output share an address.
    #[error(
        "elements of out with shape {shape:?} and strides {strides:?} may share memory: use larger strides"
    )]
    OutOverlapsItself {
        /// Shape of out.
        shape: [usize; 4],
        /// Its strides in elements.
        strides: [i64; 4],
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
}
