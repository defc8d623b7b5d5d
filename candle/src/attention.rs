//! Options, then tensors.

use candle_core::Tensor;
use flash_attention::{Device, Dropout, Options};

use crate::error::Error;
use crate::op;
use crate::sequences::Sequences;

/// Options of exact attention, `softmax(softmax_scale · Q·Kᵀ) · V` for each head, on candle's tensors.
///
/// The functions of this crate are short forms of it. Without options every query sees every key and the scale is
/// `1 / sqrt(head_dim)`. Query head `h` uses key head `h / (num_heads / num_heads_k)`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use flash_attention_candle::FlashAttention;
/// # fn main() -> candle_core::Result<()> {
/// let q = Tensor::zeros((1, 3, 2, 16), DType::F16, &Device::Cpu)?; // [batch, seqlen, heads, head_dim]
/// let output = FlashAttention::new().causal().forward_with_lse(&q, &q, &q)?;
/// let lse = output.lse.flatten_all()?.to_vec1::<f32>()?; // [batch, num_heads, seqlen_q]
/// assert!((lse[2] - 3f32.ln()).abs() < 1e-6); // the last query sees three keys, all scores zero
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FlashAttention {
    pub(crate) options: Options,
    pub(crate) alibi_slopes: Option<Tensor>,
    pub(crate) cpu_device: Device,
}

/// What attention gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// Shape and type of q. A row without visible keys is 0.
    pub out: Tensor,
    /// Natural logarithm of the sum of `exp(score)` over the visible keys, f32 `[batch, num_heads, seqlen_q]`
    /// (`[num_heads, total_q]` for packed sequences); -inf for a row without visible keys.
    pub lse: Tensor,
}

impl FlashAttention {
    /// Every key visible, softmax_scale `1 / sqrt(head_dim)`.
    pub fn new() -> FlashAttention {
        FlashAttention {
            options: Options::default(),
            alibi_slopes: None,
            cpu_device: Device::emulated(),
        }
    }

    /// Replaces the factor on Q·Kᵀ by any finite number.
    pub fn softmax_scale(self, softmax_scale: f32) -> FlashAttention {
        self.with(|options| options.softmax_scale = Some(softmax_scale))
    }

    /// Lets query i see key j only if `j <= i + seqlen_k - seqlen_q`, so that the last query sees every key: a window
    /// with 0 keys to the right.
    pub fn causal(self) -> FlashAttention {
        self.with(|options| options.mask.is_causal = true)
    }

    /// Lets query i see key j only if `i + diagonal - left <= j <= i + diagonal + right`, where the diagonal is
    /// `seqlen_k - seqlen_q`; `None` is no bound.
    pub fn window(self, left: Option<usize>, right: Option<usize>) -> FlashAttention {
        self.with(|options| options.mask.window = flash_attention::Window { left, right })
    }

    /// Bounds scores: x becomes `softcap · tanh(x / softcap)`. 0 is no bound.
    pub fn softcap(self, softcap: f32) -> FlashAttention {
        self.with(|options| options.softcap = softcap)
    }

    /// Subtracts `slope · |i + seqlen_k - seqlen_q - j|` from the score of query i and key j (ALiBi, Press et al.,
    /// arXiv:2108.12409); `slopes` is f32 `[num_heads]`, on the device of q, and gets no gradient.
    pub fn alibi(self, slopes: &Tensor) -> FlashAttention {
        FlashAttention {
            alibi_slopes: Some(slopes.clone()),
            ..self
        }
    }

    /// Drops probabilities at random, a pure function of seed, offset and position: the pass back drops the same ones.
    pub fn dropout(self, dropout: Dropout) -> FlashAttention {
        self.with(|options| options.dropout = Some(dropout))
    }

    /// Makes gradients the same bits every time, for more memory. Results of the pass forward are so anyway.
    pub fn deterministic(self) -> FlashAttention {
        self.with(|options| options.is_deterministic = true)
    }

    /// Where attention of tensors on `Device::Cpu` runs: an emulated device of your choice, for instance
    /// `EmulatedDevice::emulated_as(Arch::Sm90a)` for the kernels for Hopper, or one with sanitizers.
    pub fn cpu_device(self, device: Device) -> FlashAttention {
        FlashAttention {
            cpu_device: device,
            ..self
        }
    }

    /// Attention of `q` `[batch, seqlen_q, num_heads, head_dim]` with `k` and `v`
    /// `[batch, seqlen_k, num_heads_k, head_dim]`, f16 or bf16, on one device; gives shape and type of q.
    ///
    /// # Errors
    ///
    /// Arguments that break a rule, and whatever the device reports; see [`Error`].
    pub fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, Error> {
        Ok(op::attend(self, [q, k, v], None)?.out)
    }

    /// As [`forward`](FlashAttention::forward), with the log-sum-exp. A loss may depend on both: gradients flow through
    /// the log-sum-exp too, by a backward pass of its own.
    ///
    /// # Errors
    ///
    /// As [`forward`](FlashAttention::forward).
    pub fn forward_with_lse(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Output, Error> {
        op::attend(self, [q, k, v], None)?.with_lse([q, k, v])
    }

    /// Attention of packed sequences, each for itself: `q` `[total_q, num_heads, head_dim]`, `k` and `v`
    /// `[total_k, num_heads_k, head_dim]`; gives shape and type of q. Rows of no sequence are 0.
    ///
    /// # Errors
    ///
    /// As [`forward`](FlashAttention::forward), and when the tensors have fewer rows than `sequences` says.
    pub fn forward_varlen(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        sequences: &Sequences,
    ) -> Result<Tensor, Error> {
        Ok(op::attend(self, [q, k, v], Some(sequences))?.out)
    }

    /// As [`forward_varlen`](FlashAttention::forward_varlen), with the log-sum-exp `[num_heads, total_q]`.
    ///
    /// # Errors
    ///
    /// As [`forward_varlen`](FlashAttention::forward_varlen).
    pub fn forward_varlen_with_lse(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        sequences: &Sequences,
    ) -> Result<Output, Error> {
        op::attend(self, [q, k, v], Some(sequences))?.with_lse([q, k, v])
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> FlashAttention {
        change(&mut self.options);
        self
    }
}

impl Default for FlashAttention {
    fn default() -> FlashAttention {
        FlashAttention::new()
    }
}
