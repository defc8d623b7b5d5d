//! `cargo xtask fuzz`: the emulator's parser and decoder under libFuzzer.

use std::fs;

use crate::command::{TaskError, cargo, root, run as run_command};

/// What libFuzzer needs of the compiler, in flags that stable rustc has: a counter per edge and the table of their
/// places. The operands of comparisons, which it could use as well, take two thirds of the time, and the tokens they
/// would lead to are in the mutator's lists. What is a panic in a debug build is one here.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// Where texts are collected that reach new code, and those that fail.
const FOUND: &str = "target/fuzz/parse";
const FAILURES: &str = "target/fuzz/failures/";

/// Runs until something fails, or as long as `arguments` say. The package is not a default member of the workspace:
/// only this task builds libFuzzer, which needs a C++ compiler.
pub fn run(arguments: &[String]) -> Result<(), TaskError> {
    let (found, failures) = (root().join(FOUND), root().join(FAILURES));
    for folder in [&found, &failures] {
        fs::create_dir_all(folder).map_err(TaskError::file(folder))?;
    }
    // With an explicit target the flags are not for build scripts, and nothing else has to be built again afterwards.
    let package = ["--package", "emulator-fuzz", "--target", "host-tuple"];
    let mut command = cargo(&["run", "--release"]);
    command
        .env("RUSTFLAGS", FLAGS)
        .args(package)
        .args(["--", "-max_len=4096", "-timeout=30"])
        .arg(format!("-artifact_prefix={}", failures.display()))
        .args(arguments);
    // Texts that are named are run once each; without any, libFuzzer changes those of two folders, collecting in the
    // first.
    if arguments.iter().all(|argument| argument.starts_with('-')) {
        command.args([found, root().join("emulator/tests/corpus")]);
    }
    run_command(&mut command)
}
