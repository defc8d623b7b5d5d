//! The command itself: what it does before and beside measuring.

use std::fs;
use std::process::{Command, Stdio};

fn suite() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bench-suite"))
}

#[test]
fn a_reader_who_has_left_does_not_keep_files_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let newest = bench_suite::render::newest(&bench_suite::repository()).unwrap();
    fs::copy(
        newest.join("results.json"),
        folder.path().join("results.json"),
    )
    .unwrap();
    let mut rendering = suite()
        .arg("--render")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(rendering.stdout.take());
    assert!(rendering.wait().unwrap().success());
    assert!(folder.path().join("table.md").is_file());
}

#[test]
fn folders_that_cannot_be_used_are_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let source = file.join("kernels/flash_fwd_hdim64_bf16_sm80.cu");
    for (options, named) in [
        (&["--out"][..], &file),
        (&["--cutlass", "/", "--candle-flash-attn"], &source),
    ] {
        let done = suite()
            .arg("--quick")
            .args(options)
            .arg(&file)
            .output()
            .unwrap();
        assert!(!done.status.success());
        assert!(done.stdout.is_empty(), "it has begun to measure");
        let error = String::from_utf8(done.stderr).unwrap();
        assert!(error.contains(named.to_str().unwrap()), "{error}");
    }
}
