//! What the decoder makes of instructions that it expands, of calls, scopes and initialisers: small programs, run.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
mod common;

use common::record::{self, Buffer, Launched};
use proptest::prelude::*;
use ptx_emulator::{FaultKind, GlobalMemory, Launch, Module, Options, launch};

const LANES: usize = 32;

/// Runs `body` on one warp. Lane i finds `inputs[i]` in `%x` (64 bits), their low words in `%w`, and leaves its result
/// in `%y` (64 bits). `scope` stands before the entry.
fn run(scope: &str, body: &str, inputs: &[u64; LANES]) -> [u64; LANES] {
    let text = format!(
        ".version 8.2\n.target sm_80\n.address_size 64\n{scope}\n\
         .entry k(.param .u64 input, .param .u64 output)\n{{\n\
         .reg .pred %p<10>; .reg .b16 %h<10>; .reg .b32 %r<10>, %w, lane; .reg .f32 %f<10>; .reg .b64 %rd<10>, %x, %y, in, out;\n\
         ld.param.u64 in, [input]; ld.param.u64 out, [output]; mov.u32 lane, %laneid;\n\
         mad.wide.u32 in, lane, 8, in; mad.wide.u32 out, lane, 8, out;\n\
         ld.global.u64 %x, [in]; cvt.u32.u64 %w, %x; mov.u64 %y, 0;\n\
         {body}\nst.global.u64 [out], %y;\nexit;\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let memory = GlobalMemory::new();
    let (input, output) = (
        memory.alloc(LANES * 8).unwrap(),
        memory.alloc(LANES * 8).unwrap(),
    );
    let bytes: Vec<u8> = inputs
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    memory.write(input, &bytes).unwrap();
    let params: Vec<u8> = [input, output]
        .iter()
        .flat_map(|address| address.to_le_bytes())
        .collect();
    let shape = Launch {
        grid: [1; 3],
        block: [32, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &params,
    };
    let launched = Launched {
        text: &text,
        entry: "k",
        kernel: module.kernel("k").unwrap(),
        memory: &memory,
        shape,
        buffers: &[input, output].map(|address| Buffer::new(address, LANES * 8)),
        maps: &[],
    };
    record::run(&launched, &Options::default()).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let mut bytes = [0; LANES * 8];
    memory.read(output, &mut bytes).unwrap();
    let mut results = [0; LANES];
    for (result, bytes) in results.iter_mut().zip(bytes.chunks_exact(8)) {
        *result = u64::from_le_bytes(bytes.try_into().unwrap());
    }
    results
}

fn lanes() -> [u64; LANES] {
    std::array::from_fn(|lane| lane as u64)
}

/// Runs `body` on the lane numbers and compares every lane.
fn check(scope: &str, body: &str, expected: impl Fn(u64) -> u64) {
    let results = run(scope, body, &lanes());
    for (lane, &result) in lanes().iter().zip(&results) {
        assert_eq!(result, expected(*lane), "lane {lane} of {body}");
    }
}

#[test]
fn setp_combines_and_inverts() {
    check(
        "",
        "setp.gt.u32 %p3, %w, 20; setp.lt.and.u32 %p1|%p2, %w, 10, !%p3;\n\
         selp.u64 %y, 1, 0, %p1; @%p2 add.u64 %y, %y, 2;",
        |n| u64::from(n < 10) | (u64::from((10..=20).contains(&n)) << 1),
    );
}

#[test]
fn an_expanded_instruction_may_overwrite_its_own_guard() {
    check(
        "",
        "setp.lt.u32 %p1, %w, 16; setp.eq.u32 %p2, %w, 99;\n@%p1 setp.lt.u32 %p1|%p2, %w, 8;\n\
         selp.u64 %y, 1, 0, %p1; @%p2 add.u64 %y, %y, 2;",
        |n| u64::from(n < 8) | (u64::from((8..16).contains(&n)) << 1),
    );
}

#[test]
fn set_and_slct_select_by_comparison() {
    check("", "set.ge.u32.s32 %r1, %w, 5; cvt.u64.u32 %y, %r1;", |n| {
        if n >= 5 { 0xffff_ffff } else { 0 }
    });
    check(
        "",
        "sub.s32 %r1, %w, 7; slct.u64.s32 %y, 11, 22, %r1;",
        |n| if n >= 7 { 11 } else { 22 },
    );
    check(
        "",
        "mov.b32 %r1, 0x40003c00; mov.b32 %r2, 0x3c003c00; set.gt.u32.f16x2 %r3, %r1, %r2; cvt.u64.u32 %y, %r3;",
        |_| 0xffff_0000,
    );
}

#[test]
fn carries_chain_over_words() {
    let inputs = std::array::from_fn(|lane| 0xffff_ffff_ffff_ffe0 + lane as u64);
    let results = run("", "add.cc.u64 %rd1, %x, 16; addc.u64 %y, 0, 0;", &inputs);
    for (input, result) in inputs.iter().zip(results) {
        assert_eq!(result, u64::from(input.checked_add(16).is_none()));
    }
    let body = "mov.b64 {%r1,%r2}, %x; mul.lo.u32 %r3, %r1, 0x87654321; mul.hi.u32 %r4, %r1, 0x87654321;\n\
         mad.lo.cc.u32 %r4, %r2, 0x87654321, %r4; madc.hi.u32 %r5, %r2, 0x87654321, 0; mov.b64 %y, {%r4,%r5};";
    let results = run("", body, &inputs);
    for (&input, result) in inputs.iter().zip(results) {
        assert_eq!(result, ((u128::from(input) * 0x8765_4321) >> 32) as u64);
    }
}

#[test]
fn lop3_with_a_predicate_tells_whether_bits_remain() {
    check(
        "",
        "setp.lt.u32 %p2, %w, 3; lop3.or.b32 %r1|%p1, %w, 4, 0, 0xc0, %p2; cvt.u64.u32 %y, %r1; @%p1 add.u64 %y, %y, 100;",
        |n| (n & 4) + if n & 4 != 0 || n < 3 { 100 } else { 0 },
    );
}

#[test]
fn products_of_24_bits_ignore_the_rest() {
    check(
        "",
        "or.b32 %r1, %w, 0x7f000000; mad24.lo.u32 %r2, %r1, 3, 1; cvt.u64.u32 %y, %r2;",
        |n| n * 3 + 1,
    );
    check(
        "",
        "or.b32 %r1, %w, 0x00ffff00; mul24.lo.s32 %r2, %r1, 1; cvt.s64.s32 %y, %r2;",
        |n| (n as i64 - 256) as u64,
    );
}

#[test]
fn packing_puts_the_first_element_lowest() {
    check("", "cvt.u16.u32 %h1, %w; mov.b64 %y, {%h1,2,3,4};", |n| {
        0x0004_0003_0002_0000 | n
    });
    check(
        "",
        "mov.b64 %rd1, 0x4444333322221111; mov.b64 {_,%h2,%h3,_}, %rd1; mov.b32 %r1, {%h3,%h2}; cvt.u64.u32 %y, %r1;",
        |_| 0x2222_3333,
    );
}

#[test]
fn narrow_loads_extend_and_narrow_stores_cut() {
    let inputs = std::array::from_fn(|lane| 0x1122_3344_5566_7780 + lane as u64 * 3);
    let results = run("", "ld.global.s8 %y, [in];", &inputs);
    for (&input, result) in inputs.iter().zip(results) {
        assert_eq!(result, input as i8 as i64 as u64);
    }
    let body = "ld.global.s8 %h1, [in]; cvt.u64.u16 %y, %h1; st.global.u8 [in], %x; st.global.u8 [in+1], 7; ld.global.u16 %r1, [in];\n\
         shl.b64 %y, %y, 32; cvt.u64.u32 %rd1, %r1; or.b64 %y, %y, %rd1;";
    let results = run("", body, &inputs);
    for (&input, result) in inputs.iter().zip(results) {
        assert_eq!(result >> 32, u64::from(input as i8 as i16 as u16));
        assert_eq!(result & 0xffff_ffff, 0x700 | (input & 0xff));
    }
}

#[test]
fn calls_pass_areas_registers_and_constants() {
    let scope = ".func (.param .b64 f_out) f(.param .align 8 .b8 f_in[16]) {\n\
         .reg .b64 %rd<4>; .local .align 8 .b8 depot[8];\n\
         ld.param.b64 %rd1, [f_in]; ld.param.b64 %rd2, [f_in+8]; sub.s64 %rd3, %rd1, %rd2;\n\
         st.local.b64 [depot], %rd3; ld.local.b64 %rd3, [depot]; st.param.b64 [f_out], %rd3; ret; }\n\
         .func (.reg .b64 g_out) g(.reg .b64 g_in, .param .b64 g_by) {\n\
         .reg .b64 %rd<2>; ld.param.b64 %rd1, [g_by]; mul.lo.s64 g_out, g_in, %rd1; mov.u64 g_in, 0; ret; }";
    let body = "{ .param .align 8 .b8 a[16]; .param .b64 r; st.param.b64 [a], %x; st.param.b64 [a+8], 5;\n\
         call.uni (r), f, (a); ld.param.b64 %rd1, [r]; }\n\
         call (%rd2), g, (%rd1, 3); call (%y), g, (%rd2, %rd1);";
    check(scope, body, |n| {
        let difference = n.wrapping_sub(5);
        difference.wrapping_mul(3).wrapping_mul(difference)
    });
}

#[test]
fn a_guarded_call_and_an_early_return_leave_the_other_lanes_alone() {
    let scope = ".func (.reg .b64 o) f(.reg .b64 i) { .reg .pred %p1; mov.u64 o, 1; setp.gt.u64 %p1, i, 20; @%p1 ret;\n\
         mov.u64 o, 2; ret; }";
    check(
        scope,
        "mov.u64 %y, 9; setp.gt.u32 %p1, %w, 9; @%p1 call (%y), f, (%x);",
        |n| match n {
            0..10 => 9,
            10..21 => 2,
            _ => 1,
        },
    );
}

#[test]
fn constants_are_forgotten_where_their_register_is_written_again() {
    check(
        "",
        "mov.u64 %y, 5; setp.lt.u32 %p1, %w, 9; @%p1 mov.u64 %y, 7; add.u64 %y, %y, 1;",
        |n| if n < 9 { 8 } else { 6 },
    );
    check(
        "",
        "mov.u64 %rd1, 3; mov.u64 %rd2, %rd1; add.u64 %rd1, %rd1, %x; add.u64 %y, %rd1, %rd2;",
        |n| n + 6,
    );
}

#[test]
fn inner_scopes_hide_outer_names() {
    check(
        "",
        "mov.u64 %rd1, 1; { .reg .b64 %rd1; mov.u64 %rd1, 2; mov.u64 %rd2, %rd1; } add.u64 %y, %rd1, %rd2;",
        |_| 3,
    );
    check(
        "",
        "mov.u64 %y, 0; { L: add.u64 %y, %y, 1; setp.lt.u64 %p1, %y, 3; @%p1 bra L; } { L: add.u64 %y, %y, 10; setp.lt.u64 %p1, %y, 33; @%p1 bra L; }",
        |_| 33,
    );
}

#[test]
fn a_branch_table_sends_every_lane_its_own_way() {
    let body = "T: .branchtargets A, B, C; and.b32 %r1, %w, 3; min.u32 %r1, %r1, 2; brx.idx %r1, T;\n\
         A: mov.u64 %y, 10; bra E; B: mov.u64 %y, 20; bra E; C: mov.u64 %y, 30; E:";
    check("", body, |n| 10 * ((n & 3).min(2) + 1));
}

#[test]
fn initialisers_reach_memory_with_their_addresses() {
    let scope = ".global .align 4 .u32 values[8] = {1, -1, 0x30};\n\
         .global .align 8 .u64 pointers[2] = {generic(values), values+4};\n\
         .const .align 8 .f64 bank[2] = {0.5, 0d4000000000000000};";
    check(
        scope,
        "ld.global.u64 %rd1, [pointers+8]; ld.u32 %r1, [%rd1]; cvt.u64.u32 %y, %r1;",
        |_| 0xffff_ffff,
    );
    check(
        scope,
        "ld.global.u64 %rd1, [pointers]; ld.global.u32 %r1, [%rd1+8]; cvt.u64.u32 %y, %r1;",
        |_| 0x30,
    );
    check(
        scope,
        "ld.global.u32 %r1, [values+28]; cvt.u64.u32 %y, %r1;",
        |_| 0,
    );
    check(scope, "ld.const.b64 %y, [bank+8];", |_| 2f64.to_bits());
}

#[test]
fn shared_variables_do_not_overlap() {
    let scope = ".extern .shared .align 16 .b8 dynamic[];\n.shared .align 4 .b8 first[6];";
    let body = ".shared .align 8 .b64 second; mov.u32 %r1, first; mov.u32 %r2, second; mov.u32 %r3, dynamic;\n\
         setp.eq.u32 %p1, %r1, 0; setp.eq.and.u32 %p1, %r2, 8, %p1; setp.ge.and.u32 %p1, %r3, 16, %p1;\n\
         and.b32 %r4, %r3, 15; setp.eq.and.u32 %p1, %r4, 0, %p1; selp.u64 %y, 1, 0, %p1;";
    check(scope, body, |_| 1);
}

/// The value of a type's `bits` low bits.
fn number(value: u64, bits: u32, signed: bool) -> i128 {
    let shift = 128 - bits;
    let moved = u128::from(value) << shift;
    if signed {
        (moved as i128) >> shift
    } else {
        (moved >> shift) as i128
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// `cvt` between integers cuts the source to its type, saturates if told to, and extends to the register.
    #[test]
    fn integer_conversions_cut_and_extend(
        from in 0usize..8, to in 0usize..8, saturate: bool, inputs: [u64; LANES],
    ) {
        let types = [("u8", 8), ("s8", 8), ("u16", 16), ("s16", 16), ("u32", 32), ("s32", 32), ("u64", 64), ("s64", 64)];
        let ((from, from_bits), (to, to_bits)) = (types[from], types[to]);
        // .sat is for types that do not hold every value.
        let holds = match (to.starts_with('s'), from.starts_with('s')) {
            (true, false) => to_bits > from_bits,
            (to_sign, from_sign) => to_sign == from_sign && to_bits >= from_bits,
        };
        let saturate = saturate && !holds;
        let sat = if saturate { ".sat" } else { "" };
        let results = run("", &format!("cvt{sat}.{to}.{from} %y, %x;"), &inputs);
        for (&input, result) in inputs.iter().zip(results) {
            let (signed_from, signed) = (from.starts_with('s'), to.starts_with('s'));
            let mut value = number(input, from_bits, signed_from);
            if saturate {
                let (least, most) = match signed {
                    true => (-(1i128 << (to_bits - 1)), (1i128 << (to_bits - 1)) - 1),
                    false => (0, (1i128 << to_bits) - 1),
                };
                value = value.clamp(least, most);
            }
            let expected = number(value as u64, to_bits, signed) as u64;
            prop_assert_eq!(result, expected, "cvt{}.{}.{} of {:#x}", sat, to, from, input);
        }
    }
}

/// The source line of the fault at the `trap` of `body`, which counts files `k/src/lib.rs`, `k/src/ptx.rs` and
/// `core/src/num/f32.rs`.
fn source_of_trap(body: &str) -> Option<(String, u32)> {
    let text = format!(
        ".version 7.2\n.target sm_80\n.entry k()\n{{\n.reg .b32 %r<9>;\n{body}\nret;\n}}\n\
         .section .debug_str\n{{\n$L__name:\n.b8 107, 0\n}}\n\
         .file 1 \"k/src/lib.rs\"\n.file 2 \"k/src/ptx.rs\"\n.file 3 \"core/src/num/f32.rs\"\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let shape = Launch {
        grid: [1; 3],
        block: [32, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &[],
    };
    let kernel = module.kernel("k").unwrap();
    let fault = launch(kernel, &GlobalMemory::new(), &shape, &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
    fault.source
}

const PTX_RS_149_IN_LIB_RS_70: &str =
    ".loc 1 70 5\n.loc 2 149 3, function_name $L__name, inlined_at 1 70 5\n";

#[test]
fn a_fault_names_the_innermost_line_outside_of_the_library() {
    let source = |body: &str| source_of_trap(&format!("{PTX_RS_149_IN_LIB_RS_70}{body} trap;"));
    let ours = |file: &str, line| Some((file.to_string(), line));
    assert_eq!(source(""), ours("k/src/ptx.rs", 149));
    let inlined = ".loc 3 992 1, function_name $L__name+2, inlined_at 2 149 3\n";
    assert_eq!(source(inlined), ours("k/src/ptx.rs", 149));
    assert_eq!(source(".loc 3 992 1\n"), ours("core/src/num/f32.rs", 992));
    // Line 0 is no line, but the place of the call is one.
    let of_no_line = ".loc 3 0 0, function_name $L__name, inlined_at 1 70 5\n";
    assert_eq!(source(of_no_line), ours("k/src/lib.rs", 70));
    assert_eq!(source(".loc 1 0 0\n"), None);
    assert_eq!(source(".loc 9 4 1\n"), None, "file 9 is not declared");
}

#[test]
fn instructions_that_vanish_take_no_source_line_along() {
    let dead = "mov.u32 %r1, 5;\nmov.u32 %r2, %r1;\nmov.u32 %r2, %r2;\nbra L;\nL:\n";
    let source = source_of_trap(&format!(
        "{PTX_RS_149_IN_LIB_RS_70}{dead}.loc 1 71 9\ntrap;"
    ));
    assert_eq!(source, Some(("k/src/lib.rs".to_string(), 71)));
    let source = source_of_trap(&format!(
        ".loc 1 71 9\n{dead}.loc 2 150 9\ntrap;\n.loc 1 72 9"
    ));
    assert_eq!(source, Some(("k/src/ptx.rs".to_string(), 150)));
}

#[test]
fn inlining_at_a_place_that_no_loc_named_is_refused() {
    let text = ".version 7.2\n.target sm_80\n.entry k()\n{\n.loc 1 5 1\n\
                .loc 1 9 1, function_name $L__name, inlined_at 1 5 2\nret;\n}\n";
    let message = Module::parse(text).unwrap_err().to_string();
    assert!(
        message.contains("line 6") && message.contains("1 5 2"),
        "{message}"
    );
}
