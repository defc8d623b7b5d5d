//! Everything rustc is told when it compiles kernels. The only place with code generation flags.

use std::path::{Path, PathBuf};

use crate::BuildError;

/// The target of every kernel.
pub(crate) const TARGET: &str = "nvptx64-nvidia-cuda";

/// Profile settings, as the environment variables that outrank `Cargo.toml` and cargo's configuration.
pub(crate) const PROFILE: &[(&str, &str)] = &[
    // Kernels are compiled once and run for hours: always the best code, in every profile of the host.
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    // `core` is inlined into the kernels: device calls cost registers and spills.
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    // One assembly text, and the same one whatever the number of cores.
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    // There is no unwinder on the GPU.
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    // Source lines as `.loc` directives, for profilers and faults; the instructions stay the same. Anything more is
    // debug sections, which would triple the text and make the driver compile without optimisation.
    ("CARGO_PROFILE_RELEASE_DEBUG", "line-directives-only"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
    // Checked arithmetic means trap paths in the hot loop.
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// Unlocks `-Z` flags and `#![feature]` on a release compiler: the GPU target needs both.
pub(crate) const BOOTSTRAP: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// Flags of cargo, without paths.
pub(crate) const CARGO: &[&str] = &[
    "--release",
    "--crate-type=cdylib",
    "--target",
    TARGET,
    // No compiler ships a precompiled `core` of the right architecture with every rustup profile.
    "-Zbuild-std=core",
];

/// Architectures that can be compiled for, each with the oldest PTX version that has all their instructions.
///
/// rustc's own choice of PTX version can be older than the instructions of its `target-cpu`.
const ARCHITECTURES: &[(&str, &str)] = &[("sm_80", "ptx71"), ("sm_90a", "ptx81")];

/// Flags of rustc for the kernel crate itself.
pub(crate) fn rustc(arch: &str) -> Result<Vec<String>, BuildError> {
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == arch);
    let (_, ptx_version) = known.ok_or_else(|| BuildError::UnknownArchitecture {
        arch: arch.to_owned(),
        known: ARCHITECTURES.iter().map(|(name, _)| *name).collect(),
    })?;
    let flags = [
        format!("-Ctarget-cpu={arch}"),
        format!("-Ctarget-feature=+{ptx_version}"),
        // What the source can tell architectures apart by.
        format!("--cfg=kernel_arch=\"{arch}\""),
        // The assembly is the product: the command that links has nothing to do, `true` does it.
        "-Clinker=true".to_owned(),
        // Rust has no unroll pragma. Below this threshold LLVM keeps loops over fragments rolled, and an array that
        // is indexed in a rolled loop cannot live in registers: it lands in local memory, hundreds of accesses a tile.
        "-Cllvm-args=-unroll-threshold=4000".to_owned(),
        // Jump threading may copy a barrier into both arms of a branch; a barrier must be one place for all threads.
        "-Zmir-enable-passes=-JumpThreading".to_owned(),
    ];
    Ok(flags.into())
}

/// Flags of rustc for every crate, `core` too, so that files are named alike on every machine: `core/src/option.rs`
/// and, in the folder of the crate that `manifest` belongs to, `CRATE/src/lib.rs`.
///
/// rustc compares with the path of its working directory, which has no symbolic links in it; cargo keeps them.
pub(crate) fn file_names(std_source: &Path, manifest: &Path) -> Vec<String> {
    let surroundings = |manifest: &Path| manifest.ancestors().take(3).last().map(Path::to_owned);
    let mut prefixes = vec![std_source.to_owned()];
    let manifests = [std::path::absolute(manifest), manifest.canonicalize()];
    prefixes.extend(
        manifests
            .iter()
            .flatten()
            .filter_map(|path| surroundings(path)),
    );
    prefixes.dedup();
    let remap = |prefix: &PathBuf| format!("--remap-path-prefix={}=", prefix.display());
    prefixes.iter().map(remap).collect()
}

/// A text that changes when any flag does.
pub(crate) fn fingerprint(arch: &str) -> Result<String, BuildError> {
    let file_names = file_names(Path::new("/library"), Path::new("/crate/Cargo.toml"));
    let rustc = rustc(arch)?;
    Ok(format!("{PROFILE:?} {CARGO:?} {rustc:?} {file_names:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_architecture_is_refused_with_the_known_ones() {
        let message = rustc("sm_35").unwrap_err().to_string();
        assert!(
            message.contains("sm_35") && message.contains("sm_80"),
            "{message}"
        );
    }

    #[test]
    fn files_are_named_from_the_folder_around_the_crate() {
        let manifest = Path::new("/no/such/kernels/Cargo.toml");
        assert_eq!(
            file_names(Path::new("/toolchain/library"), manifest),
            [
                "--remap-path-prefix=/toolchain/library=",
                "--remap-path-prefix=/no/such="
            ]
        );
    }

    #[test]
    fn the_architecture_reaches_the_compiler_and_the_fingerprint() {
        assert!(
            rustc("sm_80")
                .unwrap()
                .contains(&"-Ctarget-cpu=sm_80".to_owned())
        );
        assert!(fingerprint("sm_80").unwrap().contains("sm_80"));
    }
}
