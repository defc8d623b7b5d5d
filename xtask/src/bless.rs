//! `cargo xtask bless`: the present figures become those that tests compare with.

use crate::command::{TaskError, cargo, run as run_command};
use crate::setup;

/// Variable that the tests read: set, they write their table instead of comparing with it.
const BLESS: &str = "FLASH_ATTENTION_BLESS";

/// Rewrites everything under `tests/blessed/` and the README's table of what is supported. What changed is for the author
/// to look at: `git diff tests/blessed README.md`.
pub fn run() -> Result<(), TaskError> {
    setup::run()?;
    let mut command = cargo(&[
        "test",
        "--release",
        "--test",
        "counters",
        "--test",
        "codegen",
    ]);
    run_command(command.env(BLESS, "1"))?;
    let mut command = cargo(&["test", "--release", "--package", "flash-attention-cli"]);
    command.args(["--test", "command", "support::"]);
    run_command(command.env(BLESS, "1"))
}
