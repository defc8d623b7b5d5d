//! Finding `ptxas` and `nvdisasm`, which tell registers, spills and machine code without a GPU.
//!
//! Kernels are built without them; tests and reports that need one say so when it is missing.

use std::env;
use std::path::PathBuf;

/// Version of the Python packages that bring the tools: figures are comparable only between equal assemblers.
pub const CUDA_TOOLS_VERSION: &str = "13.5.37";

/// Python packages that bring `ptxas` and `nvdisasm`.
pub const CUDA_TOOLS_PACKAGES: [&str; 2] = ["nvidia-cuda-nvcc", "nvidia-cuda-nvdisasm"];

/// Path of `ptxas` or `nvdisasm`: what the variable `PTXAS` or `NVDISASM` names, unchecked; else the first that exists
/// in [`cuda_tools_dir`], on the path, in CUDA's default folder.
pub fn find(name: &str) -> Option<PathBuf> {
    if let Some(named) = env::var_os(name.to_uppercase()) {
        return Some(PathBuf::from(named));
    }
    let mut folders = package_bin_dirs();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders.push(PathBuf::from("/usr/local/cuda/bin"));
    let mut files = folders.into_iter().map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

/// The Python virtual environment that holds the tools once they are installed, in the user's cache folder, where
/// `cargo clean` does not reach; `None` when there is no home folder.
pub fn cuda_tools_dir() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join(format!("kernel-builder/cuda-tools-{CUDA_TOOLS_VERSION}")))
}

/// Folders of executables that the packages unpack: `lib/pythonX.Y/site-packages/nvidia/cuNN/bin`.
fn package_bin_dirs() -> Vec<PathBuf> {
    let children = |dir: PathBuf, prefix: &str| -> Vec<PathBuf> {
        let entries = dir.read_dir().into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        named.map(|entry| entry.path()).collect()
    };
    let Some(environment) = cuda_tools_dir() else {
        return Vec::new();
    };
    let pythons = children(environment.join("lib"), "python").into_iter();
    let packages = pythons.map(|python| python.join("site-packages/nvidia"));
    let toolkits = packages.flat_map(|nvidia| children(nvidia, "cu"));
    toolkits.map(|toolkit| toolkit.join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_the_path_is_found_and_an_unknown_one_is_not() {
        assert!(find("sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find("no-such-tool"), None);
    }
}
