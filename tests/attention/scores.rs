//! What happens to scores: softcap, ALiBi and bias, each alone and together, forward and backward.

use crate::common::{Alibi, BiasKind, Case, DTYPES, device, devices};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::{Attention, Bias, Buffer, Device, Gradients, Tensor, bf16, f16, rule};

const HEAD_DIMS: [usize; 8] = [8, 32, 40, 64, 96, 128, 192, 256];

#[test]
fn softcaps_are_exact_at_every_head_dim() {
    let devices = devices();
    for (i, head_dim) in HEAD_DIMS.into_iter().enumerate() {
        let case = Case::new(DTYPES[i % 2], 70, 150, head_dim).heads(2, 1);
        case.softcap([1.0, 15.0, 50.0][i % 3])
            .assert_gradients_exact(&devices);
        let case = case.softcap(30.0).causal(true).scale(-0.2);
        case.assert_gradients_exact(&devices);
    }
    // So wide that it hardly bends anything, and so narrow that all scores are nearly equal.
    let case = Case::new(F16, 70, 90, 64);
    Case {
        softcap: 1e6,
        ..case
    }
    .assert_gradients_exact(&devices);
    Case {
        softcap: 1e-3,
        ..case
    }
    .assert_gradients_exact(&devices);
}

#[test]
fn a_softcap_bounds_the_scores() {
    let case = Case::new(Bf16, 40, 60, 64).spread(30.0, 30.0);
    let lse = |case: Case| case.run::<bf16>(&device()).1;
    let largest = |lse: Vec<f32>| lse.into_iter().fold(0.0, f32::max);
    assert!(largest(lse(case)) > 500.0);
    let capped = Case {
        softcap: 20.0,
        ..case
    };
    assert!(largest(lse(capped)) <= 20.0 + 60f32.ln() + 1e-3);
}

#[test]
fn alibi_is_exact_on_either_diagonal_with_slopes_of_heads_and_of_batch_entries() {
    let device = device();
    for (i, head_dim) in HEAD_DIMS.into_iter().enumerate() {
        let (seqlen_q, seqlen_k) = [(70, 150), (150, 70), (129, 65)][i % 3];
        let case = Case::new(DTYPES[i % 2], seqlen_q, seqlen_k, head_dim)
            .batch(2)
            .heads(4, 2);
        case.alibi(Alibi::Shared).assert_gradients_exact(&device);
        let case = case.alibi(Alibi::PerBatch).top_left();
        case.causal(i % 2 == 0).assert_gradients_exact(&device);
    }
}

#[test]
fn alibi_is_a_bias_that_falls_with_the_distance_from_the_diagonal() {
    let device = device();
    for is_top_left in [false, true] {
        let case = Case::new(F16, 50, 80, 64).heads(2, 2);
        let [q, k, v] = case.upload::<f16>(&device);
        let slopes = [0.25f32, 0.0625];
        let diagonal = if is_top_left { 0 } else { 30 };
        let distance = |i: i32, j: i32| (i + diagonal - j).abs() as f32;
        let bias: Vec<f32> = slopes
            .iter()
            .flat_map(|slope| (0..50 * 80).map(move |at| -slope * distance(at / 80, at % 80)))
            .collect();
        let bias = Tensor::<f32>::from_slice(&device, [1, 2, 50, 80], &bias).unwrap();
        let slopes = Tensor::from_slice(&device, [2], &slopes).unwrap();
        let alibi = Attention::new().alibi(&slopes);
        let alibi = if is_top_left { alibi.top_left() } else { alibi };
        let by_slopes = alibi.forward(&q, &k, &v).unwrap();
        let by_bias = Attention::new().bias(&bias).forward(&q, &k, &v).unwrap();
        let (a, b) = (
            by_slopes.lse.to_vec().unwrap(),
            by_bias.lse.to_vec().unwrap(),
        );
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4));
        let (a, b) = (
            by_slopes.out.to_vec().unwrap(),
            by_bias.out.to_vec().unwrap(),
        );
        let close = |(a, b): (&f16, &f16)| (a.to_f32() - b.to_f32()).abs() < 2e-3;
        assert!(a.iter().zip(&b).all(close));
    }
}

#[test]
fn every_kind_of_bias_is_exact_and_so_is_its_gradient() {
    let device = device();
    for number in 0..16 {
        let (seqlen_q, seqlen_k) = [(70, 150), (133, 65), (64, 64), (1, 90)][number / 4];
        let head_dim = HEAD_DIMS[(3 * number + 1) % HEAD_DIMS.len()];
        let case = Case::new(DTYPES[number / 8], seqlen_q, seqlen_k, head_dim)
            .batch(3)
            .heads(4, 2)
            .bias(BiasKind::number(number % 8))
            .seed(number as u64);
        case.assert_gradients_exact(&device);
        case.causal(true).d_lse().assert_gradients_exact(&device);
    }
}

#[test]
fn options_of_scores_are_exact_together() {
    let device = device();
    for (i, head_dim) in HEAD_DIMS.into_iter().enumerate() {
        let case = Case::new(DTYPES[(i + 1) % 2], 90, 140, head_dim)
            .batch(2)
            .heads(2, 1)
            .softcap(20.0)
            .alibi(Alibi::PerBatch)
            .bias(BiasKind::number(i));
        case.assert_gradients_exact(&device);
        let case = case
            .dropout(0.25)
            .window(Some(33), Some(20))
            .deterministic();
        case.d_lse().assert_gradients_exact(&device);
    }
}

#[test]
fn a_bias_of_minus_infinity_hides_keys() {
    let device = device();
    let case = Case::new(F16, 6, 70, 64).heads(2, 2).causal(true);
    let [q, k, v] = case.upload::<f16>(&device);
    let d_out = Tensor::from_slice(&device, case.q_shape(), &case.d_out::<f16>()).unwrap();
    // Row 3 sees nothing, the others the keys whose number is no multiple of 3.
    let hides = |at: usize| at / 70 == 3 || (at % 70).is_multiple_of(3);
    let value = |at| {
        if hides(at) {
            f16::NEG_INFINITY
        } else {
            f16::ZERO
        }
    };
    let bias: Vec<f16> = (0..6 * 70).map(value).collect();
    let bias = Tensor::from_slice(&device, [1, 1, 6, 70], &bias).unwrap();
    let attention = case.attention(&device).bias(&bias);
    let forward = attention.forward(&q, &k, &v).unwrap();
    let (out, lse) = (forward.out.to_vec().unwrap(), forward.lse.to_vec().unwrap());
    let mut spec = case.spec();
    spec.bias = Some(flash_attention::reference::Bias {
        shape: [1, 1, 6, 70],
        data: (0..6 * 70).map(|at| value(at).to_f64()).collect(),
    });
    let [host_q, host_k, host_v] = case.inputs::<f16>();
    let report = rule::check(&spec, [&host_q, &host_k, &host_v], &out, &lse).unwrap();
    assert!(report.passed(), "{report}");
    assert!(lse[3] == f32::NEG_INFINITY && out[3 * 128..4 * 128].iter().all(|&x| x == f16::ZERO));
    let gradients = attention
        .backward([&q, &k, &v], &forward, &d_out, None)
        .unwrap();
    let (d_q, d_v) = (
        gradients.d_q.to_vec().unwrap(),
        gradients.d_v.to_vec().unwrap(),
    );
    assert!(d_q[3 * 128..4 * 128].iter().all(|&x| x == f16::ZERO));
    assert!(
        d_v.chunks(128)
            .step_by(3)
            .flatten()
            .all(|&x| x == f16::ZERO)
    );
    let d_bias = gradients.d_bias.unwrap().to_f64().unwrap();
    let is_right = |(at, &d): (usize, &f64)| d.is_finite() && (!hides(at) || d == 0.0);
    assert!(d_bias.iter().enumerate().all(is_right));
}

#[test]
fn a_bias_may_be_any_view() {
    let device = device();
    let case = Case::new(Bf16, 40, 70, 64)
        .heads(2, 2)
        .batch(2)
        .deterministic();
    let [q, k, v] = case.upload::<bf16>(&device);
    let values: Vec<bf16> = crate::common::randn(9, 3 + 2 * 40 * 75, 1.0);
    let buffer = Buffer::from_slice(&device, &values).unwrap();
    // Rows 75 apart from an odd start, heads reversed, one for both batch entries.
    let (shape, strides) = ([2, 2, 40, 70], [0, -(40 * 75), 75, 1]);
    let view = Tensor::<bf16>::from_buffer(&buffer, 3 + 40 * 75, shape, strides).unwrap();
    let copy = Tensor::from_slice(&device, shape, &view.to_vec().unwrap()).unwrap();
    let train = |bias: &Tensor<bf16>| {
        let attention = case.attention(&device).bias(bias);
        let forward = attention.forward(&q, &k, &v).unwrap();
        let gradients = attention
            .backward([&q, &k, &v], &forward, &q, None)
            .unwrap();
        let d_bias = gradients.d_bias.unwrap().to_f64().unwrap();
        (
            forward.out.to_vec().unwrap(),
            gradients.d_q.to_vec().unwrap(),
            d_bias,
        )
    };
    assert!(train(&view) == train(&copy));
}

#[test]
fn the_gradient_of_a_bias_is_computed_only_where_there_is_room_for_it() {
    let device = device();
    let case = Case::new(F16, 30, 40, 32)
        .bias(BiasKind::number(2))
        .deterministic();
    let [q, k, v] = case.upload::<f16>(&device);
    let attention = case.attention(&device);
    let forward = attention.forward(&q, &k, &v).unwrap();
    let with = attention
        .backward([&q, &k, &v], &forward, &q, None)
        .unwrap();
    let mut without = Gradients {
        d_bias: None,
        ..with.clone()
    };
    attention
        .backward_into([&q, &k, &v], &forward, &q, None, &mut without)
        .unwrap();
    assert!(matches!(with.d_bias, Some(Bias::F16(_))));
    assert_eq!(without.variants.len() + 1, with.variants.len());
    assert_eq!(without.d_q.to_vec().unwrap(), with.d_q.to_vec().unwrap());
}

/// Every option that changes numbers, one at a time.
fn changes(plain: Case) -> [(&'static str, Case); 10] {
    [
        ("causal", plain.causal(true)),
        ("left", plain.window(Some(5), None)),
        ("right", plain.window(None, Some(5))),
        ("top_left", plain.causal(true).top_left()),
        ("scale", plain.scale(0.3)),
        (
            "softcap",
            Case {
                softcap: 1.0,
                ..plain
            },
        ),
        ("alibi", plain.alibi(Alibi::Shared)),
        ("alibi_per_batch", plain.alibi(Alibi::PerBatch)),
        ("bias", plain.bias(BiasKind::number(0))),
        ("dropout", plain.dropout(0.3)),
    ]
}

fn assert_options_matter(device: &Device, head_dim: usize) {
    let plain = Case::new(F16, 40, 50, head_dim).batch(2).deterministic();
    let mut all = vec![("plain", plain)];
    all.extend(changes(plain));
    let results: Vec<_> = all
        .iter()
        .map(|(_, case)| case.train::<f16>(device))
        .collect();
    for i in 0..all.len() {
        for j in 0..i {
            let (a, b, names) = (&results[i], &results[j], (all[i].0, all[j].0));
            assert!(a.out != b.out, "out of {names:?}");
            let (d, e) = (&a.gradients, &b.gradients);
            assert!(
                d.d_q != e.d_q && d.d_k != e.d_k && d.d_v != e.d_v,
                "{names:?}"
            );
            // Dropout comes after the softmax.
            let is_alike = names == ("dropout", "plain");
            assert!(is_alike || a.lse != b.lse, "lse of {names:?}");
        }
    }
}

#[test]
fn every_option_changes_output_and_gradients() {
    let device = device();
    assert_options_matter(&device, 64);
    assert_options_matter(&device, 128);
}

#[test]
fn options_that_say_nothing_change_no_bit() {
    let device = device();
    let plain = Case::new(F16, 40, 50, 64).deterministic();
    let want = plain.train::<f16>(&device);
    for (name, case) in [
        (
            "softcap 0",
            Case {
                softcap: 0.0,
                ..plain
            },
        ),
        ("dropout 0", plain.dropout(0.0)),
        ("no bounds", plain.window(None, None)),
        (
            "bounds beyond the ends",
            plain.window(Some(50), Some(1 << 40)),
        ),
        ("the default scale", plain.scale(0.125)),
    ] {
        assert!(case.train::<f16>(&device) == want, "{name}");
    }
    let causal = plain.causal(true).train::<f16>(&device);
    let right = plain.window(None, Some(0)).train::<f16>(&device);
    assert!(
        causal == right,
        "causal is a window without keys to the right"
    );
}
