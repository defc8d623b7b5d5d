//! Gradients on memory that somebody else owns.

use abi::KernelVariant;

use crate::device::Device;
use crate::dispatch;
use crate::error::{Error, ProblemError};
use crate::launch;
use crate::problem::{BackwardPlan, BackwardProblem};
use crate::raw::{RawBias, RawForward, RawTensor};

/// Arguments of [`backward_raw`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawBackward {
    /// The arguments of the forward pass, and its results `out` and `lse`, which are read.
    pub forward: RawForward,
    /// Gradient of `out`, shaped as it, any strides.
    pub d_out: RawTensor,
    /// Gradient of `lse`, f32, shaped as it, without gaps.
    pub d_lse: Option<RawTensor<3>>,
    /// Gradient of q, written: shaped as q, strides that keep its elements apart. Rows of packed sequences that belong
    /// to no entry are not written.
    pub d_q: RawTensor,
    /// Gradient of k, written: shaped as k, likewise.
    pub d_k: RawTensor,
    /// Gradient of v, written: shaped as v, likewise.
    pub d_v: RawTensor,
    /// Gradient of the bias, written: shape and type of the bias. `None` when it is not wanted.
    pub d_bias: Option<RawBias>,
    /// Device address of [`backward_workspace`] bytes, aligned to 256.
    pub workspace: u64,
}

/// Bytes of workspace that [`backward_raw`] needs for these arguments; `args.workspace` does not matter.
///
/// # Errors
///
/// As [`backward_raw`].
pub fn backward_workspace(device: &Device, args: &RawBackward) -> Result<usize, Error> {
    // Fits: the plan refuses what a host could not address.
    Ok(plan(
        device,
        &RawBackward {
            workspace: 0,
            ..*args
        },
    )?
    .workspace_bytes as usize)
}

/// Enqueues the gradients of attention on memory that the caller owns, and returns the kernels that were chosen, in
/// order. Does not wait for the stream.
///
/// # Safety
///
/// As [`forward_raw`](crate::forward_raw), for all tensors of `args`; nobody may touch the gradients or the workspace
/// until the stream has finished this work. `out` and `lse` must be those of the forward pass with the same
/// arguments, or gradients are meaningless numbers.
///
/// # Errors
///
/// [`Error::Problem`] for arguments that break a rule, [`Error::Dispatch`] when no kernel fits the device,
/// [`Error::Backend`] when the device refuses a launch. Nothing has been launched when it returns an error of the
/// first two kinds.
pub unsafe fn backward_raw(
    device: &Device,
    args: &RawBackward,
) -> Result<Vec<KernelVariant>, Error> {
    let plan = plan(device, args)?;
    let is_placed = args.workspace != 0 && args.workspace.is_multiple_of(256);
    if plan.workspace_bytes > 0 && !is_placed {
        return Err(ProblemError::Workspace(args.workspace).into());
    }
    // SAFETY: the caller vouches for memory, workspace and stream.
    unsafe { launch::backward(device.backend(), &plan, args.forward.stream)? };
    Ok(plan
        .launches
        .into_iter()
        .map(|(kernel, _)| kernel)
        .collect())
}

fn plan(device: &Device, args: &RawBackward) -> Result<BackwardPlan, Error> {
    let problem = BackwardProblem::new(args)?;
    let kernels = dispatch::backward(&problem, device.backend().limits())?;
    Ok(problem.plan(&kernels)?)
}
