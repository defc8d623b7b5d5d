//! The public way in: options, then tensors.

use abi::KernelVariant;

use crate::bias::Bias;
use crate::device::Device;
use crate::element::AttentionElement;
use crate::error::{Error, ProblemError};
use crate::options::{Dropout, Mask, Options, Window};
use crate::problem::check_inputs;
use crate::raw::{RawForward, forward_raw};
use crate::tensor::Tensor;

/// Options of exact attention, `softmax(softmax_scale · Q·Kᵀ) · V` for each head, and its gradients.
///
/// Every query sees every key unless a mask is set. When k and v have fewer heads than q (multi-query and grouped-query
/// attention), query head `h` uses key head `h / (num_heads / num_heads_k)`.
///
/// Options compose. The score of query i and key j is `x = softmax_scale · q·k`, then `softcap · tanh(x / softcap)`,
/// minus `slope · |i + diagonal - j|` (ALiBi), plus the bias; then come mask, softmax and dropout.
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
#[derive(Clone, Debug, Default)]
pub struct Attention {
    pub(crate) options: Options,
    alibi_slopes: Option<Slopes>,
    pub(crate) bias: Option<Bias>,
}

/// ALiBi slopes: `[num_heads]`, or `[batch, num_heads]`.
#[derive(Clone, Debug)]
enum Slopes {
    Shared(Tensor<f32, 1>),
    PerBatch(Tensor<f32, 2>),
}

/// Result of a forward pass.
#[derive(Clone, Debug)]
pub struct Forward<T: AttentionElement> {
    /// Output, row-major, shape and type of q. A row without visible keys is 0.
    pub out: Tensor<T>,
    /// Natural logarithm of the sum of `exp(score)` over the visible keys, `[batch, num_heads, seqlen_q]`; -inf for a
    /// row without visible keys.
    pub lse: Tensor<f32, 3>,
    /// The kernel that ran; `None` when the output has no element.
    pub variant: Option<KernelVariant>,
}

impl Attention {
    /// Every key visible, softmax_scale `1 / sqrt(head_dim)`.
    pub fn new() -> Attention {
        Attention::default()
    }

    /// Attention with these options, without ALiBi and bias.
    pub fn with_options(options: Options) -> Attention {
        Attention {
            options,
            ..Attention::default()
        }
    }

    /// The options that are no tensors.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Lets query i see key j only if `j <= i + seqlen_k - seqlen_q`: the last query sees every key (the mask is
    /// aligned to the bottom right corner), and with fewer keys than queries the first rows see none.
    pub fn causal(self) -> Attention {
        self.with_mask(|mask| mask.is_causal = true)
    }

    /// Lets query i see key j only if `i + diagonal - left <= j <= i + diagonal + right`, where the diagonal is
    /// `seqlen_k - seqlen_q`; `None` is no bound. Together with [`causal`](Attention::causal), right is 0.
    pub fn window(self, left: Option<usize>, right: Option<usize>) -> Attention {
        self.with_mask(|mask| mask.window = Window { left, right })
    }

    /// Aligns causal, window and ALiBi to the top left corner: the diagonal is 0, the first query sees the first key.
    pub fn top_left(self) -> Attention {
        self.with_mask(|mask| mask.is_top_left = true)
    }

    /// Replaces the factor on Q·Kᵀ by any finite number, negative and zero included.
    ///
    /// Kernels compute scores in f32: where `softmax_scale · q·k` exceeds 2^24 in magnitude, differences of scores
    /// below 1 are lost, and beyond 2^28 a row may come out as zeros, infinities or NaN.
    pub fn softmax_scale(self, softmax_scale: f32) -> Attention {
        self.with(|options| options.softmax_scale = Some(softmax_scale))
    }

    /// Bounds scores: x becomes `softcap · tanh(x / softcap)`. 0 is no bound.
    pub fn softcap(self, softcap: f32) -> Attention {
        self.with(|options| options.softcap = softcap)
    }

    /// Drops probabilities at random.
    pub fn dropout(self, dropout: Dropout) -> Attention {
        self.with(|options| options.dropout = Some(dropout))
    }

    /// Makes [`backward`](Attention::backward) give the same bits every time, on every device: dQ is summed in a fixed
    /// order, in several slices that take more memory. Without it, dQ is summed in the order in which blocks finish.
    /// dK, dV and the gradient of the bias have the same bits either way.
    pub fn deterministic(self) -> Attention {
        self.with(|options| options.is_deterministic = true)
    }

    /// Subtracts `slope · |i + seqlen_k - seqlen_q - j|` from the score of query i and key j (ALiBi, Press et al.,
    /// arXiv:2108.12409); `slopes` is `[num_heads]`.
    pub fn alibi(self, slopes: &Tensor<f32, 1>) -> Attention {
        Attention {
            alibi_slopes: Some(Slopes::Shared(slopes.clone())),
            ..self
        }
    }

    /// As [`alibi`](Attention::alibi), with slopes `[batch, num_heads]`.
    pub fn alibi_per_batch(self, slopes: &Tensor<f32, 2>) -> Attention {
        Attention {
            alibi_slopes: Some(Slopes::PerBatch(slopes.clone())),
            ..self
        }
    }

    /// Adds a bias `[batch or 1, num_heads or 1, seqlen_q, seqlen_k]` to the scores: a `&Tensor` of the type of q or of
    /// f32. [`backward`](Attention::backward) then computes its gradient. For packed sequences the last two extents
    /// are the longest ones.
    pub fn bias(self, bias: impl Into<Bias>) -> Attention {
        Attention {
            bias: Some(bias.into()),
            ..self
        }
    }

    /// Checks shapes `[batch, seqlen, heads, head_dim]` and options as [`forward`](Attention::forward) does, without
    /// tensors or a device.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub fn check(&self, q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> Result<(), ProblemError> {
        check_inputs([q, k, v], &self.options, self.alibi_slopes.is_some()).map(|_| ())
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
    ) -> Result<Option<KernelVariant>, Error> {
        let args = self.arguments([q, k, v], out, lse)?;
        launch_and_wait(q.device(), &args)
    }

    /// Options and tensors as one argument list. The tensors must share a device.
    pub(crate) fn arguments<T: AttentionElement>(
        &self,
        [q, k, v]: [&Tensor<T>; 3],
        out: &Tensor<T>,
        lse: &Tensor<f32, 3>,
    ) -> Result<RawForward, ProblemError> {
        let device = q.device();
        let slopes = self.alibi_slopes.as_ref();
        let others = [
            ("k", Some(k.device())),
            ("v", Some(v.device())),
            ("out", Some(out.device())),
            ("lse", Some(lse.device())),
            ("alibi_slopes", slopes.map(Slopes::device)),
            ("bias", self.bias.as_ref().map(Bias::device)),
        ];
        on_one_device(device, others)?;
        Ok(RawForward {
            options: self.options,
            alibi_slopes: slopes.map(|slopes| slopes.as_raw(q.shape()[0])),
            bias: self.bias.as_ref().map(Bias::as_raw),
            ..RawForward::new(
                T::DTYPE,
                [q.as_raw(), k.as_raw(), v.as_raw()],
                out.as_raw(),
                lse.as_raw(),
            )
        })
    }

    /// Slopes for `batch` entries.
    pub(crate) fn raw_slopes(&self, batch: usize) -> Option<crate::raw::RawTensor<2>> {
        self.alibi_slopes
            .as_ref()
            .map(|slopes| slopes.as_raw(batch))
    }

    /// Whether there is no option but the scale and the causal mask, aligned to the bottom right corner.
    pub(crate) fn is_plain(&self) -> bool {
        let Options {
            mask,
            softcap,
            dropout,
            ..
        } = &self.options;
        let is_plain_mask = mask.window == Window::default() && !mask.is_top_left;
        is_plain_mask
            && *softcap == 0.0
            && dropout.is_none()
            && self.alibi_slopes.is_none()
            && self.bias.is_none()
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Attention {
        change(&mut self.options);
        self
    }

    fn with_mask(self, change: impl FnOnce(&mut Mask)) -> Attention {
        self.with(|options| change(&mut options.mask))
    }
}

impl Slopes {
    fn device(&self) -> &Device {
        match self {
            Slopes::Shared(slopes) => slopes.device(),
            Slopes::PerBatch(slopes) => slopes.device(),
        }
    }

    /// `[batch, num_heads]`.
    fn as_raw(&self, batch: usize) -> crate::raw::RawTensor<2> {
        match self {
            Slopes::PerBatch(slopes) => slopes.as_raw(),
            Slopes::Shared(slopes) => {
                let raw = slopes.as_raw();
                crate::raw::RawTensor {
                    ptr: raw.ptr,
                    shape: [batch, raw.shape[0]],
                    strides: [0, raw.strides[0]],
                }
            }
        }
    }
}

/// Checks that all tensors are where q is.
pub(crate) fn on_one_device<'a>(
    device: &Device,
    others: impl IntoIterator<Item = (&'static str, Option<&'a Device>)>,
) -> Result<(), ProblemError> {
    let elsewhere = |(_, other): &(_, Option<&Device>)| other.is_some_and(|other| other != device);
    match others.into_iter().find(elsewhere) {
        Some((tensor, _)) => Err(ProblemError::Device { tensor }),
        None => Ok(()),
    }
}

/// `args` must describe elements of live tensors on `device`, as those of [`Attention::forward_into`] do.
pub(crate) fn launch_and_wait(
    device: &Device,
    args: &RawForward,
) -> Result<Option<KernelVariant>, Error> {
    // SAFETY: a tensor's elements lie in its buffer (its invariant), the buffers outlive this function, and the
    // work is over when it returns. Problem has refused outputs that overlap anything.
    let variant = unsafe { forward_raw(device, args)? };
    device.backend().synchronize()?;
    Ok(variant)
}
