//! The backward pass: gradients of q, k, v and the bias from what the forward pass returned.

use abi::KernelVariant;

use crate::attention::{Attention, Forward, on_one_device};
use crate::bias::Bias;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::element::AttentionElement;
use crate::error::Error;
use crate::raw::RawForward;
use crate::raw_backward::{RawBackward, backward_raw, backward_workspace};
use crate::tensor::Tensor;

/// Gradients of a loss.
#[derive(Clone, Debug)]
pub struct Gradients<T: AttentionElement> {
    /// With respect to q: shape and type of q, row-major.
    pub d_q: Tensor<T>,
    /// With respect to k: shape and type of k, row-major; summed over the query heads that share a key head.
    pub d_k: Tensor<T>,
    /// With respect to v: shape and type of v, row-major; summed over the query heads that share a key head.
    pub d_v: Tensor<T>,
    /// With respect to the bias, if there is one: shape and type of the bias, row-major; summed over the batch entries
    /// and heads that share an element.
    pub d_bias: Option<Bias>,
    /// The kernels that ran, in order.
    pub variants: Vec<KernelVariant>,
}

impl Attention {
    /// Gradients of a loss with respect to q, k, v and the bias, from its gradient with respect to the output:
    /// `d_out`, shaped as q with any strides, and, if the loss depends on the log-sum-exp, `d_lse`
    /// `[batch, num_heads, seqlen_q]`. `forward` is what [`forward`](Attention::forward) returned for the same options
    /// and the same `[q, k, v]`. Waits for the device.
    ///
    /// Rows without visible keys have no influence and get no gradient.
    ///
    /// ```
    /// use flash_attention::{Attention, Device, Tensor, bf16};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::emulated();
    /// let x = Tensor::from_slice(&device, [1, 6, 1, 32], &vec![bf16::ONE; 6 * 32])?;
    /// let attention = Attention::new().causal();
    /// let forward = attention.forward(&x, &x, &x)?;
    /// let gradients = attention.backward([&x, &x, &x], &forward, &x, None)?;
    /// // Every query gives a gradient of 1 to the values that it averages.
    /// let sum: f32 = gradients.d_v.to_vec()?.iter().map(|g| g.to_f32()).sum();
    /// assert!((sum - 6.0 * 32.0).abs() < 1.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`forward`](Attention::forward); [`Error::Tensor`] also when the workspace does not fit in memory.
    pub fn backward<T: AttentionElement>(
        &self,
        [q, k, v]: [&Tensor<T>; 3],
        forward: &Forward<T>,
        d_out: &Tensor<T>,
        d_lse: Option<&Tensor<f32, 3>>,
    ) -> Result<Gradients<T>, Error> {
        self.check(q.shape(), k.shape(), v.shape())?;
        let like = |x: &Tensor<T>| Tensor::unspecified(q.device(), x.shape());
        let mut gradients = Gradients {
            d_q: like(q)?,
            d_k: like(k)?,
            d_v: like(v)?,
            d_bias: match &self.bias {
                Some(bias) => Some(bias.unspecified_like(q.device())?),
                None => None,
            },
            variants: Vec::new(),
        };
        self.backward_into([q, k, v], forward, d_out, d_lse, &mut gradients)?;
        Ok(gradients)
    }

    /// As [`backward`](Attention::backward), into tensors of the caller with any strides that keep their elements
    /// apart, for instance views of a packed buffer; none may overlap anything else. The gradient of the bias is
    /// computed if `gradients` has a place for it. `gradients.variants` is overwritten.
    ///
    /// # Errors
    ///
    /// As [`backward`](Attention::backward). When it fails in a kernel, the gradients hold unspecified numbers.
    pub fn backward_into<T: AttentionElement>(
        &self,
        inputs: [&Tensor<T>; 3],
        forward: &Forward<T>,
        d_out: &Tensor<T>,
        d_lse: Option<&Tensor<f32, 3>>,
        gradients: &mut Gradients<T>,
    ) -> Result<(), Error> {
        let device = inputs[0].device();
        let others = [
            ("d_out", Some(d_out.device())),
            ("d_lse", d_lse.map(Tensor::device)),
            ("d_q", Some(gradients.d_q.device())),
            ("d_k", Some(gradients.d_k.device())),
            ("d_v", Some(gradients.d_v.device())),
            ("d_bias", gradients.d_bias.as_ref().map(Bias::device)),
        ];
        on_one_device(device, others)?;
        let forward = self.arguments(inputs, &forward.out, &forward.lse)?;
        let args = RawBackward {
            d_out: d_out.as_raw(),
            d_lse: d_lse.map(Tensor::as_raw),
            ..RawBackward::into_gradients(forward, gradients)
        };
        gradients.variants = launch_and_wait(device, args)?;
        Ok(())
    }
}

impl RawBackward {
    /// Writes to `gradients`; `d_out` is still to be set.
    pub(crate) fn into_gradients<T: AttentionElement>(
        forward: RawForward,
        gradients: &mut Gradients<T>,
    ) -> RawBackward {
        RawBackward {
            forward,
            d_out: forward.out,
            d_lse: None,
            d_q: gradients.d_q.as_raw(),
            d_k: gradients.d_k.as_raw(),
            d_v: gradients.d_v.as_raw(),
            d_bias: gradients.d_bias.as_ref().map(Bias::as_raw),
            workspace: 0,
        }
    }
}

/// Allocates the workspace, computes, and waits. `args` must describe elements of live tensors on `device`.
pub(crate) fn launch_and_wait(
    device: &Device,
    args: RawBackward,
) -> Result<Vec<KernelVariant>, Error> {
    let workspace = Buffer::unspecified(device, backward_workspace(device, &args)?)?;
    let args = RawBackward {
        workspace: workspace.device_ptr(),
        ..args
    };
    // SAFETY: a tensor's elements lie in its buffer (its invariant), buffers and workspace outlive this function, and
    // the work is over when it returns. BackwardProblem has refused gradients that overlap anything.
    let variants = unsafe { backward_raw(device, &args)? };
    device.backend().synchronize()?;
    Ok(variants)
}
