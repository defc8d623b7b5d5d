//! Comparison, selection and predicate logic (PTX ISA, "Comparison and Selection").

use crate::ir::{FloatClass, FloatCmp, HalfKind, IntCmp, Pred, PredLogic, R32, R64};

use super::float::flush;
use super::half::{Format, to_f32};
use super::registers::{Lanes, Registers, each_lane};

#[inline(never)]
pub(crate) fn setp16(regs: &Registers, cmp: IntCmp, a: R32, b: R32) -> u32 {
    regs.test2_32(a, b, |x, y| match cmp {
        IntCmp::Eq => x as u16 == y as u16,
        IntCmp::Ne => x as u16 != y as u16,
        IntCmp::LtS => (x as i16) < y as i16,
        IntCmp::LeS => x as i16 <= y as i16,
        IntCmp::GtS => x as i16 > y as i16,
        IntCmp::GeS => x as i16 >= y as i16,
        IntCmp::LtU => (x as u16) < y as u16,
        IntCmp::LeU => x as u16 <= y as u16,
        IntCmp::GtU => x as u16 > y as u16,
        IntCmp::GeU => x as u16 >= y as u16,
    })
}

#[inline(always)]
pub(crate) fn setp32(regs: &Registers, cmp: IntCmp, a: R32, b: R32) -> u32 {
    match cmp {
        IntCmp::Eq => regs.test2_32(a, b, |x, y| x == y),
        IntCmp::Ne => regs.test2_32(a, b, |x, y| x != y),
        IntCmp::LtS => regs.test2_32(a, b, |x, y| (x as i32) < y as i32),
        IntCmp::LeS => regs.test2_32(a, b, |x, y| x as i32 <= y as i32),
        IntCmp::GtS => regs.test2_32(a, b, |x, y| x as i32 > y as i32),
        IntCmp::GeS => regs.test2_32(a, b, |x, y| x as i32 >= y as i32),
        IntCmp::LtU => regs.test2_32(a, b, |x, y| x < y),
        IntCmp::LeU => regs.test2_32(a, b, |x, y| x <= y),
        IntCmp::GtU => regs.test2_32(a, b, |x, y| x > y),
        IntCmp::GeU => regs.test2_32(a, b, |x, y| x >= y),
    }
}

#[inline(always)]
pub(crate) fn setp64(regs: &Registers, cmp: IntCmp, a: R64, b: R64) -> u32 {
    match cmp {
        IntCmp::Eq => regs.test2_64(a, b, |x, y| x == y),
        IntCmp::Ne => regs.test2_64(a, b, |x, y| x != y),
        IntCmp::LtS => regs.test2_64(a, b, |x, y| (x as i64) < y as i64),
        IntCmp::LeS => regs.test2_64(a, b, |x, y| x as i64 <= y as i64),
        IntCmp::GtS => regs.test2_64(a, b, |x, y| x as i64 > y as i64),
        IntCmp::GeS => regs.test2_64(a, b, |x, y| x as i64 >= y as i64),
        IntCmp::LtU => regs.test2_64(a, b, |x, y| x < y),
        IntCmp::LeU => regs.test2_64(a, b, |x, y| x <= y),
        IntCmp::GtU => regs.test2_64(a, b, |x, y| x > y),
        IntCmp::GeU => regs.test2_64(a, b, |x, y| x >= y),
    }
}

/// Whether a floating-point comparison holds. Rust's operators are false on NaN except `!=`.
#[inline(always)]
fn float_holds<F: PartialOrd + Copy>(cmp: FloatCmp, x: F, y: F) -> bool {
    let unordered = x.partial_cmp(&y).is_none();
    match cmp {
        FloatCmp::Eq => x == y,
        FloatCmp::Ne => !unordered && x != y,
        FloatCmp::Lt => x < y,
        FloatCmp::Le => x <= y,
        FloatCmp::Gt => x > y,
        FloatCmp::Ge => x >= y,
        FloatCmp::Equ => unordered || x == y,
        FloatCmp::Neu => x != y,
        FloatCmp::Ltu => unordered || x < y,
        FloatCmp::Leu => unordered || x <= y,
        FloatCmp::Gtu => unordered || x > y,
        FloatCmp::Geu => unordered || x >= y,
        FloatCmp::Num => !unordered,
        FloatCmp::Nan => unordered,
    }
}

#[inline(always)]
pub(crate) fn setp_f32(regs: &Registers, (cmp, ftz): (FloatCmp, bool), a: R32, b: R32) -> u32 {
    let value = f32::from_bits;
    match cmp {
        FloatCmp::Eq if !ftz => regs.test2_32(a, b, |x, y| value(x) == value(y)),
        FloatCmp::Neu if !ftz => regs.test2_32(a, b, |x, y| value(x) != value(y)),
        FloatCmp::Lt if !ftz => regs.test2_32(a, b, |x, y| value(x) < value(y)),
        FloatCmp::Le if !ftz => regs.test2_32(a, b, |x, y| value(x) <= value(y)),
        FloatCmp::Gt if !ftz => regs.test2_32(a, b, |x, y| value(x) > value(y)),
        FloatCmp::Ge if !ftz => regs.test2_32(a, b, |x, y| value(x) >= value(y)),
        _ => setp_f32_any(regs, (cmp, ftz), a, b),
    }
}

#[inline(never)]
fn setp_f32_any(regs: &Registers, (cmp, ftz): (FloatCmp, bool), a: R32, b: R32) -> u32 {
    let value = |bits| flush(f32::from_bits(bits), ftz);
    regs.test2_32(a, b, |x, y| float_holds(cmp, value(x), value(y)))
}

#[inline(never)]
pub(crate) fn setp_f64(regs: &Registers, cmp: FloatCmp, a: R64, b: R64) -> u32 {
    regs.test2_64(a, b, |x, y| {
        float_holds(cmp, f64::from_bits(x), f64::from_bits(y))
    })
}

/// A comparison of 16-bit floats.
pub(crate) struct HalfTest {
    pub cmp: FloatCmp,
    pub kind: HalfKind,
    pub ftz: bool,
}

#[inline(never)]
pub(crate) fn setp_half(regs: &Registers, test: HalfTest, a: R32, b: R32) -> u32 {
    let format = Format::of(test.kind);
    let value = |bits: u32| {
        let subnormal = bits & 0x7c00 == 0 && format == Format::F16;
        let kept = if test.ftz && subnormal {
            bits & 0x8000
        } else {
            bits & 0xffff
        };
        to_f32(format, kept)
    };
    regs.test2_32(a, b, |x, y| float_holds(test.cmp, value(x), value(y)))
}

#[inline(never)]
pub(crate) fn test_f32(regs: &Registers, class: FloatClass, a: R32) -> u32 {
    regs.test2_32(a, a, |x, _| {
        let x = f32::from_bits(x);
        match class {
            FloatClass::Finite => x.is_finite(),
            FloatClass::Infinite => x.is_infinite(),
            FloatClass::Number => !x.is_nan(),
            FloatClass::NotANumber => x.is_nan(),
            FloatClass::Normal => x.is_normal() || x == 0.0,
            FloatClass::Subnormal => x.is_subnormal(),
        }
    })
}

#[inline(never)]
pub(crate) fn test_f64(regs: &Registers, class: FloatClass, a: R64) -> u32 {
    regs.test2_64(a, a, |x, _| {
        let x = f64::from_bits(x);
        match class {
            FloatClass::Finite => x.is_finite(),
            FloatClass::Infinite => x.is_infinite(),
            FloatClass::Number => !x.is_nan(),
            FloatClass::NotANumber => x.is_nan(),
            FloatClass::Normal => x.is_normal() || x == 0.0,
            FloatClass::Subnormal => x.is_subnormal(),
        }
    })
}

#[inline(always)]
pub(crate) fn select32(regs: &Registers, a: R32, b: R32, p: Pred) -> Lanes<u32> {
    let (x, y, p) = (regs.get32(a), regs.get32(b), regs.get_pred(p));
    each_lane(|i| if p >> i & 1 != 0 { x[i] } else { y[i] })
}

#[inline(always)]
pub(crate) fn select64(regs: &Registers, a: R64, b: R64, p: Pred) -> Lanes<u64> {
    let (x, y, p) = (regs.get64(a), regs.get64(b), regs.get_pred(p));
    each_lane(|i| if p >> i & 1 != 0 { x[i] } else { y[i] })
}

#[inline(always)]
pub(crate) fn pred_logic(regs: &Registers, op: PredLogic, a: Pred, b: Pred) -> u32 {
    let (a, b) = (regs.get_pred(a), regs.get_pred(b));
    match op {
        PredLogic::Mov => a,
        PredLogic::Not => !a,
        PredLogic::And => a & b,
        PredLogic::Or => a | b,
        PredLogic::Xor => a ^ b,
    }
}
