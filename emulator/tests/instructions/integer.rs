//! Integer arithmetic, logic, shifts and bit fields.

use crate::check::{check32, check64, doubles, words};

#[test]
fn integer_arithmetic_wraps_and_takes_the_half_it_names() {
    for (text, operands, expected) in [
        ("add.s32 %r1, %r2, %r3;", &[0xffff_ffff, 2][..], 1),
        ("sub.u32 %r1, %r2, %r3;", &[1, 2], 0xffff_ffff),
        (
            "add.sat.s32 %r1, %r2, %r3;",
            &[0x7fff_fff0, 0x100],
            0x7fff_ffff,
        ),
        ("sub.sat.s32 %r1, %r2, %r3;", &[0x8000_0000, 1], 0x8000_0000),
        ("mul.lo.s32 %r1, %r2, %r3;", &[0x1_0001, 0x1_0001], 0x2_0001),
        (
            "mul.hi.u32 %r1, %r2, %r3;",
            &[0xffff_ffff, 0xffff_ffff],
            0xffff_fffe,
        ),
        ("mul.hi.s32 %r1, %r2, %r3;", &[0xffff_ffff, 2], 0xffff_ffff),
        ("mad.lo.u32 %r1, %r2, %r3, %r4;", &[3, 4, 5], 17),
        ("mad.hi.u32 %r1, %r2, %r3, %r4;", &[0x8000_0000, 4, 5], 7),
        (
            "div.s32 %r1, %r2, %r3;",
            &[(-7i32) as u32, 2],
            (-3i32) as u32,
        ),
        (
            "rem.s32 %r1, %r2, %r3;",
            &[(-7i32) as u32, 2],
            (-1i32) as u32,
        ),
        ("div.u32 %r1, %r2, %r3;", &[0xffff_fff9, 2], 0x7fff_fffc),
        ("rem.u32 %r1, %r2, %r3;", &[17, 5], 2),
        ("min.s32 %r1, %r2, %r3;", &[0xffff_ffff, 1], 0xffff_ffff),
        ("min.u32 %r1, %r2, %r3;", &[0xffff_ffff, 1], 1),
        ("max.s32 %r1, %r2, %r3;", &[0xffff_ffff, 1], 1),
        ("min.relu.s32 %r1, %r2, %r3;", &[0xffff_ffff, 1], 0),
        ("max.relu.s32 %r1, %r2, %r3;", &[0xffff_ffff, 7], 7),
        (
            "add.u16x2 %r1, %r2, %r3;",
            &[0xffff_0001, 0x0002_ffff],
            0x0001_0000,
        ),
        (
            "min.u16x2 %r1, %r2, %r3;",
            &[0xffff_0003, 0x0001_0002],
            0x0001_0002,
        ),
        (
            "max.s16x2 %r1, %r2, %r3;",
            &[0xffff_0003, 0x0001_8000],
            0x0001_0003,
        ),
        (
            "max.relu.s16x2 %r1, %r2, %r3;",
            &[0xffff_0003, 0x8000_0002],
            3,
        ),
        ("abs.s32 %r1, %r2;", &[0x8000_0000], 0x8000_0000),
        ("neg.s32 %r1, %r2;", &[5], (-5i32) as u32),
        ("sad.s32 %r1, %r2, %r3, %r4;", &[0xffff_ffff, 2, 10], 13),
        (
            "dp4a.s32.s32 %r1, %r2, %r3, %r4;",
            &[0xff02_0304, 0x0201_0101, 10],
            17,
        ),
    ] {
        check32(&words(operands), text, expected);
    }
}

#[test]
fn bit_operations_follow_their_tables() {
    for (text, operands, expected) in [
        (
            "prmt.b32 %r1, %r2, %r3, 0x3210;",
            &[0x3322_1100, 0xf7e6_d5c4][..],
            0x3322_1100,
        ),
        (
            "prmt.b32 %r1, %r2, %r3, 0x0123;",
            &[0x3322_1100, 0xf7e6_d5c4],
            0x0011_2233,
        ),
        (
            "prmt.b32 %r1, %r2, %r3, 0x7632;",
            &[0x3322_1100, 0xf7e6_d5c4],
            0xf7e6_3322,
        ),
        (
            "prmt.b32 %r1, %r2, %r3, 0xffff;",
            &[0x3322_1100, 0xf7e6_d5c4],
            0xffff_ffff,
        ),
        (
            "prmt.b32 %r1, %r2, %r3, 0x4321;",
            &[0x3322_1100, 0xf7e6_d5c4],
            0xc433_2211,
        ),
        (
            "lop3.b32 %r1, %r2, %r3, %r4, 0x96;",
            &[0xff00_ff00, 0xf0f0_f0f0, 0xcccc_cccc],
            0xc33c_c33c,
        ),
        (
            "lop3.b32 %r1, %r2, %r3, %r4, 0xe8;",
            &[0xff00_ff00, 0xf0f0_f0f0, 0xcccc_cccc],
            0xfcc0_fcc0,
        ),
        (
            "lop3.b32 %r1, %r2, %r3, %r4, 0xca;",
            &[0xff00_ff00, 0xf0f0_f0f0, 0xcccc_cccc],
            0xf0cc_f0cc,
        ),
        ("bfe.u32 %r1, %r2, 4, 8;", &[0x80f0], 0xf),
        ("bfe.s32 %r1, %r2, 28, 8;", &[0x8000_0000], 0xffff_fff8),
        ("bfe.u32 %r1, %r2, 32, 4;", &[0x1234_5678], 0),
        ("bfe.u32 %r1, %r2, 4, 0;", &[0x1234_5678], 0),
        ("bfi.b32 %r1, %r2, %r3, 8, 4;", &[0xf, 0], 0xf00),
        ("bfi.b32 %r1, %r2, %r3, 40, 4;", &[0xf, 7], 7),
        ("shl.b32 %r1, %r2, 32;", &[1], 0),
        ("shr.s32 %r1, %r2, 40;", &[(-8i32) as u32], 0xffff_ffff),
        ("shr.u32 %r1, %r2, 31;", &[0x8000_0000], 1),
        ("shf.l.wrap.b32 %r1, %r2, %r3, 33;", &[0x8000_0001, 1], 3),
        (
            "shf.l.clamp.b32 %r1, %r2, %r3, 33;",
            &[0x8000_0001, 1],
            0x8000_0001,
        ),
        (
            "shf.r.wrap.b32 %r1, %r2, %r3, 4;",
            &[0x10, 0xf],
            0xf000_0001,
        ),
        ("clz.b32 %r1, %r2;", &[0], 32),
        ("popc.b32 %r1, %r2;", &[0xf0f0], 8),
        ("brev.b32 %r1, %r2;", &[1], 0x8000_0000),
        ("bfind.u32 %r1, %r2;", &[0], 0xffff_ffff),
        ("bfind.s32 %r1, %r2;", &[0xffff_fffe], 0),
        ("bfind.shiftamt.u32 %r1, %r2;", &[1], 31),
        ("not.b32 %r1, %r2;", &[0xff], 0xffff_ff00),
        ("cnot.b32 %r1, %r2;", &[0], 1),
    ] {
        check32(&words(operands), text, expected);
    }
}

#[test]
fn wide_integers_use_all_64_bits() {
    for (text, operands, expected) in [
        ("add.s64 %rd1, %rd2, %rd3;", &[u64::MAX, 2][..], 1),
        ("mul.lo.s64 %rd1, %rd2, %rd3;", &[1 << 40, 1 << 30], 0),
        ("mul.hi.u64 %rd1, %rd2, %rd3;", &[1 << 40, 1 << 30], 1 << 6),
        ("mul.hi.s64 %rd1, %rd2, %rd3;", &[u64::MAX, 2], u64::MAX),
        ("shl.b64 %rd1, %rd2, 64;", &[1], 0),
        ("shr.s64 %rd1, %rd2, 70;", &[1 << 63], u64::MAX),
        (
            "div.s64 %rd1, %rd2, %rd3;",
            &[(-9i64) as u64, 2],
            (-4i64) as u64,
        ),
        ("bfe.s64 %rd1, %rd2, 60, 8;", &[0xf << 60], u64::MAX),
        ("min.s64 %rd1, %rd2, %rd3;", &[u64::MAX, 1], u64::MAX),
        (
            "mov.b32 %r2, 0xffffffff; mul.wide.s32 %rd1, %r2, 3;",
            &[],
            (-3i64) as u64,
        ),
        (
            "mov.b32 %r2, 0xffffffff; mul.wide.u32 %rd1, %r2, 3;",
            &[],
            0x2_ffff_fffd,
        ),
        (
            "mov.b32 %r2, 0xffffffff; mad.wide.s32 %rd1, %r2, 3, %rd2;",
            &[10],
            7,
        ),
        (
            "mov.b32 %r2, 0x80000000; cvt.s64.s32 %rd1, %r2;",
            &[],
            0xffff_ffff_8000_0000,
        ),
    ] {
        check64(&doubles(operands), text, expected);
    }
}

#[test]
fn masks_extensions_and_bit_searches_clamp_or_wrap_as_told() {
    for (instruction, expected) in [
        ("bmsk.clamp.b32 %r1, 4, 8;", 0x0000_0ff0),
        ("bmsk.clamp.b32 %r1, 40, 8;", 0),
        ("bmsk.wrap.b32 %r1, 36, 8;", 0x0000_0ff0),
        ("bmsk.clamp.b32 %r1, 0, 32;", 0xffff_ffff),
        ("bmsk.wrap.b32 %r1, 0, 32;", 0),
        ("szext.wrap.s32 %r1, 0x80, 8;", 0xffff_ff80),
        ("szext.clamp.u32 %r1, 0x1ff, 8;", 0xff),
        ("szext.clamp.s32 %r1, 0x1ff, 0;", 0),
        ("szext.clamp.u32 %r1, 0x1ff, 40;", 0x1ff),
        ("szext.wrap.s32 %r1, 1, 33;", 0xffff_ffff),
        ("fns.b32 %r1, 0xb0, 4, 0;", 4),
        ("fns.b32 %r1, 0xb0, 3, 0;", 0xffff_ffff),
        ("fns.b32 %r1, 0xb0, 0, 3;", 7),
        ("fns.b32 %r1, 0xb0, 0, 4;", 0xffff_ffff),
        ("fns.b32 %r1, 0xb0, 7, -2;", 5),
    ] {
        check32("", instruction, expected);
    }
}

#[test]
fn dot_products_take_the_half_they_name_and_borrows_carry_over() {
    let operands = words(&[0x0003_0002, 0x0403_0201, 10]);
    check32(&operands, "dp2a.lo.u32.u32 %r1, %r2, %r3, %r4;", 18);
    check32(&operands, "dp2a.hi.u32.u32 %r1, %r2, %r3, %r4;", 28);
    let operands = words(&[0, 1, 1, 0]);
    check32(
        &operands,
        "sub.cc.u32 %r6, %r2, %r3; subc.u32 %r1, %r4, %r5;",
        0,
    );
    check32(
        &operands,
        "sub.cc.u32 %r6, %r3, %r2; subc.u32 %r1, %r4, %r5;",
        1,
    );
}
