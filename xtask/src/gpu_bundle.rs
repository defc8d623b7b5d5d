//! `cargo xtask gpu-bundle`: one folder that tests and measures the kernels on a machine with a GPU and without Rust.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::command::{TaskError, cargo, root, show};
use crate::kernel_compiler;

/// What the folder may weigh, in bytes: it has to travel.
const LIMIT: u64 = 60_000_000;
/// Beside the build folder of this task, so that a later build does not mix with it.
const TARGET: &str = "target/gpu";
/// Not all default packages: candle's feature `cuda` needs a CUDA toolkit.
const LIBRARY: &str = "--package=flash-attention";

/// Builds stripped binaries with the feature `cuda` and puts them, compressed, the data and `run.sh` into
/// target/gpu-bundle.
pub fn run() -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let bundle = root().join("target/gpu-bundle");
    if bundle.exists() {
        fs::remove_dir_all(&bundle).map_err(file_error(&bundle))?;
    }
    for (folder, arguments) in [
        (
            "tests",
            &["test", LIBRARY, "--no-run", "--test", "attention"][..],
        ),
        (
            "benches",
            &["bench", LIBRARY, "--no-run", "--bench", "attention"][..],
        ),
        ("bin", &["build", "--package", "flash-attention-cli"][..]),
    ] {
        let folder = bundle.join(folder);
        fs::create_dir_all(&folder).map_err(file_error(&folder))?;
        for executable in build(arguments)? {
            compress(&executable, &folder.join(plain_name(&executable) + ".gz"))?;
        }
    }
    copy_folder(&root().join("examples/data"), &bundle.join("data"))?;
    copy(&root().join("benches/gpu/run.sh"), &bundle.join("run.sh"))?;
    let bytes = folder_bytes(&bundle)?;
    println!(
        "{}: {:.1} MB; run.sh runs everything on cuda:0",
        bundle.display(),
        bytes as f64 / 1e6
    );
    if bytes > LIMIT {
        return Err(TaskError::BundleTooLarge {
            bytes,
            limit: LIMIT,
        });
    }
    Ok(())
}

/// Builds for release with CUDA and returns the executables that cargo reports.
fn build(arguments: &[&str]) -> Result<Vec<PathBuf>, TaskError> {
    let mut command = cargo(arguments);
    if arguments[0] != "bench" {
        command.arg("--release");
    }
    command
        .args([
            "--features",
            "cuda",
            "--message-format",
            "json-render-diagnostics",
        ])
        .env("CARGO_TARGET_DIR", root().join(TARGET))
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .stdout(Stdio::piped());
    let shown = show(&command);
    let not_started = |source| TaskError::NotStarted {
        command: shown.clone(),
        source,
    };
    let mut child = command.spawn().map_err(not_started)?;
    let output = child.stdout.take().expect("stdout was asked for as a pipe");
    let messages = std::io::BufReader::new(output).lines();
    let executables = messages
        .map_while(Result::ok)
        .filter_map(|line| executable(&line))
        .collect();
    let status = child.wait().map_err(not_started)?;
    if status.success() {
        Ok(executables)
    } else {
        Err(TaskError::Failed {
            command: shown,
            status,
        })
    }
}

/// The path in cargo's message about a finished executable; other messages have none.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(message.get("executable")?.as_str()?.into())
}

/// The file name without the hash that cargo appends to tests and benchmarks.
fn plain_name(executable: &Path) -> String {
    let name = executable
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match name.rsplit_once('-') {
        Some((stem, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            stem.to_owned()
        }
        _ => name,
    }
}

/// Programs travel compressed: each of them has the PTX of all kernels in it. `run.sh` unpacks them.
fn compress(from: &Path, to: &Path) -> Result<(), TaskError> {
    let mut program = fs::File::open(from).map_err(file_error(from))?;
    let packed = fs::File::create(to).map_err(file_error(to))?;
    let mut encoder = GzEncoder::new(packed, Compression::default());
    io::copy(&mut program, &mut encoder).map_err(file_error(to))?;
    encoder.finish().map_err(file_error(to))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), TaskError> {
    fs::copy(from, to).map_err(file_error(from))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(to).map_err(file_error(to))?;
    for entry in fs::read_dir(from).map_err(file_error(from))? {
        let entry = entry.map_err(file_error(from))?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn folder_bytes(folder: &Path) -> Result<u64, TaskError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(file_error(folder))? {
        let entry = entry.map_err(file_error(folder))?;
        let metadata = entry.metadata().map_err(file_error(folder))?;
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> TaskError {
    let path = path.display().to_string();
    move |source| TaskError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_loses_its_hash_and_a_program_keeps_its_name() {
        assert_eq!(
            plain_name(Path::new("/t/deps/forward-0123456789abcdef")),
            "forward"
        );
        assert_eq!(
            plain_name(Path::new("/t/release/flash-attention")),
            "flash-attention"
        );
    }

    #[test]
    fn only_messages_about_executables_name_one() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/deps/forward-1"}"#;
        assert_eq!(executable(message), Some("/t/deps/forward-1".into()));
        assert_eq!(
            executable(r#"{"reason":"compiler-artifact","executable":null}"#),
            None
        );
        assert_eq!(executable("warning: not JSON"), None);
    }
}
