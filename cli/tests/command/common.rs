//! Running the command, and what tests look at afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flash_attention::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

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

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The tensors of a file by name.
pub type Tensors = BTreeMap<String, Stored>;

impl Stored {
    /// f16 numbers from -2 to 2 that look random and depend on `seed`.
    pub fn random(shape: &[usize], seed: u64) -> Stored {
        Stored::halves(shape, random(shape, seed))
    }

    pub fn halves(shape: &[usize], numbers: impl IntoIterator<Item = f32>) -> Stored {
        let bytes = |x| f16::from_f32(x).to_le_bytes();
        Stored {
            dtype: Dtype::F16,
            shape: shape.to_vec(),
            data: numbers.into_iter().flat_map(bytes).collect(),
        }
    }

    pub fn floats(shape: &[usize], numbers: impl IntoIterator<Item = f32>) -> Stored {
        Stored {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            data: numbers.into_iter().flat_map(f32::to_le_bytes).collect(),
        }
    }

    pub fn integers(numbers: &[i32]) -> Stored {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes());
        Stored {
            dtype: Dtype::I32,
            shape: vec![numbers.len()],
            data: bytes.collect(),
        }
    }

    pub fn long_integers(numbers: &[i64]) -> Stored {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes());
        Stored {
            dtype: Dtype::I64,
            shape: vec![numbers.len()],
            data: bytes.collect(),
        }
    }

    pub fn as_floats(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        let (words, _) = self.data.as_chunks();
        words.iter().copied().map(f32::from_le_bytes).collect()
    }

    /// The same elements in another shape.
    pub fn reshaped(&self, shape: &[usize]) -> Stored {
        assert_eq!(
            shape.iter().product::<usize>(),
            self.shape.iter().product::<usize>()
        );
        Stored {
            shape: shape.to_vec(),
            ..self.clone()
        }
    }

    /// Rows of tensors beside each other, where a row is everything after the first `outer` dimensions.
    pub fn interleaved(parts: &[&Stored], outer: usize, shape: &[usize]) -> Stored {
        let rows: usize = parts[0].shape[..outer].iter().product();
        let row = |part: &Stored, i: usize| {
            let len = part.data.len() / rows;
            part.data[i * len..(i + 1) * len].to_vec()
        };
        let data = (0..rows).flat_map(|i| parts.iter().flat_map(move |part| row(part, i)));
        Stored {
            dtype: parts[0].dtype,
            shape: shape.to_vec(),
            data: data.collect(),
        }
    }
}

/// Numbers from -2 to 2 that look random.
pub fn random(shape: &[usize], seed: u64) -> Vec<f32> {
    let number = |i: u64| {
        let mut z = (seed << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (z >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    let elements: usize = shape.iter().product();
    (0..elements as u64).map(number).collect()
}

pub fn tensors<const N: usize>(tensors: [(&str, Stored); N]) -> Tensors {
    let named = tensors.map(|(name, tensor)| (name.to_owned(), tensor));
    named.into_iter().collect()
}

pub fn write_tensors(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data).unwrap();
        (name, view)
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

pub fn read_tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let tensor = Stored {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        };
        (name.to_owned(), tensor)
    });
    tensors.collect()
}

/// Runs `attend` or `grad` on these tensors with `--check`, which must pass, and returns what it has written.
pub fn checked(folder: &Path, command: &str, input: &Tensors, options: &[&str]) -> Tensors {
    let (from, to) = (
        folder.join("in.safetensors"),
        folder.join("out.safetensors"),
    );
    write_tensors(&from, input);
    let arguments = [command, text(&from), "-o", text(&to), "--check"];
    let run = flash_attention(&[&arguments[..], options].concat());
    assert_code(&run, 0);
    let stdout = String::from_utf8(run.stdout).unwrap();
    let passes = if command == "grad" { 2 } else { 1 };
    assert_eq!(
        stdout.matches("check    passed: ").count(),
        passes,
        "{stdout}"
    );
    let output = read_tensors(&to);
    fs::remove_file(&to).unwrap();
    output
}
