//! `cargo xtask demo`: attention on activations of a real model, from nothing to a picture.

use std::fs;

use crate::command::{TaskError, cargo, root, run as run_command};
use crate::kernel_compiler;

const INPUT: &str = "examples/data/minilm_layer3_paragraph.safetensors";
const OUTPUT: &str = "demo/out.safetensors";
const PICTURE: &str = "demo/attention.svg";

/// Builds the command, runs it on the emulated device and checks the result against the f64 reference.
pub fn run() -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let folder = root().join("demo");
    fs::create_dir_all(&folder).map_err(TaskError::file("demo"))?;
    run_command(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "flash-attention-cli",
    ]))?;
    run_command(&mut cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "flash-attention-cli",
        "--",
        "attend",
        INPUT,
        "-o",
        OUTPUT,
        "--device",
        "emulated",
        "--check",
        "--picture",
        PICTURE,
    ]))?;
    for path in [OUTPUT, PICTURE] {
        let bytes = fs::metadata(root().join(path))
            .map_err(TaskError::file(path))?
            .len();
        say!("written: {path} ({bytes} bytes)");
    }
    Ok(())
}
