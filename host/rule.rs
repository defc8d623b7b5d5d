//! When a result counts as exact: FlashAttention's rule.
//!
//! ```text
//! max |out - ref|   <=  2 · max |low - ref| + 1e-5     ref: f64, rounded once to the output's type
//! max |grad - ref|  <=  3 · max |low - ref| + 1e-5     low: the plain method in the output's precision
//! max |lse - ref|   <=  1e-3                           (a log-sum-exp beyond 1e4 has less precision than that in f32)
//! ```
//!
//! The kernel may be at most twice as far from the truth as the input's precision makes the plain method be, and three
//! times for gradients, each tensor for itself. Dao et al. test FlashAttention so, with the same factors; where their
//! tests have others, reports are judged anew by `within`.

mod gradients;

use std::fmt;

use crate::element::AttentionElement;
use crate::reference::{self, Reference, ReferenceError, Spec, check_length};

pub use gradients::{
    BiasGradient, GradientReport, GradientSlices, TensorReport, check_gradients, compare_gradients,
};

/// Largest absolute error of the log-sum-exp that passes.
pub const LSE_TOLERANCE: f64 = 1e-3;

/// How much error passes: `multiplier · (error of the plain method in low precision) + slack`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// How many times further from the reference than the plain method.
    pub multiplier: f64,
    /// What is allowed even where the plain method is exact.
    pub slack: f64,
}

impl Tolerance {
    /// For outputs: twice the plain method's error and 1e-5.
    pub const OUT: Tolerance = Tolerance {
        multiplier: 2.0,
        slack: 1e-5,
    };
    /// For gradients: three times the plain method's error and 1e-5.
    pub const GRADIENTS: Tolerance = Tolerance {
        multiplier: 3.0,
        slack: 1e-5,
    };

    fn bound(self, low_error: f64) -> f64 {
        self.multiplier * low_error + self.slack
    }
}

/// The element that is furthest from the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst<const N: usize> {
    /// Its indices.
    pub at: [usize; N],
    /// What was computed.
    pub got: f64,
    /// What the reference says.
    pub want: f64,
    /// Distance of the two; infinite when only one of them is NaN or infinite.
    pub error: f64,
}

/// Outcome of a comparison with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorReport {
    /// Worst element of the output, `[batch, seqlen_q, head, head_dim]` indices.
    pub out: Worst<4>,
    /// Largest error of the output by the plain method in low precision.
    pub low_error: f64,
    /// Largest error of the output that passes.
    pub bound: f64,
    /// Worst element of the log-sum-exp, `[batch, head, seqlen_q]` indices.
    pub lse: Worst<3>,
}

impl ErrorReport {
    /// Whether output and log-sum-exp both hold the rule.
    pub fn passed(&self) -> bool {
        self.out.error <= self.bound && self.lse.error <= LSE_TOLERANCE
    }

    /// The same comparison, the output judged by another tolerance than [`Tolerance::OUT`].
    #[must_use]
    pub fn within(self, tolerance: Tolerance) -> ErrorReport {
        ErrorReport {
            bound: tolerance.bound(self.low_error),
            ..self
        }
    }
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out: {}; ", self.out.against(self.bound))?;
        write!(f, "lse: {}", self.lse.against(LSE_TOLERANCE))
    }
}

impl<const N: usize> Worst<N> {
    fn against(&self, bound: f64) -> String {
        let Worst {
            at,
            got,
            want,
            error,
        } = self;
        format!("error {error:.3e}, bound {bound:.3e} (worst at {at:?}: got {got}, want {want})")
    }
}

/// Computes the reference and the low-precision result from the inputs and compares with `out` and `lse`.
///
/// # Errors
///
/// [`ReferenceError`] when slices and extents do not fit together.
pub fn check<T: AttentionElement>(
    spec: &Spec,
    [q, k, v]: [&[T]; 3],
    out: &[T],
    lse: &[f32],
) -> Result<ErrorReport, ReferenceError> {
    let exact = reference::forward(spec, q, k, v)?;
    let low = reference::forward_low_precision(spec, q, k, v)?;
    compare(spec, out, lse, &exact, &low)
}

/// Compares `out` and `lse` with a reference and a low-precision result computed before.
///
/// # Errors
///
/// [`ReferenceError::Length`] when the slices have different lengths.
pub fn compare<T: AttentionElement>(
    spec: &Spec,
    out: &[T],
    lse: &[f32],
    exact: &Reference,
    low: &Reference,
) -> Result<ErrorReport, ReferenceError> {
    for (tensor, got, want) in [
        ("out", out.len(), exact.out.len()),
        ("low-precision out", low.out.len(), exact.out.len()),
        ("lse", lse.len(), exact.lse.len()),
    ] {
        check_length(tensor, got, &[want])?;
    }
    let want: Vec<f64> = exact.out.iter().map(|&x| T::from_f64(x).to_f64()).collect();
    let want_lse = exact.lse.iter().map(|&x| f64::from(x as f32));
    let low_error = largest_finite_error(&low.out, &want);
    Ok(ErrorReport {
        out: worst(spec.out_shape(), out.iter().map(|x| x.to_f64()).zip(want)),
        low_error,
        bound: Tolerance::OUT.bound(low_error),
        lse: worst(
            spec.lse_shape(),
            lse.iter().map(|&x| f64::from(x)).zip(want_lse),
        ),
    })
}

/// Largest distance of `low` from `want`, where both are finite.
fn largest_finite_error(low: &[f64], want: &[f64]) -> f64 {
    low.iter()
        .zip(want)
        .filter(|(l, w)| l.is_finite() && w.is_finite())
        .map(|(&l, &w)| distance(l, w))
        .fold(0.0, f64::max)
}

/// |a - b|, where equal infinities and two NaN are at distance 0 and anything else that is not finite at infinity.
fn distance(a: f64, b: f64) -> f64 {
    let same = a == b || a.is_nan() && b.is_nan();
    let difference = if same { 0.0 } else { (a - b).abs() };
    if difference.is_nan() {
        f64::INFINITY
    } else {
        difference
    }
}

fn worst<const N: usize>(shape: [usize; N], pairs: impl Iterator<Item = (f64, f64)>) -> Worst<N> {
    let mut worst = Worst {
        at: [0; N],
        got: 0.0,
        want: 0.0,
        error: 0.0,
    };
    let mut worst_index = None;
    for (index, (got, want)) in pairs.enumerate() {
        let error = distance(got, want);
        if worst_index.is_none() || error > worst.error {
            worst_index = Some(index);
            worst = Worst {
                at: [0; N],
                got,
                want,
                error,
            };
        }
    }
    let mut rest = worst_index.unwrap_or(0);
    for i in (0..N).rev() {
        if shape[i] > 0 {
            worst.at[i] = rest % shape[i];
            rest /= shape[i];
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn spec() -> Spec {
        Spec::new([1, 2, 1, 2], [1, 2, 1, 2])
    }

    fn report(out: [f32; 4], lse: [f32; 2]) -> ErrorReport {
        let exact = Reference {
            out: vec![0.0, 1.0, 2.0, 3.0],
            lse: vec![0.5, f64::NEG_INFINITY],
        };
        let low = Reference {
            out: vec![0.0, 1.0, 2.0, 3.0625],
            lse: exact.lse.clone(),
        };
        compare(&spec(), &out.map(bf16::from_f32), &lse, &exact, &low).unwrap()
    }

    #[test]
    fn twice_the_low_precision_error_passes_and_more_fails() {
        let lse = [0.5, f32::NEG_INFINITY];
        assert_eq!(report([0.0, 1.0, 2.0, 3.0], lse).bound, 2.0 * 0.0625 + 1e-5);
        assert!(report([0.0, 1.0, 2.125, 3.0], lse).passed());
        let failed = report([0.0, 1.0, 2.25, 3.0], lse);
        assert!(!failed.passed());
        assert_eq!(
            (failed.out.at, failed.out.got, failed.out.want),
            ([0, 1, 0, 0], 2.25, 2.0)
        );
        let generous = Tolerance {
            multiplier: 3.0,
            slack: 0.0625,
        };
        assert!(failed.within(generous).passed());
        assert!(
            !report([0.0, 1.0, 2.375, 3.0], lse)
                .within(generous)
                .passed()
        );
    }

    #[test]
    fn nan_in_an_input_is_expected_in_the_output_and_does_not_widen_the_bound() {
        let nan = bf16::NAN;
        let zero = bf16::ZERO;
        let (q, k, v) = ([nan, zero, zero, zero], [zero; 4], [zero, zero, zero, nan]);
        let exact = reference::forward(&spec(), &q, &k, &v).unwrap();
        assert!(exact.lse[0].is_nan() && exact.lse[1] == 2f64.ln());
        let check = |out: [f32; 4]| {
            let out = out.map(bf16::from_f32);
            check(&spec(), [&q, &k, &v], &out, &[f32::NAN, 2f32.ln()]).unwrap()
        };
        assert!(check([f32::NAN, f32::NAN, 0.0, f32::NAN]).passed());
        assert!(!check([f32::NAN, f32::NAN, 0.5, f32::NAN]).passed());
        assert!(!check([0.0, 0.0, 0.0, f32::NAN]).passed());
    }

    #[test]
    fn scores_beyond_the_range_of_the_type_keep_the_bound_finite() {
        let big = half::f16::from_f32(250.0);
        let small = half::f16::ONE;
        let (q, k, v) = ([big; 4], [big; 4], [small; 4]);
        let spec = Spec {
            softmax_scale: Some(1.0),
            ..spec()
        };
        let lse = [125_000.0 + 2f32.ln(); 2]; // 250 * 250 * 2 is more than f16 can hold
        let report = check(&spec, [&q, &k, &v], &v, &lse).unwrap();
        assert!(report.bound.is_finite() && report.passed(), "{report}");
    }

    #[test]
    fn nan_and_misplaced_infinities_fail() {
        let out = [0.0, 1.0, 2.0, 3.0];
        assert!(!report([f32::NAN, 1.0, 2.0, 3.0], [0.5, f32::NEG_INFINITY]).passed());
        assert!(!report([0.0, f32::INFINITY, 2.0, 3.0], [0.5, f32::NEG_INFINITY]).passed());
        assert!(!report(out, [0.5, f32::INFINITY]).passed());
        assert!(!report(out, [0.5, 0.0]).passed());
        assert!(!report(out, [0.502, f32::NEG_INFINITY]).passed());
    }
}
