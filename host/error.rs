//! The error of a whole call, by the stage that refused it.

use thiserror::Error;

use crate::backend::BackendError;
use crate::dispatch::DispatchError;
use crate::problem::ProblemError;
use crate::tensor::TensorError;

/// Why attention was not computed.
#[derive(Debug, Error)]
pub enum Error {
    /// The arguments break a rule; nothing was launched.
    #[error(transparent)]
    Problem(#[from] ProblemError),
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
