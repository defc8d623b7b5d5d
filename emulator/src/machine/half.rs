//! 16-bit floating point: IEEE binary16 and bfloat16 (PTX ISA, "Half Precision Floating Point
//! Instructions").
//!
//! Each operation rounds once, from the exact result, to nearest even. The exact result is held as an
//! f32 rounded to odd (inexact results get an odd last bit), from which rounding to the shorter
//! format cannot go wrong (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").

use crate::ir::{BinaryHalf, HalfKind, HalfMode, R32, UnaryHalf};

use super::approx;
use super::float::{Exact, max_number, min_number, nan_wins, saturate};
use super::registers::{Lanes, Registers};

/// The NaN that 16-bit instructions produce.
pub(crate) const NAN16: u32 = 0x7fff;

/// A 16-bit format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl Format {
    /// The format of one element of `kind`.
    pub fn of(kind: HalfKind) -> Self {
        match kind {
            HalfKind::F16 | HalfKind::F16x2 => Format::F16,
            HalfKind::Bf16 | HalfKind::Bf16x2 => Format::Bf16,
        }
    }
}

/// Value of the low 16 bits.
#[inline(always)]
pub(crate) fn to_f32(format: Format, bits: u32) -> f32 {
    match format {
        Format::F16 => f16_to_f32(bits),
        Format::Bf16 => f32::from_bits(bits << 16),
    }
}

/// Nearest 16-bit value, ties to even, as bits.
#[inline(always)]
pub(crate) fn from_f32(format: Format, x: f32) -> u32 {
    match format {
        Format::F16 => f16_from_f32(x),
        Format::Bf16 => bf16_from_f32(x),
    }
}

/// Value of a binary16 in the low 16 bits.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u32) -> f32 {
    // Shifted into place the exponent is 112 too small; one exact product repairs that for normal
    // and subnormal numbers alike.
    let magnitude = (bits & 0x7fff) << 13;
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let special = if bits & 0x7c00 == 0x7c00 {
        0x7f80_0000
    } else {
        0
    };
    f32::from_bits(finite.to_bits() | special | (bits & 0x8000) << 16)
}

/// Nearest binary16, ties to even.
#[inline(always)]
pub(crate) fn f16_from_f32(x: f32) -> u32 {
    let bits = x.to_bits();
    let sign = bits >> 16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Below 2^-14 the result is subnormal: adding 1/2 leaves its 10 bits at the end of the sum.
    let small = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0x3f00_0000);
    let odd = magnitude >> 13 & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    let finite = if magnitude < 0x3880_0000 {
        small
    } else {
        normal
    };
    let finite_or_infinite = if magnitude >= 0x4780_0000 {
        0x7c00
    } else {
        finite
    };
    if magnitude > 0x7f80_0000 {
        NAN16
    } else {
        sign | finite_or_infinite
    }
}

/// Nearest bfloat16, ties to even.
#[inline(always)]
pub(crate) fn bf16_from_f32(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        NAN16
    } else {
        rounded
    }
}

/// The exact result rounded to an odd f32.
pub(crate) fn round_to_odd(exact: Exact) -> f32 {
    let nearest = exact.value as f32;
    if !exact.value.is_finite() {
        return nearest;
    }
    let error = exact.value - f64::from(nearest);
    let side = if error != 0.0 { error } else { exact.rest };
    if side == 0.0 {
        return nearest;
    }
    let overshot = (side < 0.0) == (exact.value > 0.0);
    let truncated = if overshot && nearest != 0.0 {
        nearest.to_bits() - 1
    } else {
        nearest.to_bits()
    };
    f32::from_bits(truncated | 1)
}

/// Applies `f` to the 16-bit elements of each lane: one, or two for the packed kinds.
fn map(kind: HalfKind, regs: &Registers, abc: [R32; 3], f: impl Fn([u32; 3]) -> u32) -> Lanes<u32> {
    let packed = matches!(kind, HalfKind::F16x2 | HalfKind::Bf16x2);
    regs.map3_32(abc, |x, y, z| {
        let low = f([x & 0xffff, y & 0xffff, z & 0xffff]);
        let high = if packed {
            f([x >> 16, y >> 16, z >> 16])
        } else {
            0
        };
        low | high << 16
    })
}

/// `.ftz`: a subnormal becomes the zero of its sign. It exists for f16 only.
fn flush(format: Format, mode: HalfMode, bits: u32) -> u32 {
    let is_subnormal = bits & 0x7c00 == 0;
    if mode.ftz && format == Format::F16 && is_subnormal {
        bits & 0x8000
    } else {
        bits
    }
}

/// Operand value, with `.ftz` applied.
fn operand(format: Format, mode: HalfMode, bits: u32) -> f32 {
    to_f32(format, flush(format, mode, bits))
}

/// Rounds to the format and applies the modifiers.
fn finish(format: Format, mode: HalfMode, x: f32) -> u32 {
    let x = if mode.saturate { saturate(x) } else { x };
    let x = if mode.relu && x <= 0.0 { 0.0 } else { x };
    flush(format, mode, from_f32(format, x))
}

#[inline(never)]
pub(crate) fn binary(
    regs: &Registers,
    op: BinaryHalf,
    (kind, mode): (HalfKind, HalfMode),
    [a, b]: [R32; 2],
) -> Lanes<u32> {
    let format = Format::of(kind);
    map(kind, regs, [a, b, b], |[x, y, _]| {
        let (x, y) = (operand(format, mode, x), operand(format, mode, y));
        let (wide_x, wide_y) = (f64::from(x), f64::from(y));
        let value = match op {
            BinaryHalf::Add => round_to_odd(Exact::sum(wide_x, wide_y)),
            BinaryHalf::Sub => round_to_odd(Exact::sum(wide_x, -wide_y)),
            BinaryHalf::Mul => round_to_odd(Exact {
                value: wide_x * wide_y,
                rest: 0.0,
            }),
            BinaryHalf::Min => min_number(x, y),
            BinaryHalf::Max => max_number(x, y),
            BinaryHalf::MinNan => nan_wins(x, y, min_number),
            BinaryHalf::MaxNan => nan_wins(x, y, max_number),
        };
        finish(format, mode, value)
    })
}

#[inline(never)]
pub(crate) fn fma(
    regs: &Registers,
    (kind, mode): (HalfKind, HalfMode),
    abc: [R32; 3],
) -> Lanes<u32> {
    let format = Format::of(kind);
    map(kind, regs, abc, |operands| {
        let [x, y, z] = operands.map(|bits| f64::from(operand(format, mode, bits)));
        finish(format, mode, round_to_odd(Exact::sum(x * y, z)))
    })
}

#[inline(never)]
pub(crate) fn unary(
    regs: &Registers,
    op: UnaryHalf,
    (kind, mode): (HalfKind, HalfMode),
    a: R32,
) -> Lanes<u32> {
    let format = Format::of(kind);
    map(kind, regs, [a; 3], |[bits, ..]| {
        let x = operand(format, mode, bits);
        match op {
            UnaryHalf::Neg => flush(format, mode, bits) ^ 0x8000,
            UnaryHalf::Abs => flush(format, mode, bits) & 0x7fff,
            UnaryHalf::Ex2 => finish(format, mode, approx::ex2(x)),
            UnaryHalf::Tanh => finish(format, mode, approx::tanh(x)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_and_bf16_converts_to_f32_and_back() {
        for bits in 0..=0xffffu32 {
            let as_f16 = half::f16::from_bits(bits as u16);
            let as_bf16 = half::bf16::from_bits(bits as u16);
            if !as_f16.is_nan() {
                assert_eq!(f16_to_f32(bits).to_bits(), as_f16.to_f32().to_bits());
                assert_eq!(f16_from_f32(as_f16.to_f32()), bits);
            }
            if !as_bf16.is_nan() {
                assert_eq!(
                    to_f32(Format::Bf16, bits).to_bits(),
                    as_bf16.to_f32().to_bits()
                );
                assert_eq!(bf16_from_f32(as_bf16.to_f32()), bits);
            }
        }
    }

    #[test]
    fn rounding_agrees_with_an_independent_implementation() {
        for bits in (0..=u32::MAX).step_by(4_999) {
            let x = f32::from_bits(bits);
            if x.is_nan() {
                assert_eq!((f16_from_f32(x), bf16_from_f32(x)), (NAN16, NAN16));
            } else {
                assert_eq!(
                    f16_from_f32(x),
                    u32::from(half::f16::from_f32(x).to_bits()),
                    "{x}"
                );
                assert_eq!(
                    bf16_from_f32(x),
                    u32::from(half::bf16::from_f32(x).to_bits()),
                    "{x}"
                );
            }
        }
    }

    #[test]
    fn fused_multiply_add_rounds_once() {
        // 1 + 2^-11 is a tie of binary16; the tiny product decides it, though it vanishes in f64.
        let tie = Exact::sum(2f64.powi(-60), 1.0 + 2f64.powi(-11));
        assert_eq!(from_f32(Format::F16, round_to_odd(tie)), 0x3c01);
        let below = Exact::sum(-(2f64.powi(-60)), 1.0 + 2f64.powi(-11));
        assert_eq!(from_f32(Format::F16, round_to_odd(below)), 0x3c00);
    }
}
