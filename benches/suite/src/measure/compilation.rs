//! A build of the library from nothing: wall time, and the memory of its largest process.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Plan, nvcc};
use crate::results::{Compilation, KernelBuild};
use crate::{SuiteError, child, repository};

const ARGUMENTS: [&str; 5] = [
    "check",
    "--quiet",
    "--release",
    "--package",
    "flash-attention",
];

/// Into a folder that is made for it and removed again. Beside it the same of candle-flash-attn, or the reason why not.
pub(super) fn measure(plan: &Plan) -> Result<(Compilation, Option<String>), SuiteError> {
    let folder = tempfile::tempdir().map_err(SuiteError::file(env::temp_dir()))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(ARGUMENTS)
        .current_dir(repository())
        .env("CARGO_TARGET_DIR", folder.path());
    let usage = child::run(&mut command)?;
    let nvcc = nvcc::measure(plan.candle_flash_attn.as_ref(), folder.path());
    let (nvcc, note) = match nvcc {
        Ok(builds) => (builds, None),
        Err(note) => (Vec::new(), Some(note)),
    };
    let compilation = Compilation {
        command: format!("cargo {}", ARGUMENTS.join(" ")),
        seconds: usage.seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_bytes: usage.peak_bytes,
        kernels: kernels(&folder.path().join("ptx-cache"))?,
        nvcc,
    };
    Ok((compilation, note))
}

/// What the build of the kernels has left: one text per architecture.
fn kernels(cache: &Path) -> Result<Vec<KernelBuild>, SuiteError> {
    let mut builds = Vec::new();
    for file in fs::read_dir(cache)
        .map_err(SuiteError::file(cache))?
        .flatten()
    {
        let path = file.path();
        if path.extension() == Some(OsStr::new("s")) {
            let text = fs::read_to_string(&path).map_err(SuiteError::file(&path))?;
            builds.extend(kernel_build(&text));
        }
    }
    builds.sort_by(|a, b| a.arch.cmp(&b.arch));
    Ok(builds)
}

/// Two comments, compiler and seconds, and the assembly.
fn kernel_build(text: &str) -> Option<KernelBuild> {
    let mut lines = text.lines();
    let compiler = lines.next()?.strip_prefix("// ")?.to_owned();
    let seconds = lines.next()?.strip_prefix("// ")?.strip_suffix(" s")?;
    let target = lines.find_map(|line| line.strip_prefix(".target "))?;
    Some(KernelBuild {
        arch: target.split(',').next()?.trim().to_owned(),
        kernels: text.matches(".visible .entry ").count(),
        compiler,
        seconds: seconds.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_says_who_made_it_for_what_and_how_long_that_took() {
        let text = "// rustc 1.95.0\n// 33.2 s\n//\n.version 7.1\n.target sm_80, debug\n.visible .entry a(\n.visible .entry b(\n";
        let expected = KernelBuild {
            arch: "sm_80".to_owned(),
            kernels: 2,
            compiler: "rustc 1.95.0".to_owned(),
            seconds: 33.2,
        };
        assert_eq!(kernel_build(text), Some(expected));
        assert_eq!(kernel_build("// rustc 1.95.0\n.target sm_80\n"), None);
    }
}
