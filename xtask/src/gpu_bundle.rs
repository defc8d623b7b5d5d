//! `cargo xtask gpu-bundle`: one folder that tests and measures the kernels on a machine with a GPU and without Rust.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::command::{TaskError, cargo, cargo_messages, root};
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
        fs::remove_dir_all(&bundle).map_err(TaskError::file(&bundle))?;
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
        fs::create_dir_all(&folder).map_err(TaskError::file(&folder))?;
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
        .args(["--features", "cuda"])
        .env("CARGO_TARGET_DIR", root().join(TARGET))
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let messages = cargo_messages(&mut command)?;
    let executables = messages.iter().filter_map(|m| m["executable"].as_str());
    Ok(executables.map(PathBuf::from).collect())
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
    let mut program = fs::File::open(from).map_err(TaskError::file(from))?;
    let packed = fs::File::create(to).map_err(TaskError::file(to))?;
    let mut encoder = GzEncoder::new(packed, Compression::default());
    io::copy(&mut program, &mut encoder).map_err(TaskError::file(to))?;
    encoder.finish().map_err(TaskError::file(to))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), TaskError> {
    fs::copy(from, to).map_err(TaskError::file(from))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(to).map_err(TaskError::file(to))?;
    for entry in fs::read_dir(from).map_err(TaskError::file(from))? {
        let entry = entry.map_err(TaskError::file(from))?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn folder_bytes(folder: &Path) -> Result<u64, TaskError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(TaskError::file(folder))? {
        let entry = entry.map_err(TaskError::file(folder))?;
        let metadata = entry.metadata().map_err(TaskError::file(folder))?;
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
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
}
