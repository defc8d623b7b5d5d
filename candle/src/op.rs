//! The operations in candle's graph: one gives the output, one the log-sum-exp.

use std::sync::{Arc, OnceLock};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use crate::attention::{FlashAttention, Output};
use crate::call::{Call, Saved};
use crate::cpu;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::error::Error;
use crate::sequences::Sequences;

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

/// The output in candle's graph, and the log-sum-exp beside it.
pub(crate) struct Attended {
    pub out: Tensor,
    lse: Tensor,
    call: Arc<Call>,
}

/// Checks the arguments and computes.
pub(crate) fn attend(
    attention: &FlashAttention,
    [q, k, v]: [&Tensor; 3],
    sequences: Option<&Sequences>,
) -> std::result::Result<Attended, Error> {
    let call = Arc::new(Call::new(attention, [q, k, v], sequences)?);
    let lse = Arc::new(OnceLock::new());
    let op = Attend {
        call: Arc::clone(&call),
        lse: Arc::clone(&lse),
    };
    let out = q.apply_op3(k, v, op)?;
    let lse = lse.get().cloned().ok_or(Error::NoForward)?;
    Ok(Attended { out, lse, call })
}

impl Attended {
    /// Puts the log-sum-exp into candle's graph, too.
    pub fn with_lse(self, [q, k, v]: [&Tensor; 3]) -> std::result::Result<Output, Error> {
        let op = LogSumExp {
            call: self.call,
            out: self.out.detach(),
            lse: self.lse,
        };
        Ok(Output {
            out: self.out,
            lse: q.apply_op3(k, v, op)?,
        })
    }
}

/// From q, k and v to the output.
struct Attend {
    call: Arc<Call>,
    /// f32, outside of candle's graph; written by the pass forward, read by the pass back.
    lse: Arc<OnceLock<Tensor>>,
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "flash-attn"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [(q, q_layout), (k, k_layout), (v, v_layout)];
        let (out, lse) = cpu::forward(&self.call, inputs)?;
        self.lse.get_or_init(|| lse);
        Ok((out, q_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
        v: &CudaStorage,
        v_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let inputs = [(q, q_layout), (k, k_layout), (v, v_layout)];
        let (out, lse) = cuda::forward(&self.call, inputs)?;
        self.lse.get_or_init(|| lse);
        Ok((out, q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        d_out: &Tensor,
    ) -> Result<Gradients> {
        let saved = Saved {
            inputs: [q, k, v],
            out,
            lse: self.lse.get().ok_or(Error::NoForward)?,
            d_out: &with_contiguous_rows(d_out)?,
            d_lse: None,
        };
        backward(&self.call, &saved)
    }
}

/// From q, k and v to the log-sum-exp, which the pass forward has computed beside the output.
struct LogSumExp {
    call: Arc<Call>,
    /// Outside of candle's graph, as `lse`.
    out: Tensor,
    lse: Tensor,
}

impl LogSumExp {
    fn copy<S>(&self, of: impl FnOnce(&Storage, &Layout) -> Result<S>) -> Result<(S, Shape)> {
        let (storage, layout) = self.lse.storage_and_layout();
        Ok((of(&storage, layout)?, layout.shape().clone()))
    }
}

impl CustomOp3 for LogSumExp {
    fn name(&self) -> &'static str {
        "flash-attn-lse"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.copy(|lse, layout| match lse {
            Storage::Cpu(lse) => lse.try_clone(layout),
            _ => Err(elsewhere(&self.lse)),
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.copy(|lse, layout| match lse {
            Storage::Cuda(lse) => lse.try_clone(layout),
            _ => Err(elsewhere(&self.lse)),
        })
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        lse: &Tensor,
        d_lse: &Tensor,
    ) -> Result<Gradients> {
        // One row of zeros, seen as often as there are rows.
        let head_dim = q.dim(candle_core::D::Minus1)?;
        let zeros = Tensor::zeros(head_dim, q.dtype(), q.device())?;
        let saved = Saved {
            inputs: [q, k, v],
            out: &self.out,
            lse,
            d_out: &zeros.broadcast_as(self.out.shape())?,
            d_lse: Some(&d_lse.contiguous()?),
        };
        backward(&self.call, &saved)
    }
}

fn backward(call: &Call, saved: &Saved) -> Result<Gradients> {
    let [d_q, d_k, d_v] = match saved.out.device() {
        candle_core::Device::Cpu => cpu::backward(call, saved)?,
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => cuda::backward(call, saved, device)?,
        other => return Err(Error::Device(other.location()).into()),
    };
    Ok((Some(d_q), Some(d_k), Some(d_v)))
}

/// Kernels read rows as runs of memory, and the gradient of a sum is one element, broadcast.
fn with_contiguous_rows(x: &Tensor) -> Result<Tensor> {
    match x.stride().last() {
        Some(1) => Ok(x.clone()),
        _ => x.contiguous(),
    }
}

fn elsewhere(lse: &Tensor) -> candle_core::Error {
    Error::Device(lse.device().location()).into()
}
