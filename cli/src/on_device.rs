//! Attention of a file's tensors by kernels.

use std::time::Instant;

use flash_attention::{
    Attention, AttentionElement, CuSeqlens, Device, Error, Forward, Gradients, Tensor, TensorError,
};

use crate::computed::{self, Computed};
use crate::input::{Inputs, OutputGradients, Uploaded, Values};

/// Computes `attention`, which has its ALiBi slopes but not its bias, and gradients where the inputs ask for them.
pub fn compute<T: AttentionElement>(
    device: &Device,
    attention: Attention,
    inputs: &Inputs<T>,
) -> Result<Computed<T>, Error> {
    let qkv = inputs.qkv.upload(device)?;
    let attention = match &inputs.bias {
        Some(bias) => attention.bias(bias.values.upload(device, bias.shape)?),
        None => attention,
    };
    match &inputs.sequences {
        Some(sequences) => varlen(&attention, inputs, &qkv, &sequences.on(device)?),
        None => one_length(&attention, inputs, &qkv),
    }
}

/// Sequences of one length.
fn one_length<T: AttentionElement>(
    attention: &Attention,
    inputs: &Inputs<T>,
    qkv: &Uploaded<T>,
) -> Result<Computed<T>, Error> {
    let [q, k, v] = &qkv.views;
    let started = Instant::now();
    let forward = attention.forward(q, k, v)?;
    let mut computed = Computed {
        forward_time: started.elapsed(),
        out: forward.out.to_vec()?,
        lse: forward.lse.to_vec()?,
        gradients: None,
        device: q.device().name().to_owned(),
        kernels: forward.variant.iter().map(|v| v.entry()).collect(),
    };
    if let Some(gradients) = &inputs.gradients {
        backward(attention, inputs, qkv, &forward, gradients, &mut computed)?;
    }
    Ok(computed)
}

/// Writes gradients into tensors that are packed as q, k and v are.
fn backward<T: AttentionElement>(
    attention: &Attention,
    inputs: &Inputs<T>,
    qkv: &Uploaded<T>,
    forward: &Forward<T>,
    output_gradients: &OutputGradients<T>,
    computed: &mut Computed<T>,
) -> Result<(), Error> {
    let [q, k, v] = &qkv.views;
    let device = q.device();
    let d_out = Tensor::from_slice(device, q.shape(), &output_gradients.d_out)?;
    let d_lse = match &output_gradients.d_lse {
        Some(d_lse) => Some(Tensor::from_slice(device, forward.lse.shape(), d_lse)?),
        None => None,
    };
    let d_qkv = inputs.qkv.zeros_like(device)?;
    let d_bias = match &inputs.bias {
        Some(bias) => Some(bias.values.zeros_like().upload(device, bias.shape)?),
        None => None,
    };
    let [d_q, d_k, d_v] = d_qkv.views.clone();
    let mut gradients = Gradients {
        d_q,
        d_k,
        d_v,
        d_bias,
        variants: Vec::new(),
    };
    let started = Instant::now();
    attention.backward_into([q, k, v], forward, &d_out, d_lse.as_ref(), &mut gradients)?;
    let time = started.elapsed();
    let kernels = gradients.variants.iter().map(|v| v.entry());
    computed.kernels.extend(kernels);
    computed.gradients = Some(computed::Gradients {
        qkv: inputs.qkv.download(&d_qkv)?,
        bias: bias_values(gradients.d_bias)?,
        time,
    });
    Ok(())
}

/// Sequences of different lengths.
fn varlen<T: AttentionElement>(
    attention: &Attention,
    inputs: &Inputs<T>,
    qkv: &Uploaded<T>,
    sequences: &CuSeqlens,
) -> Result<Computed<T>, Error> {
    let [q, k, v] = qkv.views.each_ref().map(|x| x.select(0, 0));
    let (q, k, v): (Tensor<T, 3>, Tensor<T, 3>, Tensor<T, 3>) = (q?, k?, v?);
    let device = q.device();
    let started = Instant::now();
    let forward = attention.forward_varlen([&q, &k, &v], sequences)?;
    let mut computed = Computed {
        forward_time: started.elapsed(),
        out: forward.out.to_vec()?,
        lse: forward.lse.to_vec()?,
        gradients: None,
        device: device.name().to_owned(),
        kernels: forward.variant.iter().map(|v| v.entry()).collect(),
    };
    let Some(output_gradients) = &inputs.gradients else {
        return Ok(computed);
    };
    let d_out = Tensor::from_slice(device, q.shape(), &output_gradients.d_out)?;
    let d_lse = match &output_gradients.d_lse {
        Some(d_lse) => Some(Tensor::from_slice(device, forward.lse.shape(), d_lse)?),
        None => None,
    };
    let started = Instant::now();
    let inputs_on_device = [&q, &k, &v];
    let gradients = attention.backward_varlen(
        inputs_on_device,
        &forward,
        &d_out,
        d_lse.as_ref(),
        sequences,
    )?;
    let time = started.elapsed();
    let kernels = gradients.variants.iter().map(|v| v.entry());
    computed.kernels.extend(kernels);
    let (d_q, d_k, d_v) = (&gradients.d_q, &gradients.d_k, &gradients.d_v);
    computed.gradients = Some(computed::Gradients {
        qkv: inputs
            .qkv
            .joined([d_q.to_vec()?, d_k.to_vec()?, d_v.to_vec()?]),
        bias: bias_values(gradients.d_bias)?,
        time,
    });
    Ok(computed)
}

fn bias_values<T: AttentionElement>(
    bias: Option<flash_attention::Bias>,
) -> Result<Option<Values<T>>, TensorError> {
    bias.map(|bias| Values::download(&bias)).transpose()
}
