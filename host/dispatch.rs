//! From a checked problem to a row of the manifest: [`eligible`] says which rows could compute it, [`preferred`]
//! which one does. Pure: no device is asked, nothing is measured.

use abi::{
    BWD_VARIANTS, BwdStep, BwdVariant, CopyKind, Dtype, FWD_VARIANTS, FwdVariant, KernelSpec,
    ScoreKind,
};
use thiserror::Error;

use crate::backend::DeviceLimits;
use crate::problem::{BackwardKernels, BackwardProblem, Problem};

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
    /// Compiled without softcap, ALiBi, bias and dropout.
    #[error("it computes plain scores only, without softcap, ALiBi, bias or dropout")]
    Scores,
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

/// What a kernel must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub dtype: Dtype,
    pub head_dim: u32,
    /// Whether scores are anything but softmax_scale · Q·Kᵀ, or probabilities are dropped.
    pub modifies_scores: bool,
    /// Whether its matrices can be copied 16 bytes at a time.
    pub is_vectorizable: bool,
}

/// What dispatch knows of a row of the manifest.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    dtype: Dtype,
    scores: ScoreKind,
    copy: CopyKind,
    head_dim: u32,
    spec: KernelSpec,
}

impl From<&FwdVariant> for Row {
    fn from(variant: &FwdVariant) -> Row {
        Row {
            dtype: variant.dtype,
            scores: variant.scores,
            copy: variant.copy,
            head_dim: variant.head_dim,
            spec: variant.spec(),
        }
    }
}

impl From<&BwdVariant> for Row {
    fn from(variant: &BwdVariant) -> Row {
        Row {
            dtype: variant.dtype,
            scores: variant.scores,
            copy: variant.copy,
            head_dim: variant.head_dim,
            spec: variant.spec(),
        }
    }
}

/// Whether the kernel of `row` does what is needed on a device with these limits, and the first rule against it.
pub(crate) fn eligible(row: Row, needs: &Needs, device: DeviceLimits) -> Result<(), Rule> {
    if row.dtype != needs.dtype {
        Err(Rule::Dtype)
    } else if row.head_dim < needs.head_dim {
        Err(Rule::HeadDim)
    } else if row.scores == ScoreKind::Plain && needs.modifies_scores {
        Err(Rule::Scores)
    } else if row.copy == CopyKind::Vector && !needs.is_vectorizable {
        Err(Rule::Alignment)
    } else {
        fits(&row.spec, device)
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

/// The forward kernel for a problem.
pub(crate) fn forward(
    problem: &Problem,
    device: DeviceLimits,
) -> Result<&'static FwdVariant, DispatchError> {
    preferred(FWD_VARIANTS, |_| true, &problem.needs(), device)
}

/// The kernels of a backward pass.
pub(crate) fn backward(
    problem: &BackwardProblem,
    device: DeviceLimits,
) -> Result<BackwardKernels, DispatchError> {
    let kernel = |step, needs: Needs| {
        preferred(
            BWD_VARIANTS,
            |v: &BwdVariant| v.step == step,
            &needs,
            device,
        )
    };
    Ok(BackwardKernels {
        delta: kernel(BwdStep::Delta, problem.delta_needs())?,
        main: kernel(BwdStep::Main, problem.main_needs())?,
        convert_dq: kernel(BwdStep::ConvertDq, problem.convert_dq_needs())?,
        bias: match problem.bias_needs() {
            Some(needs) => Some(kernel(BwdStep::Bias, needs)?),
            None => None,
        },
    })
}

/// The eligible row with the narrowest heads (padding is wasted work), then vector copies, then plain scores, then the
/// newest architecture.
fn preferred<V>(
    rows: &'static [V],
    is_candidate: impl Fn(&V) -> bool,
    needs: &Needs,
    device: DeviceLimits,
) -> Result<&'static V, DispatchError>
where
    for<'a> Row: From<&'a V>,
{
    let cost = |row: Row| {
        (
            row.head_dim,
            row.copy == CopyKind::Element,
            row.scores == ScoreKind::Any,
            std::cmp::Reverse(row.spec.arch),
        )
    };
    let candidates = || rows.iter().filter(|v| is_candidate(v));
    let fitting = candidates().filter(|&v| eligible(v.into(), needs, device).is_ok());
    if let Some(variant) = fitting.min_by_key(|&v| cost(v.into())) {
        return Ok(variant);
    }
    let nearest = candidates()
        .filter_map(|v| Some((eligible(v.into(), needs, device).err()?, Row::from(v))))
        .max_by_key(|(rule, _)| *rule);
    let (rule, row) = nearest.expect("the manifest has rows of every kind");
    Err(refusal(needs, device, row.spec.entry, rule))
}

/// The error for a problem of which even the kernel `nearest` breaks `rule` on a device.
pub(crate) fn refusal(
    needs: &Needs,
    device: DeviceLimits,
    nearest: &'static str,
    rule: Rule,
) -> DispatchError {
    DispatchError {
        dtype: needs.dtype,
        head_dim: needs.head_dim,
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

    fn problem(dtype: Dtype, head_dim: usize, softcap: f32, row_stride: i64) -> Problem {
        let tensor = |ptr| RawTensor {
            ptr,
            shape: [1, 5, 1, head_dim],
            strides: [0, row_stride, 0, 1],
        };
        let lse = RawTensor {
            ptr: 0x10000,
            shape: [1, 1, 5],
            strides: [5, 5, 1],
        };
        let mut args = RawForward::new(dtype, [tensor(0x1000); 3], tensor(0x8000), lse);
        args.options.softcap = softcap;
        Problem::new(&args).unwrap()
    }

    #[test]
    fn every_problem_has_a_kernel_and_it_is_the_narrowest() {
        for dtype in [Dtype::F16, Dtype::Bf16] {
            for head_dim in (8..=256).step_by(8) {
                for (softcap, row_stride) in [(0.0, 256), (9.0, 256), (0.0, 257), (9.0, 257)] {
                    let problem = problem(dtype, head_dim, softcap, row_stride);
                    let variant = forward(&problem, AMPERE).unwrap();
                    let is_eligible =
                        |v: &FwdVariant| eligible(v.into(), &problem.needs(), AMPERE).is_ok();
                    assert!(is_eligible(variant));
                    assert_eq!(
                        variant.copy == CopyKind::Vector,
                        row_stride == 256,
                        "{}",
                        variant.entry
                    );
                    let is_narrower = |v: &FwdVariant| v.head_dim < variant.head_dim;
                    let narrower = FWD_VARIANTS
                        .iter()
                        .find(|v| is_narrower(v) && is_eligible(v));
                    assert_eq!(narrower, None, "{} was preferred", variant.entry);
                }
            }
        }
    }

    #[test]
    fn every_variant_is_preferred_for_some_problem() {
        for variant in FWD_VARIANTS {
            let row_stride = match variant.copy {
                CopyKind::Vector => 256,
                CopyKind::Element => 257,
            };
            let softcap = match variant.scores {
                ScoreKind::Plain => 0.0,
                ScoreKind::Any => 30.0,
            };
            let head_dim = variant.head_dim as usize;
            let problem = problem(variant.dtype, head_dim, softcap, row_stride);
            assert_eq!(forward(&problem, AMPERE).unwrap().entry, variant.entry);
        }
    }

    #[test]
    fn an_old_device_is_refused_with_the_capability_it_lacks() {
        let turing = DeviceLimits {
            compute_capability: (7, 5),
            ..AMPERE
        };
        let problem = problem(Dtype::F16, 64, 0.0, 64);
        let error = forward(&problem, turing).unwrap_err();
        assert_eq!(error.rule, Rule::Arch(8, 0));
        assert!(
            error.to_string().contains("needs compute capability 8.0"),
            "{error}"
        );
        let small = DeviceLimits {
            max_shared_bytes: 1024,
            ..AMPERE
        };
        let error = forward(&problem, small).unwrap_err();
        assert!(matches!(error.rule, Rule::SharedMemory(_)), "{error}");
    }
}
