//! Approximate functions. The ISA bounds their error and leaves the bits open; here each is the f32
//! nearest to an evaluation in f64, which lies inside every bound.

/// Coefficients of 2^f = Σ (f ln 2)^k / k!.
const EX2_TERMS: [f64; 10] = {
    let mut terms = [1.0; 10];
    let mut k = 1;
    while k < terms.len() {
        terms[k] = terms[k - 1] * std::f64::consts::LN_2 / k as f64;
        k += 1;
    }
    terms
};

/// 1.5 · 2^52: adding it to a small f64 rounds that to an integer, which then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// 2^x, relative error below 1e-11 before the result is rounded to f32. Branch-free, and without
/// fused operations, so that it vectorises and gives the same bits on every processor.
#[inline(always)]
pub(crate) fn ex2(x: f32) -> f32 {
    // Past ±200 the f32 result is 0 or infinity anyway, and the exponent below stays in range.
    let clamped = if x > 200.0 { 200.0 } else { x };
    let clamped = if clamped < -200.0 { -200.0 } else { clamped };
    let x = f64::from(clamped);
    let shifted = x + ROUNDER;
    let fraction = x - (shifted - ROUNDER);
    let mut sum = EX2_TERMS[9];
    for k in (0..9).rev() {
        sum = sum * fraction + EX2_TERMS[k];
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    // A NaN makes `power` meaningless but stays in `sum`.
    (sum * power) as f32
}

/// Base-2 logarithm.
pub(crate) fn lg2(x: f32) -> f32 {
    f64::from(x).log2() as f32
}

/// 1/√x; -0 gives -infinity.
pub(crate) fn rsqrt(x: f32) -> f32 {
    if x == 0.0 {
        1.0 / x
    } else {
        (1.0 / f64::from(x).sqrt()) as f32
    }
}

/// Sine of radians.
pub(crate) fn sin(x: f32) -> f32 {
    f64::from(x).sin() as f32
}

/// Cosine of radians.
pub(crate) fn cos(x: f32) -> f32 {
    f64::from(x).cos() as f32
}

/// Hyperbolic tangent.
pub(crate) fn tanh(x: f32) -> f32 {
    f64::from(x).tanh() as f32
}

/// `div.approx`: divisors beyond 2^126 give 0, as the reciprocal underflows.
pub(crate) fn divide(x: f32, y: f32) -> f32 {
    let huge = f32::from_bits(0x7e80_0000);
    if y.abs() > huge && y.is_finite() {
        x * 0.0f32.copysign(y)
    } else {
        x / y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ex2_is_the_nearest_f32_or_its_neighbour_everywhere() {
        // A step that is prime to the powers of two visits every exponent with changing mantissas.
        for bits in (0..=u32::MAX).step_by(9_973) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).exp2();
            let got = ex2(x);
            if exact.is_nan() {
                assert!(got.is_nan(), "{bits:#x}");
                continue;
            }
            let nearest = exact as f32;
            let close = got == nearest || got == nearest.next_up() || got == nearest.next_down();
            assert!(close, "2^{x} gave {got}, the nearest f32 is {nearest}");
        }
    }

    #[test]
    fn ex2_is_correctly_rounded_on_almost_all_of_the_softmax_range() {
        let wrong = (0..200_000)
            .map(|i| -i as f32 * (30.0 / 200_000.0))
            .filter(|x| ex2(*x) != f64::from(*x).exp2() as f32)
            .count();
        assert!(wrong <= 40, "{wrong} of 200000 are not correctly rounded");
    }

    #[test]
    fn special_values_follow_the_isa() {
        assert_eq!(ex2(f32::NEG_INFINITY).to_bits(), 0);
        assert_eq!(ex2(f32::INFINITY), f32::INFINITY);
        assert_eq!((ex2(0.0), ex2(-0.0), ex2(1e-40)), (1.0, 1.0, 1.0));
        assert_eq!(ex2(-149.0), f32::from_bits(1));
        assert!(ex2(f32::NAN).is_nan());
        assert_eq!(
            (lg2(0.0), lg2(-0.0)),
            (f32::NEG_INFINITY, f32::NEG_INFINITY)
        );
        assert!(lg2(-1.0).is_nan());
        assert_eq!(rsqrt(-0.0), f32::NEG_INFINITY);
        assert_eq!(rsqrt(f32::INFINITY).to_bits(), 0);
        assert_eq!(sin(-0.0).to_bits(), 0x8000_0000);
        assert!(cos(f32::INFINITY).is_nan());
        assert_eq!(divide(3.0, 1.7e38), 0.0);
        assert!(divide(f32::INFINITY, 1.7e38).is_nan());
    }
}
