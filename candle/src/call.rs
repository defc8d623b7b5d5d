//! A call: what is computed, checked, for the pass forward and the passes back on every device.

use candle_core::{DType, Device as CandleDevice, Tensor};
use flash_attention::{Attention, Device, Options};

use crate::attention::FlashAttention;
use crate::error::Error;
use crate::sequences::Sequences;

/// Everything but q, k and v.
pub(crate) struct Call {
    pub options: Options,
    /// f32 `[num_heads]`, contiguous, on the device of q.
    pub alibi_slopes: Option<Tensor>,
    /// How rows are cut into sequences; `None` when all have one length.
    pub sequences: Option<Sequences>,
    /// What stands for `Device::Cpu`.
    pub cpu_device: Device,
}

/// What a backward pass reads: tensors of one device, `out` and `lse` from the pass forward.
pub(crate) struct Saved<'a> {
    pub inputs: [&'a Tensor; 3],
    pub out: &'a Tensor,
    pub lse: &'a Tensor,
    /// Gradient of `out`.
    pub d_out: &'a Tensor,
    /// Gradient of `lse`, if the loss depends on it.
    pub d_lse: Option<&'a Tensor>,
}

impl Call {
    /// Checks what candle knows of the arguments; the library checks options and memory.
    pub fn new(
        attention: &FlashAttention,
        [q, k, v]: [&Tensor; 3],
        sequences: Option<&Sequences>,
    ) -> Result<Call, Error> {
        check_device(q.device())?;
        if !matches!(q.dtype(), DType::F16 | DType::BF16) {
            return Err(Error::Dtype(q.dtype()));
        }
        for (tensor, x) in [("q", q), ("k", k), ("v", v)] {
            check_tensor(tensor, x, q, q.dtype())?;
        }
        let [q_shape, k_shape, v_shape] = match sequences {
            None => [dense("q", q)?, dense("k", k)?, dense("v", v)?],
            Some(_) => [packed("q", q)?, packed("k", k)?, packed("v", v)?],
        };
        Attention::with_options(attention.options).check(q_shape, k_shape, v_shape)?;
        Ok(Call {
            options: attention.options,
            alibi_slopes: match &attention.alibi_slopes {
                Some(slopes) => Some(checked_slopes(slopes, q, q_shape[2])?),
                None => None,
            },
            sequences: match sequences {
                Some(sequences) => Some(sequences.of_tensors(q, q_shape[1], k_shape[1])?),
                None => None,
            },
            cpu_device: attention.cpu_device.clone(),
        })
    }
}

fn check_device(device: &CandleDevice) -> Result<(), Error> {
    match device {
        CandleDevice::Cpu => Ok(()),
        CandleDevice::Cuda(_) if cfg!(feature = "cuda") => Ok(()),
        CandleDevice::Cuda(_) => Err(Error::NoCuda(device.location())),
        CandleDevice::Metal(_) => Err(Error::Device(device.location())),
    }
}

fn check_tensor(tensor: &'static str, x: &Tensor, q: &Tensor, want: DType) -> Result<(), Error> {
    if !x.device().same_device(q.device()) {
        return Err(Error::OtherDevice {
            tensor,
            got: x.device().location(),
            want: q.device().location(),
        });
    }
    match x.dtype() == want {
        true => Ok(()),
        false => Err(Error::ArgumentDtype {
            tensor,
            got: x.dtype(),
            want,
        }),
    }
}

fn checked_slopes(slopes: &Tensor, q: &Tensor, num_heads: usize) -> Result<Tensor, Error> {
    check_tensor("alibi_slopes", slopes, q, DType::F32)?;
    let [got] = extents("alibi_slopes", slopes, "[num_heads]")?;
    match got == num_heads {
        true => Ok(slopes.detach().contiguous()?),
        false => Err(Error::Slopes { got, num_heads }),
    }
}

fn dense(tensor: &'static str, x: &Tensor) -> Result<[usize; 4], Error> {
    extents(tensor, x, "[batch, seqlen, heads, head_dim]")
}

/// Packed sequences are one batch entry.
fn packed(tensor: &'static str, x: &Tensor) -> Result<[usize; 4], Error> {
    let [total, heads, head_dim] = extents(tensor, x, "[total, heads, head_dim]")?;
    Ok([1, total, heads, head_dim])
}

fn extents<const N: usize>(
    tensor: &'static str,
    x: &Tensor,
    want: &'static str,
) -> Result<[usize; N], Error> {
    x.dims().try_into().map_err(|_| Error::Rank {
        tensor,
        got: x.shape().clone(),
        want,
    })
}
