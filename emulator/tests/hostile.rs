//! Short texts that ask for much: each is answered, with an error where it exceeds a limit, in bounded time and memory.

use ptx_emulator::{Module, PtxError, PtxErrorKind};

const HEADER: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

fn parse(items: &str) -> Result<(), PtxError> {
    Module::parse(&format!("{HEADER}{items}")).map(|_| ())
}

/// A module with one entry around `body`.
fn entry(body: &str) -> Result<(), PtxError> {
    parse(&format!(
        ".entry k(.param .u64 p)\n{{ .reg .b64 %rd<9>; .reg .pred %p<9>; .reg .b32 %r<999999>;\n{body}\nexit; }}"
    ))
}

/// The quantity that a text has too much of.
fn limit(result: Result<(), PtxError>) -> String {
    match result {
        Err(PtxError {
            kind: PtxErrorKind::Limit { what, value, limit },
            ..
        }) => {
            assert!(value > limit, "{what}: {value} is within {limit}");
            what
        }
        other => panic!("expected a limit, got {other:?}"),
    }
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|n| line(n) + "\n").collect()
}

/// `depth` functions of which each calls the next one twice; the last one has `body`.
fn doubling_calls(depth: usize, body: &str) -> String {
    let prototypes = lines(depth, |n| format!(".func f{n}();"));
    let last = depth - 1;
    let functions = lines(last, |n| {
        let next = n + 1;
        format!(".func f{n}() {{ call f{next}; call f{next}; ret; }}")
    });
    format!("{prototypes}{functions}.func f{last}() {{ {body} }}\n")
}

#[test]
fn calls_that_double_at_every_level_are_too_much_text() {
    for body in ["ret;", "", "L:"] {
        let text = doubling_calls(60, body) + ".entry k() { call f0; ret; }";
        let what = limit(parse(&text));
        assert!(what.contains("inlined calls"), "{what}");
    }
}

#[test]
fn entries_of_one_module_share_the_allowance_for_calls() {
    let entries = lines(2000, |n| format!(".entry k{n}() {{ call f0; ret; }}"));
    let what = limit(parse(&(doubling_calls(14, "ret;") + &entries)));
    assert!(what.contains("inlined calls"), "{what}");
}

#[test]
fn scopes_within_calls_within_scopes_are_too_deep() {
    let braces = |text: &str| format!("{}{text}{}", "{".repeat(60), "}".repeat(60));
    let prototypes = lines(61, |n| format!(".func f{n}();"));
    let functions = lines(60, |n| {
        let call = format!("call f{};", n + 1);
        format!(".func f{n}() {{ {} ret; }}", braces(&call))
    });
    let text = format!("{prototypes}{functions}.func f60() {{ ret; }}\n.entry k() {{ call f0; }}");
    assert!(limit(parse(&text)).contains("depth"));
    let straight = text
        .replace(['\n'], " ")
        .replace("{{", "")
        .replace("}}", "");
    assert_eq!(parse(&straight), Ok(()));
}

#[test]
fn many_jumps_through_large_tables_are_too_many_targets() {
    let labels = lines(2000, |n| format!("L{n}:"));
    let names: Vec<_> = (0..2000).map(|n| format!("L{n}")).collect();
    let table = format!("T: .branchtargets {};", names.join(","));
    let jumps = lines(2000, |_| "brx.idx %r1, T;".to_string());
    let what = limit(entry(&(table + &labels + &jumps)));
    assert!(what.contains("targets"), "{what}");
}

#[test]
fn variables_larger_than_any_device_are_refused_and_large_ones_cost_nothing() {
    assert_eq!(parse(".global .b8 x[2147483648];"), Ok(()));
    let globals = lines(999, |n| format!(".global .b8 x{n}[2147483647];"));
    assert!(limit(parse(&globals)).contains(".global"));
    for items in [
        ".global .b8 x[4294967295];",
        ".shared .b8 x[4294967295];",
        ".entry k(.param .b8 x[4294967295]) { ret; }",
        ".entry k() { .shared .b8 x[4294967295]; ret; }",
        ".entry k() { .local .b8 x[4294967295]; ret; }",
        ".func f() { .shared .b8 x[4294967295]; ret; }",
    ] {
        limit(parse(items));
    }
    for items in [
        ".const .b8 x[4294967295];",
        ".global .v4 .b64 x[99999999999][99999999999];",
        ".global .b8 x[18446744073709551615];",
    ] {
        assert!(parse(items).is_err(), "{items}");
    }
}

#[test]
fn registers_are_counted_when_they_are_used_and_not_when_they_are_declared() {
    let use_of = |names: &str| entry(&format!(".reg .b32 %x<4294967295>, %y<1>, %y0<2>; {names}"));
    assert_eq!(use_of("add.s32 %x0, %x4294967294, %y01;"), Ok(()));
    for undeclared in ["%x4294967295", "%x4294967296", "%x00", "%x", "%y1", "%y02"] {
        let error = use_of(&format!("mov.b32 %r1, {undeclared};")).unwrap_err();
        let kind = PtxErrorKind::Undefined {
            name: undeclared.to_string(),
        };
        assert_eq!(error.kind, kind);
    }
    let what = limit(entry(&lines(70_000, |n| format!("mov.b32 %r{n}, %r0;"))));
    assert!(what.contains("registers"), "{what}");
}

/// The number of registers of a file is itself a 16-bit number.
#[test]
fn the_largest_number_of_registers_is_still_numbered_right() {
    let body = |count: usize| {
        let chain = lines(count - 1, |n| format!("add.s32 %r{}, %r{n}, %r{n};", n + 1));
        format!("ld.global.b32 %r0, [%rd1];\n{chain}")
    };
    assert_eq!(entry(&body(65_535)), Ok(()));
    limit(entry(&body(65_536)));
}

#[test]
fn many_registers_alive_at_one_time_are_too_much_work() {
    let count = 60_000;
    let loads = lines(count, |n| format!("ld.global.b32 %r{n}, [%rd1+{}];", 4 * n));
    let stores = lines(count, |n| format!("st.global.b32 [%rd1+{}], %r{n};", 4 * n));
    let what = limit(entry(&(loads + &stores)));
    assert!(what.contains("slots"), "{what}");
}

#[test]
fn many_branches_between_many_registers_are_too_much() {
    let loads = lines(30_000, |n| format!("ld.global.b32 %r{n}, [%rd1];"));
    let branches = lines(30_000, |n| format!("@%p1 bra L{n}; L{n}:"));
    let what = limit(entry(&(loads + &branches)));
    assert!(what.contains("branches times registers"), "{what}");
}

/// Each block but the first goes on to the one before it: what the first one needs travels through all of them.
#[test]
fn values_that_travel_backward_through_all_blocks_are_found_alive() {
    let body = |blocks: usize, registers: usize| {
        let chain = lines(blocks, |n| format!("L{}: @%p1 bra L{n}; exit;", n + 1));
        let uses = lines(registers, |n| {
            format!("st.global.b32 [%rd1], %r{};", n % registers)
        });
        format!("bra L{blocks};\nL0:\n{uses}exit;\n{chain}")
    };
    assert_eq!(entry(&body(5_000, 1_000)), Ok(()));
}

#[test]
fn one_register_in_many_pieces_and_many_in_one_are_packed_or_refused() {
    let pieces = lines(100_000, |n| {
        format!("mov.u32 %r1, %r{}; st.global.b32 [%rd1], %r1;", n % 3 + 2)
    });
    let others = lines(20_000, |n| {
        format!(
            "ld.global.b32 %r{n}, [%rd1]; st.global.b32 [%rd1], %r{n};",
            n = n + 10
        )
    });
    assert_eq!(entry(&(pieces + &others)), Ok(()));
}

#[test]
fn what_a_module_lists_is_not_looked_through_for_every_entry() {
    let count = 30_000;
    let files = lines(count, |n| format!(".file {n} \"f{n}\""));
    let empty = lines(count, |_| "{}".to_string());
    let entries = lines(count, |n| format!(".entry k{n}() {{ .loc {n} 1 1 ret; }}"));
    assert_eq!(
        parse(&format!("{files}.func f() {{ {empty} }}\n{entries}")),
        Ok(())
    );
    let ranges = lines(count, |n| format!(".reg .b32 a{n}_<2>;"));
    let uses = lines(count, |n| format!("ld.global.b32 a{n}_1, [%rd1];"));
    assert_eq!(entry(&(ranges + &uses)), Ok(()));
}

#[test]
fn words_of_any_length_are_names_or_errors_of_readable_length() {
    let long = "x".repeat(1 << 20);
    assert_eq!(
        entry(&format!(".reg .b32 {long}; mov.b32 {long}, 0;")),
        Ok(())
    );
    let digits = "7".repeat(1 << 20);
    for body in [
        format!("mov.b32 %r1, {long};"),
        format!("mov.b32 %r1, %r{digits};"),
        format!("mov.b32 %r1, {digits};"),
        format!("mov.b32 %r1, 0x{digits};"),
        format!("mov.f64 %r1, {digits}.{digits}e{digits};"),
        format!("mov.b32 %r1, %r2, {};", "%r3,".repeat(1 << 18) + "%r3"),
        format!("{long}.b32 %r1;"),
        format!("mov.{long} %r1, %r2;"),
        format!("mov{} %r1, %r2;", ".b32".repeat(1 << 18)),
        format!("mov.b32 %r1, {{{}%r1}};", "%r3,".repeat(1 << 18)),
        format!("call {long};"),
        format!("bra {long};"),
        format!("{long}: {long}:"),
        format!("\"{long}\""),
        format!(".{long} 1;"),
        "(".repeat(1 << 20),
        "[".repeat(1 << 20),
        "{".repeat(1 << 20),
        "@!".repeat(1 << 20),
        "-".repeat(1 << 20),
    ] {
        let error = entry(&body).unwrap_err().to_string();
        assert!(
            error.len() < 1000,
            "{} bytes: {}",
            error.len(),
            &error[..500]
        );
    }
}

#[test]
fn deep_nesting_and_large_numbers_are_errors() {
    let braces = "{".repeat(100_000);
    assert!(entry(&braces).is_err());
    for body in [
        ".local .b8 huge[99999999999999];",
        ".shared .b8 huge[99999999999999];",
        ".reg .b32 %r1000<4294967295>; add.s32 %r1, %r10004294967294, %r10004294967295;",
        "ld.shared.b32 %r1, [%r1+9223372036854775807];",
        "cp.async.wait_group 4294967296;",
        "lop3.b32 %r1, %r2, %r3, %r4, 256;",
    ] {
        assert!(entry(body).is_err(), "{body}");
    }
}

#[test]
fn long_chains_of_inlined_lines_are_too_deep() {
    let chain = |depth: usize| {
        entry(&format!(
            ".loc 1 1 1\n{}ret;",
            lines(depth, |i| format!(
                ".loc 1 {} 1, function_name $L__name, inlined_at 1 {} 1",
                i + 2,
                i + 1
            ))
        ))
    };
    assert!(chain(200).is_ok());
    assert!(limit(chain(100_000)).contains("inlined_at"));
}
