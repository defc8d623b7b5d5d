//! Running the command, and what tests look at afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Activations of a real model.
pub const PARAGRAPH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/data/minilm_layer3_paragraph.safetensors"
);
/// Sentences packed into one sequence.
pub const SENTENCES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/data/minilm_layer5_sentences_varlen.safetensors"
);

/// Runs the command to its end.
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

/// Writes q, k and v of one shape and type, filled with the byte 0x11.
pub fn write_inputs(path: &Path, tensors: &[(&str, Dtype, &[usize])]) {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, dtype, shape)| vec![0x11; shape.iter().product::<usize>() * dtype.bitsize() / 8])
        .collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, dtype, shape), data)| {
            (
                *name,
                TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
            )
        });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Neither an output nor a temporary file is left.
pub fn assert_only_file(folder: &Path, name: &str) {
    let left: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [name]);
}

/// Exit code 2, one line that says why, nothing else.
pub fn assert_refused(run: &Output, message: &str) {
    assert_code(run, 2);
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.contains(message), "want {message:?}, got {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(run.stdout.is_empty(), "{:?}", run.stdout);
}

/// Runs on the reference, which is fast enough for tests about files.
pub fn attend_to(option: &str, path: &Path, more: &[&str]) -> Output {
    let arguments = [
        "attend",
        PARAGRAPH,
        "--device",
        "reference",
        option,
        text(path),
    ];
    flash_attention(&[&arguments[..], more].concat())
}
