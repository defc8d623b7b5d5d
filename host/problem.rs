//! The one place where arguments are checked. A [`Problem`] that exists can be launched: shapes agree, every element
//! has a 64-bit address, and neither output overlaps itself, the other or an input.

use abi::{Dtype, FwdParams, FwdVariant, Strided};
use thiserror::Error;

use crate::layout;
use crate::raw::{RawForward, RawTensor};

/// Largest head_dim that kernels exist for.
pub(crate) const MAX_HEAD_DIM: usize = 256;

/// Extents travel to the kernels as 32-bit numbers and take part in signed arithmetic there.
const MAX_EXTENT: usize = i32::MAX as usize;

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

/// A checked forward problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub dtype: Dtype,
    pub is_causal: bool,
    pub head_dim: u32,
    /// Whether every pointer and stride of q, k, v and out is a multiple of 8 elements.
    pub is_vectorizable: bool,
    batch: u32,
    /// Everything but `m_blocks`, which depends on the variant.
    params: FwdParams,
}

impl Problem {
    /// Checks every rule; see [`ProblemError`] for them.
    pub(crate) fn new(args: &RawForward) -> Result<Problem, ProblemError> {
        let softmax_scale =
            check_inputs(args.q.shape, args.k.shape, args.v.shape, args.softmax_scale)?;
        check_output_shapes(args)?;
        let [batch, seqlen_q, num_heads, head_dim] = args.q.shape;
        let [_, seqlen_k, num_heads_k, _] = args.k.shape;
        check_memory(args)?;
        // Extents fit: check_inputs has compared them with MAX_EXTENT.
        let [q, k, v, out] = [args.q, args.k, args.v, args.out].map(strided);
        let params = FwdParams {
            q,
            k,
            v,
            out,
            lse: args.lse.ptr,
            softmax_scale,
            seqlen_q: seqlen_q as u32,
            seqlen_k: seqlen_k as u32,
            head_dim: head_dim as u32,
            num_heads: num_heads as u32,
            heads_per_group: num_heads.checked_div(num_heads_k).unwrap_or(1) as u32,
            m_blocks: 0,
            is_causal: u32::from(args.is_causal),
        };
        Ok(Problem {
            dtype: args.dtype,
            is_causal: args.is_causal,
            head_dim: params.head_dim,
            is_vectorizable: [q, k, v, out].iter().all(is_vectorizable),
            batch: batch as u32,
            params,
        })
    }

    /// Whether the output has no element, so that there is nothing to launch.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch == 0 || self.params.num_heads == 0 || self.params.seqlen_q == 0
    }

    /// What a variant is launched with: its parameters and the number of blocks.
    pub(crate) fn launch_params(
        &self,
        variant: &FwdVariant,
    ) -> Result<(FwdParams, u32), ProblemError> {
        let m_blocks = self.params.seqlen_q.div_ceil(variant.block_m);
        let value =
            u128::from(m_blocks) * u128::from(self.params.num_heads) * u128::from(self.batch);
        // CUDA's limit on the x extent of a grid.
        let limit = i32::MAX as u128;
        if value > limit {
            return Err(ProblemError::TooLarge {
                what: "number of blocks",
                value,
                limit,
            });
        }
        Ok((
            FwdParams {
                m_blocks,
                ..self.params
            },
            value as u32,
        ))
    }
}

/// Checks all that concerns only the inputs' shapes and the scale; returns the scale to use.
pub(crate) fn check_inputs(
    q: [usize; 4],
    k: [usize; 4],
    v: [usize; 4],
    softmax_scale: Option<f32>,
) -> Result<f32, ProblemError> {
    let [batch, seqlen_q, num_heads, head_dim] = q;
    let [_, seqlen_k, num_heads_k, _] = k;
    same("k", "q", "batch", k[0], batch)?;
    same("k", "q", "head_dim", k[3], head_dim)?;
    same("v", "k", "batch", v[0], batch)?;
    same("v", "k", "seqlen", v[1], seqlen_k)?;
    same("v", "k", "num_heads_k", v[2], num_heads_k)?;
    same("v", "k", "head_dim", v[3], head_dim)?;
    if head_dim > MAX_HEAD_DIM {
        return Err(ProblemError::HeadDimTooLarge(head_dim));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(8) {
        return Err(ProblemError::HeadDimNotMultipleOf8(head_dim));
    }
    // `is_multiple_of(0)` holds for 0 only: no key heads are fine without query heads.
    if !num_heads.is_multiple_of(num_heads_k) {
        return Err(ProblemError::HeadGroups {
            num_heads,
            num_heads_k,
        });
    }
    let extents = [
        ("batch", batch),
        ("seqlen_q", seqlen_q),
        ("seqlen_k", seqlen_k),
        ("num_heads", num_heads),
    ];
    for (what, value) in extents {
        if value > MAX_EXTENT {
            return Err(ProblemError::TooLarge {
                what,
                value: value as u128,
                limit: MAX_EXTENT as u128,
            });
        }
    }
    let softmax_scale = softmax_scale.unwrap_or_else(|| 1.0 / (head_dim as f32).sqrt());
    // The kernels fold log2(e) into the scale.
    match (softmax_scale * std::f32::consts::LOG2_E).is_finite() {
        true => Ok(softmax_scale),
        false => Err(ProblemError::ScaleNotFinite(softmax_scale)),
    }
}

fn check_output_shapes(args: &RawForward) -> Result<(), ProblemError> {
    let [batch, seqlen_q, num_heads, head_dim] = args.q.shape;
    let [out, lse] = [args.out.shape.as_slice(), args.lse.shape.as_slice()];
    same("out", "q", "batch", out[0], batch)?;
    same("out", "q", "seqlen", out[1], seqlen_q)?;
    same("out", "q", "num_heads", out[2], num_heads)?;
    same("out", "q", "head_dim", out[3], head_dim)?;
    same("lse", "q", "batch", lse[0], batch)?;
    same("lse", "q", "num_heads", lse[1], num_heads)?;
    same("lse", "q", "seqlen", lse[2], seqlen_q)
}

fn same(
    tensor: &'static str,
    other: &'static str,
    dimension: &'static str,
    got: usize,
    want: usize,
) -> Result<(), ProblemError> {
    match got == want {
        true => Ok(()),
        false => Err(ProblemError::Mismatch {
            tensor,
            other,
            dimension,
            got,
            want,
        }),
    }
}

fn check_memory(args: &RawForward) -> Result<(), ProblemError> {
    let named = [
        ("q", args.q),
        ("k", args.k),
        ("v", args.v),
        ("out", args.out),
    ];
    let mut ranges = Vec::with_capacity(5);
    for (tensor, raw) in named {
        ranges.push((tensor, byte_range(tensor, &raw, 2)?));
        let stride = raw.strides[3];
        if stride != 1 {
            return Err(ProblemError::LastStride { tensor, stride });
        }
    }
    let want = layout::contiguous_strides(&args.lse.shape);
    let (want_strides, got_strides) = (
        significant(&args.lse.shape, want),
        significant(&args.lse.shape, args.lse.strides),
    );
    if want_strides != got_strides {
        return Err(ProblemError::LseStrides {
            got: args.lse.strides,
            want,
        });
    }
    ranges.push(("lse", byte_range("lse", &args.lse, 4)?));
    if !layout::elements_are_distinct(&args.out.shape, &args.out.strides) {
        return Err(ProblemError::OutOverlapsItself {
            shape: args.out.shape,
            strides: args.out.strides,
        });
    }
    for &(output, written) in &ranges[3..] {
        for &(other, range) in ranges.iter().filter(|(other, _)| *other != output) {
            // Compares whole ranges, so it also refuses outputs that fill the gaps of a strided input.
            if matches!((written, range), (Some(a), Some(b)) if a.0 <= b.1 && b.0 <= a.1) {
                return Err(ProblemError::Aliased { output, other });
            }
        }
    }
    Ok(())
}

/// First and last byte of a tensor; `None` when it has no element.
fn byte_range<const N: usize>(
    tensor: &'static str,
    raw: &RawTensor<N>,
    bytes: u64,
) -> Result<Option<(u64, u64)>, ProblemError> {
    let Some((low, high)) = layout::span(&raw.shape, &raw.strides) else {
        return Ok(None);
    };
    if raw.ptr == 0 || raw.ptr % bytes != 0 {
        return Err(ProblemError::Pointer {
            tensor,
            ptr: raw.ptr,
            bytes,
        });
    }
    let address = |offset: i128| {
        offset
            .saturating_mul(bytes.into())
            .saturating_add(raw.ptr.into())
    };
    match (
        u64::try_from(address(low)),
        u64::try_from(address(high).saturating_add(i128::from(bytes) - 1)),
    ) {
        (Ok(first), Ok(last)) => Ok(Some((first, last))),
        _ => {
            let (shape, strides) = (raw.shape.to_vec(), raw.strides.to_vec());
            Err(ProblemError::AddressRange {
                tensor,
                shape,
                strides,
            })
        }
    }
}

/// Strides with 0 where only index 0 exists: what such a stride says never matters.
fn significant<const N: usize>(shape: &[usize; N], strides: [i64; N]) -> [i64; N] {
    std::array::from_fn(|i| if shape[i] > 1 { strides[i] } else { 0 })
}

fn strided(raw: RawTensor) -> Strided {
    let [batch_stride, row_stride, head_stride, _] = significant(&raw.shape, raw.strides);
    Strided {
        ptr: raw.ptr,
        batch_stride,
        row_stride,
        head_stride,
    }
}

fn is_vectorizable(tensor: &Strided) -> bool {
    tensor.ptr % 16 == 0
        && [tensor.batch_stride, tensor.row_stride, tensor.head_stride]
            .iter()
            .all(|s| s % 8 == 0)
}
