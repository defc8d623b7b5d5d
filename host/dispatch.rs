//! From a checked problem to a row of the manifest: [`eligible`] says which rows could compute it, [`preferred`]
//! which one does. Pure: no device is asked, nothing is measured.

use abi::{CopyKind, Dtype, FWD_VARIANTS, FwdVariant, KernelSpec, MaskKind};
use thiserror::Error;

use crate::backend::DeviceLimits;
use crate::problem::Problem;

/// Why a variant cannot compute a problem on a device. Ordered from "never" to "not on this device", so that the
/// largest of all rows' rules is the one worth reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Rule {
    /// Compiled for another element type.
    #[error("it is compiled for another dtype")]
    Dtype,
    /// Compiled for narrower heads.
    #[error("its head_dim is smaller")]
    HeadDim,
    /// Compiled for the other mask.
    #[error("it is compiled for another mask")]
    Mask,
    /// Reads 16 bytes at a time.
    #[error("a pointer or stride is not a multiple of 8 elements")]
    Alignment,
    /// The device does not know its instructions.
    #[error("it needs compute capability {0}.{1}")]
    Arch(u32, u32),
    /// Its tiles do not fit.
    #[error("it needs {0} bytes of shared memory per block")]
    SharedMemory(u32),
}

/// No compiled kernel can compute a problem on a device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no compiled kernel fits {} head_dim {head_dim} on a device of compute capability {}.{} with {max_shared_bytes} \
     bytes of shared memory per block; the nearest is {nearest}: {rule}. Use another device, for instance the \
     emulated one", dtype.name(), compute_capability.0, compute_capability.1
)]
pub struct DispatchError {
    /// Element type of the problem.
    pub dtype: Dtype,
    /// head_dim of the problem.
    pub head_dim: u32,
    /// `(major, minor)` of the device.
    pub compute_capability: (u32, u32),
    /// Bytes of shared memory that the device grants one block.
    pub max_shared_bytes: u32,
    /// Entry of the variant that came closest.
    pub nearest: &'static str,
    /// The rule that it breaks.
    pub rule: Rule,
}

/// Whether `variant` computes `problem` correctly on a device with these limits, and the first rule against it.
pub(crate) fn eligible(
    variant: &FwdVariant,
    problem: &Problem,
    device: DeviceLimits,
) -> Result<(), Rule> {
    let mask_fits = match variant.mask {
        MaskKind::Full => !problem.is_causal,
        MaskKind::Causal => problem.is_causal,
        MaskKind::Either => true,
    };
    if variant.dtype != problem.dtype {
        Err(Rule::Dtype)
    } else if variant.head_dim < problem.head_dim {
        Err(Rule::HeadDim)
    } else if !mask_fits {
        Err(Rule::Mask)
    } else if variant.copy == CopyKind::Vector && !problem.is_vectorizable {
        Err(Rule::Alignment)
    } else {
        fits(&variant.spec(), device)
    }
}

/// Whether a device with these limits runs `kernel`, and the first rule against it.
pub(crate) fn fits(kernel: &KernelSpec, device: DeviceLimits) -> Result<(), Rule> {
    let (major, minor) = kernel.arch.compute_capability();
    if device.compute_capability < (major, minor) {
        Err(Rule::Arch(major, minor))
    } else if device.max_shared_bytes < kernel.shared_bytes {
        Err(Rule::SharedMemory(kernel.shared_bytes))
    } else {
        Ok(())
    }
}

/// The eligible variant with the narrowest heads (padding is wasted work), then vector copies, then a mask known at
/// compile time, then the newest architecture.
pub(crate) fn preferred(
    problem: &Problem,
    device: DeviceLimits,
) -> Result<&'static FwdVariant, DispatchError> {
    let cost = |v: &FwdVariant| {
        (
            v.head_dim,
            v.copy == CopyKind::Element,
            v.mask == MaskKind::Either,
            std::cmp::Reverse(v.arch),
        )
    };
    let (fitting, refused): (Vec<_>, Vec<_>) = FWD_VARIANTS
        .iter()
        .map(|variant| (variant, eligible(variant, problem, device)))
        .partition(|(_, r)| r.is_ok());
    if let Some((variant, _)) = fitting.into_iter().min_by_key(|(variant, _)| cost(variant)) {
        return Ok(variant);
    }
    let nearest = refused
        .into_iter()
        .filter_map(|(variant, r)| Some((r.err()?, variant)))
        .max_by_key(|(rule, _)| *rule);
    let (rule, variant) = nearest.expect("the manifest has rows");
    Err(refusal(problem, device, variant.entry, rule))
}

/// The error for a problem of which even the kernel `nearest` breaks `rule` on a device.
pub(crate) fn refusal(
    problem: &Problem,
    device: DeviceLimits,
    nearest: &'static str,
    rule: Rule,
) -> DispatchError {
    DispatchError {
        dtype: problem.dtype,
        head_dim: problem.head_dim,
        compute_capability: device.compute_capability,
        max_shared_bytes: device.max_shared_bytes,
        nearest,
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{RawForward, RawTensor};

    const AMPERE: DeviceLimits = DeviceLimits {
        compute_capability: (8, 0),
        max_shared_bytes: 99 * 1024,
    };

    fn problem(dtype: Dtype, head_dim: usize, is_causal: bool, row_stride: i64) -> Problem {
        let tensor = |ptr| RawTensor {
            ptr,
            shape: [1, 5, 1, head_dim],
            strides: [0, row_stride, 0, 1],
        };
        Problem::new(&RawForward {
            dtype,
            q: tensor(0x1000),
            k: tensor(0x1000),
            v: tensor(0x1000),
            out: tensor(0x8000),
            lse: RawTensor {
                ptr: 0x10000,
                shape: [1, 1, 5],
                strides: [5, 5, 1],
            },
            is_causal,
            softmax_scale: None,
            stream: std::ptr::null_mut(),
        })
        .unwrap()
    }

    #[test]
    fn every_problem_has_a_kernel_and_it_is_the_narrowest() {
        for dtype in [Dtype::F16, Dtype::Bf16] {
            for head_dim in (8..=256).step_by(8) {
                for (is_causal, row_stride) in
                    [(false, 256), (true, 256), (false, 257), (true, 257)]
                {
                    let problem = problem(dtype, head_dim, is_causal, row_stride);
                    let variant = preferred(&problem, AMPERE).unwrap();
                    assert_eq!(eligible(variant, &problem, AMPERE), Ok(()));
                    assert_eq!(
                        variant.copy == CopyKind::Vector,
                        row_stride == 256,
                        "{}",
                        variant.entry
                    );
                    let narrower = FWD_VARIANTS.iter().find(|v| {
                        v.head_dim < variant.head_dim && eligible(v, &problem, AMPERE).is_ok()
                    });
                    assert_eq!(narrower, None, "{} was preferred", variant.entry);
                }
            }
        }
    }

    #[test]
    fn every_variant_is_preferred_for_some_problem() {
        for variant in FWD_VARIANTS {
            let row_stride = if variant.copy == CopyKind::Vector {
                256
            } else {
                257
            };
            let is_causal = variant.mask == MaskKind::Causal;
            let problem = problem(
                variant.dtype,
                variant.head_dim as usize,
                is_causal,
                row_stride,
            );
            assert_eq!(preferred(&problem, AMPERE).unwrap().entry, variant.entry);
        }
    }

    #[test]
    fn an_old_device_is_refused_with_the_capability_it_lacks() {
        let turing = DeviceLimits {
            compute_capability: (7, 5),
            ..AMPERE
        };
        let error = preferred(&problem(Dtype::F16, 64, false, 64), turing).unwrap_err();
        assert_eq!(error.rule, Rule::Arch(8, 0));
        assert!(
            error.to_string().contains("needs compute capability 8.0"),
            "{error}"
        );
        let small = DeviceLimits {
            max_shared_bytes: 1024,
            ..AMPERE
        };
        let error = preferred(&problem(Dtype::F16, 64, false, 64), small).unwrap_err();
        assert!(matches!(error.rule, Rule::SharedMemory(_)), "{error}");
    }
}
