//! `cargo xtask gpu-bundle`: one folder that tests and measures the kernels on a machine with a GPU and without Rust.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::assemble;
use crate::command::{self, TaskError, cargo, cargo_messages, program, root};
use crate::kernel_compiler;

/// What the folder may weigh, in bytes: it has to travel.
const LIMIT: u64 = 60_000_000;
/// Beside the build folder of this task, so that a later build does not mix with it.
const TARGET: &str = "target/gpu";
/// Not all default packages: candle's feature `cuda` needs a CUDA toolkit.
const LIBRARY: &str = "--package=flash-attention";

/// Tests of the emulator whose launches travel as fixtures.
const RECORDED: [&str; 12] = [
    "arithmetic",
    "bulk",
    "clusters",
    "counters",
    "decode",
    "faults",
    "initcheck",
    "instructions",
    "launches",
    "schedules",
    "synccheck",
    "wgmma",
];

/// Builds stripped programs with the feature `cuda`, records the fixtures, and puts both, compressed, with the data and
/// the scripts into target/gpu-bundle.
pub fn run() -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let bundle = root().join("target/gpu-bundle");
    if bundle.exists() {
        fs::remove_dir_all(&bundle).map_err(TaskError::file(&bundle))?;
    }
    let programs = bundle.join("bin");
    fs::create_dir_all(&programs).map_err(TaskError::file(&programs))?;
    for arguments in [
        &["test", LIBRARY, "--no-run", "--test", "attention"][..],
        &[
            "bench",
            LIBRARY,
            "--no-run",
            "--bench",
            "gpu_attention",
            "--bench",
            "gpu_fixtures",
        ],
        &["build", "--package", "flash-attention-cli"],
    ] {
        for executable in build(arguments)? {
            let name = match arguments[0] {
                "test" => "test-".to_owned() + &plain_name(&executable),
                _ => plain_name(&executable),
            };
            compress(&executable, &programs.join(name + ".gz"))?;
        }
    }
    let recorded = record()?;
    assemble::all(&recorded)?;
    command::run(
        program("tar", &["--create", "--gzip", "--file"])
            .arg(bundle.join("fixtures.tar.gz"))
            .arg("--directory")
            .arg(&recorded)
            .arg("."),
    )?;
    copy_folder(&root().join("examples/data"), &bundle.join("data"))?;
    for script in ["run.sh", "rivals.py", "table.py"] {
        copy(
            &root().join("benches/gpu").join(script),
            &bundle.join(script),
        )?;
    }
    check_size(&bundle)
}

/// Runs the emulator's tests with their launches recorded, and returns the folder of the fixtures.
fn record() -> Result<PathBuf, TaskError> {
    let folder = root().join("target/gpu-fixtures");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(TaskError::file(&folder))?;
    }
    let mut tests = cargo(&["test", "--release", "--package", "ptx-emulator", "--quiet"]);
    for test in RECORDED {
        tests.args(["--test", test]);
    }
    command::run(tests.env("PTX_FIXTURES", &folder))?;
    let files = fs::read_dir(&folder).map_err(TaskError::file(&folder))?;
    let names = files.filter_map(|file| Some(file.ok()?.file_name().into_encoded_bytes()));
    let fixtures = names.filter(|name| name.ends_with(b".json")).count();
    say!("{fixtures} launches recorded in {}", folder.display());
    Ok(folder)
}

/// Prints what each part of the bundle weighs and refuses too much.
fn check_size(bundle: &Path) -> Result<(), TaskError> {
    let bytes = folder_bytes(bundle)?;
    for part in ["bin", "fixtures.tar.gz", "data"] {
        let path = bundle.join(part);
        let size = match path.is_dir() {
            true => folder_bytes(&path)?,
            false => fs::metadata(&path).map_err(TaskError::file(&path))?.len(),
        };
        say!("{:>8.1} MB {part}", size as f64 / 1e6);
    }
    say!(
        "{:>8.1} MB {}; run.sh runs everything on cuda:0",
        bytes as f64 / 1e6,
        bundle.display(),
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
    fn the_scripts_are_sound() {
        command::run(&mut program("bash", &["-n", "benches/gpu/run.sh"])).unwrap();
        // -B leaves no compiled files in the source tree.
        for tests in ["benches/gpu/test_rivals.py", "benches/gpu/test_run.py"] {
            let tests = ["-B", "-m", "unittest", tests];
            command::run(&mut program("python3", &tests)).unwrap();
        }
    }

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
