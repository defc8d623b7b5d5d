//! Tensors on `Device::Cpu`: copied to an emulated device, computed by the kernels of the GPU, copied back.

use candle_core::{CpuStorage, DType, Layout, Storage, Tensor, WithDType};
use flash_attention::{
    Attention, AttentionElement, Buffer, Device, Element, Forward, ForwardVarlen,
};
use half::{bf16, f16};

use crate::call::{Call, Saved};
use crate::error::Error;

/// A tensor on the emulated device.
type Emulated<T, const N: usize> = flash_attention::Tensor<T, N>;

/// An input of the pass forward.
type View<'a> = (&'a CpuStorage, &'a Layout);

/// The output and the log-sum-exp of q, k and v.
pub(crate) fn forward(call: &Call, inputs: [View; 3]) -> Result<(CpuStorage, Tensor), Error> {
    match inputs[0].0 {
        CpuStorage::F16(_) => forward_in::<f16>(call, inputs),
        CpuStorage::BF16(_) => forward_in::<bf16>(call, inputs),
        other => Err(Error::Dtype(candle_core::backend::BackendStorage::dtype(
            other,
        ))),
    }
}

fn forward_in<T: AttentionElement + WithDType>(
    call: &Call,
    inputs: [View; 3],
) -> Result<(CpuStorage, Tensor), Error> {
    let attention = attention(call)?;
    let device = &call.cpu_device;
    let (out, lse, lse_shape) = match &call.sequences {
        None => {
            let [q, k, v] = inputs.map(|view| upload::<T, 4>(device, view));
            let forward = attention.forward(&q?, &k?, &v?)?;
            let lse_shape = forward.lse.shape().to_vec();
            (forward.out.to_vec()?, forward.lse.to_vec()?, lse_shape)
        }
        Some(sequences) => {
            let [q, k, v] = inputs.map(|view| upload::<T, 3>(device, view));
            let forward = attention.forward_varlen([&q?, &k?, &v?], &sequences.on(device)?)?;
            let lse_shape = forward.lse.shape().to_vec();
            (forward.out.to_vec()?, forward.lse.to_vec()?, lse_shape)
        }
    };
    let lse = Tensor::from_vec(lse, lse_shape, &candle_core::Device::Cpu)?;
    Ok((T::to_cpu_storage_owned(out), lse))
}

/// Gradients of q, k and v.
pub(crate) fn backward(call: &Call, saved: &Saved) -> Result<[Tensor; 3], Error> {
    match saved.out.dtype() {
        DType::F16 => backward_in::<f16>(call, saved),
        DType::BF16 => backward_in::<bf16>(call, saved),
        other => Err(Error::Dtype(other)),
    }
}

fn backward_in<T: AttentionElement + WithDType>(
    call: &Call,
    saved: &Saved,
) -> Result<[Tensor; 3], Error> {
    let attention = attention(call)?;
    let device = &call.cpu_device;
    let [d_q, d_k, d_v] = match &call.sequences {
        None => {
            let [q, k, v] = saved.inputs.map(|x| upload_tensor::<T, 4>(device, x));
            let forward = Forward {
                out: upload_tensor(device, saved.out)?,
                lse: upload_tensor(device, saved.lse)?,
                variant: None,
            };
            let d_out = upload_tensor(device, saved.d_out)?;
            let d_lse = saved.d_lse.map(|x| upload_tensor(device, x)).transpose()?;
            let gradients =
                attention.backward([&q?, &k?, &v?], &forward, &d_out, d_lse.as_ref())?;
            [
                gradients.d_q.to_vec()?,
                gradients.d_k.to_vec()?,
                gradients.d_v.to_vec()?,
            ]
        }
        Some(sequences) => {
            let [q, k, v] = saved.inputs.map(|x| upload_tensor::<T, 3>(device, x));
            let forward = ForwardVarlen {
                out: upload_tensor(device, saved.out)?,
                lse: upload_tensor(device, saved.lse)?,
                variant: None,
            };
            let d_out = upload_tensor(device, saved.d_out)?;
            let d_lse = saved.d_lse.map(|x| upload_tensor(device, x)).transpose()?;
            let gradients = attention.backward_varlen(
                [&q?, &k?, &v?],
                &forward,
                &d_out,
                d_lse.as_ref(),
                &sequences.on(device)?,
            )?;
            [
                gradients.d_q.to_vec()?,
                gradients.d_k.to_vec()?,
                gradients.d_v.to_vec()?,
            ]
        }
    };
    let [q, k, v] = saved.inputs;
    Ok([like(q, d_q)?, like(k, d_k)?, like(v, d_v)?])
}

/// The options, with slopes on the emulated device.
fn attention(call: &Call) -> Result<Attention, Error> {
    let attention = Attention::with_options(call.options);
    match &call.alibi_slopes {
        Some(slopes) => Ok(attention.alibi(&upload_tensor(&call.cpu_device, slopes)?)),
        None => Ok(attention),
    }
}

fn upload_tensor<T: Element + WithDType, const N: usize>(
    device: &Device,
    x: &Tensor,
) -> Result<Emulated<T, N>, Error> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => upload(device, (storage, layout)),
        _ => Err(Error::Device(x.device().location())),
    }
}

/// Copies the part of the storage that the layout reaches, and lays the same strides over it.
fn upload<T: Element + WithDType, const N: usize>(
    device: &Device,
    (storage, layout): View,
) -> Result<Emulated<T, N>, Error> {
    let begin = layout.start_offset();
    let reached = storage
        .as_slice::<T>()?
        .get(begin..begin + reach(layout))
        .unwrap_or_default();
    let buffer = Buffer::from_slice(device, reached)?;
    let rank = |_| candle_core::Error::UnexpectedNumberOfDims {
        expected: N,
        got: layout.dims().len(),
        shape: layout.shape().clone(),
    };
    let shape: [usize; N] = layout.dims().try_into().map_err(rank)?;
    let strides: [usize; N] = layout.stride().try_into().map_err(rank)?;
    let strides = strides.map(|stride| stride as i64);
    Ok(Emulated::from_buffer(&buffer, 0, shape, strides)?)
}

/// Elements from the first to the last one of a view.
fn reach(layout: &Layout) -> usize {
    if layout.shape().elem_count() == 0 {
        return 0;
    }
    let last = |(extent, stride): (&usize, &usize)| (extent - 1) * stride;
    layout
        .dims()
        .iter()
        .zip(layout.stride())
        .map(last)
        .sum::<usize>()
        + 1
}

fn like<T: WithDType>(x: &Tensor, data: Vec<T>) -> Result<Tensor, Error> {
    Ok(Tensor::from_vec(
        data,
        x.shape(),
        &candle_core::Device::Cpu,
    )?)
}
