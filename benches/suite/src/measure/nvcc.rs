//! What it takes to compile FlashAttention-2 in C++: three files of candle-flash-attn, where nvcc and its source are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel_builder::tools;

use crate::results::NvccBuild;
use crate::{SuiteError, child};

/// One per head dimension and mask, of 53 files; the same head dimensions as are timed, and the mask that all have.
const FILES: [&str; 3] = [
    "flash_fwd_hdim64_bf16_sm80.cu",
    "flash_fwd_hdim128_bf16_sm80.cu",
    "flash_fwd_hdim128_bf16_causal_sm80.cu",
];

/// As its build script has them, without the parts that show what it does.
const FLAGS: [&str; 13] = [
    "--gpu-architecture=sm_80",
    "-c",
    "-std=c++17",
    "-O3",
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_HALF2_OPERATORS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
    "--expt-relaxed-constexpr",
    "--expt-extended-lambda",
    "--use_fast_math",
    "-Xcompiler",
    "-fPIC",
];

/// Where candle-flash-attn is.
#[derive(Clone, Debug)]
pub struct CandleFlashAttn {
    /// Its source.
    pub source: PathBuf,
    /// The headers of CUTLASS that it needs.
    pub cutlass: PathBuf,
}

impl CandleFlashAttn {
    /// Checks that the folders have what is to be compiled.
    ///
    /// # Errors
    ///
    /// [`SuiteError::File`] for the first file that cannot be read.
    pub fn check(&self) -> Result<(), SuiteError> {
        let files = FILES.map(|file| self.source.join("kernels").join(file));
        for path in files.into_iter().chain([self.cutlass.clone()]) {
            fs::metadata(&path).map_err(SuiteError::file(&path))?;
        }
        Ok(())
    }
}

/// Compiles the files one after the other; objects go to `objects`. Else a sentence
/// why not: the rest of a run does not depend on other people's compilers.
pub(super) fn measure(
    source: Option<&CandleFlashAttn>,
    objects: &Path,
) -> Result<Vec<NvccBuild>, String> {
    let why_not = |reason: &str| format!("candle-flash-attn was not compiled: {reason}.");
    let source = source.ok_or_else(|| {
        why_not("its source was not named (`cargo xtask bench --nvcc` brings it and the compiler)")
    })?;
    let nvcc =
        find().ok_or_else(|| why_not("there is no nvcc in PATH, CUDA_HOME or /usr/local/cuda"))?;
    let builds = FILES
        .iter()
        .map(|file| compile(&nvcc, source, file, objects));
    let builds = builds.collect::<Result<_, _>>();
    builds.map_err(|error| why_not(&error.to_string()))
}

fn compile(
    nvcc: &Path,
    source: &CandleFlashAttn,
    file: &str,
    objects: &Path,
) -> Result<NvccBuild, SuiteError> {
    let mut command = Command::new(nvcc);
    command
        .args(FLAGS)
        // Hundreds of lines on types that newer CUDA has renamed.
        .arg("--disable-warnings")
        .arg("-I")
        .arg(&source.cutlass)
        .arg("-o")
        .arg(objects.join(file).with_extension("o"))
        .arg(source.source.join("kernels").join(file));
    let usage = child::run(&mut command)?;
    Ok(NvccBuild {
        file: file.to_owned(),
        compiler: version(nvcc),
        seconds: usage.seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_bytes: usage.peak_bytes,
    })
}

/// The line of `nvcc --version` that has the version.
fn version(nvcc: &Path) -> String {
    let output = Command::new(nvcc).arg("--version").output();
    let text = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let line = text.lines().find(|line| line.contains("release"));
    line.unwrap_or("nvcc of an unknown version").to_owned()
}

/// In CUDA_HOME, or where the other tools of CUDA are.
fn find() -> Option<PathBuf> {
    let home = env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
    home.filter(|nvcc| nvcc.is_file())
        .or_else(|| tools::find("nvcc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_source_nothing_is_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let note = measure(None, folder.path()).unwrap_err();
        assert!(
            note.starts_with("candle-flash-attn was not compiled: "),
            "{note}"
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_file_is_compiled_with_the_cutlass_that_is_named() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let nvcc = folder.path().join("nvcc");
        fs::write(
            &nvcc,
            "#!/bin/sh\n[ $1 = --version ] && echo 'tools, release 13.5' || echo \"$@\" > \"$(dirname \"$0\")/log\"\n",
        )
        .unwrap();
        fs::set_permissions(&nvcc, fs::Permissions::from_mode(0o755)).unwrap();
        let source = CandleFlashAttn {
            source: "/src".into(),
            cutlass: "/cutlass".into(),
        };
        let build = compile(&nvcc, &source, FILES[0], folder.path()).unwrap();
        assert_eq!(
            (build.file.as_str(), build.compiler.as_str()),
            (FILES[0], "tools, release 13.5")
        );
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("-I /cutlass"), "{log}");
        assert!(
            log.trim_end()
                .ends_with(&format!("/src/kernels/{}", FILES[0])),
            "{log}"
        );
    }
}
