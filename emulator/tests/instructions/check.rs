//! One instruction, its operands and the value that the ISA says.

use crate::common::run;

/// `setup` fills registers, `instruction` leaves its result in `%r1` (32 bits) or `%rd1` (64 bits).
/// Both a whole warp and a lone odd lane must give the result, so that the masked path is tested too.
pub fn check32(setup: &str, instruction: &str, expected: u32) {
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

pub fn check64(setup: &str, instruction: &str, expected: u64) {
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
pub fn words(values: &[u32]) -> String {
    let load = |(i, v): (usize, &u32)| format!("mov.b32 %r{}, {v:#x}; ", i + 2);
    values.iter().enumerate().map(load).collect()
}

pub fn doubles(values: &[u64]) -> String {
    let load = |(i, v): (usize, &u64)| format!("mov.b64 %rd{}, {v:#x}; ", i + 2);
    values.iter().enumerate().map(load).collect()
}

/// Runs `body`, which leaves a word per lane in `%r1`.
pub fn per_lane(body: &str) -> Vec<u32> {
    let store =
        "mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;";
    let run = run(&format!("{body}\n{store}"), 32);
    run.result
        .clone()
        .unwrap_or_else(|fault| panic!("{body}: {fault}"));
    (0..32).map(|lane| run.word(lane)).collect()
}
