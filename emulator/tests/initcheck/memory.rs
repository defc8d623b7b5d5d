//! Memory that nobody has written, and undefined values that pass through memory.

use ptx_emulator::{GlobalMemory, Launch, Module, Options, Origin, Use, launch};

use crate::check::{BODY, Finding, checked, clean, finding, found, options, register, unwritten};
use crate::common::{kernel, run, run_with};

#[test]
fn unwritten_memory_is_reported_when_its_value_matters() {
    let loads = [
        ("shared", 12, "ld.shared.v2.b32 {%r5, %r1}, [buffer+8];"),
        ("local", 12, "ld.local.b32 %r1, [stack+12];"),
        (
            "local",
            12,
            "mov.u64 %rd1, stack; cvta.local.u64 %rd1, %rd1; ld.b32 %r1, [%rd1+12];",
        ),
    ];
    let sinks = [
        ("st.global.b32 [%rd0], %r1;", Use::Store),
        ("setp.eq.u32 %p1, %r1, 0; @%p1 exit;", Use::Branch),
        (
            "and.b32 %r1, %r1, 4; ld.shared.b32 %r2, [%r1+1024];",
            Use::Address,
        ),
    ];
    for (space, address, load) in loads {
        for (sink, used) in sinks {
            let writes = "\nst.shared.v2.b32 [buffer], {0, 0}; st.local.v2.b32 [stack], {0, 0};\n";
            let body = format!(".local .align 16 .b8 stack[16];{writes}{load}\n{sink}");
            assert_eq!(
                found(&body),
                (unwritten(space, address, 2), used, 0),
                "{body}"
            );
            let more = "st.shared.v2.b32 [buffer+8], {0, 0}; st.local.v2.b32 [stack+8], {0, 0};";
            clean(&body.replace(writes, &format!("{more}{writes}")));
        }
    }
    // To load it, to compute with it and to forget it harms nobody.
    clean("ld.shared.b32 %r1, [buffer]; ld.global.b32 %r2, [%rd0]; add.u32 %r1, %r1, %r2;");
}

#[test]
fn bytes_are_told_apart() {
    let body =
        "st.shared.b8 [buffer+1], 1; st.shared.b16 [buffer+4], 1;\nLOAD st.global.b32 [%rd0], %r1;";
    let load = |load: &str| body.replace("LOAD", load);
    clean(&load("ld.shared.u8 %r1, [buffer+1];"));
    clean(&load("ld.shared.u16 %r1, [buffer+4];"));
    for (text, address) in [
        ("ld.shared.u16 %r1, [buffer];", 0),
        ("ld.shared.u8 %r1, [buffer+2];", 2),
        ("ld.shared.b32 %r1, [buffer+4];", 6),
    ] {
        let expected = (unwritten("shared", address, 1), Use::Store, 0);
        assert_eq!(found(&load(text)), expected);
    }
}

#[test]
fn local_memory_keeps_undefined_values_until_they_are_used() {
    let spill = ".local .align 8 .b8 stack[16]; mov.u32 %r2, 1;\n\
                 st.local.v2.b32 [stack+8], {%r2, %r1}; ld.local.b64 %rd1, [stack+8];\n";
    clean(&format!(
        "{spill} ld.local.b32 %r3, [stack+8]; st.global.b32 [%rd0], %r3;"
    ));
    let used = format!("{spill} ld.local.b32 %r3, [stack+12]; st.global.b32 [%rd0], %r3;");
    assert_eq!(found(&used), (register(1), Use::Store, 0));
    let wide = format!("{spill} st.global.b64 [%rd0], %rd1;");
    assert_eq!(found(&wide), (register(1), Use::Store, 0));
    let again = "st.local.b32 [stack+12], 5; ld.local.b64 %rd2, [stack+8];";
    clean(&format!("{spill} {again} st.global.b64 [%rd0], %rd2;"));
}

#[test]
fn asynchronous_copies_carry_the_state_of_their_source() {
    let copy = "mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 16, %r3; mul.wide.u32 %rd1, %r0, 16; add.u64 %rd1, %rd0, %rd1; FIRST\n\
                cp.async.cg.shared.global [%r3], [%rd1], 16 BYTES; cp.async.wait_all;\n\
                ld.shared.b32 %r1, [%r3+8]; st.global.b32 [%rd1], %r1;";
    let body = |first: &str, bytes: &str| copy.replace("FIRST", first).replace("BYTES", bytes);
    let (origin, used, lane) = found(&body("", ""));
    let Origin::Memory {
        space: "global",
        address,
        line,
    } = origin
    else {
        panic!("{origin}");
    };
    assert_eq!(
        (address % 256, line, used, lane),
        (8, BODY + 1, Use::Store, 0)
    );
    clean(&body("st.global.v2.b32 [%rd1+8], {0, 0};", ""));
    // Bytes that are not read are zero.
    clean(&body("", ", 8"));
    assert_eq!(found(&body("", ", 12")).1, Use::Store);
    clean(&body("setp.eq.u32 %p1, %r0, %r0;", ", %p1"));
    // A copy of undefined bytes takes the place of defined ones.
    assert_eq!(found(&body("st.shared.b32 [%r3+8], 1;", "")).1, Use::Store);
}

#[test]
fn atomics_need_a_first_value_unless_they_exchange() {
    let exchange = "atom.global.exch.b32 %r1, [%rd0], %r0;";
    clean(&format!(
        "{exchange} atom.global.add.u32 %r1, [%rd0], 1; ld.global.b32 %r2, [%rd0]; st.global.b32 [%rd0+4], %r2;"
    ));
    // Lane 0 is handed what was there before, the others what lane 0 and so on have left.
    let old = format!(
        "{exchange} setp.eq.u32 %p1, %r0, 0; selp.b32 %r1, 0, %r1, %p1; st.global.b32 [%rd0+4], %r1;"
    );
    clean(&old);
    assert_eq!(
        found(&old.replace("selp.b32 %r1, 0,", "selp.b32 %r1, %r1,")).2,
        0
    );
    for atomic in [
        "atom.shared.add.u32 %r1, [buffer+4], 1;",
        "red.shared.max.u32 [buffer+4], 1;",
        "atom.shared.cas.b32 %r1, [buffer+4], 0, 1;",
    ] {
        assert_eq!(found(atomic), (unwritten("shared", 4, 0), Use::Store, 0));
        clean(&format!("st.shared.b32 [buffer+4], 0; {atomic}"));
    }
}

/// Adds the word at `out` to the one behind it.
const SUM: &str = "ld.global.b32 %r1, [%rd0]; ld.global.b32 %r2, [%rd0+4]; add.u32 %r1, %r1, %r2; st.global.b32 [%rd0+8], %r1;";

/// What 64 blocks of one thread find.
fn launch_on(memory: &GlobalMemory, body: &str, out: u64, options: &Options) -> Option<Finding> {
    let module = Module::parse(&kernel("", body)).unwrap();
    let grid = Launch {
        grid: [64, 1, 1],
        block: [1, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &out.to_le_bytes(),
    };
    let result = launch(module.kernel("k").unwrap(), memory, &grid, options);
    result.err().map(|fault| finding(&fault))
}

#[test]
fn device_memory_remembers_what_host_and_launches_have_written() {
    let on = options(true, false);
    let memory = GlobalMemory::new();
    let missing = |address| Some((unwritten("global", address, 0), Use::Store, 0));
    let sum = |out| launch_on(&memory, SUM, out, &on);
    let out = memory.alloc(16).unwrap();
    assert_eq!(sum(out), missing(out));
    memory.write(out, &[1; 7]).unwrap();
    assert_eq!(sum(out), missing(out + 7));
    let store = "st.global.b8 [%rd0+7], %r0;";
    assert_eq!(launch_on(&memory, store, out, &on), None);
    assert_eq!(sum(out), None);
    // Other allocations are not concerned, whole ones need no more than one write.
    let other = memory.alloc(16).unwrap();
    assert_eq!(sum(other), missing(other));
    memory.write(other, &[0; 16]).unwrap();
    assert_eq!(sum(other), None);
}

#[test]
fn after_a_launch_without_initcheck_all_memory_counts_as_written() {
    let memory = GlobalMemory::new();
    let out = memory.alloc(16).unwrap();
    assert_eq!(launch_on(&memory, "", out, &options(false, true)), None);
    assert_eq!(launch_on(&memory, SUM, out, &options(true, false)), None);
    let later = memory.alloc(16).unwrap();
    assert!(launch_on(&memory, SUM, later, &options(true, false)).is_some());
}

#[test]
fn module_variables_constants_and_parameters_are_written() {
    let text = kernel(
        ".global .b32 zero; .global .align 8 .b32 table[2] = {1, 2}; .const .b32 five = 5;",
        "ld.global.b32 %r1, [zero]; ld.global.v2.b32 {%r2, %r3}, [table]; ld.const.b32 %r4, [five];
         mov.u32 %r5, %ctaid.x; st.global.v4.b32 [%rd0], {%r1, %r2, %r3, %r4}; st.global.b32 [%rd0], %r5;",
    );
    let watched = run_with(&text, 3, 32, &options(true, true));
    assert!(watched.result.is_ok());
    assert_eq!(watched.word(3), 5);
}

#[test]
fn watching_changes_no_result() {
    let body = "mul.wide.u32 %rd1, %r0, 16; add.u64 %rd1, %rd0, %rd1; st.global.b64 [%rd1], 3;
                shfl.sync.bfly.b32 %r1, %r0, 5, 31, -1; ld.global.b64 %rd2, [%rd1];
                mad.wide.u32 %rd3, %r1, %r0, %rd2; st.global.b64 [%rd1], %rd3;";
    let (watched, plain) = (checked(body), run(body, 32));
    assert!(watched.result.is_ok() && plain.result.is_ok());
    assert!((0..64).all(|index| watched.wide(index) == plain.wide(index)));
}
