//! Time and TFLOP/s of the forward pass, one line per shape.
//!
//! `cargo bench --bench attention` measures the emulated device; with `--features cuda` and
//! `FLASH_ATTENTION_DEVICE=cuda:0` the GPU. FLOPs are counted as in the FlashAttention papers: 4 · batch · heads ·
//! seqlen² · head_dim, half of it with the causal mask. Median of repeated rounds; a round on a GPU is long enough
//! to make the launch overhead vanish.

use std::time::{Duration, Instant};

use flash_attention::{Attention, Device, Tensor, bf16};

/// batch, seqlen, heads, head_dim, causal.
type Shape = (usize, usize, usize, usize, bool);

/// 16 Ki tokens, hidden size 2048: the sweep of the FlashAttention papers.
const GPU: &[Shape] = &[
    (32, 512, 32, 64, false),
    (16, 1024, 32, 64, false),
    (4, 4096, 32, 64, false),
    (1, 16384, 32, 64, false),
    (4, 4096, 32, 64, true),
    (1, 16384, 32, 64, true),
    (32, 512, 16, 128, false),
    (16, 1024, 16, 128, false),
    (4, 4096, 16, 128, false),
    (1, 16384, 16, 128, false),
    (4, 4096, 16, 128, true),
    (1, 16384, 16, 128, true),
    (4, 4096, 8, 256, false),
    (1, 16384, 8, 256, false),
    (1, 16384, 8, 256, true),
];

/// The shape of the peer benchmark, and its neighbours.
const EMULATED: &[Shape] = &[
    (1, 256, 8, 64, false),
    (1, 512, 8, 64, false),
    (1, 1024, 8, 64, false),
    (1, 1024, 8, 64, true),
    (1, 1024, 8, 128, false),
    (1, 1024, 8, 256, false),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = match std::env::var("FLASH_ATTENTION_DEVICE") {
        Ok(name) => Device::from_name(&name)?,
        Err(_) => Device::emulated(),
    };
    let shapes = if device.name().starts_with("emulated") {
        EMULATED
    } else {
        GPU
    };
    println!("device {}", device.name());
    println!("batch seqlen heads head_dim causal        ms    TFLOP/s  kernel");
    for &shape in shapes {
        measure(&device, shape)?;
    }
    Ok(())
}

fn measure(device: &Device, shape: Shape) -> Result<(), Box<dyn std::error::Error>> {
    let (batch, seqlen, heads, head_dim, is_causal) = shape;
    let dims = [batch, seqlen, heads, head_dim];
    let tensor = |seed| Tensor::from_slice(device, dims, &values(seed, dims.iter().product()));
    let (q, k, v) = (tensor(1)?, tensor(2)?, tensor(3)?);
    let mut out = Tensor::zeros(device, dims)?;
    let mut lse = Tensor::zeros(device, [batch, heads, seqlen])?;
    let attention = if is_causal {
        Attention::new().causal()
    } else {
        Attention::new()
    };

    // The first call compiles the kernel; it also tells how many calls fill a round of 20 ms.
    let mut kernel = attention.forward_into(&q, &k, &v, &mut out, &mut lse)?;
    let start = Instant::now();
    attention.forward_into(&q, &k, &v, &mut out, &mut lse)?;
    let calls =
        (Duration::from_millis(20).as_secs_f64() / start.elapsed().as_secs_f64()).ceil() as u32;
    let mut rounds = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        for _ in 0..calls {
            kernel = attention.forward_into(&q, &k, &v, &mut out, &mut lse)?;
        }
        rounds.push(start.elapsed() / calls);
    }
    rounds.sort();
    let seconds = rounds[rounds.len() / 2].as_secs_f64();
    let work = 4.0 * (batch * heads * head_dim) as f64 * (seqlen as f64).powi(2);
    let flops = if is_causal { work / 2.0 } else { work };
    println!(
        "{batch:>5} {seqlen:>6} {heads:>5} {head_dim:>8} {is_causal:>6} {:>9.3} {:>10.4}  {}",
        seconds * 1e3,
        flops / seconds / 1e12,
        kernel.map_or("none", |variant| variant.entry())
    );
    Ok(())
}

/// Values in [-1, 1): a linear congruence is random enough for a clock.
fn values(seed: u32, count: usize) -> Vec<bf16> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bf16::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    std::iter::repeat_with(next).take(count).collect()
}
