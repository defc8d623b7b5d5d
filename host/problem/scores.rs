//! Checks of what happens to scores: softcap, ALiBi, bias, dropout.

use abi::dropout::RANGE;
use abi::{ScoreParams, Strided};

use super::memory::{self, ELEMENT, F32, Memory};
use super::{Extents, same};
use crate::dispatch::Scores;
use crate::error::ProblemError;
use crate::raw::{RawBias, RawForward, RawTensor};

/// What there is when there is nothing.
const NOWHERE: Strided = Strided {
    ptr: 0,
    batch_stride: 0,
    row_stride: 0,
    head_stride: 0,
};

/// Checks slopes, bias and dropout of `args`, and adds what they read to `memory`.
pub(super) fn params(
    args: &RawForward,
    extents: &Extents,
    memory: &mut Memory,
) -> Result<ScoreParams, ProblemError> {
    let mut params = ScoreParams {
        alibi_slopes: 0,
        alibi_batch_stride: 0,
        bias: NOWHERE,
        dropout_seed: 0,
        dropout_offset: 0,
        dropout_threshold: RANGE,
        dropout_scale: 1.0,
        softcap: args.options.softcap,
        bias_is_f32: 0,
    };
    if let Some(slopes) = &args.alibi_slopes {
        check_slopes(slopes, args.q.shape[2], extents)?;
        memory.input("alibi_slopes", slopes, F32)?;
        params.alibi_slopes = slopes.ptr;
        params.alibi_batch_stride = memory::significant(&slopes.shape, slopes.strides)[0];
    }
    if let Some(bias) = &args.bias {
        check_bias("bias", bias, args, extents)?;
        memory.input("bias", &bias.tensor, bias_bytes(bias))?;
        // A bias without elements is read by no row.
        params.bias = memory::bias_strided(bias.tensor);
        params.bias_is_f32 = u32::from(bias.dtype.is_none());
    }
    if let Some(dropout) = &args.options.dropout {
        let threshold = dropout.threshold()?;
        params.dropout_seed = dropout.seed;
        params.dropout_offset = dropout.offset;
        params.dropout_threshold = threshold;
        params.dropout_scale = RANGE as f32 / threshold as f32;
    }
    Ok(params)
}

/// What a kernel must be able to do to scores.
pub(super) fn needed(params: &ScoreParams) -> Scores {
    let is_added_to = params.alibi_slopes != 0 || params.bias.ptr != 0;
    if is_added_to || params.dropout_threshold != RANGE {
        Scores::Any
    } else if params.softcap != 0.0 {
        Scores::Softcap
    } else {
        Scores::Plain
    }
}

pub(super) fn check_softcap(softcap: f32) -> Result<(), ProblemError> {
    match softcap.is_finite() && softcap >= 0.0 {
        true => Ok(()),
        false => Err(ProblemError::Softcap(softcap)),
    }
}

fn check_slopes(
    slopes: &RawTensor<2>,
    num_heads: usize,
    extents: &Extents,
) -> Result<(), ProblemError> {
    same("alibi_slopes", "q", "num_heads", slopes.shape[1], num_heads)?;
    same("alibi_slopes", "q", "batch", slopes.shape[0], extents.batch)
}

/// Checks a bias or its gradient.
pub(super) fn check_bias(
    tensor: &'static str,
    bias: &RawBias,
    args: &RawForward,
    extents: &Extents,
) -> Result<(), ProblemError> {
    if bias.dtype.is_some_and(|dtype| dtype != args.dtype) {
        let want = args.dtype;
        return Err(ProblemError::BiasDtype { tensor, want });
    }
    let [batch, heads, seqlen_q, seqlen_k] = bias.tensor.shape;
    if batch != 1 {
        same(tensor, "q", "batch (or 1)", batch, extents.batch)?;
    }
    if heads != 1 {
        same(tensor, "q", "num_heads (or 1)", heads, args.q.shape[2])?;
    }
    same(tensor, "q", "seqlen", seqlen_q, extents.seqlen_q)?;
    same(tensor, "k", "seqlen", seqlen_k, extents.seqlen_k)
}

pub(super) fn bias_bytes(bias: &RawBias) -> u64 {
    match bias.dtype {
        Some(_) => ELEMENT,
        None => F32,
    }
}
