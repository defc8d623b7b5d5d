//! Running the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn flash_attention(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flash-attention"))
        .args(arguments)
        .output()
        .unwrap()
}

/// An empty folder of this test's own.
pub fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn assert_code(output: &Output, code: i32) {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {stdout}\nstderr: {stderr}"
    );
}
