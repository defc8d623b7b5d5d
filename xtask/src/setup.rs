//! `cargo xtask setup`: what kernels and their tests need, found or installed. A second run changes nothing.

use crate::command::TaskError;
use crate::{cuda_tools, kernel_compiler};

/// The compiler is required; ptxas and nvdisasm are not, tests that need them say that they were skipped.
pub fn run() -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    cuda_tools::ensure();
    Ok(())
}
