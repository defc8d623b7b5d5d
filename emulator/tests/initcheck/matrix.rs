//! Undefined elements of matrix fragments. Expected lanes are those of the ISA's figures.

use ptx_emulator::Use;

use crate::check::{checked, clean, finding, found, unwritten};

/// Fragments of `mma.m16n8k16` in registers: A in %r10 to %r13, B in %r14 and %r15, C in %f0 to %f3,
/// all written but for `lane` of `%{undefined}`.
fn fragments(undefined: &str, lane: usize) -> String {
    let names = (10..16)
        .map(|n| format!("r{n}"))
        .chain((0..4).map(|n| format!("f{n}")));
    names
        .map(|name| {
            let guard = if name == undefined { "@%p1" } else { "" };
            format!("{guard} mov.b32 %{name}, 0;")
        })
        .fold(format!("setp.ne.u32 %p1, %r0, {lane};"), |text, mov| {
            text + &mov
        })
}

/// Lanes of `register` that are undefined after `body`.
fn undefined_lanes(body: &str, register: &str) -> u32 {
    let is_undefined = |lane: &u32| {
        let text = format!(
            "{body} setp.ne.u32 %p7, %r0, {lane}; @%p7 exit; st.shared.b32 [buffer], {register};"
        );
        checked(&text)
            .result
            .is_err_and(|fault| finding(&fault).2 == *lane)
    };
    (0..32)
        .filter(is_undefined)
        .fold(0, |lanes, lane| lanes | 1 << lane)
}

/// The lanes that hold a column of C in an even or odd register: t = column / 2 of every row.
fn column_lanes(column: u32) -> u32 {
    0x1111_1111 << (column / 2)
}

#[test]
fn an_undefined_element_of_a_spoils_its_row_and_one_of_b_its_column() {
    let mma = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f8, %f9, %f10, %f11},
               {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f0, %f1, %f2, %f3};";
    let spoiled = |undefined: &str, lane: usize| {
        let body = fragments(undefined, lane) + mma;
        ["%f8", "%f9", "%f10", "%f11"].map(|d| undefined_lanes(&body, d))
    };
    // Lane 22 is (g, t) = (5, 2): row 5 or 13 of A, column 5 of B, columns 4 and 5 of C.
    let row = 0xf << 20;
    assert_eq!(spoiled("none", 22), [0; 4]);
    assert_eq!(spoiled("r10", 22), [row, row, 0, 0]);
    assert_eq!(spoiled("r11", 22), [0, 0, row, row]);
    assert_eq!(spoiled("r12", 22), [row, row, 0, 0]);
    assert_eq!(spoiled("r13", 22), [0, 0, row, row]);
    let (odd, even) = (column_lanes(5), column_lanes(4));
    assert_eq!(spoiled("r14", 22), [0, odd, 0, odd]);
    assert_eq!(spoiled("r15", 17), [even, 0, even, 0]);
    assert_eq!(spoiled("f2", 22), [0, 0, 1 << 22, 0]);
}

#[test]
fn half_precision_accumulators_hold_two_columns() {
    let mma = "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r20, %r21}, {%r10, %r11}, {%r14}, {%r12, %r13};";
    let spoiled = |undefined: &str| {
        let body = fragments(undefined, 22) + mma;
        ["%r20", "%r21"].map(|d| undefined_lanes(&body, d))
    };
    let row = 0xf << 20;
    assert_eq!(spoiled("r10"), [row, 0]);
    assert_eq!(spoiled("r11"), [0, row]);
    assert_eq!(spoiled("r14"), [column_lanes(5); 2]);
    assert_eq!(spoiled("r13"), [0, 1 << 22]);
}

/// The rows of four 8x8 matrices in shared unwritten, written but for one element of row 13, and the
/// address of each lane's row in %r3.
fn rows_without(column: usize) -> String {
    (0..8).fold(
        "mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 16, %r3; setp.ne.u32 %p1, %r0, 13; mov.b16 %h1, 0;".into(),
        |text, n| {
            let guard = if n == column { "@%p1" } else { "" };
            format!("{text} {guard} st.shared.b16 [%r3+{}], %h1;", 2 * n)
        },
    )
}

#[test]
fn ldmatrix_gives_an_undefined_element_to_the_lane_that_the_isa_names() {
    let load = |column: usize, suffix: &str| {
        let body = rows_without(column)
            + &format!(
                "ldmatrix.sync.aligned.m8n8.x4{suffix}.shared.b16 {{%r4, %r5, %r6, %r7}}, [%r3];"
            );
        ["%r4", "%r5", "%r6", "%r7"].map(|d| undefined_lanes(&body, d))
    };
    // Row 13 is row 5 of matrix 1. Lane 4g + t has the elements 2t and 2t + 1 of row g, or of
    // column g when transposed.
    assert_eq!(load(8, ""), [0; 4]);
    assert_eq!(load(6, ""), [0, 1 << 23, 0, 0]);
    assert_eq!(load(7, ""), [0, 1 << 23, 0, 0]);
    assert_eq!(load(6, ".trans"), [0, 1 << 26, 0, 0]);
    assert_eq!(load(7, ".trans"), [0, 1 << 30, 0, 0]);
    let body = format!(
        "{}\nldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r4, %r5}}, [%r3];",
        rows_without(6)
    );
    let store = "st.shared.v2.b32 [buffer], {%r4, %r5};";
    let expected = (unwritten("shared", 13 * 16 + 12, 1), Use::Store, 23);
    assert_eq!(found(&(body + store)), expected);
    // Lanes 8 to 31 give no address to .x1.
    clean(
        "setp.lt.u32 %p1, %r0, 8; mov.u32 %r3, buffer; @%p1 mov.u32 %r4, %r3;
           st.shared.v4.b32 [%r3], {0, 0, 0, 0};
           ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r4]; st.shared.b32 [%r3], %r1;",
    );
}

#[test]
fn movmatrix_moves_undefined_elements_to_their_transposed_places() {
    // Lane 22 has (5, 4) and (5, 5), which go to (4, 5) and (5, 5): lanes 18 and 22.
    let body = fragments("r10", 22) + "movmatrix.sync.aligned.m8n8.trans.b16 %r20, %r10;";
    assert_eq!(undefined_lanes(&body, "%r20"), 1 << 18 | 1 << 22);
}
