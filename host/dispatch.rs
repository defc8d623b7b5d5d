//! From a checked problem to a row of the manifest: [`eligible`] says which rows could compute it, [`preferred`]
//! which one does. Pure: no device is asked, nothing is measured.

use abi::{
    Arch, BWD_VARIANTS, BwdStep, BwdVariant, CopyKind, Dtype, FWD_VARIANTS, FwdVariant,
    HOPPER_BWD_VARIANTS, HOPPER_FWD_VARIANTS, HopperBwdVariant, HopperFwdVariant, HopperScores,
    HopperVariant, KernelSpec, KernelVariant, ScoreKind,
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
    /// Compiled for a softcap.
    #[error("it computes scores with a softcap only, without ALiBi, bias or dropout")]
    Softcap,
    /// Reads 16 bytes at a time.
    #[error("a pointer or stride is not a multiple of 8 elements")]
    Alignment,
    /// Copies by tensor maps, which step forwards by less than 2^40 bytes.
    #[error(
        "a stride is {0} elements, and must be more than 0 and less than 2^39 where there is more than one index"
    )]
    Stride(i64),
    /// Copies by tensor maps, which there are none of for nothing.
    #[error("a tensor has no element")]
    Empty,
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
    pub scores: Scores,
    /// Whether its matrices can be copied 16 bytes at a time.
    pub is_vectorizable: bool,
    /// Whether its matrices can be copied by tensor maps, and the rule against it.
    pub tensor_maps: Result<(), Rule>,
    /// Whether causal or a window hides keys. Every kernel can do that; it says which tiles are best.
    pub is_masked: bool,
}

/// What a problem does to scores, or a kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scores {
    /// softmax_scale · Q·Kᵀ.
    Plain,
    /// That with a softcap.
    Softcap,
    /// All of softcap, ALiBi, bias and dropout: any of them, or none.
    Any,
}

/// How a kernel moves tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    Element,
    Vector,
    /// By tensor maps; what it writes in another way 16 bytes at a time.
    Tensor,
}

/// What dispatch knows of a row of the manifest.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    dtype: Dtype,
    scores: Scores,
    copies: Copies,
    head_dim: u32,
    /// Keys of a tile.
    block_n: u32,
    spec: KernelSpec,
}

/// A kernel that computes a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardKernel {
    Ampere(&'static FwdVariant),
    Hopper(&'static HopperFwdVariant),
}

/// A kernel that computes d_k and d_v, and its part of d_q.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MainKernel {
    Ampere(&'static BwdVariant),
    Hopper(&'static HopperBwdVariant),
}

impl From<ForwardKernel> for KernelVariant {
    fn from(kernel: ForwardKernel) -> KernelVariant {
        match kernel {
            ForwardKernel::Ampere(variant) => KernelVariant::Forward(variant),
            ForwardKernel::Hopper(variant) => KernelVariant::HopperForward(variant),
        }
    }
}

impl From<MainKernel> for KernelVariant {
    fn from(kernel: MainKernel) -> KernelVariant {
        match kernel {
            MainKernel::Ampere(variant) => KernelVariant::Backward(variant),
            MainKernel::Hopper(variant) => KernelVariant::HopperBackward(variant),
        }
    }
}

impl From<ForwardKernel> for Row {
    fn from(kernel: ForwardKernel) -> Row {
        match kernel {
            ForwardKernel::Ampere(v) => Row {
                dtype: v.dtype,
                scores: v.scores.into(),
                copies: v.copy.into(),
                head_dim: v.head_dim,
                block_n: v.block_n,
                spec: v.spec(),
            },
            ForwardKernel::Hopper(v) => Row::hopper(v, v.spec()),
        }
    }
}

impl From<MainKernel> for Row {
    fn from(kernel: MainKernel) -> Row {
        match kernel {
            MainKernel::Ampere(v) => v.into(),
            MainKernel::Hopper(v) => Row::hopper(v, v.spec()),
        }
    }
}

impl From<&BwdVariant> for Row {
    fn from(v: &BwdVariant) -> Row {
        Row {
            dtype: v.dtype,
            scores: v.scores.into(),
            copies: v.copy.into(),
            head_dim: v.head_dim,
            block_n: v.block_n,
            spec: v.spec(),
        }
    }
}

impl Row {
    fn hopper<Pass>(v: &HopperVariant<Pass>, spec: KernelSpec) -> Row {
        Row {
            dtype: v.dtype,
            scores: v.scores.into(),
            copies: Copies::Tensor,
            head_dim: v.head_dim,
            block_n: v.block_n,
            spec,
        }
    }
}

impl From<ScoreKind> for Scores {
    fn from(scores: ScoreKind) -> Scores {
        match scores {
            ScoreKind::Plain => Scores::Plain,
            ScoreKind::Any => Scores::Any,
        }
    }
}

impl From<HopperScores> for Scores {
    fn from(scores: HopperScores) -> Scores {
        match scores {
            HopperScores::Plain => Scores::Plain,
            HopperScores::Softcap => Scores::Softcap,
        }
    }
}

impl From<CopyKind> for Copies {
    fn from(copy: CopyKind) -> Copies {
        match copy {
            CopyKind::Vector => Copies::Vector,
            CopyKind::Element => Copies::Element,
        }
    }
}

/// Whether the kernel of `row` does what is needed on a device with these limits, and the first rule against it.
pub(crate) fn eligible(row: Row, needs: &Needs, device: DeviceLimits) -> Result<(), Rule> {
    if row.dtype != needs.dtype {
        return Err(Rule::Dtype);
    }
    if row.head_dim < needs.head_dim {
        return Err(Rule::HeadDim);
    }
    match (row.scores, needs.scores) {
        (Scores::Plain, Scores::Softcap | Scores::Any) => return Err(Rule::Scores),
        (Scores::Softcap, Scores::Plain | Scores::Any) => return Err(Rule::Softcap),
        _ => {}
    }
    if row.copies != Copies::Element && !needs.is_vectorizable {
        return Err(Rule::Alignment);
    }
    if row.copies == Copies::Tensor {
        needs.tensor_maps?;
    }
    fits(&row.spec, device)
}

/// Whether a device with these limits runs `kernel`, and the first rule against it.
pub(crate) fn fits(kernel: &KernelSpec, device: DeviceLimits) -> Result<(), Rule> {
    let (major, minor) = kernel.arch.compute_capability();
    if !kernel.arch.runs_on(device.compute_capability) {
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
) -> Result<ForwardKernel, DispatchError> {
    preferred(forward_kernels(), &problem.needs(), device)
}

fn forward_kernels() -> impl Iterator<Item = ForwardKernel> + Clone {
    let ampere = FWD_VARIANTS.iter().map(ForwardKernel::Ampere);
    ampere.chain(HOPPER_FWD_VARIANTS.iter().map(ForwardKernel::Hopper))
}

/// The kernels of a backward pass.
pub(crate) fn backward(
    problem: &BackwardProblem,
    device: DeviceLimits,
) -> Result<BackwardKernels, DispatchError> {
    let kernel = |step, needs: Needs| preferred(steps(step), &needs, device);
    Ok(BackwardKernels {
        delta: kernel(BwdStep::Delta, problem.delta_needs())?,
        main: preferred(main_kernels(), &problem.main_needs(), device)?,
        convert_dq: kernel(BwdStep::ConvertDq, problem.convert_dq_needs())?,
        bias: match problem.bias_needs() {
            Some(needs) => Some(kernel(BwdStep::Bias, needs)?),
            None => None,
        },
    })
}

fn main_kernels() -> impl Iterator<Item = MainKernel> + Clone {
    let ampere = steps(BwdStep::Main).map(MainKernel::Ampere);
    ampere.chain(HOPPER_BWD_VARIANTS.iter().map(MainKernel::Hopper))
}

fn steps(step: BwdStep) -> impl Iterator<Item = &'static BwdVariant> + Clone {
    BWD_VARIANTS.iter().filter(move |v| v.step == step)
}

/// The eligible row for the newest architecture, then that with the narrowest heads (padding is wasted work), then
/// vector copies, then the least that is done to scores, then the largest key tile or, under a mask, the smallest.
///
/// The architecture comes first: where Hopper has no kernel of a width, as of head_dim 32, the next wider one for
/// Hopper is taken, as FlashAttention-3 does.
///
/// A larger key tile has fewer steps, and what a step does once (O shrinks, warpgroups take turns) is done less often:
/// at head_dim 128 373.1 instructions outside the tensor cores per MFLOP with 176 keys and 407.2 with 128. But of a
/// tile that a mask cuts, all is computed and part is thrown away: on the diagonal of a causal mask half a tile per
/// query tile on average. FlashAttention-3 has the same two tiles and chooses alike.
fn preferred<K>(
    kernels: impl Iterator<Item = K> + Clone,
    needs: &Needs,
    device: DeviceLimits,
) -> Result<K, DispatchError>
where
    K: Copy + Into<Row>,
{
    let cost = |row: Row| {
        (
            std::cmp::Reverse(row.spec.arch),
            row.head_dim,
            row.copies == Copies::Element,
            row.scores == Scores::Any,
            match needs.is_masked {
                true => i64::from(row.block_n),
                false => -i64::from(row.block_n),
            },
        )
    };
    let fitting = kernels
        .clone()
        .filter(|&kernel| eligible(kernel.into(), needs, device).is_ok());
    if let Some(kernel) = fitting.min_by_key(|&kernel| cost(kernel.into())) {
        return Ok(kernel);
    }
    // A device that has none at all lacks what the oldest ones ask for.
    let nearest = kernels
        .map(K::into)
        .filter(|row: &Row| row.spec.arch == Arch::Sm80)
        .filter_map(|row| Some((eligible(row, needs, device).err()?, row)))
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
mod tests;
