//! `flash-attention kernels`: what was compiled.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flash_attention::{BaselineStep, Dtype, KernelVariant};

use crate::Outcome;

/// What the table says of a kernel beside its [`KernelSpec`](flash_attention::KernelSpec).
struct Row {
    dtype: Dtype,
    scores: String,
    copy: String,
    head_dim: String,
    tile: [u32; 2],
}

impl Row {
    fn new(variant: KernelVariant) -> Row {
        match variant {
            KernelVariant::Forward(v) => Row {
                dtype: v.dtype,
                scores: format!("{:?}", v.scores).to_lowercase(),
                copy: format!("{:?}", v.copy).to_lowercase(),
                head_dim: v.head_dim.to_string(),
                tile: [v.block_m, v.block_n],
            },
            KernelVariant::Backward(v) => Row {
                dtype: v.dtype,
                scores: format!("{:?}", v.scores).to_lowercase(),
                copy: format!("{:?}", v.copy).to_lowercase(),
                head_dim: v.head_dim.to_string(),
                tile: [v.block_m, v.block_n],
            },
            KernelVariant::Baseline(v) => Row {
                dtype: v.dtype,
                scores: "plain".to_owned(),
                copy: "vector".to_owned(),
                head_dim: match v.step {
                    BaselineStep::Softmax => "any".to_owned(),
                    _ => v.head_dim.to_string(),
                },
                tile: [v.block_m, v.block_n],
            },
            KernelVariant::HopperForward(v) => Row {
                dtype: v.dtype,
                scores: format!("{:?}", v.scores).to_lowercase(),
                copy: "tensor".to_owned(),
                head_dim: v.head_dim.to_string(),
                tile: [v.block_m, v.block_n],
            },
            KernelVariant::HopperBackward(v) => Row {
                dtype: v.dtype,
                scores: format!("{:?}", v.scores).to_lowercase(),
                copy: "tensor".to_owned(),
                head_dim: v.head_dim.to_string(),
                tile: [v.block_m, v.block_n],
            },
        }
    }
}

pub fn run(emit_ptx: Option<&Path>, out: &mut impl Write) -> Result<Outcome> {
    if let Some(folder) = emit_ptx {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    writeln!(
        out,
        "{:40} {:6} {:5} {:7} {:7} {:>8} {:>9} {:>7} {:>12}",
        "entry", "arch", "dtype", "scores", "copy", "head_dim", "tile", "threads", "shared_bytes"
    )?;
    for kernel in flash_attention::kernels() {
        let (spec, row) = (kernel.spec, Row::new(kernel.variant));
        writeln!(
            out,
            "{:40} {:6} {:5} {:7} {:7} {:>8} {:>9} {:>7} {:>12}",
            spec.entry,
            spec.arch.name(),
            row.dtype.name(),
            row.scores,
            row.copy,
            row.head_dim,
            format!("{}x{}", row.tile[0], row.tile[1]),
            spec.threads,
            spec.shared_bytes
        )?;
        if let Some(folder) = emit_ptx {
            let path = folder.join(spec.entry).with_extension("ptx");
            std::fs::write(&path, kernel.ptx)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    writeln!(
        out,
        "compiled by {} in {:.1} s",
        flash_attention::KERNEL_COMPILER,
        flash_attention::KERNEL_BUILD_SECONDS
    )?;
    if let Some(folder) = emit_ptx {
        writeln!(
            out,
            "wrote {} files to {}",
            flash_attention::kernels().count(),
            folder.display()
        )?;
    }
    Ok(Outcome::Done)
}
