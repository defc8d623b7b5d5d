//! The rule for gradients.

use std::fmt;

use super::{Tolerance, Worst, largest_finite_error, worst};
use crate::element::AttentionElement;
use crate::reference::{self, Gradients, ReferenceError, Spec, check_length};

/// Gradients that are to be judged.
#[derive(Clone, Copy, Debug)]
pub struct GradientSlices<'a, T> {
    /// `[batch, seqlen_q, num_heads, head_dim]`.
    pub d_q: &'a [T],
    /// `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub d_k: &'a [T],
    /// `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub d_v: &'a [T],
    /// In the shape of the bias; `None` where it is not judged.
    pub d_bias: Option<BiasGradient<'a, T>>,
}

/// A gradient of a bias, in the type of the bias.
#[derive(Clone, Copy, Debug)]
pub enum BiasGradient<'a, T> {
    /// The type of q, k and v.
    Element(&'a [T]),
    /// f32.
    F32(&'a [f32]),
}

/// Comparison of one gradient with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorReport {
    /// Worst element.
    pub worst: Worst<4>,
    /// Largest error of the plain method in low precision.
    pub low_error: f64,
    /// Largest error that passes.
    pub bound: f64,
}

impl TensorReport {
    /// Whether the gradient holds the rule.
    pub fn passed(&self) -> bool {
        self.worst.error <= self.bound
    }

    fn within(self, tolerance: Tolerance) -> TensorReport {
        TensorReport {
            bound: tolerance.bound(self.low_error),
            ..self
        }
    }
}

/// Outcome of a comparison of gradients with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientReport {
    /// Gradient of q.
    pub d_q: TensorReport,
    /// Gradient of k.
    pub d_k: TensorReport,
    /// Gradient of v.
    pub d_v: TensorReport,
    /// Gradient of the bias, if it was judged.
    pub d_bias: Option<TensorReport>,
}

impl GradientReport {
    /// Whether every gradient holds the rule.
    pub fn passed(&self) -> bool {
        self.tensors().all(|(_, tensor)| tensor.passed())
    }

    /// The same comparison, judged by another tolerance than [`Tolerance::GRADIENTS`].
    #[must_use]
    pub fn within(self, tolerance: Tolerance) -> GradientReport {
        GradientReport {
            d_q: self.d_q.within(tolerance),
            d_k: self.d_k.within(tolerance),
            d_v: self.d_v.within(tolerance),
            d_bias: self.d_bias.map(|d_bias| d_bias.within(tolerance)),
        }
    }

    /// The gradients that were judged, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&'static str, &TensorReport)> {
        [("d_q", &self.d_q), ("d_k", &self.d_k), ("d_v", &self.d_v)]
            .into_iter()
            .chain(self.d_bias.as_ref().map(|d_bias| ("d_bias", d_bias)))
    }
}

impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, tensor)) in self.tensors().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let report = tensor.worst.against(tensor.bound);
            write!(f, "{separator}{name}: {report}")?;
        }
        Ok(())
    }
}

/// Computes the reference and the low-precision gradients from the inputs and compares with `got`. `d_lse` is the
/// gradient of the log-sum-exp, `[batch, num_heads, seqlen_q]`, `None` for zeros.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
pub fn check_gradients<T: AttentionElement>(
    spec: &Spec,
    [q, k, v]: [&[T]; 3],
    d_out: &[T],
    d_lse: Option<&[f32]>,
    got: &GradientSlices<'_, T>,
) -> Result<GradientReport, ReferenceError> {
    let exact = reference::backward(spec, q, k, v, d_out, d_lse)?;
    let low = reference::backward_low_precision(spec, q, k, v, d_out, d_lse)?;
    compare_gradients(spec, got, &exact, &low)
}

/// Compares `got` with a reference and a low-precision result computed before.
///
/// # Errors
///
/// [`ReferenceError::Length`] when slices have different lengths; a gradient of a bias that `spec` does not have is one
/// that should be empty.
pub fn compare_gradients<T: AttentionElement>(
    spec: &Spec,
    got: &GradientSlices<'_, T>,
    exact: &Gradients,
    low: &Gradients,
) -> Result<GradientReport, ReferenceError> {
    let to_element = |x| T::from_f64(x).to_f64();
    let judge = |tensor, shape, got: &[T], exact, low| {
        let got = got.iter().map(|x| x.to_f64()).collect();
        compare_tensor(tensor, shape, got, exact, low, to_element)
    };
    let judge_bias = |got: BiasGradient<'_, T>| {
        let shape = spec.bias.as_ref().map_or([0; 4], |bias| bias.shape);
        let [exact, low] = [exact, low].map(|x| x.d_bias.as_deref().unwrap_or_default());
        match got {
            BiasGradient::Element(got) => judge("d_bias", shape, got, exact, low),
            BiasGradient::F32(got) => {
                let got = got.iter().copied().map(f64::from).collect();
                let to_f32 = |x| f64::from(x as f32);
                compare_tensor("d_bias", shape, got, exact, low, to_f32)
            }
        }
    };
    let (q_shape, k_shape) = (spec.out_shape(), spec.keys_shape());
    Ok(GradientReport {
        d_q: judge("d_q", q_shape, got.d_q, &exact.d_q, &low.d_q)?,
        d_k: judge("d_k", k_shape, got.d_k, &exact.d_k, &low.d_k)?,
        d_v: judge("d_v", k_shape, got.d_v, &exact.d_v, &low.d_v)?,
        d_bias: got.d_bias.map(judge_bias).transpose()?,
    })
}

/// Compares one gradient; `round` gives the nearest value of its type.
fn compare_tensor(
    tensor: &'static str,
    shape: [usize; 4],
    got: Vec<f64>,
    exact: &[f64],
    low: &[f64],
    round: impl Fn(f64) -> f64,
) -> Result<TensorReport, ReferenceError> {
    for length in [got.len(), exact.len(), low.len()] {
        check_length(tensor, length, &shape)?;
    }
    let want: Vec<f64> = exact.iter().map(|&x| round(x)).collect();
    let low_error = largest_finite_error(low, &want);
    Ok(TensorReport {
        worst: worst(shape, got.into_iter().zip(want)),
        low_error,
        bound: Tolerance::GRADIENTS.bound(low_error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Bias;
    use half::f16;

    const LOW_ERROR: f64 = 0.25;

    /// Two queries, two keys, one head, head_dim 1 and a bias of 1 x 1 x 2 x 2.
    fn spec() -> Spec {
        Spec {
            bias: Some(Bias {
                shape: [1, 1, 2, 2],
                data: vec![0.0; 4],
            }),
            ..Spec::new([1, 2, 1, 1], [1, 2, 1, 1])
        }
    }

    /// Judges gradients that are 0 but for one element, against zeros and a plain method that is off by LOW_ERROR in
    /// d_q only.
    fn report(tensor: &str, error: f32) -> GradientReport {
        let exact = Gradients {
            d_q: vec![0.0; 2],
            d_k: vec![0.0; 2],
            d_v: vec![0.0; 2],
            d_bias: Some(vec![0.0; 4]),
        };
        let low = Gradients {
            d_q: vec![0.0, LOW_ERROR],
            ..exact.clone()
        };
        let with_error = |name: &str| [0.0, if name == tensor { error } else { 0.0 }];
        let [d_q, d_k, d_v] = ["d_q", "d_k", "d_v"].map(|x| with_error(x).map(f16::from_f32));
        let d_bias = [with_error(""), with_error("d_bias")].concat();
        let got = GradientSlices {
            d_q: &d_q,
            d_k: &d_k,
            d_v: &d_v,
            d_bias: Some(BiasGradient::F32(&d_bias)),
        };
        compare_gradients(&spec(), &got, &exact, &low).unwrap()
    }

    #[test]
    fn each_gradient_is_held_to_the_error_of_its_own_plain_method() {
        assert!(report("d_q", 3.0 * LOW_ERROR as f32).passed());
        assert!(!report("d_q", 3.125 * LOW_ERROR as f32).passed());
        for tensor in ["d_k", "d_v", "d_bias"] {
            assert!(report(tensor, 0.9e-5).passed(), "{tensor}");
            let failed = report(tensor, 1.2e-5);
            assert!(!failed.passed(), "{tensor}");
            let bad = |(_, report): &(&str, &TensorReport)| !report.passed();
            assert_eq!(failed.tensors().find(bad).unwrap().0, tensor);
            let generous = Tolerance {
                slack: 2e-5,
                ..Tolerance::GRADIENTS
            };
            assert!(failed.within(generous).passed());
        }
        assert_eq!(report("d_bias", 0.5).d_bias.unwrap().worst.at, [0, 0, 1, 1]);
        assert!(!report("d_v", f32::NAN).passed());
    }

    #[test]
    fn a_report_names_each_gradient_with_its_error_and_bound() {
        let text = report("d_k", 0.5).to_string();
        assert!(
            text.contains(
                "d_k: error 5.000e-1, bound 1.000e-5 (worst at [0, 1, 0, 0]: got 0.5, want 0)"
            ),
            "{text}"
        );
        assert!(text.contains("d_q: ") && text.contains("d_v: ") && text.contains("d_bias: "));
    }

    #[test]
    fn true_gradients_pass_and_the_gradient_of_a_missing_bias_is_refused() {
        let x = [0.5, -1.0].map(f16::from_f32);
        let exact = reference::backward(&spec(), &x, &x, &x, &x, Some(&[1.0, 2.0])).unwrap();
        let half = |x: &[f64]| -> Vec<f16> { x.iter().copied().map(f16::from_f64).collect() };
        let (d_q, d_k, d_v) = (half(&exact.d_q), half(&exact.d_k), half(&exact.d_v));
        let d_bias = half(&exact.d_bias.unwrap());
        let got = GradientSlices {
            d_q: &d_q,
            d_k: &d_k,
            d_v: &d_v,
            d_bias: Some(BiasGradient::Element(&d_bias)),
        };
        let check = |spec: &Spec| check_gradients(spec, [&x, &x, &x], &x, Some(&[1.0, 2.0]), &got);
        assert_eq!(check(&spec()).unwrap().d_bias.unwrap().worst.error, 0.0);
        assert!(check(&spec()).unwrap().passed());
        let plain = Spec {
            bias: None,
            ..spec()
        };
        let refused = ReferenceError::Length {
            tensor: "d_bias",
            got: 4,
            want: 0,
        };
        assert_eq!(check(&plain), Err(refused));
    }
}
