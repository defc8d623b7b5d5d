//! A problem on one line: its inputs, the plain formula, and the options of the drop-in for it.

use candle_core::{DType, Device, Result, Tensor};
use flash_attention::Arch;
use flash_attention_candle::FlashAttention;

use crate::{emulated, random};

/// What score a hidden key gets in the plain formula.
const HIDDEN: f64 = -1e30;

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub dtype: DType,
    pub arch: Arch,
    pub batch: usize,
    pub seqlens: [usize; 2],
    pub heads: [usize; 2],
    pub head_dim: usize,
    pub scale: f32,
    pub window: [Option<usize>; 2],
    pub softcap: f32,
    pub alibi: bool,
}

/// f16 on sm_80: two entries, 37 queries and keys, two heads of 32, without a mask.
pub const PLAIN: Case = Case {
    dtype: DType::F16,
    arch: Arch::Sm80,
    batch: 2,
    seqlens: [37, 37],
    heads: [2, 2],
    head_dim: 32,
    scale: 0.3,
    window: [None, None],
    softcap: 0.,
    alibi: false,
};

pub const CAUSAL: [Option<usize>; 2] = [None, Some(0)];

impl Case {
    /// q, k and v, f32, rounded to `dtype`.
    pub fn inputs(&self) -> Result<[Tensor; 3]> {
        let [seqlen_q, seqlen_k] = self.seqlens;
        let [num_heads, num_heads_k] = self.heads;
        let q = [self.batch, seqlen_q, num_heads, self.head_dim];
        let k = [self.batch, seqlen_k, num_heads_k, self.head_dim];
        Ok([
            random(1, &q, self.dtype)?,
            random(2, &k, self.dtype)?,
            random(3, &k, self.dtype)?,
        ])
    }

    pub fn in_dtype(&self, inputs: &[Tensor; 3]) -> Result<[Tensor; 3]> {
        let [q, k, v] = inputs.each_ref().map(|x| x.to_dtype(self.dtype));
        Ok([q?, k?, v?])
    }

    /// The options, on a sanitized device.
    pub fn attention(&self) -> Result<FlashAttention> {
        let attention = FlashAttention::new()
            .softmax_scale(self.scale)
            .window(self.window[0], self.window[1])
            .softcap(self.softcap)
            .cpu_device(emulated(self.arch));
        Ok(match self.alibi {
            true => attention.alibi(&self.slopes()?),
            false => attention,
        })
    }

    /// `2^-1`, `2^-2` ... of Press et al., one for each head.
    pub fn slopes(&self) -> Result<Tensor> {
        let slopes: Vec<f32> = (1..=self.heads[0]).map(|h| 0.5f32.powi(h as i32)).collect();
        Tensor::new(slopes, &Device::Cpu)
    }

    /// Output `[batch, seqlen_q, num_heads, head_dim]` and log-sum-exp `[batch, num_heads, seqlen_q]` of f32 tensors by
    /// the plain formula.
    pub fn plain(&self, [q, k, v]: [&Tensor; 3]) -> Result<[Tensor; 2]> {
        let (batch, seqlen_q, num_heads, head_dim) = q.dims4()?;
        let (_, seqlen_k, num_heads_k, _) = k.dims4()?;
        let of_query_heads = |x: &Tensor| {
            let group = num_heads / num_heads_k;
            let x = x.transpose(1, 2)?.unsqueeze(2)?;
            x.broadcast_as((batch, num_heads_k, group, seqlen_k, head_dim))?
                .reshape((batch, num_heads, seqlen_k, head_dim))
        };
        let (k, v) = (of_query_heads(k)?, of_query_heads(v)?);
        let q = q.transpose(1, 2)?.contiguous()?;
        let mut scores = (q.matmul(&k.t()?.contiguous()?)? * f64::from(self.scale))?;
        if self.softcap > 0. {
            let softcap = f64::from(self.softcap);
            scores = ((scores / softcap)?.tanh()? * softcap)?;
        }
        if self.alibi {
            let distances =
                self.over_keys([seqlen_q, seqlen_k], |distance| distance.abs() as f32)?;
            let slopes = self.slopes()?.reshape((num_heads, 1, 1))?;
            scores = scores.broadcast_sub(&slopes.broadcast_mul(&distances)?)?;
        }
        let visible = self.over_keys([seqlen_q, seqlen_k], |distance| {
            f32::from(self.sees(distance))
        })?;
        let scores = scores.broadcast_add(&visible.affine(-HIDDEN, HIDDEN)?)?;
        let largest = scores.max_keepdim(3)?.detach();
        let p = scores
            .broadcast_sub(&largest)?
            .exp()?
            .broadcast_mul(&visible)?;
        let sum = p.sum_keepdim(3)?;
        let is_empty = sum.eq(0f32)?.to_dtype(DType::F32)?;
        let out = p.matmul(&v)?.broadcast_div(&(&sum + is_empty)?)?;
        let lse = (sum.log()? + largest)?.squeeze(3)?;
        Ok([out.transpose(1, 2)?, lse])
    }

    /// A function of how far a key is to the right of the diagonal, for all queries and keys.
    fn over_keys(
        &self,
        [seqlen_q, seqlen_k]: [usize; 2],
        f: impl Fn(i64) -> f32,
    ) -> Result<Tensor> {
        let diagonal = seqlen_k as i64 - seqlen_q as i64;
        let mut data = Vec::new();
        for i in 0..seqlen_q as i64 {
            data.extend((0..seqlen_k as i64).map(|j| f(j - i - diagonal)));
        }
        Tensor::from_vec(data, (seqlen_q, seqlen_k), &Device::Cpu)
    }

    fn sees(&self, distance: i64) -> bool {
        let [left, right] = self.window.map(|side| side.map(|keys| keys as i64));
        left.is_none_or(|left| -distance <= left) && right.is_none_or(|right| distance <= right)
    }
}
