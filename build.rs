//! Compiles the kernels of the manifest for `host/kernels.rs` to embed. All work is in `kernel-builder`; this script
//! only says what to compile.
//!
//! A package of this library has no source of the kernels: it brings what the same build made of them, in `prebuilt/`
//! (`cargo xtask package`), and needs neither the source of `core` nor a compiler that may use it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

use abi::{Arch, KernelVariant};
use kernel_builder::{Entry, KernelsRequest, LaunchBounds};

/// All that the PTX depends on besides the compiler. A change of anything else does not compile kernels.
const SOURCES: [&str; 4] = [
    "kernels-gpu/src",
    "kernels-gpu/Cargo.toml",
    "abi/src",
    "abi/Cargo.toml",
];

fn main() {
    match embedded_kernels() {
        Ok(folder) => {
            let source = folder.join(kernel_builder::EMBEDDED);
            println!("cargo::rustc-env=EMBEDDED_KERNELS={}", source.display());
        }
        Err(error) => {
            eprintln!("{error}");
            exit(1);
        }
    }
}

/// The folder with the kernels and the source that embeds them.
fn embedded_kernels() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let prebuilt = root.join("prebuilt");
    if root.join("kernels-gpu").is_dir() {
        compile_kernels(&root, PathBuf::from(env::var("OUT_DIR")?))
    } else if prebuilt.is_dir() {
        println!("cargo::rerun-if-changed=prebuilt");
        Ok(prebuilt)
    } else {
        Err(
            "this package has neither the source of the kernels nor what was made of it: \
             `cargo xtask package` in the repository makes one that has"
                .into(),
        )
    }
}

fn compile_kernels(root: &Path, out_dir: PathBuf) -> Result<PathBuf, Box<dyn std::error::Error>> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!(
        "cargo::rerun-if-env-changed={}",
        kernel_builder::COMPILER_VARIABLE
    );
    let mut kernels = Vec::new();
    for &arch in Arch::ALL {
        kernels.push(kernel_builder::build(&KernelsRequest {
            manifest: root.join("kernels-gpu/Cargo.toml"),
            sources: SOURCES.map(|source| root.join(source)).into(),
            arch: arch.name().to_owned(),
            entries: entries(arch),
            cache_dir: kernel_builder::shared_dir(&out_dir),
        })?);
    }
    kernel_builder::embed(&kernels, &out_dir)?;
    Ok(out_dir)
}

fn entries(arch: Arch) -> Vec<Entry> {
    let specs = KernelVariant::all().map(|variant| variant.spec());
    specs
        .filter(|spec| spec.arch == arch)
        .map(|spec| Entry {
            name: spec.entry.to_owned(),
            bounds: LaunchBounds {
                threads: spec.threads,
                blocks_per_sm: spec.blocks_per_sm,
            },
            param_align: spec.param_align(),
        })
        .collect()
}
