//! `min`, `max`, `abs` and `neg` of every floating-point format: NaN, signed zeros, `.ftz` (PTX ISA 9.7.3 to 9.7.5).

use rustc_apfloat::ieee::{BFloat, Double, Half, Single};

use crate::cases::Kind;
use crate::ieee::Format;
use crate::table::check;

/// The smaller (`sign` = -1) or larger (+1) operand; a NaN loses unless `nan_wins`; -0 is less than +0.
fn extreme<F: Format>(a: F, b: F, sign: i32, nan_wins: bool) -> F {
    if a.is_nan() || b.is_nan() {
        let loses = nan_wins || a.is_nan() && b.is_nan();
        return if loses {
            F::NAN
        } else if a.is_nan() {
            b
        } else {
            a
        };
    }
    let a_is_less = a < b || (a == b && a.is_negative());
    if a_is_less == (sign < 0) { a } else { b }
}

/// Checks both instructions for one format, and for two in one register where there are pairs.
fn check_extremes<F: Format>(suffix: &str, ftz: bool, nan_wins: bool) {
    for (opcode, sign) in [("min", -1), ("max", 1)] {
        let expected =
            |a: u64, b: u64| extreme(F::operand(a, ftz), F::operand(b, ftz), sign, nan_wins).bits();
        let (r, ty) = (F::REGISTER, F::NAME);
        let body = format!("{opcode}{suffix}.{ty} {r}0, {r}1, {r}2;");
        check(&body, &format!("{r}0"), &[F::KIND; 2], |[a, b, ..]| {
            Some(expected(a, b))
        });
        if let Some(pair) = pair(F::KIND) {
            let body = format!("{opcode}{suffix}.{ty}x2 %r0, %r1, %r2;");
            check(&body, "%r0", &[pair; 2], |[a, b, ..]| {
                let low = expected(a & 0xffff, b & 0xffff);
                Some(expected(a >> 16, b >> 16) << 16 | low)
            });
        }
    }
}

/// Two numbers of a 16-bit format.
pub fn pair(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Float(exponent, fraction) if exponent + fraction == 15 => {
            Some(Kind::Pair(exponent, fraction))
        }
        _ => None,
    }
}

#[test]
fn minimum_and_maximum_ignore_a_nan_unless_told() {
    check_extremes::<Single>("", false, false);
    check_extremes::<Single>(".ftz", true, false);
    check_extremes::<Single>(".NaN", false, true);
    check_extremes::<Single>(".ftz.NaN", true, true);
    check_extremes::<Double>("", false, false);
    check_extremes::<Half>("", false, false);
    check_extremes::<Half>(".ftz", true, false);
    check_extremes::<Half>(".NaN", false, true);
    check_extremes::<Half>(".ftz.NaN", true, true);
    check_extremes::<BFloat>("", false, false);
    check_extremes::<BFloat>(".NaN", false, true);
}

fn check_signs<F: Format>(suffix: &str, ftz: bool) {
    for opcode in ["abs", "neg"] {
        // What becomes of a NaN's bits is left open.
        let expected = |a: u64| {
            let a = F::operand(a, ftz);
            let result = if opcode == "neg" || a.is_negative() {
                -a
            } else {
                a
            };
            (!a.is_nan()).then(|| result.bits())
        };
        let (r, ty) = (F::REGISTER, F::NAME);
        let body = format!("{opcode}{suffix}.{ty} {r}0, {r}1;");
        check(&body, &format!("{r}0"), &[F::KIND], |[a, ..]| expected(a));
        if let Some(pair) = pair(F::KIND) {
            let body = format!("{opcode}{suffix}.{ty}x2 %r0, %r1;");
            check(&body, "%r0", &[pair], |[a, ..]| {
                Some(expected(a >> 16)? << 16 | expected(a & 0xffff)?)
            });
        }
    }
}

#[test]
fn signs_are_changed_and_nothing_else_but_flushed_subnormals() {
    check_signs::<Single>("", false);
    check_signs::<Single>(".ftz", true);
    check_signs::<Double>("", false);
    check_signs::<Half>("", false);
    check_signs::<Half>(".ftz", true);
    check_signs::<BFloat>("", false);
}
