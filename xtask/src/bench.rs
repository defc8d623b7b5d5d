//! `cargo xtask bench`: the emulator against its peers, in one run on one machine.

use crate::command::{TaskError, cargo, root, run as run_command};
use crate::kernel_compiler;

/// Only this task downloads and builds the peers, in a target folder of its own: candle chooses its vector code when it
/// is compiled, so everything is compiled for this very processor, which nothing else here is.
pub fn run(arguments: &[String]) -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let mut command = cargo(&["run", "--release", "--package", "peer-bench", "--"]);
    command
        .env("RUSTFLAGS", "-C target-cpu=native")
        .env("CARGO_TARGET_DIR", root().join("target/peers"));
    run_command(command.args(arguments))
}
