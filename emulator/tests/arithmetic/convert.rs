//! `cvt` with an integer on one side or on both (PTX ISA 9.7.9, "cvt").

use rustc_apfloat::Round;
use rustc_apfloat::ieee::{BFloat, Double, Half, Single};

use crate::cases::Kind;
use crate::ieee::{Format, Modifiers, ROUNDINGS};
use crate::table::check;

/// An integer type.
#[derive(Clone, Copy)]
struct Type {
    signed: bool,
    bits: u32,
}

impl Type {
    fn all() -> impl Iterator<Item = Type> + Clone {
        let both = [false, true].into_iter();
        [8, 16, 32, 64]
            .into_iter()
            .flat_map(move |bits| both.clone().map(move |signed| Type { signed, bits }))
    }

    fn name(self) -> String {
        format!("{}{}", if self.signed { "s" } else { "u" }, self.bits)
    }

    fn min(self) -> i128 {
        if self.signed {
            -(1 << (self.bits - 1))
        } else {
            0
        }
    }

    fn max(self) -> i128 {
        self.min() + (1 << self.bits) - 1
    }

    /// The number in the low bits of `x`.
    fn value(self, x: i128) -> i128 {
        let low = x & ((1 << self.bits) - 1);
        if low > self.max() {
            low - (1 << self.bits)
        } else {
            low
        }
    }

    /// Registers that are wide enough, and their bits.
    fn registers(self) -> impl Iterator<Item = (&'static str, u32)> {
        let all = [("%q", 8), ("%h", 16), ("%r", 32), ("%rd", 64)].into_iter();
        all.filter(move |&(_, bits)| bits >= self.bits)
    }

    /// Those that a conversion from or to `F` has: beside bf16, of the integer's own size only.
    fn registers_beside<F: Format>(self) -> impl Iterator<Item = (&'static str, u32)> {
        let count = if F::NAME == "bf16" { 1 } else { 4 };
        self.registers().take(count)
    }
}

fn cut(x: i128, bits: u32) -> u64 {
    x as u64 & u64::MAX >> (64 - bits)
}

#[test]
fn integers_are_cut_to_their_type_and_extended_by_its_sign() {
    for (from, to) in Type::all().flat_map(|from| Type::all().map(move |to| (from, to))) {
        for (source, source_bits) in from.registers() {
            for (target, target_bits) in to.registers() {
                let body = format!("cvt.{}.{} {target}0, {source}1;", to.name(), from.name());
                check(
                    &body,
                    &format!("{target}0"),
                    &[Kind::Int(source_bits)],
                    |[a, ..]| Some(cut(to.value(from.value(i128::from(a))), target_bits)),
                );
            }
        }
    }
}

#[test]
fn saturating_conversions_of_integers_stop_at_the_ends_of_the_range() {
    for (from, to) in Type::all().flat_map(|from| Type::all().map(move |to| (from, to))) {
        // .sat is for types that do not hold every value.
        if to.min() <= from.min() && to.max() >= from.max() {
            continue;
        }
        for (source, source_bits) in from.registers() {
            for (target, target_bits) in to.registers() {
                let body = format!(
                    "cvt.sat.{}.{} {target}0, {source}1;",
                    to.name(),
                    from.name()
                );
                check(
                    &body,
                    &format!("{target}0"),
                    &[Kind::Int(source_bits)],
                    |[a, ..]| {
                        let value = from.value(i128::from(a));
                        Some(cut(value.clamp(to.min(), to.max()), target_bits))
                    },
                );
            }
        }
    }
}

fn check_from_integers<F: Format>() {
    let r = F::REGISTER;
    for from in Type::all() {
        for (letter, round) in ROUNDINGS {
            // bf16 has no .sat.
            let count = if F::NAME == "bf16" { 1 } else { 2 };
            for (suffix, sat) in [("", false), (".sat", true)].into_iter().take(count) {
                let widest = from.registers_beside::<F>().last();
                let (source, source_bits) = widest.expect("64 bits hold all");
                let ty = from.name();
                let body = format!("cvt.r{letter}{suffix}.{}.{ty} {r}0, {source}1;", F::NAME);
                check(
                    &body,
                    &format!("{r}0"),
                    &[Kind::Int(source_bits)],
                    |[a, ..]| {
                        let value = F::from_i128_r(from.value(i128::from(a)), round).value;
                        Some(value.finished(Modifiers {
                            sat,
                            ..Modifiers::NONE
                        }))
                    },
                );
            }
        }
    }
}

#[test]
fn integers_become_floats_with_one_rounding() {
    check_from_integers::<Half>();
    check_from_integers::<BFloat>();
    check_from_integers::<Single>();
    check_from_integers::<Double>();
}

/// `x` rounded to an integer of type `to`, clamped to its range.
fn to_integer<F: Format>(x: F, to: Type, round: Round) -> i128 {
    if x.is_nan() {
        // 0, or the top bit alone where f64 or 64 bits are involved.
        let top = F::KIND == Double::KIND || to.bits == 64;
        return if top { 1 << (to.bits - 1) } else { 0 };
    }
    let width = to.bits as usize;
    if to.signed {
        x.to_i128_r(width, round, &mut false).value
    } else {
        x.to_u128_r(width, round, &mut false).value as i128
    }
}

fn check_to_integers<F: Format>(suffixes: &[(&str, bool)]) {
    let r = F::REGISTER;
    for to in Type::all() {
        for (letter, round) in ROUNDINGS {
            for &(suffix, ftz) in suffixes {
                for (target, target_bits) in to.registers_beside::<F>() {
                    let (ty, float) = (to.name(), F::NAME);
                    let body = format!("cvt.r{letter}i{suffix}.{ty}.{float} {target}0, {r}1;");
                    check(&body, &format!("{target}0"), &[F::KIND], |[a, ..]| {
                        let value = to_integer(F::operand(a, ftz), to, round);
                        Some(cut(to.value(value), target_bits))
                    });
                }
            }
        }
    }
}

/// Clamping needs no `.sat`.
#[test]
fn floats_become_integers_rounded_as_told_and_clamped() {
    check_to_integers::<Half>(&[("", false), (".sat", false)]);
    check_to_integers::<BFloat>(&[("", false)]);
    check_to_integers::<Single>(&[
        ("", false),
        (".sat", false),
        (".ftz", true),
        (".ftz.sat", true),
    ]);
    check_to_integers::<Double>(&[("", false), (".sat", false)]);
}
