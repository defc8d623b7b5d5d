//! From a checked problem and its kernel to a launch: parameters, tensor maps, the grid.

use abi::{HopperBwdParams, HopperFwdParams, KernelVariant, TensorMap};

use crate::backend::{Backend, BackendError, RawStream};
use crate::dispatch::ForwardKernel;
use crate::error::Error;
use crate::problem::{BackwardPlan, HopperForward, HopperMaps, Problem};

/// Enqueues the forward pass of a problem by a kernel that is eligible for it.
///
/// # Safety
///
/// The memory of the problem is live on the device of `backend` and nobody else touches it until the work is done; the
/// stream belongs to that device.
pub(crate) unsafe fn forward(
    backend: &dyn Backend,
    problem: &Problem,
    kernel: ForwardKernel,
    stream: RawStream,
) -> Result<(), Error> {
    match kernel {
        ForwardKernel::Ampere(variant) => {
            let (params, blocks) = problem.launch_params(problem.m_blocks(variant.block_m), 1)?;
            // SAFETY: the caller vouches for the memory; the parameters describe none beyond it (Problem's invariant).
            unsafe { backend.launch(&variant.spec(), params.as_bytes(), blocks, stream)? }
        }
        ForwardKernel::Hopper(variant) => {
            let HopperForward {
                maps,
                forward,
                tiles,
                packed_heads,
            } = problem.hopper_forward(variant)?;
            let [q, k, v, out] = encode(backend, &maps)?;
            let params = HopperFwdParams {
                q,
                k,
                v,
                out,
                forward,
                tiles,
                packed_heads,
                reserved: [0; 2],
            };
            let blocks = tiles.min(backend.limits().multiprocessors);
            // SAFETY: as above; the maps are of the same matrices.
            unsafe { backend.launch(&variant.spec(), params.as_bytes(), blocks, stream)? }
        }
    }
    Ok(())
}

/// Enqueues the launches of a backward pass.
///
/// # Safety
///
/// As [`forward`], and the workspace of the plan is live memory of the device as well.
pub(crate) unsafe fn backward(
    backend: &dyn Backend,
    plan: &BackwardPlan,
    stream: RawStream,
) -> Result<(), BackendError> {
    // Before the first launch: what is refused has not run in part.
    let hopper = match &plan.maps {
        None => None,
        Some(maps) => {
            let [q, k, v, d_out] = encode(backend, maps)?;
            let backward = plan.params;
            Some(HopperBwdParams {
                q,
                k,
                v,
                d_out,
                backward,
                reserved: [0; 2],
            })
        }
    };
    for (kernel, blocks) in &plan.launches {
        let params = match (kernel, &hopper) {
            (KernelVariant::HopperBackward(_), Some(params)) => params.as_bytes(),
            _ => plan.params.as_bytes(),
        };
        // SAFETY: the caller vouches for the memory; the parameters describe none beyond it (BackwardProblem's
        // invariant).
        unsafe { backend.launch(&kernel.spec(), params, *blocks, stream)? };
    }
    Ok(())
}

fn encode(backend: &dyn Backend, maps: &HopperMaps) -> Result<[TensorMap; 4], BackendError> {
    let [a, b, c, d] = maps.each_ref().map(|tiling| backend.encode(tiling));
    Ok([a?, b?, c?, d?])
}
