//! `cargo xtask bench`: the emulator against its peers, in one run on one machine.

use crate::command::{TaskError, cargo, run as run_command};
use crate::kernel_compiler;

/// The benchmark is not a default member of the workspace: only this task downloads and builds the peers.
pub fn run(arguments: &[String]) -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let mut command = cargo(&["run", "--release", "--package", "peer-bench", "--"]);
    run_command(command.args(arguments))
}
