//! `ptxas` and `nvdisasm` from the Python registry: they need neither a GPU nor the CUDA toolkit.
//!
//! Kernels are built without them, so a machine where they cannot be installed is told what will be skipped, no more.

use std::path::Path;

use kernel_builder::tools::{CUDA_TOOLS_PACKAGES, CUDA_TOOLS_VERSION, cuda_tools_dir, find};

use crate::command::{TaskError, program, run};
use crate::system;

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

/// A Python environment of its own with just the two packages.
fn install(environment: &Path) -> Result<(), TaskError> {
    let environment = environment.to_string_lossy();
    let create = || {
        run(&mut program(
            "python3",
            &["-m", "venv", "--clear", &environment],
        ))
    };
    // Debian ships Python without the parts that `venv` needs.
    if let Err(error) = create() {
        if !system::may_apt_install() {
            return Err(error);
        }
        system::apt_install(&["python3-venv"])?;
        create()?;
    }
    let python = format!("{environment}/bin/python");
    let packages = CUDA_TOOLS_PACKAGES.map(|package| format!("{package}=={CUDA_TOOLS_VERSION}"));
    // Their dependencies are headers and libraries for nvcc; these two programs use none.
    let mut pip = program(&python, &["-m", "pip", "install", "--quiet", "--no-deps"]);
    run(pip.args(packages))
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
