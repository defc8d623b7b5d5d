//! f32 and f64 arithmetic (PTX ISA, "Floating Point Instructions").
//!
//! Round to nearest even is the processor's own arithmetic. A directed rounding computes in f64,
//! finds out on which side of the f64 the exact result lies, and steps from the nearest f32. Every
//! NaN result is the canonical one of the GPU, so that results do not depend on the host processor.

use crate::ir::{BinaryF32, BinaryF64, FloatMode, R32, R64, Rounding, UnaryF32, UnaryF64};

use super::approx;
use super::registers::{LANES, Lanes, Registers};

/// The NaN that f32 instructions produce.
pub(crate) const NAN32: u32 = 0x7fff_ffff;
/// The NaN that f64 instructions produce here.
pub(crate) const NAN64: u64 = 0x7ff8_0000_0000_0000;

/// Bits of `x`, NaN made canonical.
#[inline(always)]
pub(crate) fn bits32(x: f32) -> u32 {
    if x.is_nan() { NAN32 } else { x.to_bits() }
}

/// Bits of `x`, NaN made canonical.
#[inline(always)]
pub(crate) fn bits64(x: f64) -> u64 {
    if x.is_nan() { NAN64 } else { x.to_bits() }
}

/// `x`, or zero of its sign when it is subnormal and `ftz` is on.
#[inline(always)]
pub(crate) fn flush(x: f32, ftz: bool) -> f32 {
    if ftz && x.abs() < f32::MIN_POSITIVE {
        0.0f32.copysign(x)
    } else {
        x
    }
}

/// `.sat`: into [0, 1]; NaN becomes +0.
#[inline(always)]
pub(crate) fn saturate(x: f32) -> f32 {
    if x > 0.0 {
        if x < 1.0 { x } else { 1.0 }
    } else {
        0.0
    }
}

fn finish(mode: FloatMode, x: f32) -> u32 {
    let x = flush(x, mode.ftz);
    bits32(if mode.saturate { saturate(x) } else { x })
}

/// The smaller operand; a NaN loses, -0 is less than +0.
#[inline(always)]
pub(crate) fn min_number(x: f32, y: f32) -> f32 {
    let less = x < y || (x == y && x.is_sign_negative());
    if less || y.is_nan() { x } else { y }
}

/// The larger operand; a NaN loses, +0 is more than -0.
#[inline(always)]
pub(crate) fn max_number(x: f32, y: f32) -> f32 {
    let more = x > y || (x == y && x.is_sign_positive());
    if more || y.is_nan() { x } else { y }
}

/// `pick`, but NaN when either operand is one.
#[inline(always)]
pub(crate) fn nan_wins(x: f32, y: f32, pick: impl Fn(f32, f32) -> f32) -> f32 {
    if x.is_nan() || y.is_nan() {
        f32::NAN
    } else {
        pick(x, y)
    }
}

#[inline(always)]
pub(crate) fn binary_f32(
    regs: &Registers,
    (op, mode): (BinaryF32, FloatMode),
    a: R32,
    b: R32,
) -> Lanes<u32> {
    if mode != FloatMode::IEEE {
        return binary_f32_with_mode(regs, (op, mode), a, b);
    }
    macro_rules! map {
        ($f:expr) => {
            regs.map2_32(a, b, |x, y| {
                bits32($f(f32::from_bits(x), f32::from_bits(y)))
            })
        };
    }
    match op {
        BinaryF32::Add => map!(|x, y| x + y),
        BinaryF32::Sub => map!(|x, y| x - y),
        BinaryF32::Mul => map!(|x, y| x * y),
        BinaryF32::Min => map!(min_number),
        BinaryF32::Max => map!(max_number),
        _ => binary_f32_with_mode(regs, (op, mode), a, b),
    }
}

/// Every operation in every mode: the rare case, compiled once.
#[inline(never)]
fn binary_f32_with_mode(
    regs: &Registers,
    (op, mode): (BinaryF32, FloatMode),
    a: R32,
    b: R32,
) -> Lanes<u32> {
    regs.map2_32(a, b, |x, y| {
        let (x, y) = (
            flush(f32::from_bits(x), mode.ftz),
            flush(f32::from_bits(y), mode.ftz),
        );
        let value = match op {
            BinaryF32::Add => add(x, y, mode.rounding),
            BinaryF32::Sub => add(x, -y, mode.rounding),
            BinaryF32::Mul => mul(x, y, mode.rounding),
            BinaryF32::Div => div(x, y, mode.rounding),
            BinaryF32::DivFull => x / y,
            BinaryF32::DivApprox => approx::divide(x, y),
            BinaryF32::Min => min_number(x, y),
            BinaryF32::Max => max_number(x, y),
            BinaryF32::MinNan => nan_wins(x, y, min_number),
            BinaryF32::MaxNan => nan_wins(x, y, max_number),
            BinaryF32::CopySign => return y.copysign(x).to_bits(),
        };
        finish(mode, value)
    })
}

#[inline(always)]
pub(crate) fn fma_f32(regs: &Registers, mode: FloatMode, abc: [R32; 3]) -> Lanes<u32> {
    if mode != FloatMode::IEEE {
        return fma_f32_with_mode(regs, mode, abc);
    }
    regs.map3_32(abc, |x, y, z| {
        bits32(f32::from_bits(x).mul_add(f32::from_bits(y), f32::from_bits(z)))
    })
}

#[inline(never)]
fn fma_f32_with_mode(regs: &Registers, mode: FloatMode, abc: [R32; 3]) -> Lanes<u32> {
    regs.map3_32(abc, |x, y, z| {
        let value = |bits| flush(f32::from_bits(bits), mode.ftz);
        finish(mode, fma(value(x), value(y), value(z), mode.rounding))
    })
}

#[inline(always)]
pub(crate) fn unary_f32(regs: &Registers, (op, mode): (UnaryF32, FloatMode), a: R32) -> Lanes<u32> {
    match (op, mode.ftz) {
        (UnaryF32::Neg, false) => regs.map1_32(a, |x| x ^ 0x8000_0000),
        (UnaryF32::Abs, false) => regs.map1_32(a, |x| x & 0x7fff_ffff),
        (UnaryF32::Ex2, ftz) if !mode.saturate => ex2_lanes(regs.get32(a), ftz),
        _ => unary_f32_with_mode(regs, (op, mode), a),
    }
}

/// A loop of its own, because the function is long enough for a closure around it to stay a call,
/// which would not be compiled for the caller's vector extension.
#[inline(always)]
fn ex2_lanes(a: &Lanes<u32>, ftz: bool) -> Lanes<u32> {
    let mut out = [0; LANES];
    for (out, a) in out.iter_mut().zip(a) {
        *out = bits32(flush(approx::ex2(f32::from_bits(*a)), ftz));
    }
    out
}

#[inline(never)]
fn unary_f32_with_mode(regs: &Registers, (op, mode): (UnaryF32, FloatMode), a: R32) -> Lanes<u32> {
    regs.map1_32(a, |x| {
        let x = flush(f32::from_bits(x), mode.ftz);
        let value = match op {
            UnaryF32::Neg => return (-x).to_bits(),
            UnaryF32::Abs => return x.abs().to_bits(),
            UnaryF32::Rcp => div(1.0, x, mode.rounding),
            UnaryF32::Sqrt => sqrt(x, mode.rounding),
            UnaryF32::RcpApprox => 1.0 / x,
            UnaryF32::SqrtApprox => x.sqrt(),
            UnaryF32::RsqrtApprox => approx::rsqrt(x),
            UnaryF32::Ex2 => approx::ex2(x),
            UnaryF32::Lg2 => approx::lg2(x),
            UnaryF32::Sin => approx::sin(x),
            UnaryF32::Cos => approx::cos(x),
            UnaryF32::Tanh => approx::tanh(x),
        };
        finish(mode, value)
    })
}

#[inline(never)]
pub(crate) fn binary_f64(regs: &Registers, op: BinaryF64, a: R64, b: R64) -> Lanes<u64> {
    macro_rules! map {
        ($f:expr) => {
            regs.map2_64(a, b, |x, y| {
                bits64($f(f64::from_bits(x), f64::from_bits(y)))
            })
        };
    }
    match op {
        BinaryF64::Add => map!(|x, y| x + y),
        BinaryF64::Sub => map!(|x, y| x - y),
        BinaryF64::Mul => map!(|x, y| x * y),
        BinaryF64::Div => map!(|x, y| x / y),
        BinaryF64::Min => map!(|x: f64, y: f64| {
            let less = x < y || (x == y && x.is_sign_negative());
            if less || y.is_nan() { x } else { y }
        }),
        BinaryF64::Max => map!(|x: f64, y: f64| {
            let more = x > y || (x == y && x.is_sign_positive());
            if more || y.is_nan() { x } else { y }
        }),
        BinaryF64::CopySign => regs.map2_64(a, b, |x, y| {
            f64::from_bits(y).copysign(f64::from_bits(x)).to_bits()
        }),
    }
}

#[inline(never)]
pub(crate) fn unary_f64(regs: &Registers, op: UnaryF64, a: R64) -> Lanes<u64> {
    match op {
        UnaryF64::Neg => regs.map1_64(a, |x| x ^ 1 << 63),
        UnaryF64::Abs => regs.map1_64(a, |x| x & !(1 << 63)),
        UnaryF64::Rcp => regs.map1_64(a, |x| bits64(1.0 / f64::from_bits(x))),
        UnaryF64::Sqrt => regs.map1_64(a, |x| bits64(f64::from_bits(x).sqrt())),
    }
}

#[inline(never)]
pub(crate) fn fma_f64(regs: &Registers, abc: [R64; 3]) -> Lanes<u64> {
    regs.map3_64(abc, |x, y, z| {
        bits64(f64::from_bits(x).mul_add(f64::from_bits(y), f64::from_bits(z)))
    })
}

/// A result as the nearest f64 and what is missing to the exact one; only the sign of `rest` is
/// meaningful.
#[derive(Clone, Copy)]
pub(crate) struct Exact {
    pub value: f64,
    pub rest: f64,
}

impl Exact {
    /// `x + y`.
    pub fn sum(x: f64, y: f64) -> Self {
        // Knuth's two-sum; its error term is exact because f32 operands cannot overflow in f64.
        let value = x + y;
        let y_part = value - x;
        let rest = (x - (value - y_part)) + (y - y_part);
        Self {
            value,
            rest: if value.is_finite() { rest } else { 0.0 },
        }
    }
}

/// The f32 next to the exact result in the direction of `rounding`.
pub(crate) fn round_to_f32(exact: Exact, rounding: Rounding) -> f32 {
    let nearest = exact.value as f32;
    let error = exact.value - f64::from(nearest);
    // Above zero when the exact result lies above `nearest`.
    let side = if error != 0.0 { error } else { exact.rest };
    let toward_zero = if exact.value > 0.0 {
        Rounding::Down
    } else {
        Rounding::Up
    };
    let direction = if rounding == Rounding::Zero {
        toward_zero
    } else {
        rounding
    };
    match direction {
        Rounding::Up if side > 0.0 => nearest.next_up(),
        Rounding::Down if side < 0.0 => nearest.next_down(),
        _ => nearest,
    }
}

/// An exact zero sum of operands with different signs is -0 when rounding down (IEEE 754, 6.3).
fn sum_rounded(x: f64, y: f64, rounding: Rounding) -> f32 {
    let exact = Exact::sum(x, y);
    let cancels = exact.value == 0.0 && x.is_sign_negative() != y.is_sign_negative();
    if cancels && rounding == Rounding::Down {
        -0.0
    } else {
        round_to_f32(exact, rounding)
    }
}

fn add(x: f32, y: f32, rounding: Rounding) -> f32 {
    match rounding {
        Rounding::Nearest => x + y,
        _ => sum_rounded(f64::from(x), f64::from(y), rounding),
    }
}

fn mul(x: f32, y: f32, rounding: Rounding) -> f32 {
    match rounding {
        Rounding::Nearest => x * y,
        // 24 + 24 bits fit into the 53 of f64.
        _ => round_to_f32(
            Exact {
                value: f64::from(x) * f64::from(y),
                rest: 0.0,
            },
            rounding,
        ),
    }
}

fn fma(x: f32, y: f32, z: f32, rounding: Rounding) -> f32 {
    match rounding {
        Rounding::Nearest => x.mul_add(y, z),
        _ => sum_rounded(f64::from(x) * f64::from(y), f64::from(z), rounding),
    }
}

fn div(x: f32, y: f32, rounding: Rounding) -> f32 {
    if rounding == Rounding::Nearest {
        return x / y;
    }
    let (x, y) = (f64::from(x), f64::from(y));
    let value = x / y;
    let rest = (-value).mul_add(y, x) * y.signum();
    round_to_f32(
        Exact {
            value,
            rest: if rest.is_nan() { 0.0 } else { rest },
        },
        rounding,
    )
}

fn sqrt(x: f32, rounding: Rounding) -> f32 {
    if rounding == Rounding::Nearest {
        return x.sqrt();
    }
    let value = f64::from(x).sqrt();
    let rest = (-value).mul_add(value, f64::from(x));
    round_to_f32(
        Exact {
            value,
            rest: if rest.is_nan() { 0.0 } else { rest },
        },
        rounding,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: f32 = f32::from_bits(1);

    #[test]
    fn directed_roundings_enclose_the_exact_result() {
        let third = |rounding| div(1.0, 3.0, rounding);
        assert_eq!(third(Rounding::Up), third(Rounding::Down).next_up());
        assert_eq!(third(Rounding::Zero), third(Rounding::Down));
        assert_eq!(div(-1.0, 3.0, Rounding::Zero), -third(Rounding::Down));
        assert_eq!(add(1.0, TINY, Rounding::Up), 1f32.next_up());
        assert_eq!(add(1.0, TINY, Rounding::Down), 1.0);
        assert_eq!(add(1.0, -TINY, Rounding::Zero), 1f32.next_down());
        assert_eq!(fma(TINY, TINY, 1.0, Rounding::Up), 1f32.next_up());
        assert_eq!(mul(TINY, 0.5, Rounding::Up), TINY);
        assert_eq!(mul(TINY, 0.5, Rounding::Down), 0.0);
        assert_eq!(sqrt(2.0, Rounding::Up), sqrt(2.0, Rounding::Zero).next_up());
    }

    #[test]
    fn overflow_goes_to_infinity_only_in_the_direction_of_rounding() {
        assert_eq!(add(f32::MAX, f32::MAX, Rounding::Zero), f32::MAX);
        assert_eq!(add(f32::MAX, f32::MAX, Rounding::Up), f32::INFINITY);
        assert_eq!(mul(f32::MAX, -2.0, Rounding::Up), f32::MIN);
        assert_eq!(add(f32::INFINITY, 1.0, Rounding::Down), f32::INFINITY);
    }

    #[test]
    fn cancellation_gives_minus_zero_only_when_rounding_down() {
        assert_eq!(add(1.0, -1.0, Rounding::Down).to_bits(), 0x8000_0000);
        assert_eq!(add(1.0, -1.0, Rounding::Up).to_bits(), 0);
        assert_eq!(fma(2.0, 0.5, -1.0, Rounding::Down).to_bits(), 0x8000_0000);
    }
}
