//! The whole way on a real compiler: the fixture crate to PTX modules.

use std::fs;
use std::path::{Path, PathBuf};

use kernel_builder::{AssemblyError, BuildError, Entry, KernelsRequest, LaunchBounds, build};

const BOUNDS: LaunchBounds = LaunchBounds {
    threads: 64,
    blocks_per_sm: 3,
};

fn request(entries: &[&str], cache_name: &str) -> KernelsRequest {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache_name);
    let entry = |name: &&str| Entry {
        name: name.to_string(),
        bounds: BOUNDS,
        param_align: None,
    };
    KernelsRequest {
        manifest: fixture.join("Cargo.toml"),
        sources: vec![fixture.join("src"), fixture.join("Cargo.toml")],
        arch: "sm_80".to_owned(),
        entries: entries.iter().map(entry).collect(),
        cache_dir,
    }
}

fn assembly_files(dir: &Path) -> Vec<PathBuf> {
    let files = dir.read_dir().unwrap().flatten().map(|file| file.path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "s"))
        .collect()
}

#[test]
fn a_crate_becomes_one_module_per_entry_and_is_compiled_once() {
    let all = request(&["fill", "shared_address", "nothing"], "whole");
    let _ = fs::remove_dir_all(&all.cache_dir);
    let kernels = build(&all).unwrap();

    assert_eq!(kernels.modules.len(), 3);
    for (entry, ptx) in &kernels.modules {
        assert!(ptx.starts_with(".version 7.1\n.target sm_80\n"), "{ptx}");
        assert_eq!(ptx.matches(".entry ").count(), 1, "{ptx}");
        assert!(ptx.contains(&format!(".entry {entry}(")), "{ptx}");
        assert!(
            ptx.contains(".reqntid 64, 1, 1\n.minnctapersm 3\n{"),
            "{ptx}"
        );
        assert_eq!(
            ptx.contains("dynamic_shared["),
            entry == "shared_address",
            "{ptx}"
        );
        assert_eq!(ptx.contains("TABLE["), entry == "fill", "{ptx}");
        assert!(ptx.contains("\t.loc\t"), "{ptx}");
        assert!(ptx.contains("\"fixture/src/lib.rs\"\n"), "{ptx}");
        assert!(!ptx.contains("\"/"), "a path of this machine: {ptx}");
    }

    // A second compilation would take other seconds and would not meet the text that is planted here.
    let kept = assembly_files(&all.cache_dir);
    assert_eq!(kept.len(), 1);
    let marked = fs::read_to_string(&kept[0])
        .unwrap()
        .replace("sm_80", "sm_80, debug");
    fs::write(&kept[0], marked).unwrap();
    let again = build(&all).unwrap();
    assert!(again.modules[0].1.contains(".target sm_80, debug"));
    assert_eq!(again.seconds, (kernels.seconds * 10.0).round() / 10.0);

    let less = KernelsRequest {
        entries: all.entries[..2].to_vec(),
        ..all
    };
    let error = build(&less).unwrap_err();
    let unexpected = AssemblyError::UnexpectedEntry {
        entry: "nothing".to_owned(),
    };
    assert!(matches!(error, BuildError::Assembly(found) if found == unexpected));
}

#[test]
fn a_crate_that_does_not_compile_shows_the_compiler_message() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken");
    fs::create_dir_all(dir.join("src")).unwrap();
    fs::write(
        dir.join("src/lib.rs"),
        "#![no_std]\nfn broken() -> u32 { missing_name }\n",
    )
    .unwrap();
    let manifest = "[package]\nname = \"broken\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    let mut broken = request(&[], "broken-cache");
    broken.manifest = dir.join("Cargo.toml");
    broken.sources = vec![dir.join("src")];
    let message = build(&broken).unwrap_err().to_string();
    assert!(message.contains("missing_name"), "{message}");
}

#[test]
fn a_missing_source_is_an_error_with_its_path() {
    let mut moved = request(&["fill"], "moved");
    moved.sources = vec!["/no/such/folder".into()];
    let message = build(&moved).unwrap_err().to_string();
    assert!(message.contains("/no/such/folder"), "{message}");
}
