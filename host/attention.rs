//! The public way in: options, then tensors.

use abi::FwdVariant;

use crate::device::Device;
use crate::element::AttentionElement;
use crate::error::{Error, ProblemError};
use crate::problem::check_inputs;
use crate::raw::{RawForward, forward_raw};
use crate::tensor::Tensor;

/// Options of exact attention, `softmax(softmax_scale · Q·Kᵀ) · V` for each head.
///
/// Every query sees every key unless [`causal`](Attention::causal) is called. When k and v have fewer heads than q
/// (multi-query and grouped-query attention), query head `h` uses key head `h / (num_heads / num_heads_k)`.
///
/// ```
/// use flash_attention::{Attention, Device, Tensor, f16};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::emulated();
/// let ones = vec![f16::ONE; 5 * 2 * 32]; // [batch 1, seqlen 5, heads 2, head_dim 32]
/// let q = Tensor::from_slice(&device, [1, 5, 2, 32], &ones)?;
/// let result = Attention::new().causal().softmax_scale(0.5).forward(&q, &q, &q)?;
/// assert_eq!(result.out.to_vec()?, ones); // a mean of ones
/// assert!((result.lse.to_vec()?[0] - 16.0).abs() < 1e-4); // the first query sees one key: lse = 0.5 * 32
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attention {
    is_causal: bool,
    softmax_scale: Option<f32>,
}

/// Result of a forward pass.
#[derive(Clone, Debug)]
pub struct Forward<T: AttentionElement> {
    /// Output, row-major, shape and type of q. A row without visible keys is 0.
    pub out: Tensor<T>,
    /// Natural logarithm of the sum of `exp(softmax_scale · q·k)` over the visible keys,
    /// `[batch, num_heads, seqlen_q]`; -inf for a row without visible keys.
    pub lse: Tensor<f32, 3>,
    /// The kernel that ran; `None` when the output has no element.
    pub variant: Option<&'static FwdVariant>,
}

impl Attention {
    /// Every key visible, softmax_scale `1 / sqrt(head_dim)`.
    pub fn new() -> Attention {
        Attention::default()
    }

    /// Lets query i see key j only if `j <= i + seqlen_k - seqlen_q`: the last query sees every key (the mask is
    /// aligned to the bottom right corner), and with fewer keys than queries the first rows see none.
    pub fn causal(self) -> Attention {
        Attention {
            is_causal: true,
            ..self
        }
    }

    /// Replaces the factor on Q·Kᵀ by any finite number, negative and zero included.
    ///
    /// Kernels compute scores in f32: where `softmax_scale · q·k` exceeds 2^24 in magnitude, differences of scores
    /// below 1 are lost, and beyond 2^28 a row may come out as zeros, infinities or NaN.
    pub fn softmax_scale(self, softmax_scale: f32) -> Attention {
        Attention {
            softmax_scale: Some(softmax_scale),
            ..self
        }
    }

    /// Checks shapes `[batch, seqlen, heads, head_dim]` and the scale as [`forward`](Attention::forward) does, without
    /// tensors or a device.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub fn check(&self, q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> Result<(), ProblemError> {
        check_inputs(q, k, v, self.softmax_scale).map(|_| ())
    }

    /// Computes attention of `q` `[batch, seqlen_q, num_heads, head_dim]` with `k` and `v`
    /// `[batch, seqlen_k, num_heads_k, head_dim]` on the device that they share, and waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Problem`] when an argument breaks a rule (see [`ProblemError`]), [`Error::Dispatch`] when the device
    /// is too old or too small, [`Error::Tensor`] when the output does not fit in memory, [`Error::Backend`] when the
    /// kernel fails.
    pub fn forward<T: AttentionElement>(
        &self,
        q: &Tensor<T>,
        k: &Tensor<T>,
        v: &Tensor<T>,
    ) -> Result<Forward<T>, Error> {
        // Before the output is allocated: a bad shape is no reason to run out of memory.
        self.check(q.shape(), k.shape(), v.shape())?;
        let [batch, seqlen_q, num_heads, _] = q.shape();
        let mut out = Tensor::unspecified(q.device(), q.shape())?;
        let mut lse = Tensor::unspecified(q.device(), [batch, num_heads, seqlen_q])?;
        let variant = self.forward_into(q, k, v, &mut out, &mut lse)?;
        Ok(Forward { out, lse, variant })
    }

    /// As [`forward`](Attention::forward), into tensors of the caller: `out` shaped as `q`, any strides that keep its
    /// elements apart, `lse` contiguous `[batch, num_heads, seqlen_q]`; neither may overlap anything else.
    ///
    /// Returns the kernel that ran, or `None` when the output has no element.
    ///
    /// # Errors
    ///
    /// As [`forward`](Attention::forward). When it fails in the kernel, `out` and `lse` hold unspecified numbers.
    pub fn forward_into<T: AttentionElement>(
        &self,
        q: &Tensor<T>,
        k: &Tensor<T>,
        v: &Tensor<T>,
        out: &mut Tensor<T>,
        lse: &mut Tensor<f32, 3>,
    ) -> Result<Option<&'static FwdVariant>, Error> {
        let args = self.arguments(q, k, v, out, lse)?;
        launch_and_wait(q.device(), &args)
    }

    /// Options and tensors as one argument list. The tensors must share a device.
    pub(crate) fn arguments<T: AttentionElement>(
        &self,
        q: &Tensor<T>,
        k: &Tensor<T>,
        v: &Tensor<T>,
        out: &mut Tensor<T>,
        lse: &mut Tensor<f32, 3>,
    ) -> Result<RawForward, ProblemError> {
        let device = q.device();
        let others = [
            ("k", k.device()),
            ("v", v.device()),
            ("out", out.device()),
            ("lse", lse.device()),
        ];
        if let Some(&(tensor, _)) = others.iter().find(|(_, other)| *other != device) {
            return Err(ProblemError::Device { tensor });
        }
        Ok(RawForward {
            dtype: T::DTYPE,
            q: q.as_raw(),
            k: k.as_raw(),
            v: v.as_raw(),
            out: out.as_raw(),
            lse: lse.as_raw(),
            is_causal: self.is_causal,
            softmax_scale: self.softmax_scale,
            stream: std::ptr::null_mut(),
        })
    }
}

/// `args` must describe elements of live tensors on `device`, as those of [`Attention::forward_into`] do.
fn launch_and_wait(
    device: &Device,
    args: &RawForward,
) -> Result<Option<&'static FwdVariant>, Error> {
    // SAFETY: a tensor's elements lie in its buffer (its invariant), the buffers outlive this function, and the
    // work is over when it returns. Problem has refused outputs that overlap anything.
    let variant = unsafe { forward_raw(device, args)? };
    device.backend().synchronize()?;
    Ok(variant)
}
