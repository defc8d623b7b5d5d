//! What a device hands back, and the file it is written to.

use std::time::Duration;

use anyhow::Result;
use flash_attention::{AttentionElement, Dtype as ElementType};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::input::{Inputs, Qkv, Values};

/// Results of a forward pass, and of a backward pass where there was one.
pub struct Computed<T> {
    /// Row-major, shaped as q.
    pub out: Vec<T>,
    /// `[batch, num_heads, seqlen_q]`, or `[num_heads, total_q]`.
    pub lse: Vec<f32>,
    pub gradients: Option<Gradients<T>>,
    /// What computed it.
    pub device: String,
    /// The kernels that ran, in order.
    pub kernels: Vec<&'static str>,
    pub forward_time: Duration,
}

/// Results of a backward pass.
pub struct Gradients<T> {
    /// With respect to q, k and v, packed as they are.
    pub qkv: Qkv<T>,
    /// With respect to the bias, if there is one.
    pub bias: Option<Values<T>>,
    pub time: Duration,
}

/// A tensor to be written.
struct Output {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl<T: AttentionElement> Computed<T> {
    /// The safetensors file: out, lse, and gradients shaped and named after their inputs.
    pub fn to_safetensors(&self, inputs: &Inputs<T>) -> Result<Vec<u8>> {
        let mut outputs = vec![
            elements("out", inputs.out_shape(), &self.out),
            floats("lse", inputs.lse_shape(), &self.lse),
        ];
        if let Some(gradients) = &self.gradients {
            for group in &gradients.qkv.groups {
                let name = format!("d_{}", group.name);
                outputs.push(elements(&name, group.shape.clone(), &group.data));
            }
            if let (Some(bias), Some(values)) = (&inputs.bias, &gradients.bias) {
                let shape = bias.file_shape.clone();
                outputs.push(match values {
                    Values::Element(values) => elements("d_bias", shape, values),
                    Values::F32(values) => floats("d_bias", shape, values),
                });
            }
        }
        let views: Result<Vec<_>, _> = outputs
            .iter()
            .map(|output| {
                let view = TensorView::new(output.dtype, output.shape.clone(), &output.data)?;
                Ok::<_, safetensors::SafeTensorError>((output.name.as_str(), view))
            })
            .collect();
        Ok(safetensors::serialize(views?, None)?)
    }
}

fn elements<T: AttentionElement>(name: &str, shape: Vec<usize>, values: &[T]) -> Output {
    let dtype = match T::DTYPE {
        ElementType::F16 => Dtype::F16,
        ElementType::Bf16 => Dtype::BF16,
    };
    let bytes = values.iter().flat_map(|x| x.to_bits().to_le_bytes());
    Output {
        name: name.to_owned(),
        dtype,
        shape,
        data: bytes.collect(),
    }
}

fn floats(name: &str, shape: Vec<usize>, values: &[f32]) -> Output {
    Output {
        name: name.to_owned(),
        dtype: Dtype::F32,
        shape,
        data: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
