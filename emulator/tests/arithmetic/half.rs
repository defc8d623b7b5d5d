//! f16 and bf16 arithmetic, single and in pairs (PTX ISA 9.7.4): rounded once to nearest.

use rustc_apfloat::Round::NearestTiesToEven;
use rustc_apfloat::ieee::{BFloat, Half};

use crate::float_extremes::pair;
use crate::ieee::{Format, Modifiers};
use crate::table::check;

/// Checks an instruction of `N` operands on one number and on pairs.
fn check_both<F: Format, const N: usize>(
    opcode: &str,
    with: Modifiers,
    expected: impl Fn([F; N]) -> F,
) {
    let result = |row: [u64; 4], shift: u32| {
        let operand = |i: usize| F::operand(row[i] >> shift & 0xffff, with.ftz);
        expected(std::array::from_fn(operand)).finished(with)
    };
    let operands = |r: &str| -> String { (1..=N).map(|i| format!(", {r}{i}")).collect() };
    let body = format!("{opcode}.{} %h0{};", F::NAME, operands("%h"));
    check(&body, "%h0", &[F::KIND; N], |row| Some(result(row, 0)));
    let pairs = [pair(F::KIND).expect("a 16-bit format"); N];
    let body = format!("{opcode}.{}x2 %r0{};", F::NAME, operands("%r"));
    check(&body, "%r0", &pairs, |row| {
        Some(result(row, 16) << 16 | result(row, 0))
    });
}

/// `.ftz`, `.sat` and `.relu` in the combinations that exist, as written.
fn modifiers(flushes: bool, saturates: bool, clamps: bool) -> Vec<(String, Modifiers)> {
    let mut all = Vec::new();
    for ftz in [false, true] {
        for (sat, relu) in [(false, false), (true, false), (false, true)] {
            if (flushes || !ftz) && (saturates || !sat) && (clamps || !relu) {
                let word = |on: bool, word: &'static str| if on { word } else { "" };
                let suffix = [word(ftz, ".ftz"), word(sat, ".sat"), word(relu, ".relu")].concat();
                all.push((
                    suffix,
                    Modifiers {
                        ftz,
                        sat,
                        relu,
                        ..Modifiers::NONE
                    },
                ));
            }
        }
    }
    all
}

fn check_format<F: Format>(flushes: bool, saturates: bool) {
    for (suffix, with) in modifiers(flushes, saturates, false) {
        check_both::<F, 2>(&format!("add{suffix}"), with, |[a, b]| {
            a.add_r(b, NearestTiesToEven).value
        });
        check_both::<F, 2>(&format!("sub.rn{suffix}"), with, |[a, b]| {
            a.sub_r(b, NearestTiesToEven).value
        });
        check_both::<F, 2>(&format!("mul{suffix}"), with, |[a, b]| {
            a.mul_r(b, NearestTiesToEven).value
        });
    }
    for (suffix, with) in modifiers(flushes, saturates, true) {
        check_both::<F, 3>(&format!("fma.rn{suffix}"), with, |[a, b, c]| {
            a.mul_add_r(b, c, NearestTiesToEven).value
        });
    }
}

#[test]
fn f16_arithmetic_is_rounded_once() {
    check_format::<Half>(true, true);
}

#[test]
fn bf16_arithmetic_is_rounded_once() {
    check_format::<BFloat>(false, false);
}
