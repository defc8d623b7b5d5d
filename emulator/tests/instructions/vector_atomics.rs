//! Atomics on vectors of floats against atomics on their elements.

use ptx_emulator::{Options, Sanitizers};

use crate::common::{kernel, run_with};

/// The output buffer after every lane of two warps has added to 16 bytes, of which lane i shares
/// those with number i / 4.
fn words(body: &str) -> Vec<u32> {
    let setup = "shr.u32 %r5, %r0, 2; mul.wide.u32 %rd1, %r5, 16; add.u64 %rd1, %rd0, %rd1;
        shl.b32 %r6, %r0, 3; cvt.rn.f32.u32 %f0, %r6; add.f32 %f1, %f0, 0f3F800000;
        add.f32 %f2, %f0, 0f40000000; add.f32 %f3, %f0, 0f40400000;
        cvt.rn.f16x2.f32 %r10, %f1, %f0; cvt.rn.f16x2.f32 %r11, %f3, %f2; mov.b32 %r12, %r10;
        mov.b32 %r13, %r11; mov.b32 {%h0, %h1}, %r10; mov.b32 {%h2, %h3}, %r11;
        mov.u32 %r9, 0; mul.wide.u32 %rd2, %r0, 16; add.u64 %rd2, %rd0, %rd2;
        st.global.v4.b32 [%rd2], {%r9, %r9, %r9, %r9}; bar.sync 0;";
    let text = kernel("", &format!("{setup}\n{body}")).replace(".version 8.0", ".version 8.1");
    let options = Options {
        sanitizers: Sanitizers::ALL,
        ..Options::default()
    };
    let run = run_with(&text, 1, 64, &options);
    run.result
        .clone()
        .unwrap_or_else(|fault| panic!("{body}: {}", fault.report()));
    (0..256).map(|i| run.word(i)).collect()
}

#[test]
fn a_vector_is_added_element_by_element() {
    for (vector, scalars) in [
        (
            "red.global.add.v4.f32 [%rd1], {%f0, %f1, %f2, %f3};",
            "red.global.add.f32 [%rd1], %f0; red.global.add.f32 [%rd1+4], %f1;
             red.global.add.f32 [%rd1+8], %f2; red.global.add.f32 [%rd1+12], %f3;",
        ),
        (
            "red.relaxed.gpu.global.v2.f32.add [%rd1+8], {%f2, %f3};",
            "red.global.add.f32 [%rd1+8], %f2; red.global.add.f32 [%rd1+12], %f3;",
        ),
        (
            "red.global.add.noftz.v4.f16x2 [%rd1], {%r10, %r11, %r12, %r13};",
            "red.global.add.noftz.f16x2 [%rd1], %r10; red.global.add.noftz.f16x2 [%rd1+4], %r11;
             red.global.add.noftz.f16x2 [%rd1+8], %r12; red.global.add.noftz.f16x2 [%rd1+12], %r13;",
        ),
        (
            "red.global.add.noftz.v8.f16 [%rd1], {%h0, %h1, %h2, %h3, %h0, %h1, %h2, %h3};",
            "red.global.add.noftz.f16x2 [%rd1], %r10; red.global.add.noftz.f16x2 [%rd1+4], %r11;
             red.global.add.noftz.f16x2 [%rd1+8], %r12; red.global.add.noftz.f16x2 [%rd1+12], %r13;",
        ),
    ] {
        let sums = words(vector);
        assert_eq!(sums, words(scalars), "{vector}");
        assert!(sums.iter().filter(|word| **word != 0).count() > 30, "{vector}");
    }
}

#[test]
fn the_old_values_come_back() {
    let body =
        |atom: &str| format!("{atom} bar.sync 0; st.global.v4.f32 [%rd2], {{%f4, %f5, %f6, %f7}};");
    let vector = "atom.global.v4.f32.add {%f4, %f5, %f6, %f7}, [%rd1], {%f0, %f1, %f2, %f3};";
    let scalars = "atom.global.add.f32 %f4, [%rd1], %f0; atom.global.add.f32 %f5, [%rd1+4], %f1;
        atom.global.add.f32 %f6, [%rd1+8], %f2; atom.global.add.f32 %f7, [%rd1+12], %f3;";
    let old = words(&body(vector));
    assert_eq!(old, words(&body(scalars)));
    // The last of four lanes finds what the three before it have added: 8 * (0 + 1 + 2).
    assert_eq!(f32::from_bits(old[4 * 3]), 24.0);
}
