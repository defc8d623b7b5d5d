//! One cargo run that turns the kernel crate into one assembly text.
//!
//! Nothing of the surrounding build leaks in: no flags, wrappers, profiles or job server of the outer cargo, no
//! rustflags of the user's configuration. What the text depends on is the source, the compiler and [`flags`].

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{BuildError, Compiler, flags};

/// Compiles the crate of `manifest` (a Cargo.toml) for `arch`; cargo's files go to `work_dir`.
pub(crate) fn compile(
    compiler: &Compiler,
    manifest: &Path,
    arch: &str,
    work_dir: &Path,
) -> Result<String, BuildError> {
    let assembly = work_dir.join(format!("{arch}.s"));
    let file_names = flags::file_names(&compiler.std_source, manifest);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(belongs_to_outer_build) {
            command.env_remove(name);
        }
    }
    command
        .env("RUSTC", &compiler.rustc)
        // Empty is not the same as absent: it overrides the user's configuration as well.
        .envs([("RUSTC_WRAPPER", ""), ("RUSTC_WORKSPACE_WRAPPER", "")])
        .env("CARGO_ENCODED_RUSTFLAGS", file_names.join("\x1f"))
        .envs([flags::BOOTSTRAP])
        .envs(flags::PROFILE.iter().copied())
        .arg("rustc")
        .args(flags::CARGO)
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(work_dir)
        .arg("--")
        .args(flags::rustc(arch)?)
        .arg(format!("--emit=asm={}", assembly.display()));
    let output = command.output().map_err(BuildError::io("run", &cargo))?;
    if !output.status.success() {
        return Err(BuildError::Compile {
            compiler: compiler.version.clone(),
            status: output.status.to_string(),
            log: last_lines(&String::from_utf8_lossy(&output.stderr), 60),
        });
    }
    if !assembly.is_file() {
        return Err(BuildError::NoAssembly { path: assembly });
    }
    fs::read_to_string(&assembly).map_err(BuildError::io("read", &assembly))
}

/// Variables that the outer cargo sets for its build scripts, or that the user sets for the host's build.
fn belongs_to_outer_build(name: &str) -> bool {
    const KEPT: [&str; 5] = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    const REMOVED: [&str; 7] = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "MAKEFLAGS",
        "MFLAGS",
        "DEP_",
    ];
    let is_any_of = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    is_any_of(&REMOVED) && !is_any_of(&KEPT)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_wrappers_of_the_outer_build_do_not_leak() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_MAKEFLAGS",
            "CARGO_BUILD_TARGET",
        ] {
            assert!(belongs_to_outer_build(name), "{name}");
        }
    }

    #[test]
    fn what_reaches_the_registry_and_the_toolchain_is_kept() {
        for name in [
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
            "PATH",
            "HOME",
        ] {
            assert!(!belongs_to_outer_build(name), "{name}");
        }
    }

    #[test]
    fn a_long_log_keeps_its_end() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
