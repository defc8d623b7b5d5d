//! `cvt` between floating-point formats, and to integral values of the same one (PTX ISA 9.7.9, "cvt").

use rustc_apfloat::ieee::{BFloat, Double, Half, Single};
use rustc_apfloat::{FloatConvert, Round};

use crate::ieee::{Format, Modifiers, ROUNDINGS};
use crate::table::check;

/// `.satfinite`: nothing is larger than the largest number.
fn finite<F: Format>(x: F) -> F {
    if x.is_infinite() {
        F::largest().copy_sign(x)
    } else {
        x
    }
}

/// The result of a conversion of the number in `bits`. Only f32 has `.ftz`, as source and as destination.
fn converted<From: Format + FloatConvert<To>, To: Format>(
    bits: u64,
    with: Modifiers,
    satfinite: bool,
) -> u64 {
    let source = From::operand(bits, with.ftz && From::KIND == Single::KIND);
    let result: To = source.convert_r(with.round, &mut false).value;
    let result = if satfinite { finite(result) } else { result };
    let ftz = with.ftz && To::KIND == Single::KIND;
    result.finished(Modifiers { ftz, ..with })
}

fn check_conversion<From: Format + FloatConvert<To>, To: Format>(
    suffix: &str,
    with: Modifiers,
    satfinite: bool,
) {
    let body = format!(
        "cvt{suffix}.{}.{} {}0, {}1;",
        To::NAME,
        From::NAME,
        To::REGISTER,
        From::REGISTER
    );
    check(
        &body,
        &format!("{}0", To::REGISTER),
        &[From::KIND],
        |[a, ..]| {
            // The NaN that a wider bf16 becomes is left open.
            let is_open =
                From::KIND == BFloat::KIND && From::operand(a, false).is_nan() && !with.sat;
            (!is_open).then(|| converted::<From, To>(a, with, satfinite))
        },
    );
}

#[test]
fn wider_formats_hold_the_same_number() {
    let none = Modifiers::NONE;
    check_conversion::<Half, Single>("", none, false);
    check_conversion::<Half, Double>("", none, false);
    check_conversion::<BFloat, Single>("", none, false);
    check_conversion::<Single, Double>("", none, false);
    let ftz = Modifiers { ftz: true, ..none };
    check_conversion::<Half, Single>(".ftz", ftz, false);
    check_conversion::<Single, Double>(".ftz", ftz, false);
    let sat = Modifiers { sat: true, ..none };
    check_conversion::<Half, Single>(".sat", sat, false);
    check_conversion::<Single, Double>(".sat", sat, false);
}

#[test]
fn shorter_formats_are_rounded_to_once() {
    for (letter, round) in ROUNDINGS {
        let with = Modifiers {
            round,
            ..Modifiers::NONE
        };
        let (ftz, sat) = (
            Modifiers { ftz: true, ..with },
            Modifiers { sat: true, ..with },
        );
        let suffix = |rest: &str| format!(".r{letter}{rest}");
        check_conversion::<Single, Half>(&suffix(""), with, false);
        check_conversion::<Single, Half>(&suffix(".ftz"), ftz, false);
        check_conversion::<Single, Half>(&suffix(".sat"), sat, false);
        check_conversion::<Double, Single>(&suffix(""), with, false);
        check_conversion::<Double, Single>(&suffix(".ftz"), ftz, false);
        check_conversion::<Double, Single>(&suffix(".sat"), sat, false);
        check_conversion::<Double, Half>(&suffix(""), with, false);
        check_conversion::<Double, Half>(&suffix(".sat"), sat, false);
        check_conversion::<Double, BFloat>(&suffix(""), with, false);
        check_conversion::<Single, BFloat>(&suffix(""), with, false);
    }
}

/// `.relu` and `.satfinite` with the roundings they exist for.
fn clamps() -> impl Iterator<Item = (String, Modifiers, bool)> {
    let relus = [("", false), (".relu", true)];
    let limits = [("", false), (".satfinite", true)];
    ROUNDINGS[..2].iter().flat_map(move |&(letter, round)| {
        relus.into_iter().flat_map(move |(clamp, relu)| {
            limits.into_iter().map(move |(limit, satfinite)| {
                let with = Modifiers {
                    round,
                    relu,
                    ..Modifiers::NONE
                };
                (format!(".r{letter}{clamp}{limit}"), with, satfinite)
            })
        })
    })
}

#[test]
fn conversions_to_16_bits_clamp_as_told() {
    for (suffix, with, satfinite) in clamps() {
        check_conversion::<Single, Half>(&suffix, with, satfinite);
        check_conversion::<Single, BFloat>(&suffix, with, satfinite);
    }
}

#[test]
fn pairs_have_the_first_operand_in_the_high_half() {
    for (suffix, with, satfinite) in clamps() {
        let body = format!("cvt{suffix}.f16x2.f32 %r0, %r1, %r2;");
        check(&body, "%r0", &[Single::KIND; 2], |[a, b, ..]| {
            let high = converted::<Single, Half>(a, with, satfinite);
            Some(high << 16 | converted::<Single, Half>(b, with, satfinite))
        });
        let body = format!("cvt{suffix}.bf16x2.f32 %r0, %r1, %r2;");
        check(&body, "%r0", &[Single::KIND; 2], |[a, b, ..]| {
            let high = converted::<Single, BFloat>(a, with, satfinite);
            Some(high << 16 | converted::<Single, BFloat>(b, with, satfinite))
        });
    }
}

fn check_integral<F: Format>(flushes: bool) {
    for (letter, round) in ROUNDINGS {
        for (suffix, ftz, sat) in [
            ("", false, false),
            (".sat", false, true),
            (".ftz", true, false),
        ] {
            if ftz && !flushes {
                continue;
            }
            let (r, ty) = (F::REGISTER, F::NAME);
            let body = format!("cvt.r{letter}i{suffix}.{ty}.{ty} {r}0, {r}1;");
            check(&body, &format!("{r}0"), &[F::KIND], |[a, ..]| {
                Some(integral(F::operand(a, ftz), round).finished(Modifiers {
                    sat,
                    ..Modifiers::NONE
                }))
            });
        }
    }
}

/// A zero keeps the sign of what was rounded.
fn integral<F: Format>(x: F, round: Round) -> F {
    x.round_to_integral(round).value.copy_sign(x)
}

#[test]
fn integral_roundings_stay_in_the_format() {
    check_integral::<Half>(false);
    check_integral::<Single>(true);
    check_integral::<Double>(false);
}
