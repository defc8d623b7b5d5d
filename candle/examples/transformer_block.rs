//! A transformer block with grouped-query attention, trained for one step twice: with attention from candle's own
//! operations, and with the drop-in.
//!
//! `cargo run --release -p flash-attention-candle --example transformer_block` prints how far outputs and gradients of all
//! weights are apart, and fails beyond [`BOUND`].

use std::collections::BTreeMap;
use std::process::ExitCode;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Linear, Module, RmsNorm, VarBuilder, VarMap, linear, ops, rms_norm};
use flash_attention_candle::flash_attn;

const BATCH: usize = 2;
const SEQLEN: usize = 100;
const NUM_HEADS: usize = 4;
const NUM_HEADS_K: usize = 2;
const HEAD_DIM: usize = 32;
const MODEL: usize = NUM_HEADS * HEAD_DIM;

/// Largest difference, as part of the largest magnitude: attention rounds its inputs, outputs and gradients to f16, half
/// a unit in the last place is 2^-11 of a number, and the block adds some hundreds of such errors of either sign.
const BOUND: f32 = 2. / 2048.;

/// Causal attention of q `[batch, seqlen, num_heads, head_dim]` and k, v with fewer heads; same type as q.
type Attend = fn(&Tensor, &Tensor, &Tensor, f32) -> Result<Tensor>;

/// The drop-in, which computes in f16.
fn flash(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32) -> Result<Tensor> {
    let half = |x: &Tensor| x.to_dtype(DType::F16);
    flash_attn(&half(q)?, &half(k)?, &half(v)?, scale, true)?.to_dtype(q.dtype())
}

/// The formula.
fn plain(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32) -> Result<Tensor> {
    let of_query_heads = |x: &Tensor| {
        let group = NUM_HEADS / NUM_HEADS_K;
        x.transpose(1, 2)?
            .unsqueeze(2)?
            .broadcast_as((BATCH, NUM_HEADS_K, group, SEQLEN, HEAD_DIM))?
            .reshape((BATCH, NUM_HEADS, SEQLEN, HEAD_DIM))
    };
    let q = (q.transpose(1, 2)?.contiguous()? * f64::from(scale))?;
    let scores = q.matmul(&of_query_heads(k)?.t()?.contiguous()?)?;
    let hidden: Vec<f32> = (0..SEQLEN * SEQLEN)
        .map(|i| match i % SEQLEN > i / SEQLEN {
            true => f32::NEG_INFINITY,
            false => 0.,
        })
        .collect();
    let hidden = Tensor::from_vec(hidden, (SEQLEN, SEQLEN), q.device())?;
    let p = ops::softmax(&scores.broadcast_add(&hidden)?, 3)?;
    p.matmul(&of_query_heads(v)?)?.transpose(1, 2)
}

struct Block {
    before_attention: RmsNorm,
    qkv: Linear,
    projection: Linear,
    before_mlp: RmsNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(weights: &VarBuilder) -> Result<Block> {
        let qkv = (NUM_HEADS + 2 * NUM_HEADS_K) * HEAD_DIM;
        Ok(Block {
            before_attention: rms_norm(MODEL, 1e-5, weights.pp("before_attention"))?,
            qkv: linear(MODEL, qkv, weights.pp("qkv"))?,
            projection: linear(MODEL, MODEL, weights.pp("projection"))?,
            before_mlp: rms_norm(MODEL, 1e-5, weights.pp("before_mlp"))?,
            up: linear(MODEL, 4 * MODEL, weights.pp("up"))?,
            down: linear(4 * MODEL, MODEL, weights.pp("down"))?,
        })
    }

    fn forward(&self, x: &Tensor, attend: Attend) -> Result<Tensor> {
        let heads = NUM_HEADS + 2 * NUM_HEADS_K;
        let qkv = self.qkv.forward(&self.before_attention.forward_diff(x)?)?;
        let qkv = qkv.reshape((BATCH, SEQLEN, heads, HEAD_DIM))?;
        let q = qkv.narrow(2, 0, NUM_HEADS)?;
        let k = qkv.narrow(2, NUM_HEADS, NUM_HEADS_K)?;
        let v = qkv.narrow(2, NUM_HEADS + NUM_HEADS_K, NUM_HEADS_K)?;
        let out = attend(&q, &k, &v, 1. / (HEAD_DIM as f32).sqrt())?;
        let out = out.contiguous()?.reshape((BATCH, SEQLEN, MODEL))?;
        let x = (x + self.projection.forward(&out)?)?;
        let hidden = self
            .up
            .forward(&self.before_mlp.forward_diff(&x)?)?
            .gelu()?;
        x + self.down.forward(&hidden)?
    }
}

/// Numbers in -spread .. spread by seed.
fn random(seed: u64, shape: &[usize], spread: f32) -> Result<Tensor> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let len = shape.iter().product();
    let data: Vec<f32> = (0..len).map(|_| (rng.f32() * 2. - 1.) * spread).collect();
    Tensor::from_vec(data, shape, &Device::Cpu)
}

/// The output, and the gradient of its mean square distance from `target` for each weight.
fn step(
    block: &Block,
    weights: &BTreeMap<String, Var>,
    [x, target]: [&Tensor; 2],
    attend: Attend,
) -> Result<BTreeMap<String, Tensor>> {
    let out = block.forward(x, attend)?;
    let gradients = (&out - target)?.sqr()?.mean_all()?.backward()?;
    let mut results = BTreeMap::from([("output".to_owned(), out)]);
    for (name, weight) in weights {
        let gradient = gradients.get(weight);
        let gradient =
            gradient.ok_or_else(|| candle_core::Error::msg(format!("{name}: no gradient")))?;
        results.insert(format!("gradient of {name}"), gradient.clone());
    }
    Ok(results)
}

fn main() -> Result<ExitCode> {
    let varmap = VarMap::new();
    let block = Block::new(&VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu))?;
    let weights: BTreeMap<String, Var> = match varmap.data().lock() {
        Ok(weights) => weights.clone().into_iter().collect(),
        Err(_) => return Err(candle_core::Error::msg("the weights are poisoned")),
    };
    for (seed, weight) in (10..).zip(weights.values()) {
        // Norms keep their ones.
        if weight.rank() == 2 {
            weight.set(&random(seed, weight.dims(), 0.2)?)?;
        }
    }
    let inputs = [
        &random(1, &[BATCH, SEQLEN, MODEL], 1.)?,
        &random(2, &[BATCH, SEQLEN, MODEL], 1.)?,
    ];
    let want = step(&block, &weights, inputs, plain)?;
    let got = step(&block, &weights, inputs, flash)?;
    let largest = |x: &Tensor| x.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
    let mut is_close = true;
    for (name, want) in &want {
        let difference = largest(&(&got[name] - want)?)?;
        let magnitude = largest(want)?;
        println!("{name:36} max abs difference {difference:.2e}, max abs {magnitude:.2e}");
        // Not `>`, which NaN would pass.
        is_close &= difference <= BOUND * magnitude;
    }
    println!("bound: {BOUND:.2e} of max abs");
    Ok(match is_close {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
