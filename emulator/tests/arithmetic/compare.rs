//! Comparison and selection (PTX ISA 9.7.6 and 9.7.7).

use std::cmp::Ordering::{self, Equal, Greater, Less};

use rustc_apfloat::Float;
use rustc_apfloat::ieee::{BFloat, Double, Half, Single};

use crate::bits::BOOLEANS;
use crate::cases::{F32, F64, Kind, PREDICATE};
use crate::ieee::Format;
use crate::table::check;

/// What a comparison makes of the order of its operands.
type Outcome = fn(Ordering) -> bool;

/// Comparisons of ordered values.
const ORDERED: [(&str, Outcome); 6] = [
    ("eq", |o| o == Equal),
    ("ne", |o| o != Equal),
    ("lt", |o| o == Less),
    ("le", |o| o != Greater),
    ("gt", |o| o == Greater),
    ("ge", |o| o != Less),
];

/// Checks every comparison of two integers of one type. `outcome` compares them.
fn check_integers(names: &[(&str, Outcome)], ty: &str, bits: u32, order: fn(u64, u64) -> Ordering) {
    let r = match bits {
        16 => "%h",
        32 => "%r",
        _ => "%rd",
    };
    for (name, outcome) in names {
        let body = format!("setp.{name}.{ty}{bits} %p0, {r}1, {r}2;");
        check(&body, "%p0", &[Kind::Int(bits); 2], |[a, b, ..]| {
            Some(u64::from(outcome(order(a, b))))
        });
    }
}

#[test]
fn integers_are_ordered_by_their_signedness() {
    let unsigned_names = [
        ("lo", ORDERED[2].1),
        ("ls", ORDERED[3].1),
        ("hi", ORDERED[4].1),
        ("hs", ORDERED[5].1),
    ];
    for bits in [16, 32, 64] {
        check_integers(&ORDERED, "u", bits, |a, b| a.cmp(&b));
        check_integers(&unsigned_names, "u", bits, |a, b| a.cmp(&b));
        check_integers(&ORDERED[..2], "b", bits, |a, b| a.cmp(&b));
    }
    check_integers(&ORDERED, "s", 16, |a, b| (a as i16).cmp(&(b as i16)));
    check_integers(&ORDERED, "s", 32, |a, b| (a as i32).cmp(&(b as i32)));
    check_integers(&ORDERED, "s", 64, |a, b| (a as i64).cmp(&(b as i64)));
}

/// Every comparison of floats by name: the outcome for ordered operands, and for a NaN among them.
fn float_comparisons() -> impl Iterator<Item = (String, Outcome, bool)> {
    let ordered = ORDERED
        .into_iter()
        .map(|(name, f)| (name.to_string(), f, false));
    let unordered = ORDERED
        .into_iter()
        .map(|(name, f)| (format!("{name}u"), f, true));
    let nan: [(&str, Outcome, bool); 2] = [("num", |_| true, false), ("nan", |_| false, true)];
    let nan = nan
        .into_iter()
        .map(|(name, f, with_nan)| (name.to_string(), f, with_nan));
    ordered.chain(unordered).chain(nan)
}

fn check_floats<F: Format>(ftz: bool) {
    let (r, ty, suffix) = (F::REGISTER, F::NAME, if ftz { ".ftz" } else { "" });
    for (name, outcome, with_nan) in float_comparisons() {
        let compare = |a: u64, b: u64| {
            let order = F::operand(a, ftz).partial_cmp(&F::operand(b, ftz));
            order.map_or(with_nan, outcome)
        };
        let body = format!("setp.{name}{suffix}.{ty} %p0, {r}1, {r}2;");
        check(&body, "%p0", &[F::KIND; 2], |[a, b, ..]| {
            Some(u64::from(compare(a, b)))
        });
        let kinds = [F::KIND, F::KIND, PREDICATE];
        // One comparison of 16 bits has no second result, which is the inverse.
        let inverts = !matches!(ty, "f16" | "bf16");
        let (first, second) = match inverts {
            true => ("%p0|%p5", "%p5|%p0"),
            false => ("%p0", "%p0"),
        };
        for (boolean, combine) in BOOLEANS {
            let body = format!("setp.{name}.{boolean}{suffix}.{ty} {first}, {r}1, {r}2, %p3;");
            check(&body, "%p0", &kinds, |[a, b, c, _]| {
                Some(u64::from(combine(compare(a, b), c != 0)))
            });
            let body = format!("setp.{name}.{boolean}{suffix}.{ty} {second}, {r}1, {r}2, !%p3;");
            check(&body, "%p0", &kinds, |[a, b, c, _]| {
                Some(u64::from(combine(compare(a, b) != inverts, c == 0)))
            });
        }
    }
}

#[test]
fn floats_are_ordered_and_a_nan_decides_by_the_name_of_the_comparison() {
    check_floats::<Single>(false);
    check_floats::<Single>(true);
    check_floats::<Double>(false);
    check_floats::<Half>(false);
    check_floats::<Half>(true);
    check_floats::<BFloat>(false);
}

#[test]
fn set_gives_all_ones_or_one() {
    for (to, truth) in [
        ("u32", 0xffff_ffff),
        ("s32", 0xffff_ffff),
        ("f32", 0x3f80_0000),
    ] {
        for (name, outcome) in ORDERED {
            let body = format!("set.{name}.{to}.s32 %r0, %r1, %r2;");
            check(&body, "%r0", &[Kind::Int(32); 2], |[a, b, ..]| {
                Some(if outcome((a as i32).cmp(&(b as i32))) {
                    truth
                } else {
                    0
                })
            });
        }
        for (name, outcome, with_nan) in float_comparisons() {
            let body = format!("set.{name}.{to}.f32 %r0, %r1, %r2;");
            check(&body, "%r0", &[F32; 2], |[a, b, ..]| {
                let order = Single::operand(a, false).partial_cmp(&Single::operand(b, false));
                Some(if order.map_or(with_nan, outcome) {
                    truth
                } else {
                    0
                })
            });
        }
    }
}

#[test]
fn selections_take_the_first_value_when_told() {
    for (bits, r) in [(16, "%h"), (32, "%r"), (64, "%rd")] {
        let kinds = [Kind::Int(bits), Kind::Int(bits), PREDICATE];
        let body = format!("selp.b{bits} {r}0, {r}1, {r}2, %p3;");
        check(&body, &format!("{r}0"), &kinds, |[a, b, p, _]| {
            Some(if p != 0 { a } else { b })
        });
        let kinds = [Kind::Int(bits), Kind::Int(bits), Kind::Int(32)];
        let body = format!("slct.u{bits}.s32 {r}0, {r}1, {r}2, %r3;");
        check(&body, &format!("{r}0"), &kinds, |[a, b, c, _]| {
            Some(if c as i32 >= 0 { a } else { b })
        });
        for (suffix, ftz) in [("", false), (".ftz", true)] {
            let kinds = [Kind::Int(bits), Kind::Int(bits), F32];
            let body = format!("slct{suffix}.u{bits}.f32 {r}0, {r}1, {r}2, %r3;");
            check(&body, &format!("{r}0"), &kinds, |[a, b, c, _]| {
                Some(if Single::operand(c, ftz) >= Single::ZERO {
                    a
                } else {
                    b
                })
            });
        }
    }
}

/// Whether a number is of a class.
type Class<F> = fn(F) -> bool;

fn check_classes<F: Format>() {
    let classes: [(&str, Class<F>); 6] = [
        ("finite", |x| x.is_finite()),
        ("infinite", |x| x.is_infinite()),
        ("number", |x| !x.is_nan()),
        ("notanumber", |x| x.is_nan()),
        // The ISA counts zeros as normal.
        ("normal", |x| x.is_normal() || x.is_zero()),
        ("subnormal", |x| x.is_denormal()),
    ];
    for (name, is) in classes {
        let body = format!("testp.{name}.{} %p0, {}1;", F::NAME, F::REGISTER);
        check(&body, "%p0", &[F::KIND], |[a, ..]| {
            Some(u64::from(is(F::operand(a, false))))
        });
    }
}

#[test]
fn classes_of_floats_are_told_apart() {
    check_classes::<Single>();
    check_classes::<Double>();
}

#[test]
fn copysign_puts_the_sign_of_the_first_operand_on_the_second() {
    check(
        "copysign.f32 %r0, %r1, %r2;",
        "%r0",
        &[F32; 2],
        |[a, b, ..]| Some(a & 1 << 31 | b & !(1 << 31)),
    );
    check(
        "copysign.f64 %rd0, %rd1, %rd2;",
        "%rd0",
        &[F64; 2],
        |[a, b, ..]| Some(a & 1 << 63 | b & !(1 << 63)),
    );
}

/// Checks comparisons of pairs, which give two predicates, or two results in one register.
fn check_pairs<F: Format>(ftz: bool) {
    let Kind::Float(exponent, fraction) = F::KIND else {
        panic!("a format of 16 bits");
    };
    let kinds = [Kind::Pair(exponent, fraction); 2];
    let (ty, suffix) = (F::NAME, if ftz { ".ftz" } else { "" });
    let one = F::from_u128(1).value.bits();
    for (name, outcome, with_nan) in float_comparisons() {
        let holds = |a: u64, b: u64, shift: u32| {
            let value = |bits: u64| F::operand(bits >> shift & 0xffff, ftz);
            let order = value(a).partial_cmp(&value(b));
            u64::from(order.map_or(with_nan, outcome))
        };
        let body = format!("setp.{name}{suffix}.{ty}x2 %p0|%p5, %r1, %r2;");
        check(&body, "%p0", &kinds, |[a, b, ..]| Some(holds(a, b, 0)));
        check(&body, "%p5", &kinds, |[a, b, ..]| Some(holds(a, b, 16)));
        let body = format!("set.{name}{suffix}.{ty}x2.{ty}x2 %r0, %r1, %r2;");
        check(&body, "%r0", &kinds, |[a, b, ..]| {
            Some((holds(a, b, 16) << 16 | holds(a, b, 0)) * one)
        });
        let body = format!("set.{name}{suffix}.u32.{ty}x2 %r0, %r1, %r2;");
        check(&body, "%r0", &kinds, |[a, b, ..]| {
            Some((holds(a, b, 16) << 16 | holds(a, b, 0)) * 0xffff)
        });
    }
}

#[test]
fn pairs_are_compared_half_by_half() {
    check_pairs::<Half>(false);
    check_pairs::<Half>(true);
    check_pairs::<BFloat>(false);
}
