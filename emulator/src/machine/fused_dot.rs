//! The dot product of a tensor core as hardware computes it: all terms aligned to the largest
//! exponent, truncated, summed exactly and rounded once.
//!
//! The model is the one of "MMA-Sim: Bit-Accurate Reference Model of Tensor Cores and Matrix Cores"
//! (arXiv 2511.10909): 24 fractional bits and eight products per step for Ampere, 25 and all sixteen
//! of an instruction for Hopper.

use crate::ir::Rounding;

use super::float::{Exact, round_to_f32};
use super::half::{Format, f16_from_f32, round_to_odd};

/// Fractional bits that survive alignment.
#[derive(Clone, Copy)]
pub(crate) struct FractionBits(i32);

/// Those of `mma` on sm_80.
pub(crate) const AMPERE: FractionBits = FractionBits(24);
/// Those of `wgmma`.
pub(crate) const HOPPER: FractionBits = FractionBits(25);

/// Exponent that a zero operand counts with.
const ZERO_EXPONENT: i32 = -126;

/// Unbiased exponent; subnormal numbers of the format have its least one.
fn exponent(x: f32, least: i32) -> i32 {
    if x == 0.0 {
        return ZERO_EXPONENT;
    }
    // Every operand is a normal f64.
    let bits = f64::from(x).to_bits();
    ((bits >> 52 & 0x7ff) as i32 - 1023).max(least)
}

/// Σ a·b + c over all products, before the final rounding. Exact in f64: the sum of at most seventeen
/// terms of at most 27 bits.
pub(crate) fn fused_dot_add(
    fraction: FractionBits,
    format: Format,
    products: &[(f32, f32)],
    c: f32,
) -> f64 {
    let least = match format {
        Format::F16 => -14,
        Format::Bf16 => -126,
    };
    let plain: f64 = products
        .iter()
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum();
    if !plain.is_finite() || !c.is_finite() {
        // Infinities and NaN follow IEEE; finite operands cannot overflow in f64.
        return plain + f64::from(c);
    }
    let largest = products
        .iter()
        .map(|(a, b)| exponent(*a, least) + exponent(*b, least))
        .fold(exponent(c, -126), i32::max);
    let scale = 2f64.powi(fraction.0 - largest);
    let aligned = |term: f64| (term * scale).trunc();
    let sum: f64 = products
        .iter()
        .map(|(a, b)| aligned(f64::from(*a) * f64::from(*b)))
        .sum();
    (sum + aligned(f64::from(c))) / scale
}

/// The f32 result: truncated toward zero.
pub(crate) fn to_f32_truncated(sum: f64) -> f32 {
    round_to_f32(
        Exact {
            value: sum,
            rest: 0.0,
        },
        Rounding::Zero,
    )
}

/// The f16 result: nearest, ties to even; as bits.
pub(crate) fn to_f16_nearest(sum: f64) -> u32 {
    f16_from_f32(round_to_odd(Exact {
        value: sum,
        rest: 0.0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(products: &[(f32, f32)], c: f32) -> u32 {
        let mut all = [(0.0, 0.0); 8];
        all[..products.len()].copy_from_slice(products);
        to_f32_truncated(fused_dot_add(AMPERE, Format::F16, &all, c)).to_bits()
    }

    fn probe_hopper(products: &[(f32, f32)], c: f32) -> u32 {
        let mut all = [(0.0, 0.0); 16];
        all[..products.len()].copy_from_slice(products);
        to_f32_truncated(fused_dot_add(HOPPER, Format::F16, &all, c)).to_bits()
    }

    #[test]
    fn terms_are_truncated_at_25_fractional_bits_on_hopper() {
        let h = 2f32.powi(-12);
        assert_eq!(probe_hopper(&[(h, h)], 1.0), 0x3f80_0000);
        assert_eq!(probe_hopper(&[(h, h); 2], 1.0), 0x3f80_0001);
        assert_eq!(probe_hopper(&[(h, h / 2.0); 4], 1.0), 0x3f80_0001);
        assert_eq!(probe_hopper(&[(h / 2.0, h / 2.0); 8], 1.0), 0x3f80_0000);
        assert_eq!(probe_hopper(&[(-h, h)], 1.0), 0x3f7f_ffff);
        let tiny = (2f32.powi(-13), 2f32.powi(-10));
        assert_eq!(
            probe_hopper(&[(3.0, 3.0), (-3.0, 3.0), tiny], 0.0),
            0x3400_0000
        );
        assert_eq!(probe_hopper(&[(1.5, 1.5)], 2f32.powi(-23)), 0x4010_0000);
    }

    #[test]
    fn terms_are_truncated_at_24_fractional_bits() {
        let h = 2f32.powi(-12);
        assert_eq!(probe(&[(h, h)], 1.0), 0x3f80_0000);
        assert_eq!(probe(&[(h, h); 2], 1.0), 0x3f80_0001);
        assert_eq!(probe(&[(h, h / 2.0); 4], 1.0), 0x3f80_0000);
        assert_eq!(probe(&[(h / 2.0, h / 2.0); 8], 1.0), 0x3f80_0000);
        assert_eq!(probe(&[(-h, h)], 1.0), 0x3f7f_ffff);
        let tiny = (2f32.powi(-13), 2f32.powi(-10));
        assert_eq!(probe(&[(3.0, 3.0), (-3.0, 3.0), tiny], 0.0), 0);
        assert_eq!(probe(&[(1.5, 1.5)], 2f32.powi(-23)), 0x4010_0000);
    }

    #[test]
    fn infinities_and_nan_follow_ieee() {
        assert_eq!(probe(&[(f32::INFINITY, 1.0)], 0.0), 0x7f80_0000);
        assert!(f32::from_bits(probe(&[(f32::INFINITY, 0.0)], 1.0)).is_nan());
        assert!(f32::from_bits(probe(&[(f32::INFINITY, 1.0)], f32::NEG_INFINITY)).is_nan());
    }
}
