//! Problems with every option, and what holds for forward and backward alike.

mod backward;
mod forward;

use super::*;
use half::f16;

/// Numbers in -1 .. 1 that follow from a seed.
fn numbers(len: usize, seed: u64) -> Vec<f64> {
    (0..len as u64)
        .map(|i| {
            let bits = abi::dropout::philox([seed as u32, 7], [i as u32, 1, 2, 3])[0];
            f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
        })
        .collect()
}

const CAUSAL: Mask = Mask {
    is_causal: true,
    window: Window {
        left: None,
        right: None,
    },
    is_top_left: false,
};

fn window(left: Option<usize>, right: Option<usize>) -> Mask {
    Mask {
        window: Window { left, right },
        ..Mask::default()
    }
}

fn bias(shape: [usize; 4]) -> Option<Bias> {
    let data = numbers(shape.iter().product(), 40);
    Some(Bias { shape, data })
}

fn dropout() -> Option<Dropout> {
    Some(Dropout {
        seed: 0x1234_5678_9abc_def0,
        offset: 77,
        threshold: 40_000,
    })
}

/// Every option alone and many together: batch 2, 5 queries, 7 keys (or the reverse), 4 heads on 2 key heads.
fn specs() -> Vec<(&'static str, Spec)> {
    let plain = Spec::new([2, 5, 4, 3], [2, 7, 2, 3]);
    let tall = Spec::new([2, 7, 4, 3], [2, 5, 2, 3]); // more queries than keys: causal rows without keys
    let with = |mask| Spec {
        mask,
        ..plain.clone()
    };
    let top_left = |mask| Mask {
        is_top_left: true,
        ..mask
    };
    let specs = vec![
        ("plain", plain.clone()),
        ("one head", Spec::new([1, 5, 1, 4], [1, 3, 1, 4])),
        (
            "scale",
            Spec {
                softmax_scale: Some(-1.5),
                ..plain.clone()
            },
        ),
        ("causal", with(CAUSAL)),
        (
            "causal, empty rows",
            Spec {
                mask: CAUSAL,
                ..tall.clone()
            },
        ),
        ("top-left", with(top_left(CAUSAL))),
        (
            "top-left, tall",
            Spec {
                mask: top_left(CAUSAL),
                ..tall.clone()
            },
        ),
        ("window", with(window(Some(2), Some(1)))),
        ("left window", with(window(Some(1), None))),
        ("right window", with(window(None, Some(0)))),
        (
            "window, empty rows",
            Spec {
                mask: window(Some(0), Some(1)),
                ..tall.clone()
            },
        ),
        (
            "window, top-left, empty rows",
            Spec {
                mask: top_left(window(Some(1), Some(2))),
                ..tall.clone()
            },
        ),
        (
            "causal window",
            with(Mask {
                is_causal: true,
                ..window(Some(2), Some(3))
            }),
        ),
        (
            "huge window",
            with(window(Some(usize::MAX), Some(usize::MAX))),
        ),
        (
            "softcap",
            Spec {
                softcap: Some(0.7),
                softmax_scale: Some(1.0),
                ..plain.clone()
            },
        ),
        (
            "alibi",
            Spec {
                alibi_slopes: Some(vec![0.5, 0.25, -0.125, 1.0]),
                ..plain.clone()
            },
        ),
        (
            "alibi per batch entry",
            Spec {
                alibi_slopes: Some(numbers(8, 50)),
                ..plain.clone()
            },
        ),
        (
            "alibi, top-left",
            Spec {
                alibi_slopes: Some(numbers(4, 50)),
                mask: top_left(Mask::default()),
                ..plain.clone()
            },
        ),
        (
            "bias",
            Spec {
                bias: bias([2, 4, 5, 7]),
                ..plain.clone()
            },
        ),
        (
            "bias for all heads",
            Spec {
                bias: bias([2, 1, 5, 7]),
                ..plain.clone()
            },
        ),
        (
            "bias for all batch entries",
            Spec {
                bias: bias([1, 4, 5, 7]),
                ..plain.clone()
            },
        ),
        (
            "bias for all",
            Spec {
                bias: bias([1, 1, 5, 7]),
                ..plain.clone()
            },
        ),
        (
            "dropout",
            Spec {
                dropout: dropout(),
                ..plain.clone()
            },
        ),
        (
            "dropout of a later batch entry",
            Spec {
                dropout: dropout(),
                first_batch: 3,
                ..plain.clone()
            },
        ),
        (
            "everything",
            Spec {
                softmax_scale: Some(0.8),
                mask: Mask {
                    is_causal: true,
                    ..window(Some(3), None)
                },
                softcap: Some(1.5),
                alibi_slopes: Some(numbers(8, 50)),
                bias: bias([1, 4, 7, 5]),
                dropout: dropout(),
                first_batch: 1,
                ..tall.clone()
            },
        ),
    ];
    specs
}

fn inputs(spec: &Spec) -> [Vec<f64>; 4] {
    let queries = spec.out_shape().iter().product();
    let keys = spec.keys_shape().iter().product();
    [
        numbers(queries, 1),
        numbers(keys, 2),
        numbers(keys, 3),
        numbers(queries, 4),
    ]
}

fn assert_close(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let largest = want
        .iter()
        .filter(|x| x.is_finite())
        .fold(0.0, |m: f64, x| m.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            got == want || (got - want).abs() <= tolerance * (1.0 + largest),
            "{name}, element {i}: got {got}, want {want}"
        );
    }
}

#[test]
fn no_keys_and_no_queries_are_no_errors() {
    let no_keys = Spec::new([1, 2, 1, 1], [1, 0, 1, 1]);
    let x = [f16::ONE; 2];
    let result = forward(&no_keys, &x, &[], &[]).unwrap();
    assert_eq!(
        (result.out, result.lse),
        (vec![0.0; 2], vec![f64::NEG_INFINITY; 2])
    );
    assert_eq!(
        backward(&no_keys, &x, &[], &[], &x, None).unwrap().d_q,
        [0.0; 2]
    );
    let no_queries = Spec::new([1, 0, 1, 1], [1, 2, 1, 1]);
    let gradients = backward(&no_queries, &[], &x, &x, &[], Some(&[])).unwrap();
    assert_eq!((gradients.d_k, gradients.d_v), (vec![0.0; 2], vec![0.0; 2]));
}

#[test]
fn regions_of_the_dropout_mask_agree_with_the_whole_and_with_the_threshold() {
    let spec = Spec {
        dropout: dropout(),
        ..Spec::new([2, 256, 2, 1], [2, 256, 2, 1])
    };
    let whole = dropout_mask(&spec, 1, 0, 0..256, 0..256);
    let region = dropout_mask(&spec, 1, 0, 30..70, 100..117);
    for (at, is_kept) in region.iter().enumerate() {
        assert_eq!(*is_kept, whole[(30 + at / 17) * 256 + 100 + at % 17]);
    }
    let share = whole.iter().filter(|kept| **kept).count() as f64 / whole.len() as f64;
    assert!((share - 40_000.0 / 65_536.0).abs() < 0.01, "{share}");
    assert_ne!(whole, dropout_mask(&spec, 1, 1, 0..256, 0..256));
    let alone = Spec {
        first_batch: 1,
        ..spec
    };
    assert_eq!(whole, dropout_mask(&alone, 0, 0, 0..256, 0..256));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let plain = Spec::new([2, 1, 2, 1], [2, 1, 1, 1]);
    let (q, k) = ([f16::ONE; 4], [f16::ONE; 2]);
    let refused = |spec: &Spec| forward(spec, &q, &k, &k).unwrap_err().to_string();
    let refusals = [
        (
            Spec {
                softcap: Some(0.0),
                ..plain.clone()
            },
            "softcap 0 ",
        ),
        (
            Spec {
                softcap: Some(f64::NAN),
                ..plain.clone()
            },
            "softcap NaN ",
        ),
        (
            Spec {
                alibi_slopes: Some(vec![1.0; 3]),
                ..plain.clone()
            },
            "alibi_slopes has 3 elements, its shape needs 4",
        ),
        (
            Spec {
                bias: bias([2, 2, 1, 2]),
                ..plain.clone()
            },
            "bias of shape [2, 2, 1, 2] does not broadcast to [2, 2, 1, 1]",
        ),
        (
            Spec {
                bias: Some(Bias {
                    shape: [1, 1, 1, 1],
                    data: vec![],
                }),
                ..plain.clone()
            },
            "bias has 0 elements",
        ),
        (
            Spec {
                dropout: Some(Dropout {
                    seed: 0,
                    offset: 0,
                    threshold: 0,
                }),
                ..plain.clone()
            },
            "dropout threshold 0 ",
        ),
        (
            Spec {
                dropout: Some(Dropout {
                    seed: 0,
                    offset: 0,
                    threshold: 65_537,
                }),
                ..plain.clone()
            },
            "dropout threshold 65537 ",
        ),
        (
            Spec {
                num_heads_k: 0,
                ..plain.clone()
            },
            "k has 2 elements",
        ),
    ];
    for (spec, message) in &refusals {
        assert!(refused(spec).contains(message), "{}", refused(spec));
    }
    let gradient = |d_out: &[f16], d_lse| backward(&plain, &q, &k, &k, d_out, d_lse).unwrap_err();
    assert!(
        gradient(&q[..3], None)
            .to_string()
            .contains("d_out has 3 elements")
    );
    assert!(
        gradient(&q, Some(&[0.0]))
            .to_string()
            .contains("d_lse has 1 elements")
    );
}
