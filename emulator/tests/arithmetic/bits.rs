//! Logic, shifts, bit fields, counts and permutations (PTX ISA 9.7.8 and 9.7.1), bit by bit.

use crate::cases::Kind;
use crate::table::check;

const WORD: Kind = Kind::Int(32);

/// Widths with their registers.
const WIDTHS: [(u32, &str); 3] = [(16, "%h"), (32, "%r"), (64, "%rd")];

fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

fn bit(x: u64, i: i64) -> u64 {
    x >> i & 1
}

/// The number whose bit i is `bit(i)`.
fn from_bits(bits: u32, bit: impl Fn(i64) -> u64) -> u64 {
    (0..i64::from(bits)).map(|i| bit(i) << i).sum()
}

fn at_most_32(n: u64) -> u64 {
    n.min(32)
}

#[test]
fn logic_works_on_every_bit() {
    for (bits, r) in WIDTHS {
        let two = [Kind::Int(bits); 2];
        let check2 = |opcode: &str, expected: fn(u64, u64) -> u64| {
            let body = format!("{opcode}.b{bits} {r}0, {r}1, {r}2;");
            check(&body, &format!("{r}0"), &two, |[a, b, ..]| {
                Some(expected(a, b) & mask(bits))
            });
        };
        check2("and", |a, b| a & b);
        check2("or", |a, b| a | b);
        check2("xor", |a, b| a ^ b);
        let check1 = |opcode: &str, expected: fn(u64) -> u64| {
            let body = format!("{opcode}.b{bits} {r}0, {r}1;");
            check(&body, &format!("{r}0"), &two[..1], |[a, ..]| {
                Some(expected(a) & mask(bits))
            });
        };
        check1("not", |a| !a);
        check1("cnot", |a| u64::from(a == 0));
    }
}

#[test]
fn three_input_logic_looks_every_bit_up() {
    for table in [
        0u64, 0x01, 0x80, 0x96, 0xca, 0xe8, 0xf0, 0xcc, 0xaa, 0x1b, 0x7f, 0xfe, 0xff,
    ] {
        let result = |[a, b, c, _]: [u64; 4]| {
            from_bits(32, |i| {
                bit(table, (bit(a, i) << 2 | bit(b, i) << 1 | bit(c, i)) as i64)
            })
        };
        let body = format!("lop3.b32 %r0, %r1, %r2, %r3, {table:#x};");
        check(&body, "%r0", &[WORD; 3], |row| Some(result(row)));
        let kinds = [WORD, WORD, WORD, Kind::Below(2)];
        // It has .and and .or only.
        for (name, combine) in &BOOLEANS[..2] {
            let body = format!("lop3.{name}.b32 %r0|%p0, %r1, %r2, %r3, {table:#x}, %p4;");
            check(&body, "%p0", &kinds, |row| {
                Some(u64::from(combine(result(row) != 0, row[3] != 0)))
            });
        }
    }
}

/// What a qualifier does to two truth values.
pub type Boolean = fn(bool, bool) -> bool;

/// Boolean operations by name.
pub const BOOLEANS: [(&str, Boolean); 3] = [
    ("and", |a, b| a & b),
    ("or", |a, b| a | b),
    ("xor", |a, b| a ^ b),
];

#[test]
fn shifts_by_the_width_or_more_leave_nothing_but_the_sign() {
    for (bits, r) in WIDTHS {
        let kinds = [Kind::Int(bits), Kind::Below(1 << 32)];
        let width = i64::from(bits);
        let check_shift = |opcode: &str, expected: &dyn Fn(u64, i64) -> u64| {
            let body = format!("{opcode}{bits} {r}0, {r}1, %r2;");
            check(&body, &format!("{r}0"), &kinds, |[a, n, ..]| {
                Some(expected(a, n as i64))
            });
        };
        check_shift("shl.b", &|a, n| {
            from_bits(bits, |i| if i >= n { bit(a, i - n) } else { 0 })
        });
        let right = |a: u64, n: i64, fill: u64| {
            from_bits(bits, |i| if i + n < width { bit(a, i + n) } else { fill })
        };
        check_shift("shr.u", &|a, n| right(a, n, 0));
        check_shift("shr.b", &|a, n| right(a, n, 0));
        check_shift("shr.s", &|a, n| right(a, n, bit(a, width - 1)));
    }
}

#[test]
fn funnel_shifts_move_bits_across_two_words() {
    let kinds = [WORD, WORD, Kind::Below(1 << 32)];
    for (mode, limit) in [
        ("clamp", at_most_32 as fn(u64) -> u64),
        ("wrap", |n| n & 31),
    ] {
        let joined = |a: u64, b: u64| u128::from(b << 32 | a);
        let left = format!("shf.l.{mode}.b32 %r0, %r1, %r2, %r3;");
        check(&left, "%r0", &kinds, |[a, b, n, _]| {
            Some((joined(a, b) << limit(n) >> 32) as u64 & mask(32))
        });
        let right = format!("shf.r.{mode}.b32 %r0, %r1, %r2, %r3;");
        check(&right, "%r0", &kinds, |[a, b, n, _]| {
            Some((joined(a, b) >> limit(n)) as u64 & mask(32))
        });
    }
}

#[test]
fn bit_fields_are_taken_out_and_put_in_where_they_lie() {
    for (bits, r) in &WIDTHS[1..] {
        let (bits, width) = (*bits, i64::from(*bits));
        let place = Kind::Below(1 << 32);
        for letter in ["u", "s"] {
            let body = format!("bfe.{letter}{bits} {r}0, {r}1, %r2, %r3;");
            check(
                &body,
                &format!("{r}0"),
                &[Kind::Int(bits), place, place],
                |[a, pos, len, _]| {
                    let (pos, len) = ((pos & 0xff) as i64, (len & 0xff) as i64);
                    let last = (pos + len - 1).min(width - 1);
                    let sign = if letter == "u" || len == 0 {
                        0
                    } else {
                        bit(a, last)
                    };
                    Some(from_bits(bits, |i| {
                        if i < len && pos + i < width {
                            bit(a, pos + i)
                        } else {
                            sign
                        }
                    }))
                },
            );
        }
        let body = format!("bfi.b{bits} {r}0, {r}1, {r}2, %r3, %r4;");
        let kinds = [Kind::Int(bits), Kind::Int(bits), place, place];
        check(&body, &format!("{r}0"), &kinds, |[a, b, pos, len]| {
            let (pos, len) = ((pos & 0xff) as i64, (len & 0xff) as i64);
            Some(from_bits(bits, |i| {
                if i >= pos && i < pos + len {
                    bit(a, i - pos)
                } else {
                    bit(b, i)
                }
            }))
        });
    }
}

#[test]
fn bits_are_counted_and_found() {
    for (bits, r) in &WIDTHS[1..] {
        let (bits, width) = (*bits, i64::from(*bits));
        let check1 = |body: &str, result: &str, expected: &dyn Fn(u64) -> u64| {
            check(body, result, &[Kind::Int(bits)], |[a, ..]| {
                Some(expected(a))
            });
        };
        let highest = |a: u64, wanted: u64| (0..width).rev().find(|&i| bit(a, i) == wanted);
        check1(&format!("popc.b{bits} %r0, {r}1;"), "%r0", &|a| {
            (0..width).map(|i| bit(a, i)).sum()
        });
        check1(&format!("clz.b{bits} %r0, {r}1;"), "%r0", &|a| {
            highest(a, 1).map_or(width, |i| width - 1 - i) as u64
        });
        check1(
            &format!("brev.b{bits} {r}0, {r}1;"),
            &format!("{r}0"),
            &|a| from_bits(bits, |i| bit(a, width - 1 - i)),
        );
        for letter in ["u", "s"] {
            // In a negative number the first zero counts.
            let wanted = |a: u64| {
                if letter == "s" {
                    1 - bit(a, width - 1)
                } else {
                    1
                }
            };
            check1(&format!("bfind.{letter}{bits} %r0, {r}1;"), "%r0", &|a| {
                highest(a, wanted(a)).map_or(0xffff_ffff, |i| i as u64)
            });
            check1(
                &format!("bfind.shiftamt.{letter}{bits} %r0, {r}1;"),
                "%r0",
                &|a| highest(a, wanted(a)).map_or(0xffff_ffff, |i| (width - 1 - i) as u64),
            );
        }
    }
}

/// The pseudo-code of the ISA, word for word.
#[test]
fn the_nth_set_bit_is_found_from_a_base_in_either_direction() {
    let body = "sub.s32 %r3, %r3, 40; fns.b32 %r0, %r1, %r2, %r3;";
    let kinds = [WORD, Kind::Below(32), Kind::Below(80)];
    check(body, "%r0", &kinds, |[mask, base, offset, _]| {
        let (base, offset) = (base as i64, offset as i64 - 40);
        if offset == 0 {
            return Some(if bit(mask, base) == 1 {
                base as u64
            } else {
                0xffff_ffff
            });
        }
        let mut count = offset.abs() - 1;
        let mut pos = base;
        while (0..32).contains(&pos) {
            if bit(mask, pos) == 1 {
                if count == 0 {
                    return Some(pos as u64);
                }
                count -= 1;
            }
            pos += offset.signum();
        }
        Some(0xffff_ffff)
    });
}

#[test]
fn masks_and_extensions_of_bit_counts_clamp_or_wrap() {
    let count = Kind::Below(1 << 32);
    for (mode, limit) in [
        ("clamp", at_most_32 as fn(u64) -> u64),
        ("wrap", |n| n & 31),
    ] {
        check(
            &format!("bmsk.{mode}.b32 %r0, %r1, %r2;"),
            "%r0",
            &[count, count],
            |[a, b, ..]| {
                let (start, end) = (limit(a) as i64, (limit(a) + limit(b)) as i64);
                Some(from_bits(32, |i| u64::from(i >= start && i < end)))
            },
        );
        for letter in ["u", "s"] {
            let body = format!("szext.{mode}.{letter}32 %r0, %r1, %r2;");
            check(&body, "%r0", &[WORD, count], |[a, n, ..]| {
                let n = limit(n) as i64;
                let sign = if letter == "u" || n == 0 {
                    0
                } else {
                    bit(a, n - 1)
                };
                Some(from_bits(32, |i| if i < n { bit(a, i) } else { sign }))
            });
        }
    }
}

/// The byte that lands in place i of the result, from the selector and i.
type Index = fn(u64, u64) -> u64;

#[test]
fn permutations_pick_bytes_by_index_or_by_mode() {
    let byte = |a: u64, b: u64, i: u64| (b << 32 | a) >> (8 * (i & 7)) & 0xff;
    let from_bytes = |byte: &dyn Fn(u64) -> u64| (0..4).map(|i| byte(i) << (8 * i)).sum::<u64>();
    let kinds = [WORD; 3];
    check(
        "prmt.b32 %r0, %r1, %r2, %r3;",
        "%r0",
        &kinds,
        |[a, b, c, _]| {
            Some(from_bytes(&|i| {
                let selector = c >> (4 * i) & 0xf;
                let picked = byte(a, b, selector);
                if selector < 8 {
                    picked
                } else {
                    0xff * (picked >> 7)
                }
            }))
        },
    );
    let modes: [(&str, Index); 6] = [
        ("f4e", |n, i| n + i),
        ("b4e", |n, i| n.wrapping_sub(i)),
        ("rc8", |n, _| n),
        ("ecl", |n, i| n.max(i)),
        ("ecr", |n, i| n.min(i)),
        ("rc16", |n, i| n % 2 * 2 + i % 2),
    ];
    for (mode, index) in modes {
        let body = format!("prmt.b32.{mode} %r0, %r1, %r2, %r3;");
        check(&body, "%r0", &kinds, |[a, b, c, _]| {
            Some(from_bytes(&|i| byte(a, b, index(c & 3, i))))
        });
    }
}
