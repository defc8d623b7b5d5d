//! PTX through `ptxas` and `nvdisasm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, id};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Function, SassError, Usage, functions, usage};
use crate::tools;

/// A PTX module as machine code for one GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCode {
    /// Its entries.
    pub kernels: Vec<KernelCode>,
    /// Warnings and advice of ptxas.
    pub notes: Vec<String>,
}

/// One kernel as machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCode {
    /// What it uses.
    pub usage: Usage,
    /// Its instructions.
    pub function: Function,
}

/// Assembles the module `ptx` for `machine`, as ptxas names it: `sm_80`.
///
/// # Errors
/// Missing tools, PTX that ptxas refuses (with its messages), files that cannot be written.
pub fn assemble(ptx: &str, machine: &str) -> Result<MachineCode, SassError> {
    let folder = ScratchFolder::new()?;
    let (source, cubin) = (folder.0.join("module.ptx"), folder.0.join("module.cubin"));
    fs::write(&source, ptx).map_err(io_error("write", &source))?;
    let arch = format!("-arch={machine}");
    let assembled = run(
        "ptxas",
        &[
            "-v".as_ref(),
            arch.as_ref(),
            source.as_ref(),
            "-o".as_ref(),
            cubin.as_ref(),
        ],
    )?;
    let disassembled = run("nvdisasm", &["-hex".as_ref(), cubin.as_ref()])?;
    let usage::Log { kernels, notes } = usage::parse(&String::from_utf8_lossy(&assembled.stderr))?;
    let mut listed = functions(&String::from_utf8_lossy(&disassembled.stdout))?;
    let mut code = MachineCode {
        kernels: Vec::new(),
        notes,
    };
    for (name, usage) in kernels {
        let index = listed.iter().position(|function| function.name == name);
        let index = index.ok_or(SassError::MissingKernel {
            place: "listing",
            kernel: name,
        })?;
        let function = listed.swap_remove(index);
        code.kernels.push(KernelCode { usage, function });
    }
    Ok(code)
}

/// The version of ptxas, as in `Cuda compilation tools, release 13.5, V13.5.37`: figures are comparable only between
/// equal ones.
///
/// # Errors
/// [`SassError::MissingTool`] and what running it gives.
pub fn ptxas_version() -> Result<String, SassError> {
    let output = run("ptxas", &["--version".as_ref()])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let release = text.lines().find(|line| line.contains("release"));
    Ok(release.unwrap_or(&text).trim().to_owned())
}

fn run(tool: &'static str, arguments: &[&Path]) -> Result<Output, SassError> {
    let path = tools::find(tool).ok_or(SassError::MissingTool { tool })?;
    let output = Command::new(&path)
        .args(arguments)
        .output()
        .map_err(io_error("run", &path))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(SassError::Tool {
        tool,
        status: output.status.to_string(),
        log: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SassError {
    let path = path.to_owned();
    move |source| SassError::Io {
        action,
        path,
        source,
    }
}

/// A folder of one's own for the files between the tools, removed with its owner.
struct ScratchFolder(PathBuf);

impl ScratchFolder {
    fn new() -> Result<Self, SassError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kernel-builder-sass-{}-{number}", id()));
        fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        Ok(ScratchFolder(path))
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // What cannot be removed only takes space.
        let _ = fs::remove_dir_all(&self.0);
    }
}
