//! Compiles the kernels of the manifest and embeds them: `host/kernels.rs` includes what this writes.
//! All work is in `kernel-builder`; this script only says what to compile.

use std::env;
use std::path::PathBuf;
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
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!(
        "cargo::rerun-if-env-changed={}",
        kernel_builder::COMPILER_VARIABLE
    );
    if let Err(error) = embed_kernels() {
        eprintln!("{error}");
        exit(1);
    }
}

fn embed_kernels() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
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
    Ok(kernel_builder::embed(&kernels, &out_dir)?)
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
