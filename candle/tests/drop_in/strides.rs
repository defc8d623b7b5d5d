//! Views: results and gradients do not depend on how the inputs lie.

use candle_core::{DType, Result, Tensor, Var};
use flash_attention_candle::Sequences;

use crate::case::{CAUSAL, Case, PLAIN};
use crate::{assert_close, bits, epsilon, random};

/// The same bits as from contiguous copies.
fn check(case: Case, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
    let attention = case.attention()?;
    let got = attention.forward(q, k, v)?;
    let [q, k, v] = [q, k, v].map(Tensor::force_contiguous);
    let want = attention.forward(&q?, &k?, &v?)?;
    assert_eq!(bits(&got), bits(&want));
    Ok(())
}

#[test]
fn heads_before_rows() -> Result<()> {
    let of_heads = |seed| random(seed, &[2, 3, 40, 32], DType::F16)?.to_dtype(DType::F16);
    let [q, k, v] = [of_heads(1)?, of_heads(2)?, of_heads(3)?].map(|x| x.transpose(1, 2));
    check(PLAIN, &q?, &k?, &v?)
}

#[test]
fn parts_of_a_packed_projection() -> Result<()> {
    // [batch, seqlen, q, k and v, heads, head_dim]
    let qkv = random(1, &[2, 21, 3, 2, 32], DType::F16)?.to_dtype(DType::F16)?;
    let part = |i| qkv.narrow(2, i, 1)?.squeeze(2);
    check(PLAIN, &part(0)?, &part(1)?, &part(2)?)
}

#[test]
fn narrowed_batches_rows_heads_and_columns() -> Result<()> {
    let x = random(1, &[3, 30, 4, 48], DType::F16)?.to_dtype(DType::F16)?;
    let view = |batch, row, head, column| {
        x.narrow(0, batch, 2)?
            .narrow(1, row, 20)?
            .narrow(2, head, 2)?
            .narrow(3, column, 24)
    };
    check(
        PLAIN,
        &view(1, 7, 2, 8)?,
        &view(0, 3, 1, 16)?,
        &view(1, 0, 0, 5)?,
    )
}

/// Kernels of their own, with other tiles and so other roundings.
#[test]
fn rows_that_are_no_multiples_of_16_bytes_apart() -> Result<()> {
    let x = random(1, &[3, 2, 20, 2, 33], PLAIN.dtype)?;
    let view = |x: &Tensor, i| x.narrow(0, i, 1)?.squeeze(0)?.narrow(3, 1, 32);
    let [want, _] = PLAIN.plain([&view(&x, 0)?, &view(&x, 1)?, &view(&x, 2)?])?;
    let x = x.to_dtype(PLAIN.dtype)?;
    let out = PLAIN
        .attention()?
        .forward(&view(&x, 0)?, &view(&x, 1)?, &view(&x, 2)?)?;
    assert_close("odd strides", &out, &want, 2. * epsilon(PLAIN.dtype));
    Ok(())
}

#[test]
fn one_head_of_keys_seen_as_many() -> Result<()> {
    let q = random(1, &[2, 20, 4, 32], DType::F16)?.to_dtype(DType::F16)?;
    let k = random(2, &[1, 20, 1, 32], DType::F16)?.to_dtype(DType::F16)?;
    let k = k.broadcast_as((2, 20, 4, 32))?;
    check(PLAIN, &q, &k, &k)
}

#[test]
fn packed_rows_with_heads_in_front() -> Result<()> {
    let of_heads = |seed| {
        random(seed, &[2, 40, 32], DType::F16)?
            .to_dtype(DType::F16)?
            .transpose(0, 1)
    };
    let (q, k, v) = (of_heads(1)?, of_heads(2)?, of_heads(3)?);
    let seqlens = Tensor::new(&[9u32, 0, 15, 40, 7], &candle_core::Device::Cpu)?;
    let seqlens = seqlens.narrow(0, 1, 3)?;
    let sequences = Sequences::new(&seqlens, &seqlens)?;
    let attention = PLAIN.attention()?;
    let got = attention.forward_varlen(&q, &k, &v, &sequences)?;
    let [q, k, v] = [&q, &k, &v].map(Tensor::force_contiguous);
    let want = attention.forward_varlen(&q?, &k?, &v?, &sequences)?;
    assert_eq!(bits(&got), bits(&want));
    Ok(())
}

#[test]
fn gradients_of_views_reach_what_they_are_views_of() -> Result<()> {
    let case = Case {
        window: CAUSAL,
        ..PLAIN
    };
    let qkv = Var::from_tensor(&random(1, &[2, 21, 3, 2, 32], case.dtype)?)?;
    let loss = |out: Tensor| out.to_dtype(DType::F32)?.transpose(1, 2)?.sqr()?.sum_all();
    let part = |x: &Tensor, i| x.narrow(2, i, 1)?.squeeze(2);
    let half = qkv.to_dtype(case.dtype)?;
    let out = case
        .attention()?
        .forward(&part(&half, 0)?, &part(&half, 1)?, &part(&half, 2)?)?;
    let got = loss(out)?.backward()?;
    let [q, k, v] = [0, 1, 2].map(|i| part(&qkv, i));
    let [want, _] = case.plain([&q?, &k?, &v?])?;
    let want = loss(want)?.backward()?;
    let (got, want) = (got.get(&qkv).unwrap(), want.get(&qkv).unwrap());
    assert_close("d_qkv", got, want, 4. * epsilon(case.dtype));
    Ok(())
}
