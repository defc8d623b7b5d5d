//! `loss.backward()` against candle's own derivative of the plain formula in f32.

use candle_core::{DType, Result, Tensor, Var};
use flash_attention::Arch;
use flash_attention_candle::Dropout;

use crate::case::{CAUSAL, Case, PLAIN};
use crate::{assert_close, bits, epsilon, random};

fn variables(case: &Case) -> Result<[Var; 3]> {
    let [q, k, v] = case.inputs()?.map(|x| Var::from_tensor(&x));
    Ok([q?, k?, v?])
}

/// The variables in f16 or bf16.
fn rounded(case: &Case, variables: &[Var; 3]) -> Result<[Tensor; 3]> {
    case.in_dtype(&variables.each_ref().map(|x| x.as_tensor().clone()))
}

fn check(case: Case) -> Result<()> {
    let variables = variables(&case)?;
    let weights = random(4, variables[0].dims(), DType::F32)?;
    let loss = |out: &Tensor| (out.to_dtype(DType::F32)? * &weights)?.sum_all();
    let [q, k, v] = &rounded(&case, &variables)?;
    let got = loss(&case.attention()?.forward(q, k, v)?)?.backward()?;
    let [want, _] = case.plain(variables.each_ref().map(|x| x.as_tensor()))?;
    let want = loss(&want)?.backward()?;
    for (name, x) in ["d_q", "d_k", "d_v"].into_iter().zip(&variables) {
        let what = format!("{name} of {case:?}");
        let (got, want) = (got.get(x).unwrap(), want.get(x).unwrap());
        assert_close(&what, got, want, 4. * epsilon(case.dtype));
    }
    Ok(())
}

#[test]
fn both_types_on_both_architectures() -> Result<()> {
    for (arch, dtype) in [
        (Arch::Sm80, DType::F16),
        (Arch::Sm80, DType::BF16),
        (Arch::Sm90a, DType::BF16),
    ] {
        check(Case {
            arch,
            dtype,
            head_dim: 64,
            batch: 1,
            ..PLAIN
        })?;
    }
    Ok(())
}

#[test]
fn masks_and_heads_that_share_keys() -> Result<()> {
    let heads = [4, 2];
    for window in [CAUSAL, [Some(6), Some(2)]] {
        check(Case {
            heads,
            window,
            ..PLAIN
        })?;
    }
    // The first 20 rows see no key.
    check(Case {
        seqlens: [50, 30],
        window: CAUSAL,
        ..PLAIN
    })
}

#[test]
fn softcap_and_alibi() -> Result<()> {
    for (softcap, alibi) in [(0.5, false), (0., true), (0.5, true)] {
        check(Case {
            softcap,
            alibi,
            ..PLAIN
        })?;
    }
    Ok(())
}

#[test]
fn the_gradient_of_a_sum_is_one_element_seen_many_times() -> Result<()> {
    let variables = variables(&PLAIN)?;
    let [q, k, v] = &rounded(&PLAIN, &variables)?;
    // No operation in between that would make it contiguous.
    let got = PLAIN.attention()?.forward(q, k, v)?.sum_all()?.backward()?;
    let [want, _] = PLAIN.plain(variables.each_ref().map(|x| x.as_tensor()))?;
    let want = want.sum_all()?.backward()?;
    let (got, want) = (
        got.get(&variables[2]).unwrap(),
        want.get(&variables[2]).unwrap(),
    );
    assert_close("d_v", got, want, 4. * epsilon(PLAIN.dtype));
    Ok(())
}

#[test]
fn one_tensor_in_all_places_gets_the_sum() -> Result<()> {
    let x = Var::from_tensor(&PLAIN.inputs()?[0])?;
    let half = x.to_dtype(PLAIN.dtype)?;
    let loss = |out: &Tensor| out.to_dtype(DType::F32)?.sqr()?.sum_all();
    let got = loss(&PLAIN.attention()?.forward(&half, &half, &half)?)?.backward()?;
    let [want, _] = PLAIN.plain([x.as_tensor(); 3])?;
    let want = loss(&want)?.backward()?;
    let (got, want) = (got.get(&x).unwrap(), want.get(&x).unwrap());
    assert_close("d_x", got, want, 4. * epsilon(PLAIN.dtype));
    Ok(())
}

#[test]
fn what_is_not_tracked_gets_nothing() -> Result<()> {
    let [q, k, v] = &PLAIN.in_dtype(&PLAIN.inputs()?)?;
    let k = &Var::from_tensor(k)?;
    let out = PLAIN.attention()?.forward(q, k, v)?;
    let gradients = out.to_dtype(DType::F32)?.sqr()?.sum_all()?.backward()?;
    assert!(gradients.get(k).is_some());
    let untracked = PLAIN.attention()?.forward(q, &k.detach(), v)?;
    assert!(!untracked.track_op());
    assert_eq!(bits(&untracked), bits(&out));
    Ok(())
}

#[test]
fn deterministic_gradients_are_the_same_bits() -> Result<()> {
    let case = Case {
        seqlens: [37, 300],
        ..PLAIN
    };
    let variables = variables(&case)?;
    let [q, k, v] = &rounded(&case, &variables)?;
    let attention = case.attention()?.deterministic();
    let gradients = || {
        let out = attention.forward(q, k, v)?;
        let gradients = out.to_dtype(DType::F32)?.sqr()?.sum_all()?.backward()?;
        Ok::<_, candle_core::Error>(
            variables
                .each_ref()
                .map(|x| bits(gradients.get(x).unwrap())),
        )
    };
    assert_eq!(gradients()?, gradients()?);
    Ok(())
}

#[test]
fn dropout_drops_the_same_on_the_way_back() -> Result<()> {
    // d_v sums to what the rows of P sum to: with v = 1, out is that sum.
    let case = Case {
        heads: [1, 1],
        batch: 1,
        ..PLAIN
    };
    let [q, k, v] = &case.in_dtype(&case.inputs()?)?;
    let v = Var::from_tensor(&v.ones_like()?)?;
    let attention = case.attention()?.dropout(Dropout::new(0.5, 7));
    let out = attention.forward(q, k, &v)?;
    let kept = out.to_dtype(DType::F32)?.narrow(3, 0, 1)?.sum_all()?;
    let gradients = out.to_dtype(DType::F32)?.sum_all()?.backward()?;
    let d_v = gradients.get(&v).unwrap().to_dtype(DType::F32)?;
    let given = d_v.narrow(3, 0, 1)?.sum_all()?;
    assert_close("sum of P", &given, &kept, 4. * epsilon(case.dtype));
    let without = case.attention()?.forward(q, k, &v)?;
    assert_ne!(bits(&out), bits(&without));
    Ok(())
}
