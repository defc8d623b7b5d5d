//! Causal attention of a model: by the kernels, or by the f64 reference that the gradients are checked with.
//!
//! Both read the packed `[batch, seqlen, 3, heads, head_dim]` output of one projection, and write its gradient: to the
//! kernels q, k and v are three views of it.

use flash_attention::{Attention, Device, Forward, Gradients, Tensor, bf16};
use ndarray::Array2;

use super::Result;

/// Extents of one call.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Sequences.
    pub batch: usize,
    /// Tokens per sequence.
    pub seqlen: usize,
    /// Heads of q, k and v.
    pub heads: usize,
    /// Elements per head.
    pub head_dim: usize,
}

impl Shape {
    /// Of q, k, v and the output.
    pub fn tensor(&self) -> [usize; 4] {
        [self.batch, self.seqlen, self.heads, self.head_dim]
    }

    fn packed(&self) -> [usize; 5] {
        [self.batch, self.seqlen, 3, self.heads, self.head_dim]
    }
}

/// Causal attention with gradients. Matrices have one row per token.
pub trait AttentionLayer {
    /// What [`backward`](AttentionLayer::backward) needs.
    type Saved;

    /// `packed` is `[batch · seqlen, 3 · heads · head_dim]`, the output `[batch · seqlen, heads · head_dim]`.
    fn forward(&self, packed: &Array2<f64>, shape: Shape) -> Result<(Array2<f64>, Self::Saved)>;

    /// The gradient of `packed` for that of the output.
    fn backward(&self, saved: &Self::Saved, d_out: &Array2<f64>) -> Result<Array2<f64>>;
}

/// The kernels, in bf16.
pub struct KernelAttention {
    device: Device,
    attention: Attention,
}

/// A forward pass of the kernels: inputs, output and log-sum-exp stay on the device.
pub struct KernelPass {
    shape: Shape,
    qkv: [Tensor<bf16>; 3],
    forward: Forward<bf16>,
}

impl KernelAttention {
    /// Kernels on `device`; the same seed trains the same model every time.
    pub fn new(device: Device) -> KernelAttention {
        KernelAttention {
            device,
            attention: Attention::new().causal().deterministic(),
        }
    }
}

impl AttentionLayer for KernelAttention {
    type Saved = KernelPass;

    fn forward(&self, packed: &Array2<f64>, shape: Shape) -> Result<(Array2<f64>, KernelPass)> {
        let packed = Tensor::from_slice(&self.device, shape.packed(), &to_bf16(packed))?;
        let qkv = [
            packed.select(2, 0)?,
            packed.select(2, 1)?,
            packed.select(2, 2)?,
        ];
        let forward = self.attention.forward(&qkv[0], &qkv[1], &qkv[2])?;
        let out = to_matrix(shape, &forward.out.to_vec()?)?;
        let saved = KernelPass {
            shape,
            qkv,
            forward,
        };
        Ok((out, saved))
    }

    fn backward(&self, saved: &KernelPass, d_out: &Array2<f64>) -> Result<Array2<f64>> {
        let shape = saved.shape;
        let d_out = Tensor::from_slice(&self.device, shape.tensor(), &to_bf16(d_out))?;
        let d_packed = Tensor::<bf16, 5>::zeros(&self.device, shape.packed())?;
        let mut gradients = Gradients {
            d_q: d_packed.select(2, 0)?,
            d_k: d_packed.select(2, 1)?,
            d_v: d_packed.select(2, 2)?,
            d_bias: None,
            variants: Vec::new(),
        };
        self.attention.backward_into(
            saved.qkv.each_ref(),
            &saved.forward,
            &d_out,
            None,
            &mut gradients,
        )?;
        to_matrix(shape, &d_packed.to_vec()?)
    }
}

fn to_bf16(x: &Array2<f64>) -> Vec<bf16> {
    x.iter().copied().map(bf16::from_f64).collect()
}

/// One row per token.
fn to_matrix(shape: Shape, elements: &[bf16]) -> Result<Array2<f64>> {
    let rows = shape.batch * shape.seqlen;
    let elements: Vec<f64> = elements.iter().map(|x| x.to_f64()).collect();
    Ok(Array2::from_shape_vec(
        (rows, elements.len() / rows),
        elements,
    )?)
}
