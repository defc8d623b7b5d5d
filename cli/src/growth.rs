//! `flash-attention growth`: what standard attention, FlashAttention-1 and FlashAttention-2 move and hold as the
//! sequence grows. The claim of the FlashAttention papers (Dao et al. 2022, Theorem 2; Dao 2023, Section 3), counted.

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use flash_attention::baseline::Algorithm;
use flash_attention::growth::{self, Counted};
use flash_attention::{Attention, AttentionElement, bf16, f16};

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
    let attention = match args.causal {
        true => Attention::new().causal(),
        false => Attention::new(),
    };
    let mut columns = Vec::new();
    for algorithm in Algorithm::ALL {
        let count = |&seqlen: &usize| {
            growth::count::<T>(algorithm, &attention, [seqlen, args.heads, args.head_dim])
        };
        columns.push(seqlens.iter().map(count).collect::<Result<Vec<_>, _>>()?);
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
        let points = column.iter().map(|c| (c.seqlen as f64, quantity(c) as f64));
        match growth::exponent(&points.collect::<Vec<_>>()) {
            Some(exponent) => write!(stdout, " {exponent:>20.2}")?,
            None => write!(stdout, " {:>20}", "-")?,
        }
    }
    Ok(writeln!(stdout)?)
}
