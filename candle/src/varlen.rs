//! The functions of candle-flash-attn for packed sequences of different lengths.

use candle_core::{Result, Tensor};

use crate::dense::{right_of_diagonal, with_everything};
use crate::sequences::Sequences;

/// Attention of packed sequences, each for itself, causal or not.
///
/// `q` is `[total_q, num_heads, head_dim]`, `k` and `v` are `[total_k, num_heads_k, head_dim]`, f16 or bf16. `seqlens_q`
/// and `seqlens_k`, u32 `[batch + 1]`, are where each sequence begins, and where the last one ends; `max_seqlen_q` and
/// `max_seqlen_k` are upper bounds of the lengths. The result has shape and type of `q`. Masks are aligned to the last
/// query and the last key of each sequence.
///
/// # Errors
///
/// The text of an [`Error`](crate::Error).
#[expect(
    clippy::too_many_arguments,
    reason = "the signature of candle-flash-attn"
)]
pub fn flash_attn_varlen(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    seqlens_q: &Tensor,
    seqlens_k: &Tensor,
    max_seqlen_q: usize,
    max_seqlen_k: usize,
    softmax_scale: f32,
    causal: bool,
) -> Result<Tensor> {
    flash_attn_varlen_windowed(
        q,
        k,
        v,
        seqlens_q,
        seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        softmax_scale,
        None,
        right_of_diagonal(causal),
    )
}

/// Attention of packed sequences in a window: as [`flash_attn_varlen`], with the window of
/// [`flash_attn_windowed`](crate::flash_attn_windowed) in each sequence.
///
/// # Errors
///
/// As [`flash_attn_varlen`].
#[expect(
    clippy::too_many_arguments,
    reason = "the signature of candle-flash-attn"
)]
pub fn flash_attn_varlen_windowed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    seqlens_q: &Tensor,
    seqlens_k: &Tensor,
    max_seqlen_q: usize,
    max_seqlen_k: usize,
    softmax_scale: f32,
    window_size_left: Option<usize>,
    window_size_right: Option<usize>,
) -> Result<Tensor> {
    flash_attn_varlen_alibi_windowed_softcap(
        q,
        k,
        v,
        None,
        seqlens_q,
        seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        softmax_scale,
        window_size_left,
        window_size_right,
        0.0,
    )
}

/// Attention of packed sequences with ALiBi: as [`flash_attn_varlen`], with the slopes of
/// [`flash_attn_alibi`](crate::flash_attn_alibi).
///
/// # Errors
///
/// As [`flash_attn_varlen`].
#[expect(
    clippy::too_many_arguments,
    reason = "the signature of candle-flash-attn"
)]
pub fn flash_attn_varlen_alibi(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    alibi_slopes: &Tensor,
    seqlens_q: &Tensor,
    seqlens_k: &Tensor,
    max_seqlen_q: usize,
    max_seqlen_k: usize,
    softmax_scale: f32,
    causal: bool,
) -> Result<Tensor> {
    flash_attn_varlen_alibi_windowed(
        q,
        k,
        v,
        alibi_slopes,
        seqlens_q,
        seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        softmax_scale,
        None,
        right_of_diagonal(causal),
    )
}

/// Attention of packed sequences with ALiBi in a window: as [`flash_attn_varlen_alibi`] and
/// [`flash_attn_varlen_windowed`].
///
/// # Errors
///
/// As [`flash_attn_varlen`].
#[expect(
    clippy::too_many_arguments,
    reason = "the signature of candle-flash-attn"
)]
pub fn flash_attn_varlen_alibi_windowed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    alibi_slopes: &Tensor,
    seqlens_q: &Tensor,
    seqlens_k: &Tensor,
    max_seqlen_q: usize,
    max_seqlen_k: usize,
    softmax_scale: f32,
    window_size_left: Option<usize>,
    window_size_right: Option<usize>,
) -> Result<Tensor> {
    flash_attn_varlen_alibi_windowed_softcap(
        q,
        k,
        v,
        Some(alibi_slopes),
        seqlens_q,
        seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        softmax_scale,
        window_size_left,
        window_size_right,
        0.0,
    )
}

/// Attention of packed sequences with everything: as [`flash_attn_varlen_alibi_windowed`], ALiBi being optional, and with
/// the softcap of [`flash_attn_alibi_windowed_softcap`](crate::flash_attn_alibi_windowed_softcap).
///
/// # Errors
///
/// As [`flash_attn_varlen`].
#[expect(
    clippy::too_many_arguments,
    reason = "the signature of candle-flash-attn"
)]
pub fn flash_attn_varlen_alibi_windowed_softcap(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    alibi_slopes: Option<&Tensor>,
    seqlens_q: &Tensor,
    seqlens_k: &Tensor,
    max_seqlen_q: usize,
    max_seqlen_k: usize,
    softmax_scale: f32,
    window_size_left: Option<usize>,
    window_size_right: Option<usize>,
    softcap: f32,
) -> Result<Tensor> {
    let sequences = Sequences::new(seqlens_q, seqlens_k)?.at_most(max_seqlen_q, max_seqlen_k)?;
    let window = [window_size_left, window_size_right];
    let attention = with_everything(alibi_slopes, softmax_scale, window, softcap);
    Ok(attention.forward_varlen(q, k, v, &sequences)?)
}
