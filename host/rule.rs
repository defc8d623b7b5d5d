//! When a result counts as exact: FlashAttention's rule.
//!
//! ```text
//! max |out - ref|  <=  2 · max |low - ref| + 1e-5      ref: f64, rounded once to the output's type
//! max |lse - ref|  <=  1e-3                            low: the plain method in the output's precision
//!                                                      (a log-sum-exp beyond 1e4 has less precision than that in f32)
//! ```
//!
//! The kernel may be at most twice as far from the truth as the input's precision makes the plain method be. Dao et
//! al. test FlashAttention so, with the same factor.

use std::fmt;

use crate::element::AttentionElement;
use crate::reference::{self, Reference, ReferenceError, Spec};

/// Largest absolute error of the log-sum-exp that passes.
pub const LSE_TOLERANCE: f64 = 1e-3;

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
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, lse) = (&self.out, &self.lse);
        write!(
            f,
            "out: error {:.3e}, bound {:.3e} (worst at {:?}: got {}, want {}); lse: error {:.3e}, bound {:.0e} (worst at \
             {:?}: got {}, want {})",
            out.error,
            self.bound,
            out.at,
            out.got,
            out.want,
            lse.error,
            LSE_TOLERANCE,
            lse.at,
            lse.got,
            lse.want
        )
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
    let lengths = [
        ("out", out.len(), exact.out.len()),
        ("low-precision out", low.out.len(), exact.out.len()),
        ("lse", lse.len(), exact.lse.len()),
    ];
    if let Some(&(tensor, got, want)) = lengths.iter().find(|(_, got, want)| got != want) {
        return Err(ReferenceError::Length { tensor, got, want });
    }
    let rounded = || exact.out.iter().map(|&x| T::from_f64(x).to_f64());
    let low_error = low
        .out
        .iter()
        .zip(rounded())
        .filter(|(l, r)| l.is_finite() && r.is_finite())
        .map(|(&l, r)| distance(l, r))
        .fold(0.0, f64::max);
    let out_shape = [spec.batch, spec.seqlen_q, spec.num_heads, spec.head_dim];
    let lse_shape = [spec.batch, spec.num_heads, spec.seqlen_q];
    Ok(ErrorReport {
        out: worst(out_shape, out.iter().map(|x| x.to_f64()).zip(rounded())),
        bound: 2.0 * low_error + 1e-5,
        lse: worst(
            lse_shape,
            lse.iter()
                .map(|&x| f64::from(x))
                .zip(exact.lse.iter().map(|&x| f64::from(x as f32))),
        ),
    })
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

    const SPEC: Spec = Spec {
        batch: 1,
        seqlen_q: 2,
        seqlen_k: 2,
        num_heads: 1,
        num_heads_k: 1,
        head_dim: 2,
        is_causal: false,
        softmax_scale: None,
    };

    fn report(out: [f32; 4], lse: [f32; 2]) -> ErrorReport {
        let exact = Reference {
            out: vec![0.0, 1.0, 2.0, 3.0],
            lse: vec![0.5, f64::NEG_INFINITY],
        };
        let low = Reference {
            out: vec![0.0, 1.0, 2.0, 3.0625],
            lse: exact.lse.clone(),
        };
        compare(&SPEC, &out.map(bf16::from_f32), &lse, &exact, &low).unwrap()
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
    }

    #[test]
    fn nan_in_an_input_is_expected_in_the_output_and_does_not_widen_the_bound() {
        let nan = bf16::NAN;
        let zero = bf16::ZERO;
        let (q, k, v) = ([nan, zero, zero, zero], [zero; 4], [zero, zero, zero, nan]);
        let exact = reference::forward(&SPEC, &q, &k, &v).unwrap();
        assert!(exact.lse[0].is_nan() && exact.lse[1] == 2f64.ln());
        let check = |out: [f32; 4]| {
            let out = out.map(bf16::from_f32);
            check(&SPEC, [&q, &k, &v], &out, &[f32::NAN, 2f32.ln()]).unwrap()
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
            ..SPEC
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
