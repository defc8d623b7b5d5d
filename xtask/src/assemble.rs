//! Every recorded text must be PTX for NVIDIA's assembler too, or the driver refuses the fixture on the GPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use kernel_builder::tools::find;

use crate::command::TaskError;

/// Assembles every text of a folder for its own target, on all cores; says so where there is no ptxas.
pub fn all(folder: &Path) -> Result<(), TaskError> {
    let Some(ptxas) = find("ptxas") else {
        say!("no ptxas, so the recorded texts were not assembled");
        return Ok(());
    };
    let files = fs::read_dir(folder).map_err(TaskError::file(folder))?;
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let texts: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "ptx"))
        .collect();
    let queue = Mutex::new(texts.iter());
    let next = || queue.lock().ok()?.next();
    let assemble_some = || -> Result<(), TaskError> {
        while let Some(text) = next() {
            assemble(&ptxas, text)?;
        }
        Ok(())
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| -> Result<(), TaskError> {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(assemble_some)).collect();
        let mut ends = workers.into_iter().map(|worker| worker.join());
        ends.try_for_each(|end| end.expect("a worker ends"))
    })?;
    say!("{} recorded texts assembled", texts.len());
    Ok(())
}

fn assemble(ptxas: &Path, text: &Path) -> Result<(), TaskError> {
    let contents = fs::read_to_string(text).map_err(TaskError::file(text))?;
    let (_, behind) = contents.split_once(".target").unwrap_or_default();
    let target = behind.split_whitespace().next().unwrap_or_default();
    let output = Command::new(ptxas)
        .args(["-O0", "-arch", target, "-o", "/dev/null"])
        .arg(text)
        .stdout(Stdio::null())
        .output()
        .map_err(TaskError::file(ptxas))?;
    if output.status.success() {
        return Ok(());
    }
    Err(TaskError::NotAssembled {
        text: text.to_path_buf(),
        reason: String::from_utf8_lossy(&output.stderr).trim().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel of one instruction.
    fn kernel(instruction: &str) -> String {
        format!(
            ".version 8.2\n.target sm_90\n.address_size 64\n.visible .entry k()\n\
             {{ .reg .pred %p<3>; .reg .b32 %r<4>; {instruction} ret; }}\n"
        )
    }

    #[test]
    fn a_text_that_ptxas_refuses_is_named() {
        if find("ptxas").is_none() {
            eprintln!("SKIPPED: no ptxas; `cargo xtask setup` installs it");
            return;
        }
        let folder = std::env::temp_dir().join(format!("assemble-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("right.ptx"), kernel("add.u32 %r0, %r1, 1;")).expect("a file");
        let right = all(&folder);
        let wrong = kernel("lop3.xor.b32 %r0|%p0, %r1, %r2, %r3, 1, %p1;");
        fs::write(folder.join("wrong.ptx"), wrong).expect("a file");
        let wrong = all(&folder);
        fs::remove_dir_all(&folder).expect("the folder is there");
        assert!(right.is_ok());
        let error = wrong.expect_err("no such instruction").to_string();
        assert!(error.contains("wrong.ptx"), "{error}");
        assert!(error.contains(".xor"), "{error}");
    }
}
