//! `cargo xtask bench`: everything that is measured without a GPU, in one run on one machine.

use crate::command::{TaskError, cargo, run as run_command};
use crate::{kernel_compiler, nvcc};

/// Runs the suite with `arguments`. The programs that the emulator is compared with take minutes to compile, and only
/// this task downloads and builds them; `has_peers` false does without, and so does what only renders. `has_nvcc` adds
/// the C++ compiler that our build is compared with.
pub fn run(has_peers: bool, has_nvcc: bool, arguments: &[String]) -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let mut command = cargo(&["run", "--release", "--package", "bench-suite"]);
    if has_peers
        && !arguments
            .iter()
            .any(|argument| argument.starts_with("--render"))
    {
        command.args(["--features", "peers"]);
    }
    command.arg("--").args(arguments);
    if has_nvcc {
        let toolchain = nvcc::ensure()?;
        command.env("CUDA_HOME", toolchain.cuda_home);
        command
            .arg("--candle-flash-attn")
            .arg(toolchain.source)
            .arg("--cutlass")
            .arg(toolchain.cutlass);
    }
    run_command(&mut command)
}
