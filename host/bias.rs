//! The additive bias of scores, and its gradient: of the type of q, or f32.

use abi::Dtype;
use half::{bf16, f16};

use crate::backend::BackendError;
use crate::device::Device;
use crate::raw::{RawBias, RawTensor};
use crate::tensor::{Tensor, TensorError};

/// A bias `[batch or 1, num_heads or 1, seqlen_q, seqlen_k]`, or its gradient.
#[derive(Clone, Debug)]
pub enum Bias {
    /// For q, k and v in f16.
    F16(Tensor<f16>),
    /// For q, k and v in bf16.
    Bf16(Tensor<bf16>),
    /// For either.
    F32(Tensor<f32>),
}

impl From<&Tensor<f16>> for Bias {
    fn from(tensor: &Tensor<f16>) -> Bias {
        Bias::F16(tensor.clone())
    }
}

impl From<&Tensor<bf16>> for Bias {
    fn from(tensor: &Tensor<bf16>) -> Bias {
        Bias::Bf16(tensor.clone())
    }
}

impl From<&Tensor<f32>> for Bias {
    fn from(tensor: &Tensor<f32>) -> Bias {
        Bias::F32(tensor.clone())
    }
}

impl Bias {
    /// Extents.
    pub fn shape(&self) -> [usize; 4] {
        self.as_raw().tensor.shape
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        match self {
            Bias::F16(tensor) => tensor.device(),
            Bias::Bf16(tensor) => tensor.device(),
            Bias::F32(tensor) => tensor.device(),
        }
    }

    /// Its elements in row-major order.
    ///
    /// # Errors
    ///
    /// As [`Tensor::to_vec`].
    pub fn to_f64(&self) -> Result<Vec<f64>, BackendError> {
        Ok(match self {
            Bias::F16(tensor) => tensor.to_vec()?.iter().map(|x| x.to_f64()).collect(),
            Bias::Bf16(tensor) => tensor.to_vec()?.into_iter().map(f64::from).collect(),
            Bias::F32(tensor) => tensor.to_vec()?.into_iter().map(f64::from).collect(),
        })
    }

    /// Address, shape, strides and type, without the owner.
    pub fn as_raw(&self) -> RawBias {
        let (tensor, dtype): (RawTensor, _) = match self {
            Bias::F16(tensor) => (tensor.as_raw(), Some(Dtype::F16)),
            Bias::Bf16(tensor) => (tensor.as_raw(), Some(Dtype::Bf16)),
            Bias::F32(tensor) => (tensor.as_raw(), None),
        };
        RawBias { tensor, dtype }
    }

    /// Memory for a gradient: row-major, shape and type of this bias.
    pub(crate) fn unspecified_like(&self, device: &Device) -> Result<Bias, TensorError> {
        let shape = self.shape();
        Ok(match self {
            Bias::F16(_) => Bias::F16(Tensor::unspecified(device, shape)?),
            Bias::Bf16(_) => Bias::Bf16(Tensor::unspecified(device, shape)?),
            Bias::F32(_) => Bias::F32(Tensor::unspecified(device, shape)?),
        })
    }
}
