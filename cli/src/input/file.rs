//! Tensors of a safetensors file by name, and their elements.

use anyhow::{Result, anyhow, bail};
use flash_attention::AttentionElement;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A file that has been read.
pub struct File<'a> {
    tensors: SafeTensors<'a>,
}

impl<'a> File<'a> {
    pub fn new(tensors: SafeTensors<'a>) -> File<'a> {
        File { tensors }
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn find(&self, name: &str) -> Option<TensorView<'a>> {
        self.tensors.tensor(name).ok()
    }

    /// One of q, k and v.
    pub fn need(&self, name: &str) -> Result<TensorView<'a>> {
        self.find(name).ok_or_else(|| {
            anyhow!(
                "no tensor {name}: the file needs q, k and v, or q and kv, or qkv, has {:?}",
                self.names()
            )
        })
    }

    /// A tensor that an option uses.
    pub fn need_for(&self, option: &str, name: &str) -> Result<TensorView<'a>> {
        self.find(name).ok_or_else(|| {
            anyhow!(
                "no tensor {name}, which {option} uses: add it or leave {option} out; the file has {:?}",
                self.names()
            )
        })
    }

    pub fn names(&self) -> Vec<String> {
        let names = self.tensors.names().into_iter();
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }
}

/// Checks type and shape of a tensor.
pub fn check(name: &str, tensor: &TensorView, dtypes: &[Dtype], shape: &[usize]) -> Result<()> {
    check_dtype(name, tensor, dtypes)?;
    if tensor.shape() != shape {
        bail!("{name} has shape {:?}, must have {shape:?}", tensor.shape());
    }
    Ok(())
}

/// Checks the type of a tensor.
pub fn check_dtype(name: &str, tensor: &TensorView, dtypes: &[Dtype]) -> Result<()> {
    if dtypes.contains(&tensor.dtype()) {
        return Ok(());
    }
    let dtypes: Vec<String> = dtypes.iter().map(|dtype| format!("{dtype:?}")).collect();
    bail!(
        "{name} has dtype {:?}, must be {}: convert it",
        tensor.dtype(),
        dtypes.join(" or ")
    )
}

/// The elements of a tensor of type `T`.
pub fn elements<T: AttentionElement>(tensor: &TensorView) -> Vec<T> {
    words(tensor)
        .map(|word| T::from_bits(u16::from_le_bytes(word)))
        .collect()
}

/// The elements of a tensor of f32.
pub fn floats(tensor: &TensorView) -> Vec<f32> {
    words(tensor).map(f32::from_le_bytes).collect()
}

/// The elements of a one-dimensional tensor of i32 or i64.
pub fn integers(name: &str, tensor: &TensorView) -> Result<Vec<i64>> {
    check_dtype(name, tensor, &[Dtype::I32, Dtype::I64])?;
    if tensor.shape().len() != 1 {
        bail!(
            "{name} has shape {:?}, must have 1 dimension",
            tensor.shape()
        );
    }
    Ok(match tensor.dtype() {
        Dtype::I32 => words(tensor)
            .map(|x| i32::from_le_bytes(x).into())
            .collect(),
        _ => words(tensor).map(i64::from_le_bytes).collect(),
    })
}

fn words<'a, const N: usize>(tensor: &TensorView<'a>) -> impl Iterator<Item = [u8; N]> + 'a {
    let (words, _) = tensor.data().as_chunks();
    words.iter().copied()
}
