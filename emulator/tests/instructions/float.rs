//! Floating point arithmetic, conversions and comparisons.

use crate::check::{check32, check64, words};

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

#[test]
fn sine_and_cosine_know_their_special_values() {
    for (instruction, x, expected) in [
        ("sin.approx.f32 %r1, %r2;", 0, 0),
        ("sin.approx.f32 %r1, %r2;", 0x8000_0000, 0x8000_0000),
        ("cos.approx.f32 %r1, %r2;", 0x8000_0000, 0x3f80_0000),
        ("sin.approx.f32 %r1, %r2;", 0x7f80_0000, 0x7fff_ffff),
        ("cos.approx.f32 %r1, %r2;", 0xff80_0000, 0x7fff_ffff),
    ] {
        check32(&words(&[x]), instruction, expected);
    }
}

#[test]
fn testp_tells_the_class_of_a_number() {
    let classes = [
        ("finite", [1, 1, 0, 0]),
        ("infinite", [0, 0, 1, 0]),
        ("number", [1, 1, 1, 0]),
        ("notanumber", [0, 0, 0, 1]),
        ("normal", [1, 0, 0, 0]),
        ("subnormal", [0, 1, 0, 0]),
    ];
    for (class, answers) in classes {
        for (x, answer) in [0x3f80_0000, 1, 0xff80_0000, 0x7fc0_0000]
            .into_iter()
            .zip(answers)
        {
            let test = format!("testp.{class}.f32 %p1, %r2; selp.u32 %r1, 1, 0, %p1;");
            check32(&words(&[x]), &test, answer);
        }
    }
}
