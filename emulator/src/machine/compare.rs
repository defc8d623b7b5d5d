//! Comparison, selection and predicate logic (PTX ISA, "Comparison and Selection").

use crate::ir::{FloatClass, FloatCmp, HalfKind, IntCmp, Pred, PredLogic, R32, R64};

use super::float::flush;
use super::half::{Format, to_f32};
use super::registers::{Mask, Registers, each_lane};

#[inline(always)]
pub(crate) fn setp16(regs: &mut Registers, mask: Mask, cmp: IntCmp, d: Pred, a: R32, b: R32) {
    let holds = |x: u32, y: u32| match cmp {
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
    };
    regs.test2_32(a, b, holds);
}

#[inline(always)]
pub(crate) fn setp32(regs: &mut Registers, mask: Mask, cmp: IntCmp, d: Pred, a: R32, b: R32) {
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
pub(crate) fn setp64(regs: &mut Registers, mask: Mask, cmp: IntCmp, d: Pred, a: R64, b: R64) {
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
    match cmp {
        FloatCmp::Eq => x == y,
        FloatCmp::Ne => x < y || x > y,
        FloatCmp::Lt => x < y,
        FloatCmp::Le => x <= y,
        FloatCmp::Gt => x > y,
        FloatCmp::Ge => x >= y,
        FloatCmp::Equ => !(x < y || x > y),
        FloatCmp::Neu => x != y,
        FloatCmp::Ltu => !(x >= y),
        FloatCmp::Leu => !(x > y),
        FloatCmp::Gtu => !(x <= y),
        FloatCmp::Geu => !(x < y),
        FloatCmp::Num => x.partial_cmp(&y).is_some(),
        FloatCmp::Nan => x.partial_cmp(&y).is_none(),
    }
}

#[inline(always)]
pub(crate) fn setp_f32(
    regs: &mut Registers,
    mask: Mask,
    (cmp, ftz): (FloatCmp, bool),
    d: Pred,
    a: R32,
    b: R32,
) {
    let mut test = |cmp| {
        regs.test2_32(a, b, |x, y| {
            float_holds(
                cmp,
                flush(f32::from_bits(x), ftz),
                flush(f32::from_bits(y), ftz),
            )
        });
    };
    // The comparison is a constant in each arm, so that each becomes one vector compare.
    match cmp {
        FloatCmp::Eq => test(FloatCmp::Eq),
        FloatCmp::Neu => test(FloatCmp::Neu),
        FloatCmp::Lt => test(FloatCmp::Lt),
        FloatCmp::Le => test(FloatCmp::Le),
        FloatCmp::Gt => test(FloatCmp::Gt),
        FloatCmp::Ge => test(FloatCmp::Ge),
        other => test(other),
    }
}

#[inline(never)]
pub(crate) fn setp_f64(regs: &mut Registers, mask: Mask, cmp: FloatCmp, d: Pred, a: R64, b: R64) {
    regs.test2_64(a, b, |x, y| {
        float_holds(cmp, f64::from_bits(x), f64::from_bits(y))
    });
}

/// Operands of a comparison of 16-bit floats.
pub(crate) struct HalfTest {
    pub cmp: FloatCmp,
    pub kind: HalfKind,
    pub ftz: bool,
}

#[inline(never)]
pub(crate) fn setp_half(regs: &mut Registers, mask: Mask, t: HalfTest, d: Pred, a: R32, b: R32) {
    let format = Format::of(t.kind);
    let value = |bits: u32| {
        let subnormal = bits & 0x7c00 == 0 && format == Format::F16;
        let kept = if t.ftz && subnormal {
            bits & 0x8000
        } else {
            bits & 0xffff
        };
        to_f32(format, kept)
    };
    regs.test2_32(a, b, |x, y| float_holds(t.cmp, value(x), value(y)));
}

#[inline(never)]
pub(crate) fn test_f32(regs: &mut Registers, mask: Mask, class: FloatClass, d: Pred, a: R32) {
    regs.test2_32(a, a, |x, _| {
        let x = f32::from_bits(x);
        match class {
            FloatClass::Finite => x.is_finite(),
            FloatClass::Infinite => x.is_infinite(),
            FloatClass::Number => !x.is_nan(),
            FloatClass::NotANumber => x.is_nan(),
            FloatClass::Normal => x.is_normal(),
            FloatClass::Subnormal => x.is_subnormal(),
        }
    });
}

#[inline(never)]
pub(crate) fn test_f64(regs: &mut Registers, mask: Mask, class: FloatClass, d: Pred, a: R64) {
    regs.test2_64(a, a, |x, _| {
        let x = f64::from_bits(x);
        match class {
            FloatClass::Finite => x.is_finite(),
            FloatClass::Infinite => x.is_infinite(),
            FloatClass::Number => !x.is_nan(),
            FloatClass::NotANumber => x.is_nan(),
            FloatClass::Normal => x.is_normal(),
            FloatClass::Subnormal => x.is_subnormal(),
        }
    });
}

#[inline(always)]
pub(crate) fn select32(regs: &mut Registers, mask: Mask, d: R32, a: R32, b: R32, p: Pred) {
    let (x, y, p) = (regs.get32(a), regs.get32(b), regs.get_pred(p));
    let out = each_lane(|i| if p >> i & 1 != 0 { x[i] } else { y[i] });
    regs.set32(mask, d, &out);
}

#[inline(always)]
pub(crate) fn select64(regs: &mut Registers, mask: Mask, d: R64, a: R64, b: R64, p: Pred) {
    let (x, y, p) = (regs.get64(a), regs.get64(b), regs.get_pred(p));
    let out = each_lane(|i| if p >> i & 1 != 0 { x[i] } else { y[i] });
    regs.set64(mask, d, &out);
}

#[inline(always)]
pub(crate) fn pred_logic(
    regs: &mut Registers,
    mask: Mask,
    op: PredLogic,
    d: Pred,
    a: Pred,
    b: Pred,
) {
    let (a, b) = (regs.get_pred(a), regs.get_pred(b));
    let value = match op {
        PredLogic::Mov => a,
        PredLogic::Not => !a,
        PredLogic::And => a & b,
        PredLogic::Or => a | b,
        PredLogic::Xor => a ^ b,
        PredLogic::AndNot => a & !b,
        PredLogic::OrNot => a | !b,
        PredLogic::XorNot => a ^ !b,
    };
    regs.set_pred(mask, d, value);
}
