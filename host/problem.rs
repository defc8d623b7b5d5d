//! The one place where arguments are checked. A [`Problem`] that exists can be launched: shapes agree, every element
//! has a 64-bit address, and neither output overlaps itself, the other or an input.

use abi::{Dtype, FwdParams, Strided};

use crate::error::ProblemError;
use crate::layout;
use crate::raw::{RawForward, RawTensor};

/// Largest head_dim that kernels exist for.
pub(crate) const MAX_HEAD_DIM: usize = 256;

/// Extents travel to the kernels as 32-bit numbers and take part in signed arithmetic there.
const MAX_EXTENT: usize = i32::MAX as usize;

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

    /// Extents of the matrix of all scores: `[batch, num_heads, seqlen_q, seqlen_k]`.
    pub(crate) fn score_shape(&self) -> [usize; 4] {
        let params = &self.params;
        [
            self.batch,
            params.num_heads,
            params.seqlen_q,
            params.seqlen_k,
        ]
        .map(|extent| extent as usize)
    }

    /// Query tiles of `block_m` rows per head.
    pub(crate) fn m_blocks(&self, block_m: u32) -> u32 {
        self.params.seqlen_q.div_ceil(block_m)
    }

    /// What a kernel is launched with that has `m_blocks * n_blocks` blocks for each query head: the parameters and
    /// the number of blocks.
    pub(crate) fn launch_params(
        &self,
        m_blocks: u32,
        n_blocks: u32,
    ) -> Result<(FwdParams, u32), ProblemError> {
        let heads = u128::from(self.params.num_heads) * u128::from(self.batch);
        let value = u128::from(m_blocks) * u128::from(n_blocks) * heads;
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
    if raw.ptr == 0 || !raw.ptr.is_multiple_of(bytes) {
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
    tensor.ptr.is_multiple_of(16)
        && [tensor.batch_stride, tensor.row_stride, tensor.head_stride]
            .iter()
            .all(|s| s % 8 == 0)
}
