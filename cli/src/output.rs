//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flash_attention::{AttentionElement, Dtype as ElementType};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A file under a temporary name in its final folder, renamed by [`commit`](OutputFile::commit) and otherwise removed.
///
/// Made before the work that fills it, so that a folder without write permission is found out early.
pub struct OutputFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl OutputFile {
    pub fn create(path: &Path) -> Result<OutputFile> {
        let Some(name) = path.file_name() else {
            bail!("{} is not the name of a file", path.display());
        };
        if path.is_dir() {
            bail!("{} is a folder; name a file in it", path.display());
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(OutputFile {
            file,
            temporary,
            path: path.to_owned(),
            is_committed: false,
        })
    }

    pub fn commit(mut self, contents: &[u8]) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        self.file.write_all(contents).with_context(cannot)?;
        fs::rename(&self.temporary, &self.path).with_context(cannot)?;
        self.is_committed = true;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.is_committed {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The safetensors file of a forward pass: `out` shaped as q, `lse` f32 `[batch, num_heads, seqlen_q]`.
pub fn safetensors<T: AttentionElement>(
    q_shape: [usize; 4],
    out: &[T],
    lse: &[f32],
) -> Result<Vec<u8>> {
    let [batch, seqlen_q, num_heads, _] = q_shape;
    let dtype = match T::DTYPE {
        ElementType::F16 => Dtype::F16,
        ElementType::Bf16 => Dtype::BF16,
    };
    let out: Vec<u8> = out.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    let lse: Vec<u8> = lse.iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensors = [
        ("out", TensorView::new(dtype, q_shape.to_vec(), &out)?),
        (
            "lse",
            TensorView::new(Dtype::F32, vec![batch, num_heads, seqlen_q], &lse)?,
        ),
    ];
    Ok(safetensors::serialize(tensors, None)?)
}
