//! `cargo xtask test`: everything that proves the project.

use crate::command::{TaskError, cargo, run as run_command};
use crate::setup;

/// Variable that the tests read: set, they run their whole grid.
const FULL: &str = "FLASH_ATTENTION_FULL";

/// Runs all tests, or `cargo test` with `arguments` when there are any. In release: the emulator is the test bed.
pub fn run(full: bool, arguments: &[String]) -> Result<(), TaskError> {
    setup::run()?;
    let test = |arguments: &[&str]| {
        let mut command = cargo(&["test", "--release"]);
        if full {
            command.env(FULL, "1");
        }
        run_command(command.args(arguments))
    };
    if !arguments.is_empty() {
        return test(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    test(&["--doc"])?;
    test(&["--lib", "--bins", "--tests"])
}
