//! `cargo xtask package`: the crates as others get them, each proved to build from its package alone.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{TaskError, cargo, cargo_messages, program, root, run as run_command};
use crate::kernel_compiler;

/// What is published, dependencies first.
const CRATES: [&str; 6] = [
    "flash-attention-abi",
    "ptx-emulator",
    "kernel-builder",
    "flash-attention",
    "flash-attention-cli",
    "flash-attention-candle",
];
/// Settings of the builds of the packages.
const UNOPTIMISED: [&str; 3] = [
    "profile.dev.opt-level=0",
    "profile.dev.debug=false",
    "profile.dev.package.ptx-emulator.opt-level=0",
];
/// What the packaged command computes in the end.
const INPUT: &str = "examples/data/minilm_layer3_paragraph.safetensors";
/// Build folder in which nothing is left of an earlier compilation.
const FRESH: &str = "target/fresh";
/// Build folder of the packages.
const PACKAGES: &str = "target/packages";
/// Where the package of the library takes its kernels from.
const PREBUILT: &str = "prebuilt";

/// Compiles the kernels anew, puts them into prebuilt/, packages all crates and builds every package, without network
/// and without a compiler for kernels. Then lets the command that was built from packages compute and check attention,
/// and compares the packaged kernels with those of this checkout's build.
pub fn run() -> Result<(), TaskError> {
    kernel_compiler::ensure()?;
    let fresh = root().join(FRESH);
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(TaskError::file(&fresh))?;
    }
    let prebuilt = root().join(PREBUILT);
    replace_folder(&compiled_kernels(Some(&fresh))?, &prebuilt)?;

    run_command(&mut cargo(&["fetch"]))?;
    let mut package = cargo(&["package", "--offline", "--allow-dirty"]);
    for name in CRATES {
        package.args(["--package", name]);
    }
    // Whether it builds does not depend on how fast it is made: without this the emulator takes most of the time.
    for setting in UNOPTIMISED {
        package.args(["--config", setting]);
    }
    let packages = root().join(PACKAGES);
    package
        .env("CARGO_TARGET_DIR", &packages)
        .env_remove("RUSTC_BOOTSTRAP")
        .env(
            kernel_builder::COMPILER_VARIABLE,
            "/no/compiler/for/kernels",
        );
    run_command(&mut package)?;
    let command = packages.join("debug/flash-attention");
    let attend = ["attend", INPUT, "--check", "--device", "emulated"];
    run_command(&mut program(&command.to_string_lossy(), &attend))?;

    let version = env!("CARGO_PKG_VERSION");
    let packaged = packages.join(format!("package/flash-attention-{version}/{PREBUILT}"));
    let own = compiled_kernels(None)?;
    let files = expect_equal(&own, &packaged)?;
    say!("{files} kernels in the package, equal to a build of this checkout");
    say!("{}: the packages", packages.join("package").display());
    Ok(())
}

/// The folder in which the library's build script has left the kernels, in the build folder `target` or the usual one.
fn compiled_kernels(target: Option<&Path>) -> Result<PathBuf, TaskError> {
    let mut command = cargo(&["check", "--release", "--package", "flash-attention"]);
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    let folders = cargo_messages(&mut command)?;
    let folders = folders
        .iter()
        .filter_map(|message| message["out_dir"].as_str());
    let with_kernels = |folder: &PathBuf| folder.join(kernel_builder::EMBEDDED).is_file();
    folders
        .map(PathBuf::from)
        .find(with_kernels)
        .ok_or(TaskError::NoEmbeddedKernels)
}

/// Makes `to` a copy of the files of `from`.
fn replace_folder(from: &Path, to: &Path) -> Result<(), TaskError> {
    if to.exists() {
        fs::remove_dir_all(to).map_err(TaskError::file(to))?;
    }
    fs::create_dir_all(to).map_err(TaskError::file(to))?;
    for name in kernel_names(from)? {
        fs::copy(from.join(&name), to.join(&name)).map_err(TaskError::file(from.join(&name)))?;
    }
    let source = kernel_builder::EMBEDDED;
    fs::copy(from.join(source), to.join(source)).map_err(TaskError::file(from.join(source)))?;
    Ok(())
}

/// Fails unless both folders have the same kernels; returns how many.
fn expect_equal(own: &Path, packaged: &Path) -> Result<usize, TaskError> {
    let names = kernel_names(own)?;
    let differ = |kernel: &str| TaskError::PackagedKernelDiffers {
        kernel: kernel.to_owned(),
        packaged: packaged.display().to_string(),
    };
    if let Some(odd) = kernel_names(packaged)?
        .iter()
        .find(|name| !names.contains(name))
    {
        return Err(differ(odd));
    }
    for name in &names {
        let text =
            |folder: &Path| fs::read(folder.join(name)).map_err(TaskError::file(folder.join(name)));
        if text(own)? != text(packaged)? {
            return Err(differ(name));
        }
    }
    Ok(names.len())
}

/// File names of the PTX texts of a folder, sorted.
fn kernel_names(folder: &Path) -> Result<Vec<String>, TaskError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(TaskError::file(folder))? {
        let name = entry.map_err(TaskError::file(folder))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".ptx") {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_missing_added_or_changed_in_the_package_is_named() {
        let base = std::env::temp_dir().join(format!("package-{}", std::process::id()));
        let folder = |name: &str, kernels: &[(&str, &str)]| {
            let folder = base.join(name);
            fs::create_dir_all(&folder).unwrap();
            for (kernel, text) in kernels {
                fs::write(folder.join(kernel), text).unwrap();
            }
            folder
        };
        let own = folder("own", &[("a.ptx", "1"), ("b.ptx", "2"), ("note.txt", "3")]);
        let equal = folder("equal", &[("a.ptx", "1"), ("b.ptx", "2")]);
        assert_eq!(expect_equal(&own, &equal).unwrap(), 2);
        for (name, kernels, odd) in [
            ("missing", &[("a.ptx", "1")][..], "b.ptx"),
            (
                "added",
                &[("a.ptx", "1"), ("b.ptx", "2"), ("c.ptx", "3")],
                "c.ptx",
            ),
            ("changed", &[("a.ptx", "1"), ("b.ptx", "3")], "b.ptx"),
        ] {
            let error = expect_equal(&own, &folder(name, kernels)).unwrap_err();
            assert!(error.to_string().contains(odd), "{name}: {error}");
        }
        fs::remove_dir_all(&base).unwrap();
    }
}
