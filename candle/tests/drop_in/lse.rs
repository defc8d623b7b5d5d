//! The log-sum-exp, and gradients through it.

use candle_core::{DType, Device, Result, Tensor, Var};
use flash_attention::Arch;
use flash_attention_candle::Sequences;

use crate::case::{CAUSAL, Case, PLAIN};
use crate::{assert_close, bits, epsilon, random};

/// What rounding of f32 and of the hardware's exponential may do to a log-sum-exp.
const ROUNDING: f32 = 1e-4;

#[test]
fn it_is_that_of_the_formula() -> Result<()> {
    for case in [
        Case {
            heads: [4, 2],
            ..PLAIN
        },
        Case {
            arch: Arch::Sm90a,
            head_dim: 64,
            ..PLAIN
        },
        Case {
            alibi: true,
            softcap: 0.9,
            window: [Some(4), Some(4)],
            ..PLAIN
        },
    ] {
        let inputs = case.inputs()?;
        let [q, k, v] = &case.in_dtype(&inputs)?;
        let output = case.attention()?.forward_with_lse(q, k, v)?;
        let [_, want] = case.plain(inputs.each_ref())?;
        assert_eq!(output.lse.dtype(), DType::F32);
        assert_close(&format!("{case:?}"), &output.lse, &want, ROUNDING);
        let alone = case.attention()?.forward(q, k, v)?;
        assert_eq!(bits(&output.out), bits(&alone));
    }
    Ok(())
}

#[test]
fn rows_without_keys_have_minus_infinity() -> Result<()> {
    let case = Case {
        seqlens: [5, 3],
        window: CAUSAL,
        batch: 1,
        ..PLAIN
    };
    let [q, k, v] = &case.in_dtype(&case.inputs()?)?;
    let output = case.attention()?.forward_with_lse(q, k, v)?;
    let lse = output.lse.flatten_all()?.to_vec1::<f32>()?;
    for row in lse.chunks(5) {
        assert_eq!(row[..2], [f32::NEG_INFINITY; 2]);
        assert!(row[2..].iter().all(|lse| lse.is_finite()));
    }
    let first_rows = output.out.narrow(1, 0, 2)?;
    assert!(bits(&first_rows).iter().all(|&x| x == 0));
    Ok(())
}

#[test]
fn packed_sequences_have_one_row_for_each_head() -> Result<()> {
    let case = Case { batch: 1, ..PLAIN };
    let inputs = case.inputs()?;
    let [q, k, v] = case.in_dtype(&inputs)?;
    let [q, k, v] = [q, k, v].map(|x| x.squeeze(0));
    let seqlens = Tensor::new(&[0u32, 37], &Device::Cpu)?;
    let sequences = Sequences::new(&seqlens, &seqlens)?;
    let output = case
        .attention()?
        .forward_varlen_with_lse(&q?, &k?, &v?, &sequences)?;
    let [_, want] = case.plain(inputs.each_ref())?;
    assert_close("lse", &output.lse, &want.squeeze(0)?, ROUNDING);
    Ok(())
}

/// A loss of output and log-sum-exp, as of attention that is merged from parts.
#[test]
fn gradients_flow_through_it() -> Result<()> {
    let case = Case {
        heads: [2, 1],
        window: CAUSAL,
        ..PLAIN
    };
    let [q, k, v] = case.inputs()?.map(|x| Var::from_tensor(&x));
    let variables = [q?, k?, v?];
    let out_weights = random(4, variables[0].dims(), DType::F32)?;
    let lse_weights = random(5, &[2, 2, 37], DType::F32)?;
    let loss = |out: &Tensor, lse: &Tensor| {
        let of_out = (out.to_dtype(DType::F32)? * &out_weights)?.sum_all()?;
        of_out + (lse * &lse_weights)?.sum_all()?
    };
    let [q, k, v] = &case.in_dtype(&variables.each_ref().map(|x| x.as_tensor().clone()))?;
    let output = case.attention()?.forward_with_lse(q, k, v)?;
    let got = loss(&output.out, &output.lse)?.backward()?;
    let [out, lse] = &case.plain(variables.each_ref().map(|x| x.as_tensor()))?;
    let want = loss(out, lse)?.backward()?;
    for (name, x) in ["d_q", "d_k", "d_v"].into_iter().zip(&variables) {
        let (got, want) = (got.get(x).unwrap(), want.get(x).unwrap());
        assert_close(name, got, want, 4. * epsilon(case.dtype));
    }
    Ok(())
}
