//! `cvt` (PTX ISA, "Data Movement and Conversion Instructions: cvt").
//!
//! The conversions that kernels execute in bulk have a vector loop of their own; all others go
//! through one scalar description: read the source as an integer or an f64 (both exact), write it in
//! the destination's format.

use crate::ir::{ConvertMode, HalfKind, Number, R32, R64, Rounding};

use super::float::{NAN32, NAN64, bits32, flush};
use super::half::{Format, NAN16, bf16_from_f32, f16_from_f32, from_f32, to_f32};
use super::registers::{Destination, LANES, Lanes, Registers, Scratch, each_lane};

/// A source value. Every 64-bit integer fits `Int`, every floating-point value fits `Float`.
#[derive(Clone, Copy)]
enum Source {
    Int(i128),
    Float(f64),
}

/// Types and modifiers of one conversion.
#[derive(Clone, Copy)]
pub(crate) struct Conversion {
    pub to: Number,
    pub from: Number,
    pub mode: ConvertMode,
}

/// True when the mode asks for nothing but rounding to nearest even.
fn is_plain(mode: ConvertMode) -> bool {
    mode.rounding == Rounding::Nearest && !has_modifiers(mode)
}

fn has_modifiers(mode: ConvertMode) -> bool {
    mode.ftz || mode.saturate || mode.satfinite || mode.relu
}

#[inline(always)]
pub(crate) fn convert(
    regs: &Registers,
    conversion: Conversion,
    d: u16,
    a: u16,
    out: &mut Scratch,
) -> Destination {
    use Number::*;
    let Conversion { to, from, mode } = conversion;
    let a32 = R32(a);
    let plain = is_plain(mode) && !mode.to_integral;
    let values = match (to, from) {
        (F32, Bf16) if !has_modifiers(mode) => regs.map1_32(a32, |x| x << 16),
        (F32, F16) if !has_modifiers(mode) => regs.map1_32(a32, |x| bits32(to_f32(Format::F16, x))),
        (Bf16, F32) if plain => regs.map1_32(a32, |x| bf16_from_f32(f32::from_bits(x))),
        (F16, F32) if plain => regs.map1_32(a32, |x| f16_from_f32(f32::from_bits(x))),
        (F32, S32) if plain => regs.map1_32(a32, |x| (x as i32 as f32).to_bits()),
        (F32, U32) if plain => regs.map1_32(a32, |x| (x as f32).to_bits()),
        _ => return convert_any(regs, conversion, d, a, out),
    };
    out.w32(R32(d), values)
}

#[inline(never)]
fn convert_any(
    regs: &Registers,
    conversion: Conversion,
    d: u16,
    a: u16,
    out: &mut Scratch,
) -> Destination {
    let mut source = [0; LANES];
    if is_wide(conversion.from) {
        source = *regs.get64(R64(a));
    } else {
        for (wide, narrow) in source.iter_mut().zip(regs.get32(R32(a))) {
            *wide = u64::from(*narrow);
        }
    }
    let values = each_lane(|i| convert_one(conversion, source[i]));
    if is_wide(conversion.to) {
        out.w64(R64(d), values)
    } else {
        out.w32(R32(d), each_lane(|i| values[i] as u32))
    }
}

/// `cvt.rn.{f16,bf16}x2.f32`.
#[inline(always)]
pub(crate) fn convert_pair(
    regs: &Registers,
    (kind, mode): (HalfKind, ConvertMode),
    hi: R32,
    lo: R32,
) -> Lanes<u32> {
    match Format::of(kind) {
        Format::F16 if is_plain(mode) => pack_lanes(regs, hi, lo, f16_from_f32),
        Format::Bf16 if is_plain(mode) => pack_lanes(regs, hi, lo, bf16_from_f32),
        format => convert_pair_any(regs, (format, mode), hi, lo),
    }
}

#[inline(always)]
fn pack_lanes(regs: &Registers, hi: R32, lo: R32, half: impl Fn(f32) -> u32) -> Lanes<u32> {
    let (hi, lo) = (regs.get32(hi), regs.get32(lo));
    let mut out = [0; LANES];
    for i in 0..LANES {
        out[i] = half(f32::from_bits(hi[i])) << 16 | half(f32::from_bits(lo[i]));
    }
    out
}

#[inline(never)]
fn convert_pair_any(
    regs: &Registers,
    (format, mode): (Format, ConvertMode),
    hi: R32,
    lo: R32,
) -> Lanes<u32> {
    let half = |bits| half_bits(format, f64::from(f32::from_bits(bits)), mode);
    regs.map2_32(hi, lo, |hi, lo| half(hi) << 16 | half(lo))
}

fn is_wide(number: Number) -> bool {
    matches!(number, Number::U64 | Number::S64 | Number::F64)
}

/// Bits, and least and largest value, of an integer type.
fn integer_range(number: Number) -> Option<(u32, i128, i128)> {
    let unsigned = |bits: u32| Some((bits, 0, (1i128 << bits) - 1));
    let signed = |bits: u32| Some((bits, -(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1));
    match number {
        Number::U8 => unsigned(8),
        Number::S8 => signed(8),
        Number::U16 => unsigned(16),
        Number::S16 => signed(16),
        Number::U32 => unsigned(32),
        Number::S32 => signed(32),
        Number::U64 => unsigned(64),
        Number::S64 => signed(64),
        Number::F16 | Number::Bf16 | Number::F32 | Number::F64 => None,
    }
}

fn convert_one(conversion: Conversion, bits: u64) -> u64 {
    let Conversion { to, from, mode } = conversion;
    let value = read(from, mode, bits);
    match (integer_range(to), value) {
        (Some((bits, min, max)), Source::Int(x)) => {
            keep_bits(if mode.saturate { x.clamp(min, max) } else { x }, bits)
        }
        (Some((bits, min, max)), Source::Float(x)) => {
            if x.is_nan() {
                let top_bit = from == Number::F64 || bits == 64;
                return if top_bit { 1 << (bits - 1) } else { 0 };
            }
            // The cast saturates at ±2^127, far outside every range that follows.
            keep_bits(
                (round_integral(x, mode.rounding) as i128).clamp(min, max),
                bits,
            )
        }
        (None, Source::Int(x)) if to == Number::F64 => {
            write_float(to, int_to_f64(x, mode.rounding), mode)
        }
        (None, Source::Int(x)) => write_float(to, int_to_odd(x), mode),
        (None, Source::Float(x)) if mode.to_integral => {
            write_float(to, round_integral(x, mode.rounding), mode)
        }
        (None, Source::Float(x)) => write_float(to, x, mode),
    }
}

fn keep_bits(x: i128, bits: u32) -> u64 {
    x as u64 & (u64::MAX >> (64 - bits))
}

fn read(from: Number, mode: ConvertMode, bits: u64) -> Source {
    if let Some((width, min, _)) = integer_range(from) {
        let unused = 128 - width;
        let shifted = i128::from(bits) << unused;
        return Source::Int(if min < 0 {
            shifted >> unused
        } else {
            (shifted as u128 >> unused) as i128
        });
    }
    Source::Float(match from {
        Number::F64 => f64::from_bits(bits),
        Number::F32 => f64::from(flush(f32::from_bits(bits as u32), mode.ftz)),
        Number::F16 => f64::from(to_f32(Format::F16, bits as u32)),
        _ => f64::from(to_f32(Format::Bf16, bits as u32)),
    })
}

/// An integer rounded to f64.
fn int_to_f64(x: i128, rounding: Rounding) -> f64 {
    let nearest = x as f64;
    let rest = x - nearest as i128;
    match rounding {
        Rounding::Up if rest > 0 => nearest.next_up(),
        Rounding::Down if rest < 0 => nearest.next_down(),
        Rounding::Zero if rest < 0 && x > 0 => nearest.next_down(),
        Rounding::Zero if rest > 0 && x < 0 => nearest.next_up(),
        _ => nearest,
    }
}

/// An integer as f64; one that does not fit is rounded to odd, so that rounding again to a shorter
/// format is correct in every direction.
fn int_to_odd(x: i128) -> f64 {
    let nearest = x as f64;
    let rest = x - nearest as i128;
    if rest == 0 {
        return nearest;
    }
    let overshot = (rest < 0) == (x > 0);
    let truncated = if overshot {
        nearest.to_bits() - 1
    } else {
        nearest.to_bits()
    };
    f64::from_bits(truncated | 1)
}

fn round_integral(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
    }
}

fn write_float(to: Number, x: f64, mode: ConvertMode) -> u64 {
    match to {
        Number::F64 if x.is_nan() && !mode.saturate => NAN64,
        Number::F64 => clamp_float(x, mode).to_bits(),
        Number::F32 if x.is_nan() && !mode.saturate => u64::from(NAN32),
        Number::F32 => {
            let rounded = shorten(clamp_float(x, mode), &F32_LIMITS, mode) as f32;
            u64::from(flush(rounded, mode.ftz).to_bits())
        }
        Number::F16 => u64::from(half_bits(Format::F16, x, mode)),
        _ => u64::from(half_bits(Format::Bf16, x, mode)),
    }
}

fn half_bits(format: Format, x: f64, mode: ConvertMode) -> u32 {
    if x.is_nan() && !mode.saturate {
        return NAN16;
    }
    let limits = match format {
        Format::F16 => &F16_LIMITS,
        Format::Bf16 => &BF16_LIMITS,
    };
    from_f32(format, shorten(clamp_float(x, mode), limits, mode) as f32)
}

/// `.sat` and `.relu` before rounding, which they commute with.
fn clamp_float(x: f64, mode: ConvertMode) -> f64 {
    let x = if !mode.saturate {
        x
    } else if x > 0.0 {
        x.min(1.0)
    } else {
        0.0
    };
    if mode.relu && x <= 0.0 { 0.0 } else { x }
}

/// Size of a binary format.
struct Limits {
    /// Stored significand bits.
    mantissa: i32,
    /// Exponent of the smallest normal number.
    min_exponent: i32,
    /// Largest finite value.
    max: f64,
}

const F16_LIMITS: Limits = Limits {
    mantissa: 10,
    min_exponent: -14,
    max: 65504.0,
};
const BF16_LIMITS: Limits = Limits {
    mantissa: 7,
    min_exponent: -126,
    max: f32::from_bits(0x7f7f_0000) as f64,
};
const F32_LIMITS: Limits = Limits {
    mantissa: 23,
    min_exponent: -126,
    max: f32::MAX as f64,
};

/// `x` rounded to a value of the format, still as f64.
fn shorten(x: f64, limits: &Limits, mode: ConvertMode) -> f64 {
    if x == 0.0 || x.is_infinite() && !mode.satfinite {
        return x;
    }
    if x.is_infinite() {
        return limits.max.copysign(x);
    }
    let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(limits.min_exponent);
    // Powers of two inside the range of f64: scaling is exact.
    let quantum = 2f64.powi(exponent - limits.mantissa);
    let rounding = if mode.to_integral {
        Rounding::Nearest
    } else {
        mode.rounding
    };
    let rounded = round_integral(x / quantum, rounding) * quantum;
    if rounded.abs() <= limits.max {
        return rounded.copysign(x);
    }
    let away = match rounding {
        Rounding::Nearest => true,
        Rounding::Zero => false,
        Rounding::Down => x < 0.0,
        Rounding::Up => x > 0.0,
    };
    if away && !mode.satfinite {
        f64::INFINITY.copysign(x)
    } else {
        limits.max.copysign(x)
    }
}
