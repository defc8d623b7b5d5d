//! What can go wrong, by kind; candle's error type carries the same text.

use candle_core::{DType, DeviceLocation, Shape};
use flash_attention::{BackendError, ProblemError, TensorError};

/// Why attention was not computed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// q, k or v hold numbers that kernels do not compute with.
    #[error(
        "q is {0:?}: flash attention computes in f16 and bf16; convert q, k and v with to_dtype"
    )]
    Dtype(DType),
    /// An argument has another type than it must have.
    #[error("{tensor} is {got:?} and must be {want:?}: convert it with to_dtype")]
    ArgumentDtype {
        /// Which argument.
        tensor: &'static str,
        /// Its type.
        got: DType,
        /// The type that it must have.
        want: DType,
    },
    /// An argument has the wrong number of dimensions.
    #[error("{tensor} has shape {got:?} and must be {want}")]
    Rank {
        /// Which argument.
        tensor: &'static str,
        /// Its shape.
        got: Shape,
        /// The dimensions that it must have, by name.
        want: &'static str,
    },
    /// There is not one slope for each head.
    #[error("alibi_slopes has {got} elements for {num_heads} heads of q: pass one for each head")]
    Slopes {
        /// Number of slopes.
        got: usize,
        /// Heads of q.
        num_heads: usize,
    },
    /// A sequence is longer than the caller said.
    #[error(
        "{argument} is {got}, but there is a sequence of {longest} rows: pass {longest} or more"
    )]
    MaxSeqlen {
        /// Which argument.
        argument: &'static str,
        /// Its value.
        got: usize,
        /// Rows of the longest sequence.
        longest: usize,
    },
    /// An argument is on another device than q.
    #[error("{tensor} is on {got:?}, q is on {want:?}: copy it there with to_device")]
    OtherDevice {
        /// Which argument.
        tensor: &'static str,
        /// Where it is.
        got: DeviceLocation,
        /// Where q is.
        want: DeviceLocation,
    },
    /// Kernels do not run there.
    #[error("q is on {0:?}: flash attention runs on the CPU and on CUDA devices; copy q, k and v")]
    Device(DeviceLocation),
    /// Tensors on a CUDA device in a build that cannot use one.
    #[error(
        "q is on {0:?}, but flash-attention-candle was built without CUDA: build with its feature `cuda`"
    )]
    NoCuda(DeviceLocation),
    /// The pass back was asked for before the pass forward.
    #[error("there is no log-sum-exp: the operation has not been applied yet")]
    NoForward,
    /// The library refused or failed.
    #[error(transparent)]
    Attention(#[from] flash_attention::Error),
    /// candle refused or failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> candle_core::Error {
        match error {
            Error::Candle(error) => error,
            error => candle_core::Error::wrap(error),
        }
    }
}

impl From<ProblemError> for Error {
    fn from(error: ProblemError) -> Error {
        Error::Attention(error.into())
    }
}

impl From<TensorError> for Error {
    fn from(error: TensorError) -> Error {
        Error::Attention(error.into())
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Error {
        Error::Attention(error.into())
    }
}
