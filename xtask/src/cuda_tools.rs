//! `ptxas` and `nvdisasm` from the Python registry: they need neither a GPU nor the CUDA toolkit.
//!
//! Kernels are built without them, so a machine where they cannot be installed is told what will be skipped, no more.

use std::path::Path;

use kernel_builder::tools::{CUDA_TOOLS_PACKAGES, CUDA_TOOLS_VERSION, cuda_tools_dir, find};

use crate::command::TaskError;
use crate::python;

/// Makes sure that both tools are there, or says what is skipped without them.
pub fn ensure() {
    if report() {
        return;
    }
    let installed = cuda_tools_dir().map(|environment| install(&environment));
    match installed {
        Some(Ok(())) if report() => {}
        Some(Err(error)) => say_skipped(&error.to_string()),
        _ => say_skipped("they could not be installed"),
    }
}

/// Just the two packages. Their dependencies are headers and libraries for nvcc; these two programs use none.
fn install(environment: &Path) -> Result<(), TaskError> {
    let packages = CUDA_TOOLS_PACKAGES.map(|package| format!("{package}=={CUDA_TOOLS_VERSION}"));
    python::install(environment, &packages)
}

/// Says where the tools are; false when one is missing.
fn report() -> bool {
    let (Some(ptxas), Some(nvdisasm)) = (find("ptxas"), find("nvdisasm")) else {
        return false;
    };
    say!("ptxas: {}", ptxas.display());
    say!("nvdisasm: {}", nvdisasm.display());
    true
}

fn say_skipped(reason: &str) {
    say!("ptxas and nvdisasm: missing, {reason}");
    say!("  the checks of registers, spills and loops in tests/codegen will be SKIPPED");
    say!("  to run them: install python3 with venv and pip, then `cargo xtask setup` again,");
    say!("  or name the programs in the variables PTXAS and NVDISASM");
}
