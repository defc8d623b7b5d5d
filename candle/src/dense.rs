//! The functions of candle-flash-attn for sequences of one length.

use candle_core::{Result, Tensor};

use crate::attention::FlashAttention;

/// Attention, causal or not.
///
/// `q` is `[batch, seqlen_q, num_heads, head_dim]`, `k` and `v` are `[batch, seqlen_k, num_heads_k, head_dim]`, where
/// `num_heads_k` divides `num_heads`; f16 or bf16. The result has shape and type of `q`. `causal` lets the last query see
/// every key and each query before it one key less.
///
/// # Errors
///
/// The text of an [`Error`](crate::Error).
pub fn flash_attn(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    softmax_scale: f32,
    causal: bool,
) -> Result<Tensor> {
    flash_attn_windowed(q, k, v, softmax_scale, None, right_of_diagonal(causal))
}

/// Attention in a window: as [`flash_attn`], and query i sees key j only if
/// `i + diagonal - window_size_left <= j <= i + diagonal + window_size_right`, where the diagonal is
/// `seqlen_k - seqlen_q`. `None` is no bound; `None` and `Some(0)` are the causal mask.
///
/// # Errors
///
/// As [`flash_attn`].
pub fn flash_attn_windowed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    softmax_scale: f32,
    window_size_left: Option<usize>,
    window_size_right: Option<usize>,
) -> Result<Tensor> {
    let attention = FlashAttention::new()
        .softmax_scale(softmax_scale)
        .window(window_size_left, window_size_right);
    Ok(attention.forward(q, k, v)?)
}

/// Attention with ALiBi: as [`flash_attn`], with `alibi_slopes`, f32 `[num_heads]`, times the distance from the diagonal
/// subtracted from the scores.
///
/// # Errors
///
/// As [`flash_attn`].
pub fn flash_attn_alibi(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    alibi_slopes: &Tensor,
    softmax_scale: f32,
    causal: bool,
) -> Result<Tensor> {
    let right = right_of_diagonal(causal);
    flash_attn_alibi_windowed(q, k, v, alibi_slopes, softmax_scale, None, right)
}

/// Attention with ALiBi in a window: as [`flash_attn_alibi`] and [`flash_attn_windowed`].
///
/// # Errors
///
/// As [`flash_attn`].
pub fn flash_attn_alibi_windowed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    alibi_slopes: &Tensor,
    softmax_scale: f32,
    window_size_left: Option<usize>,
    window_size_right: Option<usize>,
) -> Result<Tensor> {
    flash_attn_alibi_windowed_softcap(
        q,
        k,
        v,
        Some(alibi_slopes),
        softmax_scale,
        window_size_left,
        window_size_right,
        0.0,
    )
}

/// Attention with everything: as [`flash_attn_alibi_windowed`], ALiBi being optional, and scores x become
/// `softcap · tanh(x / softcap)` first; a softcap of 0 is none.
///
/// # Errors
///
/// As [`flash_attn`].
#[expect(
    clippy::too_many_arguments,
    reason = "the signature of candle-flash-attn"
)]
pub fn flash_attn_alibi_windowed_softcap(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    alibi_slopes: Option<&Tensor>,
    softmax_scale: f32,
    window_size_left: Option<usize>,
    window_size_right: Option<usize>,
    softcap: f32,
) -> Result<Tensor> {
    let window = [window_size_left, window_size_right];
    let attention = with_everything(alibi_slopes, softmax_scale, window, softcap);
    Ok(attention.forward(q, k, v)?)
}

/// Keys that a query sees beyond the diagonal.
pub(crate) fn right_of_diagonal(causal: bool) -> Option<usize> {
    causal.then_some(0)
}

/// What the function that takes all options says, dense and packed.
pub(crate) fn with_everything(
    alibi_slopes: Option<&Tensor>,
    softmax_scale: f32,
    [left, right]: [Option<usize>; 2],
    softcap: f32,
) -> FlashAttention {
    let attention = FlashAttention::new()
        .softmax_scale(softmax_scale)
        .window(left, right)
        .softcap(softcap);
    match alibi_slopes {
        Some(slopes) => attention.alibi(slopes),
        None => attention,
    }
}
