//! What is refused: the message names the rule, the value and the way out.

use candle_core::{DType, Device, Result, Tensor};
use flash_attention_candle::{Error, FlashAttention, Sequences, flash_attn, flash_attn_varlen};

use crate::case::PLAIN;

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

#[track_caller]
fn assert_says<T>(result: std::result::Result<T, impl std::fmt::Display>, parts: &[&str]) {
    let text = result.err().expect("must be refused").to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

#[test]
fn other_types() {
    let (half, bf16) = (
        zeros(&[1, 4, 2, 16], DType::F16),
        zeros(&[1, 4, 2, 16], DType::BF16),
    );
    for dtype in [DType::F32, DType::F64, DType::U8] {
        let x = zeros(&[1, 4, 2, 16], dtype);
        let refused = flash_attn(&x, &x, &x, 1., false);
        assert_says(
            refused,
            &[&format!("q is {dtype:?}"), "f16 and bf16", "to_dtype"],
        );
    }
    let mixed = flash_attn(&half, &bf16, &half, 1., false);
    assert_says(mixed, &["k is BF16 and must be F16"]);
    let mixed = flash_attn(&half, &half, &bf16, 1., false);
    assert_says(mixed, &["v is BF16 and must be F16"]);
}

#[test]
fn other_shapes() {
    let x = |shape: &[usize]| zeros(shape, DType::F16);
    let q = x(&[1, 4, 2, 16]);
    let run = |q: &Tensor, k: &Tensor| flash_attn(q, k, k, 1., false);
    assert_says(
        run(&x(&[4, 2, 16]), &q),
        &["q has shape", "[batch, seqlen, heads, head_dim]"],
    );
    assert_says(run(&q, &x(&[1, 4, 2, 16, 1])), &["k has shape"]);
    assert_says(run(&q, &x(&[2, 4, 2, 16])), &["k and q", "batch"]);
    assert_says(run(&q, &x(&[1, 4, 2, 24])), &["head_dim", "24"]);
    assert_says(
        run(&x(&[1, 4, 3, 16]), &q),
        &["num_heads 3", "num_heads_k 2"],
    );
    for (head_dim, rule) in [(20, "multiple of 8"), (264, "at most 256")] {
        let x = x(&[1, 4, 2, head_dim]);
        assert_says(run(&x, &x), &[&format!("head_dim {head_dim}"), rule]);
    }
    let v = flash_attn(&q, &q, &x(&[1, 5, 2, 16]), 1., false);
    assert_says(v, &["v and k", "seqlen"]);
}

#[test]
fn rows_that_are_not_runs_of_memory() {
    let q = zeros(&[1, 4, 2, 16], DType::F16);
    let k = zeros(&[1, 4, 16, 2], DType::F16).transpose(2, 3).unwrap();
    let refused = flash_attn(&q, &k, &q, 1., false);
    assert_says(refused, &["last dimension of k", "stride 2"]);
}

#[test]
fn options_out_of_range() {
    let q = zeros(&[1, 4, 2, 16], DType::F16);
    let run = |attention: FlashAttention| attention.forward(&q, &q, &q);
    assert_says(run(FlashAttention::new().softcap(-1.)), &["softcap -1"]);
    assert_says(
        run(FlashAttention::new().softmax_scale(f32::NAN)),
        &["softmax_scale NaN"],
    );
    let slopes = |shape: &[usize], dtype| run(FlashAttention::new().alibi(&zeros(shape, dtype)));
    assert_says(slopes(&[3], DType::F32), &["3 elements", "2 heads"]);
    assert_says(slopes(&[2], DType::F16), &["alibi_slopes is F16", "F32"]);
    assert_says(
        slopes(&[1, 2], DType::F32),
        &["alibi_slopes has shape", "[num_heads]"],
    );
}

#[test]
fn seqlens_that_do_not_fit() -> Result<()> {
    let x = zeros(&[9, 2, 16], DType::F16);
    let seqlens = |offsets: &[u32]| Tensor::new(offsets, &Device::Cpu).unwrap();
    let run = |q: &[u32], k: &[u32], max_q, max_k| {
        flash_attn_varlen(&x, &x, &x, &seqlens(q), &seqlens(k), max_q, max_k, 1., true)
    };
    run(&[0, 4, 9], &[0, 0, 9], 5, 9)?;
    assert_says(run(&[0, 4, 9], &[0, 9], 5, 9), &["batch + 1"]);
    assert_says(
        run(&[0, 4, 10], &[0, 4, 9], 6, 9),
        &["seqlens_q", "row 10", "has 9"],
    );
    assert_says(run(&[0, 5, 4], &[0, 4, 9], 5, 9), &["must not decrease"]);
    assert_says(run(&[0, u32::MAX], &[0, 9], 9, 9), &["4294967295"]);
    assert_says(run(&[], &[], 9, 9), &["is empty"]);
    assert_says(
        run(&[0, 4, 9], &[0, 4, 9], 4, 9),
        &["max_seqlen_q is 4", "5 rows"],
    );
    assert_says(
        run(&[0, 4, 9], &[0, 4, 9], 5, 2),
        &["max_seqlen_k is 2", "5 rows"],
    );
    let long = Tensor::new(&[0i64, 9], &Device::Cpu)?;
    assert_says(Sequences::new(&long, &long), &["seqlens_q is I64", "U32"]);
    let rank = Tensor::new(&[[0u32, 9]], &Device::Cpu)?;
    assert_says(
        Sequences::new(&rank, &rank),
        &["seqlens_q has shape", "[batch + 1]"],
    );
    let q = zeros(&[1, 9, 2, 16], DType::F16);
    let seqlens = seqlens(&[0, 9]);
    let rank = flash_attn_varlen(&q, &x, &x, &seqlens, &seqlens, 9, 9, 1., true);
    assert_says(rank, &["q has shape", "[total, heads, head_dim]"]);
    Ok(())
}

#[test]
fn errors_have_types() -> Result<()> {
    let [q, k, v] = PLAIN.inputs()?;
    let error = FlashAttention::new().forward(&q, &k, &v).unwrap_err();
    assert!(matches!(error, Error::Dtype(DType::F32)), "{error}");
    let text = error.to_string();
    // Under RUST_BACKTRACE candle adds lines.
    let as_candles = candle_core::Error::from(error).to_string();
    assert!(as_candles.starts_with(&text), "{as_candles}");
    let seqlens = Tensor::new(&[0u32, 3, 2], &Device::Cpu)?;
    let error = Sequences::new(&seqlens, &seqlens).unwrap_err();
    let is_typed = matches!(
        error,
        Error::Attention(flash_attention::Error::Problem(
            flash_attention::ProblemError::Sequences { .. }
        ))
    );
    assert!(is_typed, "{error}");
    Ok(())
}
