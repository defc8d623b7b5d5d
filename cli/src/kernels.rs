//! `flash-attention kernels`: what was compiled.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flash_attention::KernelVariant;

use crate::Outcome;

pub fn run(emit_ptx: Option<&Path>, out: &mut impl Write) -> Result<Outcome> {
    if let Some(folder) = emit_ptx {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    writeln!(
        out,
        "{:40} {:5} {:5} {:6} {:7} {:>8} {:>9} {:>7} {:>12}",
        "entry", "arch", "dtype", "mask", "copy", "head_dim", "tile", "threads", "shared_bytes"
    )?;
    for kernel in flash_attention::kernels() {
        let KernelVariant::Forward(v) = kernel.variant;
        writeln!(
            out,
            "{:40} {:5} {:5} {:6} {:7} {:>8} {:>9} {:>7} {:>12}",
            v.entry,
            v.arch.name(),
            v.dtype.name(),
            format!("{:?}", v.mask).to_lowercase(),
            format!("{:?}", v.copy).to_lowercase(),
            v.head_dim,
            format!("{}x{}", v.block_m, v.block_n),
            v.threads(),
            v.shared_bytes()
        )?;
        if let Some(folder) = emit_ptx {
            let path = folder.join(v.entry).with_extension("ptx");
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
