//! Reading q, k and v from a safetensors file.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use flash_attention::{AttentionElement, bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A row-major `[batch, seqlen, heads, head_dim]` tensor in host memory.
pub struct Matrix<T> {
    pub shape: [usize; 4],
    pub data: Vec<T>,
}

/// The three inputs of attention.
pub struct Inputs<T> {
    pub q: Matrix<T>,
    pub k: Matrix<T>,
    pub v: Matrix<T>,
}

/// Inputs of either type that kernels exist for.
pub enum AnyInputs {
    F16(Inputs<f16>),
    Bf16(Inputs<bf16>),
}

/// Reads a file; the type of q decides which type k and v must have.
pub fn read(path: &Path) -> Result<AnyInputs> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is not a safetensors file", path.display()))?;
    let inputs = match tensor(&file, "q").map(|q| q.dtype()) {
        Ok(Dtype::F16) => inputs(&file, Dtype::F16).map(AnyInputs::F16),
        Ok(Dtype::BF16) => inputs(&file, Dtype::BF16).map(AnyInputs::Bf16),
        Ok(other) => Err(anyhow!(
            "q has dtype {other:?}, must be F16 or BF16: convert the tensors"
        )),
        Err(error) => Err(error),
    };
    inputs.with_context(|| path.display().to_string())
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>> {
    file.tensor(name).map_err(|_| {
        anyhow!(
            "no tensor {name}: the file needs q, k and v, has {:?}",
            names(file)
        )
    })
}

fn inputs<T: AttentionElement>(file: &SafeTensors, dtype: Dtype) -> Result<Inputs<T>> {
    let matrix = |name: &str| -> Result<Matrix<T>> {
        let tensor = tensor(file, name)?;
        if tensor.dtype() != dtype {
            bail!(
                "{name} has dtype {:?}, q has {dtype:?}: convert them to one type",
                tensor.dtype()
            );
        }
        let Ok(shape) = <[usize; 4]>::try_from(tensor.shape()) else {
            bail!(
                "{name} has shape {:?}, must have 4 dimensions [batch, seqlen, heads, head_dim] (sequences packed \
                 along one dimension are not supported: write one file per sequence)",
                tensor.shape()
            );
        };
        let data = tensor
            .data()
            .chunks_exact(2)
            .map(|pair| T::from_bits(u16::from_le_bytes([pair[0], pair[1]])))
            .collect();
        Ok(Matrix { shape, data })
    };
    Ok(Inputs {
        q: matrix("q")?,
        k: matrix("k")?,
        v: matrix("v")?,
    })
}

fn names(file: &SafeTensors) -> Vec<String> {
    let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}
