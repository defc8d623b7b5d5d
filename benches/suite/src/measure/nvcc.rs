//! What it takes to compile FlashAttention-2 in C++: three files of candle-flash-attn, where nvcc and its source are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel_builder::tools;

use crate::results::NvccBuild;
use crate::{SuiteError, child};

/// One kernel each, of 50 such files; the same head dimensions as are timed, and the mask that all have.
const FILES: [&str; 3] = [
    "flash_fwd_hdim64_bf16_sm80.cu",
    "flash_fwd_hdim128_bf16_sm80.cu",
    "flash_fwd_hdim128_bf16_causal_sm80.cu",
];

/// As its build script has them.
const FLAGS: [&str; 11] = [
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
];

/// Checks that a folder has what is to be compiled.
///
/// # Errors
///
/// [`SuiteError::File`] for the first file that cannot be read.
pub fn check_candle_flash_attn(source: &Path) -> Result<(), SuiteError> {
    let files = FILES.map(|file| source.join("kernels").join(file));
    for path in files.into_iter().chain([source.join("cutlass/include")]) {
        fs::metadata(&path).map_err(SuiteError::file(&path))?;
    }
    Ok(())
}

/// Compiles the files one after the other; objects go to `objects`. Else a sentence
/// why not: the rest of a run does not depend on other people's compilers.
pub(super) fn measure(source: Option<&Path>, objects: &Path) -> Result<Vec<NvccBuild>, String> {
    let why_not = |reason: &str| format!("candle-flash-attn was not compiled: {reason}.");
    let nvcc =
        find().ok_or_else(|| why_not("there is no nvcc in PATH, CUDA_HOME or /usr/local/cuda"))?;
    let source = source.ok_or_else(|| {
        why_not("its source was not named, `--candle-flash-attn DIR` with CUTLASS in DIR/cutlass")
    })?;
    let builds = FILES
        .iter()
        .map(|file| compile(&nvcc, source, file, objects));
    let builds = builds.collect::<Result<_, _>>();
    builds.map_err(|error| why_not(&error.to_string()))
}

fn compile(
    nvcc: &Path,
    source: &Path,
    file: &str,
    objects: &Path,
) -> Result<NvccBuild, SuiteError> {
    let mut command = Command::new(nvcc);
    command
        .args(FLAGS)
        .arg("-I")
        .arg(source.join("cutlass/include"))
        .arg("-o")
        .arg(objects.join(file).with_extension("o"))
        .arg(source.join("kernels").join(file));
    let usage = child::run(&mut command)?;
    Ok(NvccBuild {
        file: file.to_owned(),
        seconds: usage.seconds,
        peak_bytes: usage.peak_bytes,
    })
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
    fn a_file_is_compiled_with_cutlass_of_its_folder() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let nvcc = folder.path().join("nvcc");
        fs::write(
            &nvcc,
            "#!/bin/sh\necho \"$@\" > \"$(dirname \"$0\")/log\"\n",
        )
        .unwrap();
        fs::set_permissions(&nvcc, fs::Permissions::from_mode(0o755)).unwrap();
        let build = compile(&nvcc, Path::new("/src"), FILES[0], folder.path()).unwrap();
        assert_eq!(build.file, FILES[0]);
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("-I /src/cutlass/include"), "{log}");
        assert!(
            log.trim_end()
                .ends_with(&format!("/src/kernels/{}", FILES[0])),
            "{log}"
        );
    }
}
