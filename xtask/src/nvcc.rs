//! What it takes to compile candle-flash-attn as its users have to: nvcc with its headers and CUTLASS from the Python
//! registry, the source from the crate registry. Nothing of it is run or kept in the project.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use kernel_builder::tools::{CUDA_TOOLS_VERSION, cuda_tools_dir};
use serde_json::Value;

use crate::command::{TaskError, cargo, output, program, root};
use crate::python;

/// Version whose functions the drop-in has.
const CANDLE_FLASH_ATTN: &str = "0.11.1";

/// What its build script fetches, 7d49e6c7 of the repository, is this release.
const CUTLASS: &str = "nvidia-cutlass==3.5.0.0";

/// Of one release of CUDA; headers of the C++ library count on their own.
const NVCC: [&str; 4] = [
    "nvidia-cuda-nvcc",
    "nvidia-cuda-runtime",
    "nvidia-cuda-crt",
    "nvidia-nvvm",
];
const CCCL: &str = "nvidia-cuda-cccl==13.3.5.0.6";

/// Where everything is.
pub struct Toolchain {
    /// For the variable `CUDA_HOME`.
    pub cuda_home: PathBuf,
    /// The headers of CUTLASS.
    pub cutlass: PathBuf,
    /// The source of candle-flash-attn.
    pub source: PathBuf,
}

/// Downloads what is missing: the compiler into the user's cache folder, the source into cargo's.
pub fn ensure() -> Result<Toolchain, TaskError> {
    let tools = cuda_tools_dir().ok_or(TaskError::NoHome)?;
    let environment = tools.with_file_name(format!("nvcc-{CUDA_TOOLS_VERSION}"));
    // Written last.
    let is_whole = environment.join("whole");
    if !is_whole.is_file() {
        let nvcc = NVCC.map(|package| format!("{package}=={CUDA_TOOLS_VERSION}"));
        let packages = [&nvcc[..], &[CUTLASS.to_owned(), CCCL.to_owned()]].concat();
        python::install(&environment, &packages)?;
        fs::write(&is_whole, "").map_err(TaskError::file(&is_whole))?;
    }
    let python = environment.join("bin/python");
    let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = output(&mut program(&python.to_string_lossy(), &["-c", script]))?;
    let packages = Path::new(packages.trim());
    let major = CUDA_TOOLS_VERSION.split('.').next().unwrap_or_default();
    Ok(Toolchain {
        cuda_home: packages.join(format!("nvidia/cu{major}")),
        cutlass: packages.join("cutlass_library/source/include"),
        source: candle_flash_attn()?,
    })
}

/// Where cargo unpacks the crate: a package that depends on it is resolved and never built.
fn candle_flash_attn() -> Result<PathBuf, TaskError> {
    // Cargo runs in the root folder and takes a relative name from there.
    let target = root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let folder = target.join("candle-flash-attn");
    let manifest = folder.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"unused\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n\
         [dependencies]\ncandle-flash-attn = \"={CANDLE_FLASH_ATTN}\"\n"
    );
    fs::create_dir_all(&folder).map_err(TaskError::file(&folder))?;
    fs::write(&manifest, text).map_err(TaskError::file(&manifest))?;
    fs::write(folder.join("lib.rs"), "").map_err(TaskError::file(&folder))?;
    let arguments = ["metadata", "--format-version", "1", "--manifest-path"];
    let metadata = output(cargo(&arguments).arg(&manifest))?;
    folder_of("candle-flash-attn", &metadata).ok_or(TaskError::NoCandleFlashAttn)
}

/// Where `cargo metadata` says that a package is.
fn folder_of(package: &str, metadata: &str) -> Option<PathBuf> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    let packages = metadata["packages"].as_array()?;
    let found = packages.iter().find(|found| found["name"] == package)?;
    let manifest = Path::new(found["manifest_path"].as_str()?);
    Some(manifest.parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_where_its_manifest_is() {
        let metadata = r#"{"packages": [
            {"name": "a", "manifest_path": "/r/a-1/Cargo.toml"},
            {"name": "b", "manifest_path": "/r/b-2/Cargo.toml"}
        ]}"#;
        assert_eq!(folder_of("b", metadata), Some("/r/b-2".into()));
        assert_eq!(folder_of("c", metadata), None);
    }
}
