//! f32 and f64 arithmetic (PTX ISA 9.7.3) in every rounding and mode.

use rustc_apfloat::ieee::{Double, Single};
use rustc_apfloat::{Float, Round};

use crate::ieee::{Format, Modifiers, ROUNDINGS};
use crate::table::check;

/// All modifiers of f32 arithmetic as written, and what they mean.
fn modifiers(saturates: bool) -> Vec<(String, Modifiers)> {
    let mut all = Vec::new();
    for (letter, round) in ROUNDINGS {
        for (ftz, flush) in [(false, ""), (true, ".ftz")] {
            for (sat, clamp) in [(false, ""), (true, ".sat")] {
                if saturates || !sat {
                    let with = Modifiers {
                        round,
                        ftz,
                        sat,
                        relu: false,
                    };
                    all.push((format!(".r{letter}{flush}{clamp}"), with));
                }
            }
        }
    }
    all
}

/// Checks an f32 instruction of `N` operands in every mode.
fn check_single<const N: usize>(
    opcode: &str,
    saturates: bool,
    expected: impl Fn([Single; N], Round) -> Single,
) {
    let operands: String = (1..=N).map(|i| format!(", %r{i}")).collect();
    for (suffix, with) in modifiers(saturates) {
        let body = format!("{opcode}{suffix}.f32 %r0{operands};");
        check(&body, "%r0", &[Single::KIND; N], |row| {
            let operands = std::array::from_fn(|i| Single::operand(row[i], with.ftz));
            Some(expected(operands, with.round).finished(with))
        });
    }
}

/// Checks an f64 instruction of `N` operands.
fn check_double<const N: usize>(opcode: &str, expected: impl Fn([Double; N]) -> Double) {
    let operands: String = (1..=N).map(|i| format!(", %rd{i}")).collect();
    check(
        &format!("{opcode}.rn.f64 %rd0{operands};"),
        "%rd0",
        &[Double::KIND; N],
        |row| Some(expected(std::array::from_fn(|i| Double::operand(row[i], false))).bits()),
    );
}

const NEAREST: Round = Round::NearestTiesToEven;

#[test]
fn sums_and_products_are_rounded_once_in_the_direction_named() {
    check_single("add", true, |[a, b], round| a.add_r(b, round).value);
    check_single("sub", true, |[a, b], round| a.sub_r(b, round).value);
    check_single("mul", true, |[a, b], round| a.mul_r(b, round).value);
    check_double("add", |[a, b]| a.add_r(b, NEAREST).value);
    check_double("sub", |[a, b]| a.sub_r(b, NEAREST).value);
    check_double("mul", |[a, b]| a.mul_r(b, NEAREST).value);
}

#[test]
fn a_sum_without_a_rounding_rounds_to_nearest() {
    check(
        "add.f32 %r0, %r1, %r2;",
        "%r0",
        &[Single::KIND; 2],
        |[a, b, ..]| {
            let (a, b) = (Single::operand(a, false), Single::operand(b, false));
            Some(a.add_r(b, NEAREST).value.finished(Modifiers::NONE))
        },
    );
}

#[test]
fn fused_products_and_sums_are_rounded_once() {
    check_single("fma", true, |[a, b, c], round| {
        a.mul_add_r(b, c, round).value
    });
    check_single("mad", true, |[a, b, c], round| {
        a.mul_add_r(b, c, round).value
    });
    check_double("fma", |[a, b, c]| a.mul_add_r(b, c, NEAREST).value);
}

#[test]
fn quotients_and_reciprocals_are_rounded_once() {
    let one = Single::from_u128(1).value;
    check_single("div", false, |[a, b], round| a.div_r(b, round).value);
    check_single("rcp", false, |[a], round| one.div_r(a, round).value);
    let one = Double::from_u128(1).value;
    check_double("div", |[a, b]| a.div_r(b, NEAREST).value);
    check_double("rcp", |[a]| one.div_r(a, NEAREST).value);
}

/// The square of an f32 has 48 bits and is exact in f64, so a square tells on which side of the root it lies.
#[test]
fn square_roots_are_rounded_once() {
    check_single("sqrt", false, |[a], round| {
        let x = f32::from_bits(a.to_bits() as u32);
        let nearest = x.sqrt();
        let square = f64::from(nearest) * f64::from(nearest);
        let root = match round {
            Round::TowardPositive if square < f64::from(x) => nearest.next_up(),
            Round::TowardNegative | Round::TowardZero if square > f64::from(x) => {
                nearest.next_down()
            }
            _ => nearest,
        };
        Single::from_bits(u128::from(root.to_bits()))
    });
    check_double("sqrt", |[a]| {
        let root = f64::from_bits(a.to_bits() as u64).sqrt();
        Double::from_bits(u128::from(root.to_bits()))
    });
}
