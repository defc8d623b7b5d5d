//! Backward against finite differences of forward.

use super::*;

/// What the gradients are gradients of: a weighted sum of outputs and log-sum-exps.
fn loss(spec: &Spec, [q, k, v, d_out]: &[Vec<f64>; 4], d_lse: &[f64]) -> f64 {
    let Reference { out, lse } = attend(spec, [q, k, v], &|x| x).unwrap();
    let finite = lse.iter().zip(d_lse).filter(|(lse, _)| lse.is_finite());
    let of_out: f64 = out.iter().zip(d_out).map(|(x, d)| x * d).sum();
    of_out + finite.map(|(x, d)| x * d).sum::<f64>()
}

const STEP: f64 = 1e-4;

/// (f(x + h) - f(x - h)) / 2h, and the same with twice the step to cancel the error in h².
fn derivative(f: impl Fn(f64) -> f64) -> f64 {
    let slope = |h: f64| (f(h) - f(-h)) / (2.0 * h);
    (4.0 * slope(STEP) - slope(2.0 * STEP)) / 3.0
}

#[test]
fn gradients_are_the_limits_of_finite_differences() {
    for (name, spec) in specs() {
        let inputs = inputs(&spec);
        let d_lse = numbers(spec.lse_shape().iter().product(), 5);
        let got = differentiate(&spec, slices(&inputs), Some(d_lse.clone()), &|x| x).unwrap();
        let mut tensors = vec![("d_q", &got.d_q), ("d_k", &got.d_k), ("d_v", &got.d_v)];
        for (which, (tensor, got)) in tensors.drain(..).enumerate() {
            let want: Vec<f64> = (0..got.len())
                .map(|i| {
                    derivative(|h| {
                        let mut moved = inputs.clone();
                        moved[which][i] += h;
                        loss(&spec, &moved, &d_lse)
                    })
                })
                .collect();
            assert_close(&format!("{name}, {tensor}"), got, &want, 1e-9);
        }
        let Some(d_bias) = got.d_bias else { continue };
        let want: Vec<f64> = (0..d_bias.len())
            .map(|i| {
                derivative(|h| {
                    let mut moved = spec.clone();
                    moved.bias.as_mut().unwrap().data[i] += h;
                    loss(&moved, &inputs, &d_lse)
                })
            })
            .collect();
        assert_close(&format!("{name}, d_bias"), &d_bias, &want, 1e-9);
    }
}

#[test]
fn without_a_gradient_of_the_log_sum_exp_it_is_that_of_zeros() {
    let (_, spec) = specs().pop().unwrap();
    let inputs = inputs(&spec);
    let gradients = |d_lse| differentiate(&spec, slices(&inputs), d_lse, &|x| x).unwrap();
    let zeros = vec![0.0; spec.lse_shape().iter().product()];
    let ones = vec![1.0; zeros.len()];
    assert_eq!(gradients(None), gradients(Some(zeros)));
    assert_ne!(gradients(None), gradients(Some(ones)));
}

#[test]
fn low_precision_gradients_are_near_and_values_of_the_type() {
    for (name, spec) in specs() {
        let inputs = inputs(&spec).map(|x| x.into_iter().map(f16::from_f64).collect::<Vec<_>>());
        let [q, k, v, d_out] = &inputs;
        let exact = backward(&spec, q, k, v, d_out, None).unwrap();
        let low = backward_low_precision(&spec, q, k, v, d_out, None).unwrap();
        for (exact, low) in [
            (&exact.d_q, &low.d_q),
            (&exact.d_k, &low.d_k),
            (&exact.d_v, &low.d_v),
            (
                exact.d_bias.as_ref().unwrap_or(&exact.d_q),
                low.d_bias.as_ref().unwrap_or(&low.d_q),
            ),
        ] {
            assert!(
                low.iter().all(|&x| f16::from_f64(x).to_f64() == x),
                "{name}"
            );
            assert_ne!(exact, low, "{name}");
            assert_close(name, low, exact, 4e-3);
        }
    }
}

/// Every rounding of the backward pass is seen by itself: two keys, head_dim 1, coarse numbers.
#[test]
fn the_plain_method_rounds_gradients_of_probabilities_and_scores() {
    // To multiples of 1/4. Scores 0 and 0: P = 1/2, 1/2. dP = 0.75 · (1, 0.5) = 0.75, 0.375 -> 0.5.
    let round = |x: f64| (x * 4.0).round_ties_even() / 4.0;
    let spec = Spec {
        softmax_scale: Some(1.0),
        ..Spec::new([1, 1, 1, 1], [1, 2, 1, 1])
    };
    let inputs = [vec![0.0], vec![4.0, 2.0], vec![1.0, 0.5], vec![0.75]];
    let got = differentiate(&spec, slices(&inputs), None, &round).unwrap();
    // out = 0.75, delta = 0.5625; dS = 0.5 · (0.1875, -0.0625) = 0.09375, -0.03125 -> 0, 0.
    assert_eq!((got.d_q, got.d_v), (vec![0.0], vec![0.5, 0.5]));
    // With d_lse = 0.875: delta = -0.3125; dS = 0.5 · (1.0625, 0.8125) = 0.53, 0.41 -> 0.5, 0.5.
    let got = differentiate(&spec, slices(&inputs), Some(vec![0.875]), &round).unwrap();
    assert_eq!(got.d_q, [3.0]);
    // Scores 1 and 0.5, capped 0.75 and 0.5: P and dS as above. dS · (1 - tanh²) = 0.21, 0.39 -> 0.25, 0.5.
    let capped = Spec {
        softcap: Some(1.0),
        ..spec.clone()
    };
    let inputs = [vec![0.25], vec![4.0, 2.0], vec![1.0, 0.5], vec![0.75]];
    let got = differentiate(&capped, slices(&inputs), Some(vec![0.875]), &round).unwrap();
    assert_eq!(got.d_q, [2.0]);
    // Two heads that share the keys: 0.375 -> 0.5 each, before they are added.
    let spec = Spec {
        num_heads: 2,
        ..spec
    };
    let inputs = [vec![0.0; 2], vec![4.0, 2.0], vec![1.0, 0.5], vec![0.75; 2]];
    let got = differentiate(&spec, slices(&inputs), None, &round).unwrap();
    assert_eq!(got.d_v, [1.0, 1.0]);
}

#[test]
fn rows_without_keys_contribute_nothing_whatever_their_gradients_are() {
    let spec = Spec {
        mask: CAUSAL,
        ..Spec::new([1, 3, 1, 1], [1, 2, 1, 1]) // row 0 sees no key
    };
    let half = |x: &[f64]| -> Vec<f16> { x.iter().copied().map(f16::from_f64).collect() };
    let (q, k) = (half(&[1.0, 2.0, 3.0]), half(&[1.0, -1.0]));
    let run = |of_row_0: f32| {
        let d_lse = [of_row_0, 1.0, -1.0];
        backward(&spec, &q, &k, &k, &half(&[0.5, 1.0, 2.0]), Some(&d_lse)).unwrap()
    };
    assert_eq!(run(0.0).d_q[0], 0.0);
    assert_eq!(run(f32::NAN), run(0.0));
    let infinite = [f16::INFINITY, f16::ONE];
    let out = forward(&spec, &q, &k, &infinite).unwrap().out;
    assert_eq!(out[0], 0.0);
}
