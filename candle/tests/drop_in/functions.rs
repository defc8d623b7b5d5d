//! The ten functions: the signatures of candle-flash-attn 0.11, and the bits of the options that they stand for.

use candle_core::{Device, Result, Tensor};
use flash_attention_candle::{
    Sequences, flash_attn, flash_attn_alibi, flash_attn_alibi_windowed,
    flash_attn_alibi_windowed_softcap, flash_attn_varlen, flash_attn_varlen_alibi,
    flash_attn_varlen_alibi_windowed, flash_attn_varlen_alibi_windowed_softcap,
    flash_attn_varlen_windowed, flash_attn_windowed,
};

use crate::bits;
use crate::case::{CAUSAL, Case, PLAIN};

type T<'a> = &'a Tensor;
type Side = Option<usize>;

/// Fails to compile when an argument changes.
#[test]
#[expect(clippy::type_complexity, reason = "signatures are what this is about")]
fn signatures_are_those_of_candle_flash_attn() {
    let _: fn(T, T, T, f32, bool) -> Result<Tensor> = flash_attn;
    let _: fn(T, T, T, f32, Side, Side) -> Result<Tensor> = flash_attn_windowed;
    let _: fn(T, T, T, T, f32, bool) -> Result<Tensor> = flash_attn_alibi;
    let _: fn(T, T, T, T, f32, Side, Side) -> Result<Tensor> = flash_attn_alibi_windowed;
    let _: fn(T, T, T, Option<T>, f32, Side, Side, f32) -> Result<Tensor> =
        flash_attn_alibi_windowed_softcap;
    let _: fn(T, T, T, T, T, usize, usize, f32, bool) -> Result<Tensor> = flash_attn_varlen;
    let _: fn(T, T, T, T, T, usize, usize, f32, Side, Side) -> Result<Tensor> =
        flash_attn_varlen_windowed;
    let _: fn(T, T, T, T, T, T, usize, usize, f32, bool) -> Result<Tensor> =
        flash_attn_varlen_alibi;
    let _: fn(T, T, T, T, T, T, usize, usize, f32, Side, Side) -> Result<Tensor> =
        flash_attn_varlen_alibi_windowed;
    let _: fn(T, T, T, Option<T>, T, T, usize, usize, f32, Side, Side, f32) -> Result<Tensor> =
        flash_attn_varlen_alibi_windowed_softcap;
}

#[test]
fn dense_functions_are_the_options() -> Result<()> {
    let [q, k, v] = &PLAIN.in_dtype(&PLAIN.inputs()?)?;
    let slopes = &PLAIN.slopes()?;
    let window @ [left, right] = [Some(8), Some(3)];
    let softcap = 0.6;
    let same = |got: Tensor, case: Case| -> Result<()> {
        let want = case.attention()?.forward(q, k, v)?;
        assert_eq!(bits(&got), bits(&want), "{case:?}");
        Ok(())
    };
    let alibi = Case {
        alibi: true,
        ..PLAIN
    };
    let s = PLAIN.scale;
    same(flash_attn(q, k, v, s, false)?, PLAIN)?;
    let causal = |case| Case {
        window: CAUSAL,
        ..case
    };
    same(flash_attn(q, k, v, s, true)?, causal(PLAIN))?;
    let windowed = |case| Case { window, ..case };
    same(
        flash_attn_windowed(q, k, v, s, left, right)?,
        windowed(PLAIN),
    )?;
    same(flash_attn_alibi(q, k, v, slopes, s, false)?, alibi)?;
    same(flash_attn_alibi(q, k, v, slopes, s, true)?, causal(alibi))?;
    same(
        flash_attn_alibi_windowed(q, k, v, slopes, s, left, right)?,
        windowed(alibi),
    )?;
    let all = |slopes, softcap| {
        flash_attn_alibi_windowed_softcap(q, k, v, slopes, s, left, right, softcap)
    };
    let capped = |case| Case { softcap, ..case };
    same(all(Some(slopes), softcap)?, capped(windowed(alibi)))?;
    same(all(None, softcap)?, capped(windowed(PLAIN)))?;
    same(all(None, 0.)?, windowed(PLAIN))
}

#[test]
fn varlen_functions_are_the_options() -> Result<()> {
    let case = Case { batch: 1, ..PLAIN };
    let [q, k, v] = case.in_dtype(&case.inputs()?)?;
    let (q, k, v) = (&q.squeeze(0)?, &k.squeeze(0)?, &v.squeeze(0)?);
    let seqlens_q = &Tensor::new(&[0u32, 9, 37], &Device::Cpu)?;
    let seqlens_k = &Tensor::new(&[0u32, 20, 37], &Device::Cpu)?;
    let sequences = Sequences::new(seqlens_q, seqlens_k)?;
    assert_eq!(
        (
            sequences.batch(),
            sequences.max_seqlen_q(),
            sequences.max_seqlen_k()
        ),
        (2, 28, 20)
    );
    let slopes = &case.slopes()?;
    let window @ [left, right] = [Some(8), Some(3)];
    let softcap = 0.6;
    let same = |got: Tensor, case: Case| -> Result<()> {
        let want = case.attention()?.forward_varlen(q, k, v, &sequences)?;
        assert_eq!(bits(&got), bits(&want), "{case:?}");
        Ok(())
    };
    let alibi = Case {
        alibi: true,
        ..case
    };
    let causal = |case| Case {
        window: CAUSAL,
        ..case
    };
    let windowed = |case| Case { window, ..case };
    // The longest sequences, or more.
    let (s, m, n) = (case.scale, 28, 500);
    let (a, b) = (seqlens_q, seqlens_k);
    same(flash_attn_varlen(q, k, v, a, b, m, n, s, false)?, case)?;
    same(
        flash_attn_varlen(q, k, v, a, b, m, n, s, true)?,
        causal(case),
    )?;
    same(
        flash_attn_varlen_windowed(q, k, v, a, b, m, n, s, left, right)?,
        windowed(case),
    )?;
    same(
        flash_attn_varlen_alibi(q, k, v, slopes, a, b, m, n, s, true)?,
        causal(alibi),
    )?;
    same(
        flash_attn_varlen_alibi_windowed(q, k, v, slopes, a, b, m, n, s, left, right)?,
        windowed(alibi),
    )?;
    let all = |slopes, softcap| {
        flash_attn_varlen_alibi_windowed_softcap(
            q, k, v, slopes, a, b, m, n, s, left, right, softcap,
        )
    };
    let capped = |case| Case { softcap, ..case };
    same(all(Some(slopes), softcap)?, capped(windowed(alibi)))?;
    same(all(None, 0.)?, windowed(case))
}
