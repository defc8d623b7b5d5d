//! Chains of additions and subtractions through the carry flag (PTX ISA 9.7.2), as sums of twice the width.

use crate::cases::Kind;
use crate::table::check;

/// Bits, register and letters of the types with a carry.
const TYPES: [(u32, &str, &str); 4] = [
    (32, "%r", "u32"),
    (32, "%r", "s32"),
    (64, "%rd", "u64"),
    (64, "%rd", "s64"),
];

/// Runs `low` and then `high`, which together compute on the pairs (1, 3) and (2, 4), low half first. Checks both
/// halves and the carry out.
fn check_pair(
    low: &str,
    high: &str,
    out: &str,
    bits: u32,
    r: &str,
    expected: impl Fn(u128, u128) -> (u128, u128),
) {
    let body = format!("{low} {r}5, {r}1, {r}2; {high} {r}6, {r}3, {r}4; {out} {r}7, {r}8, 0;");
    let body = format!("mov.b{bits} {r}8, 0;\n{body}");
    let kinds = [Kind::Int(bits); 4];
    let mask = u64::MAX >> (64 - bits);
    let wide = |low: u64, high: u64| u128::from(high) << bits | u128::from(low);
    for (register, part) in [("5", 0), ("6", 1), ("7", 2)] {
        check(&body, &format!("{r}{register}"), &kinds, |[a, b, c, d]| {
            let (sum, carry) = expected(wide(a, c), wide(b, d));
            Some([sum as u64, (sum >> bits) as u64, carry as u64][part] & mask)
        });
    }
}

#[test]
fn additions_hand_their_carry_on() {
    for (bits, r, ty) in TYPES {
        let modulus = |x: u128| {
            if bits == 32 {
                x & u128::from(u64::MAX)
            } else {
                x
            }
        };
        check_pair(
            &format!("add.cc.{ty}"),
            &format!("addc.cc.{ty}"),
            &format!("addc.{ty}"),
            bits,
            r,
            |a, b| {
                let sum = modulus(a.wrapping_add(b));
                (sum, u128::from(sum < a))
            },
        );
    }
}

/// The carry flag of a subtraction says whether something was borrowed: a last `subc` of zeros gives -1 then.
#[test]
fn subtractions_hand_their_borrow_on() {
    for (bits, r, ty) in TYPES {
        check_pair(
            &format!("sub.cc.{ty}"),
            &format!("subc.cc.{ty}"),
            &format!("subc.{ty}"),
            bits,
            r,
            |a, b| (a.wrapping_sub(b), if a < b { u128::MAX } else { 0 }),
        );
    }
}

#[test]
fn products_are_added_with_a_carry() {
    for (bits, r, ty) in [(32, "%r", "u32"), (64, "%rd", "u64")] {
        // (1 * 2) + (4:3), in two halves.
        let body =
            format!("mad.lo.cc.{ty} {r}5, {r}1, {r}2, {r}3; madc.hi.{ty} {r}6, {r}1, {r}2, {r}4;");
        let kinds = [Kind::Int(bits); 4];
        let mask = u64::MAX >> (64 - bits);
        let sum = |[a, b, c, d]: [u64; 4]| {
            let addend = u128::from(d) << bits | u128::from(c);
            (u128::from(a) * u128::from(b)).wrapping_add(addend)
        };
        check(&body, &format!("{r}5"), &kinds, |row| {
            Some(sum(row) as u64 & mask)
        });
        check(&body, &format!("{r}6"), &kinds, |row| {
            Some((sum(row) >> bits) as u64 & mask)
        });
    }
}
