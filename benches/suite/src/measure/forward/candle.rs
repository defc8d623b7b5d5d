//! candle-nn's flash attention for CPUs, in f32 and in bf16.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};
use flash_attention::bf16;

use crate::SuiteError;
use crate::measure::inputs::inputs;
use crate::timing::Contender;

const F32: &str = "candle-nn 0.11.1 f32, native";
const BF16: &str = "candle-nn 0.11.1 bf16, native";

/// What candle takes part with.
pub(super) struct Candle {
    /// Whose output it is.
    pub name: String,
    /// In f32, `[batch, seqlen, heads, head_dim]`.
    pub out: Vec<f32>,
    /// Ready to be timed.
    pub contenders: Vec<Contender<'static>>,
}

/// Computes [`inputs`] of a shape in f32, and prepares the same for the clock in f32 and bf16.
pub(super) fn contenders(shape: [usize; 4]) -> std::result::Result<Candle, SuiteError> {
    let attempt = || {
        let (f32s, bf16s) = (tensors(shape, DType::F32)?, tensors(shape, DType::BF16)?);
        // candle answers [batch, heads, seqlen, head_dim].
        let out = in_f32(&f32s)?.transpose(1, 2)?.flatten_all()?.to_vec1()?;
        Ok(Candle {
            name: F32.to_owned(),
            out,
            contenders: vec![
                Contender::new(F32, move || in_f32(&f32s).map(drop).map_err(failed)),
                Contender::new(BF16, move || in_bf16(&bf16s).map(drop).map_err(failed)),
            ],
        })
    };
    attempt().map_err(failed)
}

fn tensors(shape: [usize; 4], dtype: DType) -> Result<[Tensor; 3]> {
    let [q, k, v] = inputs(shape);
    let tensor =
        |values: &[bf16]| Tensor::from_slice(values, &shape, &Device::Cpu)?.to_dtype(dtype);
    Ok([tensor(&q)?, tensor(&k)?, tensor(&v)?])
}

fn in_f32([q, k, v]: &[Tensor; 3]) -> Result<Tensor> {
    flash_attn::<f32>(q, k, v, scale(q), AttnMask::None, None, None)
}

fn in_bf16([q, k, v]: &[Tensor; 3]) -> Result<Tensor> {
    flash_attn::<bf16>(q, k, v, scale(q), AttnMask::None, None, None)
}

/// 1 / sqrt(head_dim), as our kernels have it where they are not told.
fn scale(q: &Tensor) -> f32 {
    let head_dim = q.dims().last().copied().unwrap_or(1);
    1.0 / (head_dim as f32).sqrt()
}

fn failed(error: candle_core::Error) -> SuiteError {
    SuiteError::Peer {
        name: "candle-nn",
        message: error.to_string(),
    }
}
