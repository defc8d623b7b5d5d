//! Outputs of sequences of one length.

use candle_core::{DType, Device, Result, Tensor};
use flash_attention::Arch;
use flash_attention_candle::flash_attn;

use crate::case::{CAUSAL, Case, PLAIN};
use crate::{assert_close, distance, epsilon, known_answer};

fn check(case: Case) -> Result<()> {
    let inputs = case.inputs()?;
    let [q, k, v] = &case.in_dtype(&inputs)?;
    let out = case.attention()?.forward(q, k, v)?;
    assert_eq!((out.dtype(), out.dims()), (case.dtype, q.dims()));
    let [want, _] = case.plain(inputs.each_ref())?;
    assert_close(&format!("{case:?}"), &out, &want, 2. * epsilon(case.dtype));
    Ok(())
}

#[test]
fn both_types_on_both_architectures() -> Result<()> {
    for arch in [Arch::Sm80, Arch::Sm90a] {
        for dtype in [DType::F16, DType::BF16] {
            check(Case {
                arch,
                dtype,
                ..PLAIN
            })?;
            check(Case {
                arch,
                dtype,
                window: CAUSAL,
                head_dim: 64,
                ..PLAIN
            })?;
        }
    }
    Ok(())
}

#[test]
fn heads_that_share_keys() -> Result<()> {
    for heads in [[4, 2], [3, 1]] {
        check(Case { heads, ..PLAIN })?;
    }
    Ok(())
}

#[test]
fn as_many_keys_as_you_like() -> Result<()> {
    for seqlens in [[1, 90], [70, 9]] {
        for window in [CAUSAL, [None, None]] {
            check(Case {
                seqlens,
                window,
                ..PLAIN
            })?;
        }
    }
    Ok(())
}

#[test]
fn windows_bound_either_side() -> Result<()> {
    for window in [
        [Some(5), Some(3)],
        [Some(0), Some(0)],
        [Some(7), None],
        [None, Some(4)],
        // Beyond all keys, as candle-flash-attn's callers write "no bound".
        [Some(1000), Some(0)],
    ] {
        check(Case { window, ..PLAIN })?;
    }
    // More than twice as many queries as keys, where the bounds of candle-flash-attn are others.
    check(Case {
        seqlens: [50, 20],
        window: [Some(10), None],
        ..PLAIN
    })
}

#[test]
fn softcap_and_alibi() -> Result<()> {
    for (softcap, alibi, window) in [
        (0.7, false, [None, None]),
        (0., true, [None, None]),
        (0., true, CAUSAL),
        (0.7, true, [Some(9), Some(2)]),
    ] {
        check(Case {
            softcap,
            alibi,
            window,
            ..PLAIN
        })?;
    }
    Ok(())
}

#[test]
fn other_scales_and_head_dims() -> Result<()> {
    for (head_dim, scale) in [(8, 1.), (72, -0.2), (128, 0.), (256, 0.05)] {
        check(Case {
            head_dim,
            scale,
            ..PLAIN
        })?;
    }
    Ok(())
}

#[test]
fn nothing_to_compute() -> Result<()> {
    for (batch, seqlens) in [(0, [3, 3]), (1, [0, 3])] {
        let case = Case {
            batch,
            seqlens,
            ..PLAIN
        };
        let [q, k, v] = &case.in_dtype(&case.inputs()?)?;
        let output = case.attention()?.forward_with_lse(q, k, v)?;
        assert_eq!(output.out.dims(), q.dims());
        assert_eq!(output.lse.dims(), [batch, 2, seqlens[0]]);
    }
    let no_keys = Case {
        seqlens: [3, 0],
        ..PLAIN
    };
    let [q, k, v] = &no_keys.in_dtype(&no_keys.inputs()?)?;
    let out = no_keys.attention()?.forward(q, k, v)?;
    assert_eq!(distance(&out, &q.zeros_like()?)?, 0.);
    Ok(())
}

/// Numbers that were computed elsewhere, in f64 from the formula: `candle/tests/known_answer.py`.
#[test]
fn a_known_answer() -> Result<()> {
    let numbers = |factor: u32, modulus: u32, divisor: f32| {
        let middle = (modulus / 2) as f32;
        let data: Vec<f32> = (0..48)
            .map(|i| ((i * factor % modulus) as f32 - middle) / divisor)
            .collect();
        Tensor::from_vec(data, (1, 3, 2, 8), &Device::Cpu)
    };
    let (q, k, v) = (
        numbers(7, 23, 8.)?,
        numbers(5, 19, 8.)?,
        numbers(3, 17, 4.)?,
    );
    for dtype in [DType::F16, DType::BF16] {
        let [q, k, v] = [&q, &k, &v].map(|x| x.to_dtype(dtype));
        let (q, k, v) = (q?, k?, v?);
        for (causal, want) in [(false, known_answer::FULL), (true, known_answer::CAUSAL)] {
            let want = Tensor::new(&want, &Device::Cpu)?.reshape((1, 3, 2, 8))?;
            let out = flash_attn(&q, &k, &v, 0.5, causal)?;
            assert_close("known answer", &out, &want, 2. * epsilon(dtype));
        }
    }
    Ok(())
}
