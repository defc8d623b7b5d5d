//! What is added to scores: ALiBi slopes, a bias.

use anyhow::{Result, bail};
use flash_attention::{Attention, AttentionElement, Device, Tensor, TensorError};
use safetensors::Dtype;

use super::Extents;
use super::file::{self, File};

/// ALiBi slopes.
pub struct Slopes {
    /// Extents when every batch entry has slopes of its own.
    batch: Option<usize>,
    num_heads: usize,
    /// `[num_heads]` or `[batch, num_heads]`.
    data: Vec<f32>,
}

impl Slopes {
    pub fn read(file: &File, extents: Extents) -> Result<Slopes> {
        let tensor = file.need_for("--alibi", "alibi_slopes")?;
        file::check_dtype("alibi_slopes", &tensor, &[Dtype::F32])?;
        let Extents {
            batch, num_heads, ..
        } = extents;
        let is_per_batch = tensor.shape() == [batch, num_heads];
        if !is_per_batch && tensor.shape() != [num_heads] {
            bail!(
                "alibi_slopes has shape {:?}, must have [num_heads] = [{num_heads}] or [batch, num_heads] = \
                 [{batch}, {num_heads}]",
                tensor.shape()
            );
        }
        Ok(Slopes {
            batch: is_per_batch.then_some(batch),
            num_heads,
            data: file::floats(&tensor),
        })
    }

    /// Attention with these slopes.
    pub fn add_to(&self, attention: Attention, device: &Device) -> Result<Attention, TensorError> {
        Ok(match self.batch {
            Some(batch) => {
                let shape = [batch, self.num_heads];
                attention.alibi_per_batch(&Tensor::from_slice(device, shape, &self.data)?)
            }
            None => attention.alibi(&Tensor::from_slice(device, [self.num_heads], &self.data)?),
        })
    }

    /// Those of one batch entry, `[num_heads]`.
    pub fn of(&self, batch: usize) -> Vec<f64> {
        let first = self.batch.map_or(0, |_| batch * self.num_heads);
        let slopes = &self.data[first..first + self.num_heads];
        slopes.iter().copied().map(f64::from).collect()
    }
}

/// A bias of the scores.
pub struct Bias<T> {
    /// As in the file.
    pub file_shape: Vec<usize>,
    /// `[batch or 1, num_heads or 1, seqlen_q, seqlen_k]`.
    pub shape: [usize; 4],
    pub values: Values<T>,
}

/// Numbers of either type that a bias, or its gradient, may have.
pub enum Values<T> {
    Element(Vec<T>),
    F32(Vec<f32>),
}

impl<T: AttentionElement> Bias<T> {
    /// Reads the bias for q, k and v of type `dtype`.
    pub fn read(file: &File, dtype: Dtype, extents: Extents) -> Result<Bias<T>> {
        let tensor = file.need_for("--bias", "bias")?;
        file::check_dtype("bias", &tensor, &[dtype, Dtype::F32])?;
        let file_shape = tensor.shape().to_vec();
        let Extents {
            batch,
            num_heads,
            seqlen_q,
            seqlen_k,
        } = extents;
        let shape = padded(&file_shape).filter(|&[batches, heads, rows, keys]| {
            [1, batch].contains(&batches)
                && [1, num_heads].contains(&heads)
                && [rows, keys] == [seqlen_q, seqlen_k]
        });
        let Some(shape) = shape else {
            bail!(
                "bias has shape {file_shape:?}, must have [batch or 1, num_heads or 1, seqlen_q, seqlen_k] = [{batch} or \
                 1, {num_heads} or 1, {seqlen_q}, {seqlen_k}], where dimensions of 1 in front may be missing"
            );
        };
        let values = match tensor.dtype() {
            Dtype::F32 => Values::F32(file::floats(&tensor)),
            _ => Values::Element(file::elements(&tensor)),
        };
        Ok(Bias {
            file_shape,
            shape,
            values,
        })
    }
}

/// `shape` with extents of 1 in front.
fn padded(shape: &[usize]) -> Option<[usize; 4]> {
    let mut padded = [1; 4];
    if !(2..=4).contains(&shape.len()) {
        return None;
    }
    padded[4 - shape.len()..].copy_from_slice(shape);
    Some(padded)
}

impl<T: AttentionElement> Values<T> {
    pub fn zeros_like(&self) -> Values<T> {
        match self {
            Values::Element(values) => Values::Element(vec![T::from_f64(0.0); values.len()]),
            Values::F32(values) => Values::F32(vec![0.0; values.len()]),
        }
    }

    /// Numbers rounded to the type of `self`.
    pub fn rounded(&self, numbers: &[f64]) -> Values<T> {
        match self {
            Values::Element(_) => {
                Values::Element(numbers.iter().map(|&x| T::from_f64(x)).collect())
            }
            Values::F32(_) => Values::F32(numbers.iter().map(|&x| x as f32).collect()),
        }
    }

    pub fn at(&self, index: usize) -> f64 {
        match self {
            Values::Element(values) => values[index].to_f64(),
            Values::F32(values) => values[index].into(),
        }
    }

    /// A tensor of these numbers.
    pub fn upload(
        &self,
        device: &Device,
        shape: [usize; 4],
    ) -> Result<flash_attention::Bias, TensorError> {
        use flash_attention::{Bias, Dtype};
        Ok(match (self, T::DTYPE) {
            (Values::F32(values), _) => Bias::F32(Tensor::from_slice(device, shape, values)?),
            (Values::Element(values), Dtype::F16) => {
                Bias::F16(Tensor::from_slice(device, shape, &same_bits(values))?)
            }
            (Values::Element(values), Dtype::Bf16) => {
                Bias::Bf16(Tensor::from_slice(device, shape, &same_bits(values))?)
            }
        })
    }

    /// The numbers of a tensor of type `T` or f32.
    pub fn download(bias: &flash_attention::Bias) -> Result<Values<T>, TensorError> {
        use flash_attention::Bias;
        Ok(match bias {
            Bias::F16(tensor) => Values::Element(same_bits(&tensor.to_vec()?)),
            Bias::Bf16(tensor) => Values::Element(same_bits(&tensor.to_vec()?)),
            Bias::F32(tensor) => Values::F32(tensor.to_vec()?),
        })
    }
}

/// `A` and `B` are one type, which generic code cannot know.
fn same_bits<A: AttentionElement, B: AttentionElement>(values: &[A]) -> Vec<B> {
    values.iter().map(|x| B::from_bits(x.to_bits())).collect()
}
