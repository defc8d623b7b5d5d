//! `flash-attention doctor`: what this machine has, and what to do about what it lacks.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::Outcome;

/// Folders where Linux distributions and containers put the NVIDIA driver's library.
const DRIVER_FOLDERS: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
];

pub fn run(out: &mut impl Write) -> Result<Outcome> {
    compilers(out)?;
    for tool in ["ptxas", "nvdisasm"] {
        match kernel_builder::tools::find(tool) {
            Some(path) => writeln!(out, "ok       {tool}: {}", path.display())?,
            None => writeln!(
                out,
                "missing  {tool}: register and spill checks are skipped; `cargo xtask setup` installs it"
            )?,
        }
    }
    driver(out)?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    writeln!(out, "ok       device emulated: {cores} cores")?;
    Ok(Outcome::Done)
}

fn compilers(out: &mut impl Write) -> io::Result<()> {
    let candidates = kernel_builder::probe();
    for candidate in &candidates {
        let verdict = if candidate.verdict.is_ok() {
            "ok     "
        } else {
            "skipped"
        };
        writeln!(out, "{verdict}  kernel compiler {candidate}")?;
    }
    if candidates
        .iter()
        .all(|candidate| candidate.verdict.is_err())
    {
        writeln!(
            out,
            "missing  kernel compiler: this command works, building from source does not; run one of"
        )?;
        for fix in kernel_builder::FIXES {
            writeln!(out, "           {fix}")?;
        }
    }
    Ok(())
}

fn driver(out: &mut impl Write) -> io::Result<()> {
    match driver_library() {
        Some(path) => writeln!(out, "ok       NVIDIA driver library: {}", path.display())?,
        None => writeln!(
            out,
            "missing  NVIDIA driver library libcuda.so.1: no GPU can be used; install NVIDIA's driver"
        )?,
    }
    let version = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    if let Some(line) = version.lines().next() {
        writeln!(out, "ok       NVIDIA kernel module: {line}")?;
    }
    let gpus: Vec<PathBuf> = (0..64)
        .map(|i| PathBuf::from(format!("/dev/nvidia{i}")))
        .filter(|path| path.exists())
        .collect();
    match gpus.len() {
        0 => writeln!(
            out,
            "missing  GPU: no /dev/nvidia0; attention runs on the emulated device"
        ),
        n => writeln!(out, "ok       GPUs: {n}"),
    }
}

fn driver_library() -> Option<PathBuf> {
    let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let named = std::env::split_paths(&variable);
    let folders = named.chain(
        DRIVER_FOLDERS
            .iter()
            .map(|folder| Path::new(folder).to_owned()),
    );
    folders
        .map(|folder| folder.join("libcuda.so.1"))
        .find(|path| path.exists())
}
