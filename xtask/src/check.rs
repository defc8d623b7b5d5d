//! `cargo xtask check`: what has to pass before a change is proposed.

use crate::command::{TaskError, cargo, run as run_command};
use crate::{kernel_compiler, test};

/// Formatting, lints, documentation, tests. Release throughout: all steps share one set of compiled dependencies.
pub fn run() -> Result<(), TaskError> {
    run_command(&mut cargo(&["fmt", "--all", "--", "--check"]))?;
    kernel_compiler::ensure()?;
    run_command(&mut cargo(&[
        "clippy",
        "--release",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    run_command(cargo(&["doc", "--release", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    test::run(false, &[])
}
