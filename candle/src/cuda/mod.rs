//! Tensors on CUDA devices: kernels on candle's stream that read and write candle's memory.

mod launch;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, ValidAsZeroBits};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Shape, Storage, Tensor};
use flash_attention::{
    AttentionElement, Device, RawBackward, RawForward, backward_raw, backward_workspace,
    forward_raw,
};
use half::{bf16, f16};

use crate::call::{Call, Saved};
use crate::error::Error;
use launch::{Launch, Locked};

/// An input of the pass forward.
type View<'a> = (&'a CudaStorage, &'a Layout);

/// A type of q that candle has on CUDA devices.
trait Number: AttentionElement + CudaDType + DeviceRepr + ValidAsZeroBits {}

impl Number for f16 {}
impl Number for bf16 {}

/// The output and the log-sum-exp of q, k and v. Does not wait for them.
pub(crate) fn forward(call: &Call, inputs: [View; 3]) -> Result<(CudaStorage, Tensor), Error> {
    match inputs[0].0.dtype() {
        DType::F16 => forward_in::<f16>(call, inputs),
        DType::BF16 => forward_in::<bf16>(call, inputs),
        other => Err(Error::Dtype(other)),
    }
}

fn forward_in<T: Number>(
    call: &Call,
    [(q, q_layout), (k, k_layout), (v, v_layout)]: [View; 3],
) -> Result<(CudaStorage, Tensor), Error> {
    let candle = q.device();
    let stream = candle.cuda_stream();
    let shape = q_layout.shape();
    let covered = call
        .sequences
        .as_ref()
        .is_none_or(|s| s.q.covers(shape.dims()[0]));
    let lse_shape = lse_shape(shape);
    let mut out = blank::<T>(candle, shape, covered)?;
    let mut lse = match covered {
        true => blank::<f32>(candle, &lse_shape, covered)?,
        false => candle.clone_htod(&vec![f32::NEG_INFINITY; lse_shape.elem_count()])?,
    };
    let locked = Locked::new(call);
    let mut launch = Launch::on(&stream);
    let inputs = [
        launch.input(q.as_cuda_slice::<T>()?, q_layout),
        launch.input(k.as_cuda_slice::<T>()?, k_layout),
        launch.input(v.as_cuda_slice::<T>()?, v_layout),
    ];
    let results = (
        launch.output(&mut out, shape),
        launch.output(&mut lse, &lse_shape),
    );
    let args = RawForward::new(T::DTYPE, inputs, results.0, results.1);
    let args = launch.add(&locked, args)?;
    // SAFETY: views lie in their storage (candle's invariant), which `launch` borrows until the work is enqueued; after
    // that candle frees and writes memory in the order of its streams. Offsets of sequences have been checked, and the
    // device has the primary context that candle's stream lives in.
    unsafe { forward_raw(&device_of(candle)?, &args)? };
    drop(launch);
    let out = CudaStorage::wrap_cuda_slice(out, candle.clone());
    Ok((out, tensor(lse, lse_shape, candle)))
}

/// Gradients of q, k and v. Does not wait for them.
pub(crate) fn backward(
    call: &Call,
    saved: &Saved,
    candle: &CudaDevice,
) -> Result<[Tensor; 3], Error> {
    match saved.out.dtype() {
        DType::F16 => backward_in::<f16>(call, saved, candle),
        DType::BF16 => backward_in::<bf16>(call, saved, candle),
        other => Err(Error::Dtype(other)),
    }
}

fn backward_in<T: Number>(
    call: &Call,
    saved: &Saved,
    candle: &CudaDevice,
) -> Result<[Tensor; 3], Error> {
    let device = device_of(candle)?;
    let stream = candle.cuda_stream();
    let [q_shape, k_shape, v_shape] = saved.inputs.map(Tensor::shape);
    let covered = match &call.sequences {
        None => [true; 2],
        Some(s) => [s.q.covers(q_shape.dims()[0]), s.k.covers(k_shape.dims()[0])],
    };
    let mut d_q = blank::<T>(candle, q_shape, covered[0])?;
    let mut d_k = blank::<T>(candle, k_shape, covered[1])?;
    let mut d_v = blank::<T>(candle, v_shape, covered[1])?;
    let locked = Locked::new(call);
    let [q, k, v] = saved.inputs.map(Tensor::storage_and_layout);
    let [out, lse, d_out] = [saved.out, saved.lse, saved.d_out].map(Tensor::storage_and_layout);
    let d_lse = saved.d_lse.map(Tensor::storage_and_layout);
    let mut launch = Launch::on(&stream);
    let inputs = [
        launch.tensor::<T, 4>(&q)?,
        launch.tensor::<T, 4>(&k)?,
        launch.tensor::<T, 4>(&v)?,
    ];
    let results = (launch.tensor::<T, 4>(&out)?, launch.tensor::<f32, 3>(&lse)?);
    let forward = RawForward::new(T::DTYPE, inputs, results.0, results.1);
    let args = RawBackward {
        forward: launch.add(&locked, forward)?,
        d_out: launch.tensor::<T, 4>(&d_out)?,
        d_lse: match &d_lse {
            Some(d_lse) => Some(launch.tensor::<f32, 3>(d_lse)?),
            None => None,
        },
        d_q: launch.output(&mut d_q, q_shape),
        d_k: launch.output(&mut d_k, k_shape),
        d_v: launch.output(&mut d_v, v_shape),
        d_bias: None,
        workspace: 0,
    };
    let bytes = Shape::from(backward_workspace(&device, &args)?);
    let mut workspace = blank::<u8>(candle, &bytes, true)?;
    let mut scratch = Launch::on(&stream);
    let workspace = scratch.output::<u8, 1>(&mut workspace, &bytes).ptr;
    // SAFETY: as in `forward_in`; the workspace is as long as asked for and freed in the order of the stream.
    unsafe { backward_raw(&device, &RawBackward { workspace, ..args })? };
    drop((launch, scratch));
    Ok([
        tensor(d_q, q_shape.clone(), candle),
        tensor(d_k, k_shape.clone(), candle),
        tensor(d_v, v_shape.clone(), candle),
    ])
}

/// The library's device for a device of candle; both work in the GPU's primary context. Made once for each GPU, because
/// it keeps the kernels that the driver has compiled.
fn device_of(candle: &CudaDevice) -> Result<Device, Error> {
    static DEVICES: Mutex<BTreeMap<u32, Device>> = Mutex::new(BTreeMap::new());
    let ordinal = candle.cuda_stream().context().ordinal() as u32;
    // The map stays valid when a thread panics while holding it: entries are inserted whole.
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = devices.get(&ordinal) {
        return Ok(device.clone());
    }
    let device = Device::cuda(ordinal)?;
    devices.insert(ordinal, device.clone());
    Ok(device)
}

/// f32 `[batch, num_heads, seqlen_q]`, or `[num_heads, total_q]` for packed sequences, which have no batch dimension.
fn lse_shape(q: &Shape) -> Shape {
    match *q.dims() {
        [batch, seqlen_q, num_heads, _] => Shape::from((batch, num_heads, seqlen_q)),
        [total_q, num_heads, _] => Shape::from((num_heads, total_q)),
        // The rank has been checked.
        _ => Shape::from(()),
    }
}

/// Memory for a result: zeros where kernels do not write all of it.
fn blank<T: DeviceRepr + ValidAsZeroBits>(
    candle: &CudaDevice,
    shape: &Shape,
    covered: bool,
) -> Result<CudaSlice<T>, Error> {
    // CUDA does not allocate nothing.
    let len = shape.elem_count().max(1);
    Ok(match covered {
        // SAFETY: kernels write every element before anybody reads it, and any bits are a number.
        true => unsafe { candle.alloc(len)? },
        false => candle.alloc_zeros(len)?,
    })
}

fn tensor<T: CudaDType>(slice: CudaSlice<T>, shape: Shape, candle: &CudaDevice) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(slice, candle.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}
