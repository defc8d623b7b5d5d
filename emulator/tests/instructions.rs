//! One line per rule of an instruction: operands in, result out, from the PTX ISA's own definitions.

mod common;

use common::{kernel, run, run_with};
use ptx_emulator::{MmaNumerics, Options};

/// `setup` fills registers, `instruction` leaves its result in `%r1` (32 bits) or `%rd1` (64 bits).
/// Both a whole warp and a lone odd lane must give the result, so that the masked path is tested too.
fn check32(setup: &str, instruction: &str, expected: u32) {
    let store =
        "mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;";
    let whole = run(&format!("{setup}\n{instruction}\n{store}"), 32);
    whole
        .result
        .clone()
        .unwrap_or_else(|fault| panic!("{instruction}: {fault}"));
    for lane in [0, 17, 31] {
        assert_eq!(
            whole.word(lane),
            expected,
            "{setup} {instruction}: got {:#x}",
            whole.word(lane)
        );
    }
    let guard = "setp.eq.u32 %p7, %r0, 3;";
    let guarded: String = instruction
        .split(';')
        .filter(|part| !part.trim().is_empty())
        .map(|part| format!("@%p7 {};", part.trim()))
        .collect();
    let lone = run(
        &format!("{setup}\nmov.b32 %r1, 0x5a5a5a5a;\n{guard}\n{guarded}\n{store}"),
        32,
    );
    lone.result
        .clone()
        .unwrap_or_else(|fault| panic!("{guarded}: {fault}"));
    assert_eq!(
        (lone.word(3), lone.word(4)),
        (expected, 0x5a5a_5a5a),
        "guarded {instruction}"
    );
}

fn check64(setup: &str, instruction: &str, expected: u64) {
    let store =
        "mul.wide.u32 %rd20, %r0, 8; add.s64 %rd20, %rd0, %rd20; st.global.b64 [%rd20], %rd1;";
    let whole = run(&format!("{setup}\n{instruction}\n{store}"), 32);
    whole
        .result
        .clone()
        .unwrap_or_else(|fault| panic!("{instruction}: {fault}"));
    for lane in [0, 17, 31] {
        assert_eq!(
            whole.wide(lane),
            expected,
            "{setup} {instruction}: got {:#x}",
            whole.wide(lane)
        );
    }
}

/// Operand values for `%r2`, `%r3`, `%r4`.
fn words(values: &[u32]) -> String {
    let load = |(i, v): (usize, &u32)| format!("mov.b32 %r{}, {v:#x}; ", i + 2);
    values.iter().enumerate().map(load).collect()
}

fn doubles(values: &[u64]) -> String {
    let load = |(i, v): (usize, &u64)| format!("mov.b64 %rd{}, {v:#x}; ", i + 2);
    values.iter().enumerate().map(load).collect()
}

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
fn float_arithmetic_rounds_flushes_and_saturates_as_told() {
    let one = 0x3f80_0000;
    for (text, operands, expected) in [
        ("add.rn.f32 %r1, %r2, %r3;", &[one, 0x3380_0000][..], one),
        ("add.rp.f32 %r1, %r2, %r3;", &[one, 0x3380_0000], one + 1),
        (
            "sub.rn.f32 %r1, %r2, %r3;",
            &[0x7f80_0000, 0x7f80_0000],
            0x7fff_ffff,
        ),
        (
            "mul.rn.f32 %r1, %r2, %r3;",
            &[0x0080_0000, 0x3f00_0000],
            0x0040_0000,
        ),
        (
            "mul.rn.ftz.f32 %r1, %r2, %r3;",
            &[0x0080_0000, 0x3f00_0000],
            0,
        ),
        ("add.rn.sat.f32 %r1, %r2, %r3;", &[one, one], one),
        ("add.rn.sat.f32 %r1, %r2, %r3;", &[0x7fc0_0000, one], 0),
        (
            "fma.rn.f32 %r1, %r2, %r3, %r4;",
            &[0x3f80_0001, 0x3f80_0001, 0xbf80_0002],
            0x2880_0000,
        ),
        ("min.f32 %r1, %r2, %r3;", &[0x7fc0_0000, one], one),
        ("min.f32 %r1, %r2, %r3;", &[0, 0x8000_0000], 0x8000_0000),
        ("max.f32 %r1, %r2, %r3;", &[0x8000_0000, 0], 0),
        (
            "max.NaN.f32 %r1, %r2, %r3;",
            &[0x7fc0_0000, one],
            0x7fff_ffff,
        ),
        ("neg.f32 %r1, %r2;", &[one], 0xbf80_0000),
        ("abs.f32 %r1, %r2;", &[0xbf80_0000], one),
        (
            "copysign.f32 %r1, %r2, %r3;",
            &[0xbf80_0000, 0x4000_0000],
            0xc000_0000,
        ),
        (
            "div.rn.f32 %r1, %r2, %r3;",
            &[one, 0x4040_0000],
            0x3eaa_aaab,
        ),
        (
            "div.rz.f32 %r1, %r2, %r3;",
            &[one, 0x4040_0000],
            0x3eaa_aaaa,
        ),
        ("sqrt.rn.f32 %r1, %r2;", &[0x4000_0000], 0x3fb5_04f3),
        ("rcp.approx.ftz.f32 %r1, %r2;", &[0x8000_0000], 0xff80_0000),
        ("ex2.approx.ftz.f32 %r1, %r2;", &[0xff80_0000], 0),
        ("ex2.approx.ftz.f32 %r1, %r2;", &[0xc2fe_0000], 0),
        ("ex2.approx.f32 %r1, %r2;", &[0xc2fe_0000], 0x0040_0000),
        ("ex2.approx.ftz.f32 %r1, %r2;", &[0x4040_0000], 0x4100_0000),
        ("lg2.approx.f32 %r1, %r2;", &[0x4100_0000], 0x4040_0000),
        ("rsqrt.approx.f32 %r1, %r2;", &[0x4080_0000], 0x3f00_0000),
        ("tanh.approx.f32 %r1, %r2;", &[0x7f80_0000], one),
        (
            "fma.rn.f16x2 %r1, %r2, %r3, %r4;",
            &[0x3c00_4000, 0x4000_4000, 0x3c00_3c00],
            0x4200_4500,
        ),
        (
            "fma.rn.bf16x2 %r1, %r2, %r3, %r4;",
            &[0x3f80_4000, 0x4000_4000, 0x3f80_3f80],
            0x4040_40a0,
        ),
        (
            "add.rn.f16x2 %r1, %r2, %r3;",
            &[0x7bff_3c00, 0x7bff_1000],
            0x7c00_3c00,
        ),
    ] {
        check32(&words(operands), text, expected);
    }
}

#[test]
fn conversions_round_clamp_and_pack() {
    let f32_to_16 = |cvt: &str| format!("{cvt} %h1, %r2; cvt.u32.u16 %r1, %h1;");
    let bf16 = f32_to_16("cvt.rn.bf16.f32");
    let f16 = f32_to_16("cvt.rn.f16.f32");
    let cases: Vec<(&str, u32, u32)> = vec![
        (&bf16, 0x3f80_8000, 0x3f80),
        (&bf16, 0x3f81_8000, 0x3f82),
        (&bf16, 0x7f7f_0000, 0x7f7f),
        (&bf16, 0x8000_0000, 0x8000),
        (&bf16, 0x0001_16c2, 0x0001),
        (&f16, 65504f32.to_bits(), 0x7bff),
        (&f16, 65519f32.to_bits(), 0x7bff),
        (&f16, 65520f32.to_bits(), 0x7c00),
        (&f16, 6e-8f32.to_bits(), 1),
        (&f16, 0x3300_0000, 0),
        (&f16, (-2.5f32).to_bits(), 0xc100),
        ("cvt.rzi.s32.f32 %r1, %r2;", f32::NAN.to_bits(), 0),
        ("cvt.rzi.s32.f32 %r1, %r2;", 3e9f32.to_bits(), 0x7fff_ffff),
        (
            "cvt.rzi.s32.f32 %r1, %r2;",
            (-3e9f32).to_bits(),
            0x8000_0000,
        ),
        (
            "cvt.rzi.s32.f32 %r1, %r2;",
            (-1.9f32).to_bits(),
            0xffff_ffff,
        ),
        ("cvt.rzi.u32.f32 %r1, %r2;", (-1f32).to_bits(), 0),
        ("cvt.rni.f32.f32 %r1, %r2;", 0.5f32.to_bits(), 0),
        (
            "cvt.rni.f32.f32 %r1, %r2;",
            1.5f32.to_bits(),
            2f32.to_bits(),
        ),
        (
            "cvt.rni.f32.f32 %r1, %r2;",
            2.5f32.to_bits(),
            2f32.to_bits(),
        ),
        (
            "cvt.rni.f32.f32 %r1, %r2;",
            (-0.4f32).to_bits(),
            0x8000_0000,
        ),
        (
            "cvt.rpi.f32.f32 %r1, %r2;",
            1.2f32.to_bits(),
            2f32.to_bits(),
        ),
        (
            "cvt.rn.f32.s32 %r1, %r2;",
            0x0100_0001,
            16_777_216f32.to_bits(),
        ),
        (
            "cvt.rz.f32.s32 %r1, %r2;",
            0xfeff_ffff,
            (-16_777_216f32).to_bits(),
        ),
        (
            "mov.b32 %r3, 0x40000000; cvt.rn.f16x2.f32 %r1, %r2, %r3;",
            0x3f80_0000,
            0x3c00_4000,
        ),
        (
            "mov.b32 %r3, 0x40000000; cvt.rn.bf16x2.f32 %r1, %r2, %r3;",
            0x3f80_0000,
            0x3f80_4000,
        ),
        (
            "cvt.u16.u32 %h1, %r2; cvt.f32.f16 %r1, %h1;",
            0x3c00,
            0x3f80_0000,
        ),
        (
            "cvt.u16.u32 %h1, %r2; cvt.f32.bf16 %r1, %h1;",
            0x3f80,
            0x3f80_0000,
        ),
        ("cvt.sat.s8.s32 %r1, %r2;", 300, 127),
    ];
    for (text, operand, expected) in cases {
        check32(&words(&[operand]), text, expected);
    }
    check64(
        "mov.b32 %r2, 0x7fc00000;",
        "cvt.rzi.u64.f32 %rd1, %r2;",
        1 << 63,
    );
    check64(
        "",
        "mov.b64 %rd2, 0x20000000000001; cvt.rn.f64.s64 %rd1, %rd2;",
        0x4340_0000_0000_0000,
    );
}

#[test]
fn comparisons_treat_nan_as_unordered() {
    let compare = |cmp: &str| format!("setp.{cmp}.f32 %p1, %r2, %r3; selp.b32 %r1, 1, 0, %p1;");
    let nan = [0x7fc0_0000, 0x3f80_0000];
    for (cmp, expected) in [
        ("eq", 0),
        ("ne", 0),
        ("lt", 0),
        ("ge", 0),
        ("neu", 1),
        ("ltu", 1),
        ("geu", 1),
        ("equ", 1),
        ("num", 0),
        ("nan", 1),
    ] {
        check32(&words(&nan), &compare(cmp), expected);
    }
    check32(
        &words(&[1, 0x8000_0000]),
        "setp.eq.ftz.f32 %p1, %r2, %r3; selp.b32 %r1, 1, 0, %p1;",
        1,
    );
    check32(
        &words(&[0xffff_ffff, 1]),
        "setp.lt.s32 %p1, %r2, %r3; selp.b32 %r1, 1, 0, %p1;",
        1,
    );
    check32(
        &words(&[0xffff_ffff, 1]),
        "setp.lo.u32 %p1, %r2, %r3; selp.b32 %r1, 1, 0, %p1;",
        0,
    );
    check32(&words(&[0x8000_0000]), "slct.b32.f32 %r1, 5, 6, %r2;", 5);
}

/// Runs `body`, which leaves a word per lane in `%r1`.
fn per_lane(body: &str) -> Vec<u32> {
    let store =
        "mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;";
    let run = run(&format!("{body}\n{store}"), 32);
    run.result
        .clone()
        .unwrap_or_else(|fault| panic!("{body}: {fault}"));
    (0..32).map(|lane| run.word(lane)).collect()
}

#[test]
fn shuffles_read_the_lane_that_the_isa_formula_names() {
    let shuffle = |mode: &str, b: u32, c: u32| {
        per_lane(&format!(
            "shfl.sync.{mode}.b32 %r2|%p1, %r0, {b}, {c:#x}, 0xffffffff;
             selp.b32 %r3, 256, 0, %p1; or.b32 %r1, %r2, %r3;"
        ))
    };
    let lanes = [0, 1, 7, 8, 9, 27, 31];
    let yes = |lane: u32| lane | 256;
    for (mode, b, c, expected) in [
        (
            "up",
            1,
            0,
            [0, yes(0), yes(6), yes(7), yes(8), yes(26), yes(30)],
        ),
        ("up", 2, 0x1800, [0, 1, yes(5), 8, 9, yes(25), yes(29)]),
        (
            "down",
            4,
            0x1f,
            [yes(4), yes(5), yes(11), yes(12), yes(13), yes(31), 31],
        ),
        (
            "down",
            3,
            0x181f,
            [yes(3), yes(4), 7, yes(11), yes(12), yes(30), 31],
        ),
        (
            "bfly",
            16,
            0x1f,
            [
                yes(16),
                yes(17),
                yes(23),
                yes(24),
                yes(25),
                yes(11),
                yes(15),
            ],
        ),
        ("bfly", 4, 0x1c1f, [0, 1, yes(3), 8, 9, 27, yes(27)]),
        (
            "idx",
            1,
            0x181f,
            [yes(1), yes(1), yes(1), yes(9), yes(9), yes(25), yes(25)],
        ),
    ] {
        let got = shuffle(mode, b, c);
        for (lane, expected) in lanes.into_iter().zip(expected) {
            assert_eq!(got[lane], expected, "{mode} b={b} c={c:#x} lane {lane}");
        }
    }
}

#[test]
fn votes_and_matches_see_the_lanes_of_their_mask() {
    assert_eq!(
        per_lane("setp.lt.u32 %p1, %r0, 5; vote.sync.ballot.b32 %r1, %p1, 0xffffffff;")[9],
        0x1f
    );
    let all = "setp.lt.u32 %p1, %r0, 5; vote.sync.all.pred %p2, %p1, -1; selp.b32 %r1, 1, 0, %p2;";
    assert_eq!(per_lane(all)[0], 0);
    assert_eq!(per_lane(&all.replace(".all", ".any"))[31], 1);
    assert_eq!(
        per_lane("and.b32 %r2, %r0, 1; match.any.sync.b32 %r1, %r2, -1;")[3],
        0xaaaa_aaaa
    );
    assert_eq!(per_lane("match.all.sync.b32 %r1|%p1, %r0, -1;")[3], 0);
    assert_eq!(per_lane("redux.sync.add.u32 %r1, %r0, -1;")[3], 496);
    assert_eq!(per_lane("redux.sync.max.s32 %r1, %r0, -1;")[30], 31);
    assert_eq!(per_lane("activemask.b32 %r1;")[0], u32::MAX);
}

#[test]
fn lanes_of_one_mask_meet_at_different_program_counters() {
    let got = per_lane(
        "and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 0;
         @%p1 bra EVEN;
         shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, 0xffffffff; bra DONE;
         EVEN: shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, 0xffffffff;
         DONE: bar.warp.sync 0xffffffff;",
    );
    assert_eq!(got, (0..32).map(|lane| lane ^ 1).collect::<Vec<u32>>());
}

#[test]
fn halves_of_a_warp_shuffle_among_themselves() {
    let got = per_lane(
        "setp.lt.u32 %p1, %r0, 16; selp.b32 %r2, 0xffff, 0xffff0000, %p1;
         shfl.sync.idx.b32 %r1, %r0, 16, 0x1f, %r2; @%p1 mov.b32 %r1, 7;",
    );
    assert_eq!((got[0], got[16], got[31]), (7, 16, 16));
}

#[test]
fn divergent_lanes_reconverge_after_a_loop() {
    let got = per_lane(
        "mov.b32 %r1, 0; mov.b32 %r2, %r0;
         LOOP: setp.eq.u32 %p1, %r2, 0; @%p1 bra DONE;
         add.u32 %r1, %r1, %r2; sub.u32 %r2, %r2, 1; bra LOOP;
         DONE: activemask.b32 %r3; and.b32 %r3, %r3, 0x80000000; setp.eq.u32 %p2, %r3, 0;
         @%p2 mov.b32 %r1, 0xdead;",
    );
    assert_eq!(got, (0..32).map(|n| n * (n + 1) / 2).collect::<Vec<u32>>());
}

#[test]
fn atomics_return_the_old_value_and_serialise() {
    let text = "st.global.b32 [%rd0+256], 0; bar.sync 0; atom.global.add.u32 %r1, [%rd0+256], 2;";
    let mut got = per_lane(text);
    got.sort_unstable();
    assert_eq!(got, (0..32).map(|n| 2 * n).collect::<Vec<u32>>());
    for (text, start, expected) in [
        ("atom.global.inc.u32 %r1, [%rd0+256], 2;", 2, 0),
        ("atom.global.dec.u32 %r1, [%rd0+256], 5;", 0, 5),
        ("atom.global.cas.b32 %r1, [%rd0+256], 7, 9;", 7, 9),
        ("atom.global.cas.b32 %r1, [%rd0+256], 8, 9;", 7, 7),
        ("atom.global.exch.b32 %r1, [%rd0+256], 3;", 7, 3),
        ("atom.global.min.s32 %r1, [%rd0+256], -1;", 4, u32::MAX),
        ("atom.global.max.u32 %r1, [%rd0+256], 3;", 4, 4),
        ("atom.global.xor.b32 %r1, [%rd0+256], 3;", 5, 6),
        (
            "atom.global.add.f32 %r1, [%rd0+256], 0f3f800000;",
            0x3f80_0000,
            0x4000_0000,
        ),
        ("red.global.add.u32 [%rd0+256], 3;", 4, 7),
        // Device memory flushes subnormal sums.
        ("red.global.add.f32 [%rd0+256], 0f00000001;", 1, 0),
    ] {
        let run = run(&format!("st.global.b32 [%rd0+256], {start}; {text}"), 1);
        run.result
            .clone()
            .unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(run.word(64), expected, "{text}");
    }
}

#[test]
fn atomics_of_many_blocks_lose_nothing() {
    let text = kernel(
        ".global .align 8 .u64 total;",
        "mov.u64 %rd1, total; atom.global.add.u64 %rd2, [%rd1], 1; red.global.add.u64 [%rd1], 1;
         ld.global.u64 %rd3, [%rd1]; atom.global.max.u64 %rd4, [%rd0], %rd3;",
    );
    // The output buffer starts as all ones, so make the maximum signed.
    let text = text.replace("atom.global.max.u64", "atom.global.max.s64");
    let run = run_with(
        &text,
        64,
        64,
        &Options {
            threads: Some(4),
            ..Options::default()
        },
    );
    run.result.clone().expect("no fault");
    assert_eq!(run.wide(0), 2 * 64 * 64);
}

#[test]
fn barriers_count_reduce_and_forget_exited_warps() {
    let text = kernel(
        ".shared .align 4 .b8 buffer[512];",
        "mov.u32 %r2, buffer; shl.b32 %r3, %r0, 2; add.u32 %r2, %r2, %r3; st.shared.b32 [%r2], %r0;
         bar.sync 0; xor.b32 %r4, %r3, 508; mov.u32 %r5, buffer; add.u32 %r5, %r5, %r4;
         ld.shared.b32 %r1, [%r5];
         setp.lt.u32 %p1, %r0, 40; bar.red.popc.u32 %r6, 1, %p1; bar.red.and.pred %p2, 2, %p1;
         bar.red.or.pred %p3, 3, %p1; selp.b32 %r7, 1, 0, %p2; selp.b32 %r8, 2, 0, %p3;
         add.u32 %r6, %r6, %r7; add.u32 %r6, %r6, %r8; shl.b32 %r6, %r6, 8; add.u32 %r1, %r1, %r6;
         mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;
         setp.ge.u32 %p4, %r0, 96; @%p4 exit; bar.sync 0;",
    );
    let run = run_with(&text, 1, 128, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    for thread in 0..128 {
        assert_eq!(
            run.word(thread as usize),
            (127 - thread) + ((40 + 2) << 8),
            "{thread}"
        );
    }
}

#[test]
fn a_producer_warp_may_arrive_without_waiting() {
    let text = kernel(
        ".shared .align 4 .b8 buffer[4];",
        "setp.lt.u32 %p1, %r0, 32; @%p1 bra CONSUMER;
         st.shared.b32 [buffer], 77; bar.arrive 1, 64; ret;
         CONSUMER: bar.sync 1, 64; ld.shared.b32 %r1, [buffer]; st.global.b32 [%rd0], %r1;",
    );
    let run = run_with(&text, 1, 64, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(run.word(0), 77);
}

#[test]
fn asynchronous_copies_land_at_the_wait_and_fill_with_zeros() {
    let text = kernel(
        ".shared .align 16 .b8 buffer[32];",
        "mov.b32 %r2, 0x11111111; st.global.v4.b32 [%rd0], {%r2, %r2, %r2, %r2};
         mov.u32 %r3, buffer; mov.b32 %r4, 6;
         cp.async.cg.shared.global [%r3], [%rd0], 16; cp.async.commit_group;
         cp.async.ca.shared.global [%r3+16], [%rd0], 16, %r4; cp.async.commit_group;
         cp.async.wait_group 1; ld.shared.b32 %r5, [%r3+12];
         cp.async.wait_all; ld.shared.b32 %r6, [%r3+20]; ld.shared.b32 %r7, [%r3+24];
         st.global.v4.b32 [%rd0+16], {%r5, %r6, %r7, %r7};",
    );
    let run = run_with(&text, 1, 1, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!([4, 5, 6].map(|i| run.word(i)), [0x1111_1111, 0x1111, 0]);
}

#[test]
fn ldmatrix_gives_each_lane_two_neighbours_of_a_row_or_of_a_column() {
    // Element (row, col) of the 8x8 matrix is 8 * row + col.
    let text = |transpose: &str| {
        kernel(
            ".shared .align 16 .b8 buffer[128];",
            &format!(
                "mov.u32 %r2, buffer; shl.b32 %r3, %r0, 2; add.u32 %r4, %r2, %r3;
                 shl.b32 %r5, %r0, 1; add.u32 %r6, %r5, 1; shl.b32 %r6, %r6, 16;
                 or.b32 %r5, %r5, %r6; st.shared.b32 [%r4], %r5; bar.sync 0;
                 and.b32 %r7, %r0, 7; shl.b32 %r7, %r7, 4; add.u32 %r7, %r2, %r7;
                 ldmatrix.sync.aligned.m8n8.x1{transpose}.shared.b16 {{%r1}}, [%r7];
                 mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;"
            ),
        )
    };
    for (transpose, row_step, col_step) in [("", 8, 1), (".trans", 1, 8)] {
        let run = run_with(&text(transpose), 1, 32, &Options::default());
        run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
        for lane in 0..32u32 {
            let (g, t) = (lane / 4, lane % 4);
            let element = |col: u32| g * row_step + col * col_step;
            let expected = element(2 * t) | element(2 * t + 1) << 16;
            assert_eq!(run.word(lane as usize), expected, "{transpose} lane {lane}");
        }
    }
}

#[test]
fn mma_adds_products_of_whole_rows_and_columns() {
    // A and B are all ones, C is the lane: every element of D is 16 more than C.
    let text = kernel(
        "",
        "mov.b32 %r2, 0x3f803f80; cvt.rn.f32.u32 %r3, %r0;
         mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r4, %r5, %r6, %r7},
           {%r2, %r2, %r2, %r2}, {%r2, %r2}, {%r3, %r3, %r3, %r3};
         mul.wide.u32 %rd20, %r0, 16; add.s64 %rd20, %rd0, %rd20;
         st.global.v4.b32 [%rd20], {%r4, %r5, %r6, %r7};",
    );
    for mma in [MmaNumerics::F32, MmaNumerics::Hardware] {
        let run = run_with(
            &text,
            1,
            32,
            &Options {
                mma,
                ..Options::default()
            },
        );
        run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
        for i in 0..128 {
            assert_eq!(f32::from_bits(run.word(i)), 16.0 + (i / 4) as f32);
        }
    }
}

#[test]
fn generic_addresses_reach_every_space() {
    let text = kernel(
        ".shared .align 8 .b8 buffer[256]; .const .align 4 .b32 table[2] = {5, 6};",
        ".local .align 4 .b8 depot[8];
         mov.u64 %rd1, buffer; cvta.shared.u64 %rd1, %rd1; mov.u64 %rd2, depot;
         cvta.local.u64 %rd2, %rd2; mov.u64 %rd3, table; cvta.const.u64 %rd3, %rd3;
         st.b32 [%rd1], 3; st.b32 [%rd2+4], 4; ld.b32 %r1, [%rd1]; ld.local.b32 %r2, [depot+4];
         ld.b32 %r3, [%rd3+4]; ld.shared.b32 %r4, [buffer];
         isspacep.shared %p1, %rd1; selp.b32 %r5, 10, 0, %p1;
         add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; add.u32 %r1, %r1, %r4; add.u32 %r1, %r1, %r5;
         st.b32 [%rd0], %r1;",
    );
    let run = run_with(&text, 1, 1, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(run.word(0), 3 + 4 + 6 + 3 + 10);
}
