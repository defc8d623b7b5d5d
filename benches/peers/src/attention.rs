//! Forward attention, batch 1, 8 heads, seqlen 1024, head_dim 64: our bf16 kernel on the emulated device against
//! candle-nn's native CPU flash attention in f32 and bf16.

use candle_core::{DType, Device as CandleDevice, Tensor as CandleTensor};
use candle_nn::attention::{AttnMask, flash_attn};
use flash_attention::{Attention, Device, Tensor};
use half::bf16;

use crate::timing::compare;

/// Shape of the comparison.
pub const SEQLEN: usize = 1024;
/// Query and key heads.
pub const HEADS: usize = 8;
/// Elements per head.
pub const HEAD_DIM: usize = 64;

/// Same inputs for all, results compared with candle's f32 within bf16 rounding.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let shape = [1, SEQLEN, HEADS, HEAD_DIM];
    let scale = 1.0 / (HEAD_DIM as f32).sqrt();
    let inputs: [Vec<bf16>; 3] = [1, 2, 3].map(|seed| random(seed, shape.iter().product()));

    let device = Device::emulated();
    let [q, k, v] = [&inputs[0], &inputs[1], &inputs[2]]
        .map(|values| Tensor::<bf16>::from_slice(&device, shape, values));
    let (q, k, v) = (q?, k?, v?);
    let mut ours = Vec::new();

    let f32s = candle_inputs(&inputs, shape, DType::F32)?;
    let bf16s = candle_inputs(&inputs, shape, DType::BF16)?;
    let mut theirs = None;

    println!("forward attention b1 h{HEADS} s{SEQLEN} d{HEAD_DIM}:");
    let timings = compare(
        5,
        vec![
            (
                "candle-nn 0.11.1 f32, native",
                Box::new(|| {
                    let [q, k, v] = &f32s;
                    let out = flash_attn::<f32>(q, k, v, scale, AttnMask::None, None, None);
                    theirs = Some(out.expect("candle computes f32 attention"));
                }),
            ),
            (
                "candle-nn 0.11.1 bf16, native",
                Box::new(|| {
                    let [q, k, v] = &bf16s;
                    flash_attn::<bf16>(q, k, v, scale, AttnMask::None, None, None)
                        .expect("candle computes bf16 attention");
                }),
            ),
            (
                "flash-attention bf16, our PTX emulated",
                Box::new(|| {
                    let forward = Attention::new().softmax_scale(scale).forward(&q, &k, &v);
                    let out = forward.expect("the emulated kernel runs").out;
                    ours = out.to_vec().expect("the output is readable");
                }),
            ),
        ],
    );
    // candle answers [batch, heads, seqlen, head_dim].
    let theirs = theirs
        .ok_or("candle did not run")?
        .transpose(1, 2)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let difference = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| (a.to_f32() - b).abs())
        .fold(0.0, f32::max);
    println!(
        "  emulated takes {:.2} times candle's f32 and {:.2} times its bf16; largest difference {difference:.1e}",
        timings[2].ratio_to(&timings[0]),
        timings[2].ratio_to(&timings[1])
    );
    if difference > 4e-3 {
        return Err("the results differ by more than bf16 rounding".into());
    }
    Ok(())
}

fn candle_inputs(
    inputs: &[Vec<bf16>; 3],
    shape: [usize; 4],
    dtype: DType,
) -> candle_core::Result<[CandleTensor; 3]> {
    let tensor = |values: &[bf16]| {
        CandleTensor::from_slice(values, &shape, &CandleDevice::Cpu)?.to_dtype(dtype)
    };
    Ok([
        tensor(&inputs[0])?,
        tensor(&inputs[1])?,
        tensor(&inputs[2])?,
    ])
}

/// Roughly normal values: sums of four uniform ones (splitmix64).
pub fn random(seed: u64, count: usize) -> Vec<bf16> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|_| bf16::from_f32((uniform() + uniform() + uniform() + uniform()) * 1.732))
        .collect()
}
