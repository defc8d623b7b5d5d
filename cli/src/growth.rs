//! `flash-attention growth`: what standard attention, FlashAttention-1 and FlashAttention-2 move and hold as the
//! sequence grows. The claim of the FlashAttention papers (Dao et al. 2022, Theorem 2; Dao 2023, Section 3), counted.

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use flash_attention::baseline::{self, Algorithm};
use flash_attention::profile::{CounterOptions, Counters, Recorder};
use flash_attention::{Attention, AttentionElement, Device, EmulatorOptions, Tensor, bf16, f16};

#[derive(Args)]
pub struct GrowthArgs {
    /// Sequence lengths, for queries and keys alike.
    #[arg(long, value_delimiter = ',', default_values_t = [256, 512, 1024, 2048, 4096], value_name = "N,..")]
    seqlens: Vec<usize>,
    /// Elements per head: 64 or 128.
    #[arg(long, default_value_t = 64, value_name = "N")]
    head_dim: usize,
    /// Heads, for queries and keys alike.
    #[arg(long, default_value_t = 1, value_name = "N")]
    heads: usize,
    /// Element type.
    #[arg(long, value_enum, default_value_t = Element::Bf16)]
    dtype: Element,
    /// Let query i see key j only if j <= i.
    #[arg(long)]
    causal: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Element {
    F16,
    Bf16,
}

/// One algorithm at one length.
struct Counted {
    seqlen: usize,
    /// Between the multiprocessors and L2.
    l2_bytes: u64,
    /// Between L2 and device memory.
    hbm_bytes: u64,
    /// Device memory held beside inputs and outputs.
    workspace_bytes: u64,
    /// Into and out of shared memory.
    shared_bytes: u64,
    /// Floating-point operations outside the tensor cores, exponentials included.
    other_flops: u64,
}

/// What is compared: a heading and its number.
type Quantity = (&'static str, fn(&Counted) -> u64);

const QUANTITIES: &[Quantity] = &[
    ("L2 traffic, bytes", |c| c.l2_bytes),
    ("HBM traffic, bytes", |c| c.hbm_bytes),
    ("workspace held, bytes", |c| c.workspace_bytes),
    ("shared-memory traffic, bytes", |c| c.shared_bytes),
    ("FLOPs outside the tensor cores", |c| c.other_flops),
];

pub fn run(args: &GrowthArgs, stdout: &mut impl Write) -> Result<()> {
    if args.seqlens.len() < 2 || args.seqlens.contains(&0) {
        bail!("--seqlens needs two or more lengths of at least 1, to see growth between them");
    }
    match args.dtype {
        Element::F16 => compare::<f16>(args, stdout),
        Element::Bf16 => compare::<bf16>(args, stdout),
    }
}

fn compare<T: AttentionElement>(args: &GrowthArgs, stdout: &mut impl Write) -> Result<()> {
    let mut seqlens = args.seqlens.clone();
    seqlens.sort_unstable();
    seqlens.dedup();
    let mut columns = Vec::new();
    for algorithm in Algorithm::ALL {
        let counted: Result<Vec<_>> = seqlens
            .iter()
            .map(|&seqlen| count::<T>(args, algorithm, seqlen))
            .collect();
        columns.push(counted?);
    }
    let (heads, head_dim, dtype) = (args.heads, args.head_dim, T::DTYPE.name());
    let mask = if args.causal { "causal" } else { "full" };
    writeln!(
        stdout,
        "forward, batch 1, {heads} head(s), head_dim {head_dim}, {dtype}, {mask}; counted on the emulated device"
    )?;
    for (heading, quantity) in QUANTITIES {
        table(heading, *quantity, &columns, stdout)?;
    }
    Ok(())
}

fn count<T: AttentionElement>(
    args: &GrowthArgs,
    algorithm: Algorithm,
    seqlen: usize,
) -> Result<Counted> {
    let recorder = Recorder::new(CounterOptions::default());
    let device = Device::emulated_with(EmulatorOptions {
        record: Some(recorder.clone()),
        ..EmulatorOptions::default()
    });
    let tensor = |step: usize| {
        let values: Vec<T> = (0..seqlen * args.heads * args.head_dim)
            .map(|i| T::from_f64((i * step % 101) as f64 / 50.0 - 1.0))
            .collect();
        Tensor::from_slice(&device, [1, seqlen, args.heads, args.head_dim], &values)
    };
    let (q, k, v) = (tensor(37)?, tensor(43)?, tensor(59)?);
    let attention = match args.causal {
        true => Attention::new().causal(),
        false => Attention::new(),
    };
    let result = baseline::forward(algorithm, &attention, &q, &k, &v)?;
    let mut total = Counters::default();
    for launch in recorder.take() {
        total += &launch.counters;
    }
    let operations = total.total.operations;
    Ok(Counted {
        seqlen,
        l2_bytes: total.total.global.sum().sector_bytes(),
        hbm_bytes: total.hbm.read_bytes + total.hbm.write_bytes,
        workspace_bytes: result.workspace_bytes as u64,
        shared_bytes: total.total.shared.sum().lane_bytes,
        other_flops: operations.f32_flops + operations.half_flops + operations.mufu,
    })
}

/// One quantity: a row per length, a column per algorithm, and how it grows.
fn table(
    heading: &str,
    quantity: fn(&Counted) -> u64,
    columns: &[Vec<Counted>],
    stdout: &mut impl Write,
) -> Result<()> {
    write!(stdout, "\n{heading}\n{:>10}", "seqlen")?;
    for algorithm in Algorithm::ALL {
        write!(stdout, " {:>20}", algorithm.name())?;
    }
    writeln!(stdout)?;
    for (row, first) in columns[0].iter().enumerate() {
        write!(stdout, "{:>10}", first.seqlen)?;
        for column in columns {
            write!(stdout, " {:>20}", quantity(&column[row]))?;
        }
        writeln!(stdout)?;
    }
    write!(stdout, "{:>10}", "exponent")?;
    for column in columns {
        match exponent(column, quantity) {
            Some(exponent) => write!(stdout, " {exponent:>20.2}")?,
            None => write!(stdout, " {:>20}", "-")?,
        }
    }
    Ok(writeln!(stdout)?)
}

/// Slope of the least-squares line through the logarithms: 1 is linear growth, 2 quadratic. None where a value is 0.
fn exponent(column: &[Counted], quantity: fn(&Counted) -> u64) -> Option<f64> {
    let points: Vec<(f64, f64)> = column
        .iter()
        .map(|c| ((c.seqlen as f64).ln(), (quantity(c) as f64).ln()))
        .collect();
    let n = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
    let covariance: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let variance: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    let slope = covariance / variance;
    slope.is_finite().then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seqlen: usize, l2_bytes: u64) -> Counted {
        Counted {
            seqlen,
            l2_bytes,
            hbm_bytes: 0,
            workspace_bytes: 0,
            shared_bytes: 0,
            other_flops: 0,
        }
    }

    #[test]
    fn the_exponent_is_that_of_the_power_law() {
        let linear = [counted(10, 30), counted(100, 300), counted(1000, 3000)];
        let quadratic = [counted(10, 5), counted(20, 20), counted(40, 80)];
        let of = |column| exponent(column, |c: &Counted| c.l2_bytes).unwrap();
        assert!((of(&linear) - 1.0).abs() < 1e-9);
        assert!((of(&quadratic) - 2.0).abs() < 1e-9);
        assert_eq!(exponent(&linear, |c| c.hbm_bytes), None);
    }
}
