//! What can go wrong between PTX and figures of machine code.

use std::io;
use std::path::PathBuf;

use crate::tools::{CUDA_TOOLS_PACKAGES, CUDA_TOOLS_VERSION};

/// Machine code could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SassError {
    /// `ptxas` or `nvdisasm` is not installed.
    #[error(
        "no {tool}; `pip install --no-deps {}` brings it (version {CUDA_TOOLS_VERSION}), or name it in the variable {}",
        CUDA_TOOLS_PACKAGES.join(" "),
        tool.to_uppercase()
    )]
    MissingTool {
        /// The program.
        tool: &'static str,
    },
    /// A program refused its input.
    #[error("{tool} failed ({status}):\n{log}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// Its exit status.
        status: String,
        /// What it wrote.
        log: String,
    },
    /// A file or program could not be reached.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A line of a listing that should be an instruction and is not.
    #[error(
        "line {line} of the listing is no instruction: `{found}`; is nvdisasm older than {CUDA_TOOLS_VERSION}?"
    )]
    Listing {
        /// One-based line.
        line: usize,
        /// The line.
        found: String,
    },
    /// The log of `ptxas -v` or the listing lacks a kernel that the other one has.
    #[error("the {place} says nothing about kernel `{kernel}`")]
    MissingKernel {
        /// Where it was looked for.
        place: &'static str,
        /// The kernel.
        kernel: String,
    },
    /// A tensor instruction whose amount of work is not known.
    #[error(
        "the shape of `{opcode}` is not known; teach kernel-builder/src/sass/class.rs to read it"
    )]
    UnknownShape {
        /// The opcode with its modifiers.
        opcode: String,
    },
}
