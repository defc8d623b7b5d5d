//! Integer arithmetic (PTX ISA 9.7.1), in 128 bits.

use crate::cases::Kind;
use crate::table::check;

/// An integer type: its letter and its bits.
#[derive(Clone, Copy)]
struct Type {
    letter: &'static str,
    bits: u32,
}

const TYPES: [Type; 6] = [
    Type {
        letter: "u",
        bits: 16,
    },
    Type {
        letter: "s",
        bits: 16,
    },
    Type {
        letter: "u",
        bits: 32,
    },
    Type {
        letter: "s",
        bits: 32,
    },
    Type {
        letter: "u",
        bits: 64,
    },
    Type {
        letter: "s",
        bits: 64,
    },
];

impl Type {
    fn is_signed(self) -> bool {
        self.letter == "s"
    }

    /// The number that `x` stands for.
    fn value(self, x: u64) -> i128 {
        let unused = 128 - self.bits;
        let shifted = i128::from(x) << unused;
        if self.is_signed() {
            shifted >> unused
        } else {
            (shifted as u128 >> unused) as i128
        }
    }

    fn min(self) -> i128 {
        if self.is_signed() {
            -(1 << (self.bits - 1))
        } else {
            0
        }
    }

    fn max(self) -> i128 {
        self.min() + (1 << self.bits) - 1
    }

    /// Low bits of a result.
    fn cut(self, x: i128) -> u64 {
        x as u64 & u64::MAX >> (64 - self.bits)
    }

    fn register(self) -> &'static str {
        match self.bits {
            16 => "%h",
            32 => "%r",
            _ => "%rd",
        }
    }

    /// The type of twice the size.
    fn wide(self) -> Type {
        Type {
            bits: 2 * self.bits,
            ..self
        }
    }

    /// Checks `opcode.type` on as many operands as `kinds`.
    fn check(self, opcode: &str, kinds: &[Kind], expected: impl Fn([i128; 4]) -> Option<i128>) {
        let (register, Type { letter, bits }) = (self.register(), self);
        let operands: String = (1..=kinds.len())
            .map(|i| format!(", {register}{i}"))
            .collect();
        let body = format!("{opcode}.{letter}{bits} {register}0{operands};");
        check(&body, &format!("{register}0"), kinds, |row| {
            expected(row.map(|x| self.value(x))).map(|x| self.cut(x))
        });
    }

    fn check2(self, opcode: &str, expected: impl Fn(i128, i128) -> i128) {
        let kinds = [Kind::Int(self.bits); 2];
        self.check(opcode, &kinds, |[a, b, ..]| Some(expected(a, b)));
    }
}

#[test]
fn sums_differences_and_products_are_exact_in_their_low_and_high_halves() {
    for ty in TYPES {
        ty.check2("add", |a, b| a + b);
        ty.check2("sub", |a, b| a - b);
        // 64-bit unsigned operands reach 2^128, which wraps: the low half is right all the same.
        ty.check2("mul.lo", |a, b| a.wrapping_mul(b));
        ty.check2("mul.hi", |a, b| high(ty, a, b));
        let three = [Kind::Int(ty.bits); 3];
        ty.check("mad.lo", &three, |[a, b, c, _]| {
            Some(a.wrapping_mul(b).wrapping_add(c))
        });
        ty.check("mad.hi", &three, |[a, b, c, _]| Some(high(ty, a, b) + c));
    }
}

/// The upper half of the product.
fn high(ty: Type, a: i128, b: i128) -> i128 {
    if ty.is_signed() {
        (a * b) >> ty.bits
    } else {
        ((a as u128 * b as u128) >> ty.bits) as i128
    }
}

#[test]
fn wide_products_have_all_bits() {
    for ty in TYPES.into_iter().filter(|ty| ty.bits < 64) {
        let (narrow, wide, Type { letter, bits }) = (ty.register(), ty.wide().register(), ty);
        let body = format!("mul.wide.{letter}{bits} {wide}0, {narrow}1, {narrow}2;");
        check(
            &body,
            &format!("{wide}0"),
            &[Kind::Int(bits); 2],
            |[a, b, ..]| Some(ty.wide().cut(ty.value(a) * ty.value(b))),
        );
        let body = format!("mad.wide.{letter}{bits} {wide}0, {narrow}1, {narrow}2, {wide}3;");
        let kinds = [Kind::Int(bits), Kind::Int(bits), Kind::Int(2 * bits)];
        check(&body, &format!("{wide}0"), &kinds, |[a, b, c, _]| {
            Some(ty.wide().cut(ty.value(a) * ty.value(b) + i128::from(c)))
        });
    }
}

#[test]
fn quotients_truncate_and_remainders_have_the_sign_of_the_dividend() {
    for ty in TYPES {
        let kinds = [Kind::Int(ty.bits), Kind::NonZero(ty.bits)];
        // The most negative number by -1 is left open.
        let is_open = |a: i128, b: i128| ty.is_signed() && a == ty.min() && b == -1;
        ty.check("div", &kinds, |[a, b, ..]| (!is_open(a, b)).then(|| a / b));
        ty.check("rem", &kinds, |[a, b, ..]| (!is_open(a, b)).then(|| a % b));
    }
}

#[test]
fn minimum_maximum_difference_and_sign_follow_the_signedness() {
    for ty in TYPES {
        ty.check2("min", |a, b| a.min(b));
        ty.check2("max", |a, b| a.max(b));
        let three = [Kind::Int(ty.bits); 3];
        ty.check("sad", &three, |[a, b, c, _]| Some((a - b).abs() + c));
        if ty.is_signed() {
            let one = [Kind::Int(ty.bits)];
            ty.check("abs", &one, |[a, ..]| Some(a.abs()));
            ty.check("neg", &one, |[a, ..]| Some(-a));
        }
    }
}

#[test]
fn saturating_sums_stop_at_the_ends_of_the_range() {
    let ty = Type {
        letter: "s",
        bits: 32,
    };
    let clamp = |x: i128| x.clamp(ty.min(), ty.max());
    ty.check2("add.sat", |a, b| clamp(a + b));
    ty.check2("sub.sat", |a, b| clamp(a - b));
    let three = [Kind::Int(32); 3];
    ty.check("mad.hi.sat", &three, |[a, b, c, _]| {
        Some(clamp(((a * b) >> 32) + c))
    });
}

#[test]
fn products_of_24_bits_ignore_the_upper_8() {
    for ty in TYPES.into_iter().filter(|ty| ty.bits == 32) {
        let low = |x: i128| Type { bits: 24, ..ty }.value(x as u64 & 0xff_ffff);
        ty.check2("mul24.lo", |a, b| low(a) * low(b));
        let three = [Kind::Int(32); 3];
        ty.check("mad24.lo", &three, |[a, b, c, _]| Some(low(a) * low(b) + c));
    }
}

#[test]
fn dot_products_extend_every_part_by_its_own_sign() {
    let parts = |x: u64, signed: bool, bits: u32, count: u32| -> Vec<i128> {
        let letter = if signed { "s" } else { "u" };
        let part = Type { letter, bits };
        (0..count).map(|i| part.value(x >> (i * bits))).collect()
    };
    let dot = |a: Vec<i128>, b: Vec<i128>, c: u64| -> Option<u64> {
        let products = a.iter().zip(&b).map(|(a, b)| a * b);
        let sum = products.sum::<i128>() + i128::from(c as u32);
        Some(sum as u64 & 0xffff_ffff)
    };
    for (a_type, b_type) in [
        ("u32", "u32"),
        ("u32", "s32"),
        ("s32", "u32"),
        ("s32", "s32"),
    ] {
        let (a_signed, b_signed) = (a_type == "s32", b_type == "s32");
        let kinds = [Kind::Int(32); 3];
        let body = format!("dp4a.{a_type}.{b_type} %r0, %r1, %r2, %r3;");
        check(&body, "%r0", &kinds, |[a, b, c, _]| {
            dot(parts(a, a_signed, 8, 4), parts(b, b_signed, 8, 4), c)
        });
        for (half, shift) in [("lo", 0), ("hi", 16)] {
            let body = format!("dp2a.{half}.{a_type}.{b_type} %r0, %r1, %r2, %r3;");
            check(&body, "%r0", &kinds, |[a, b, c, _]| {
                dot(
                    parts(a, a_signed, 16, 2),
                    parts(b >> shift, b_signed, 8, 2),
                    c,
                )
            });
        }
    }
}

#[test]
fn pairs_of_halves_are_computed_apart_and_relu_leaves_no_negative_number() {
    let [unsigned, signed] = [TYPES[0], TYPES[1]];
    let kinds = [Kind::Int(32); 2];
    type Exact = fn(i128, i128) -> i128;
    let halves = |ty: Type, f: Exact| {
        move |[a, b, ..]: [u64; 4]| {
            let of = |shift: u32| ty.cut(f(ty.value(a >> shift), ty.value(b >> shift))) << shift;
            Some(of(16) | of(0))
        }
    };
    let pairs: [(&str, Type, Exact); 8] = [
        ("add.u16x2", unsigned, |a, b| a + b),
        ("add.s16x2", signed, |a, b| a + b),
        ("min.u16x2", unsigned, i128::min),
        ("max.u16x2", unsigned, i128::max),
        ("min.s16x2", signed, i128::min),
        ("max.s16x2", signed, i128::max),
        ("min.relu.s16x2", signed, |a, b| a.min(b).max(0)),
        ("max.relu.s16x2", signed, |a, b| a.max(b).max(0)),
    ];
    for (opcode, ty, f) in pairs {
        check(
            &format!("{opcode} %r0, %r1, %r2;"),
            "%r0",
            &kinds,
            halves(ty, f),
        );
    }
    TYPES[3].check2("min.relu", |a, b| a.min(b).max(0));
    TYPES[3].check2("max.relu", |a, b| a.max(b).max(0));
}
