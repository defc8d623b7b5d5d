//! Registers that nobody has written, and the instructions that compute with them.

use ptx_emulator::Use;

use crate::check::{clean, found, register, unwritten};

#[test]
fn an_unwritten_register_is_reported_at_every_sink() {
    let bodies = [
        ("st.global.b32 [%rd0], %r1;", Use::Store),
        ("st.shared.b32 [buffer], %r1;", Use::Store),
        ("st.shared.v2.b32 [buffer], {%r0, %r1};", Use::Store),
        ("atom.shared.exch.b32 %r2, [buffer], %r1;", Use::Store),
        (
            "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.b32 [buffer], 1;",
            Use::Branch,
        ),
        (
            "T: .branchtargets A, B; brx.idx %r1, T; A: ret; B: ret;",
            Use::Branch,
        ),
        ("bar.sync %r1;", Use::Branch),
        ("add.u32 %r2, %r1, 32; barrier.sync 0, %r2;", Use::Branch),
        (
            "setp.eq.u32 %p1, %r1, 0; bar.red.popc.u32 %r2, 0, %p1;",
            Use::Branch,
        ),
        ("ld.shared.b32 %r2, [%r1+1024];", Use::Address),
        ("st.shared.b32 [%r1+1024], 1;", Use::Address),
        (
            "shfl.sync.idx.b32 %r2, %r0, %r1, 31, 0xffffffff;",
            Use::Address,
        ),
        ("not.b32 %r2, %r1; bar.warp.sync %r2;", Use::Address),
        (
            "mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 4, %r3; cp.async.ca.shared.global [%r3], [%rd0], 4, %r1;",
            Use::Address,
        ),
    ];
    for (body, used) in bodies {
        assert_eq!(found(body), (register(0), used, 0), "{body}");
        clean(&format!("mov.u32 %r1, 0; {body}"));
    }
}

#[test]
fn a_guarded_write_defines_the_lanes_that_execute_it() {
    let write = "setp.lt.u32 %p1, %r0, 8; @%p1 mov.u32 %r1, 5;";
    clean(&format!("{write} @%p1 st.shared.b32 [buffer], %r1;"));
    let unguarded = format!("{write} st.shared.b32 [buffer], %r1;");
    assert_eq!(found(&unguarded), (register(0), Use::Store, 8));
    // The guard of a lane that is not there does not matter.
    let guard = "setp.ge.u32 %p2, %r0, 8; @%p2 exit; setp.eq.u32 %p3, %r1, 0; @%p3 exit;";
    clean(&format!("{write} {guard}"));
}

#[test]
fn the_origin_is_where_the_value_was_read_first() {
    let body = "add.u32 %r2, %r1, 1;\nmul.lo.u32 %r3, %r2, %r1; cvt.u64.u32 %rd1, %r3;\n\
                add.u64 %rd2, %rd0, %rd1; mad.lo.u32 %r4, %r0, %r0, %r1;\n";
    let address = format!("{body}ld.global.b32 %r5, [%rd2];");
    assert_eq!(found(&address), (register(0), Use::Address, 0));
    let store = format!("{body}st.global.b32 [%rd0], %r4;");
    assert_eq!(found(&store), (register(0), Use::Store, 0));
    // Each lane has an origin of its own.
    let lanes = "shl.b32 %r2, %r0, 2; mov.u32 %r3, buffer; add.u32 %r3, %r2, %r3; ld.shared.b32 %r1, [%r3];\n\
                 setp.eq.u32 %p1, %r0, 9; @%p1 st.global.b32 [%rd0], %r1;";
    assert_eq!(found(lanes), (unwritten("shared", 36, 0), Use::Store, 9));
}

#[test]
fn a_selection_depends_on_the_chosen_side_and_on_the_choice() {
    let select = "setp.lt.u32 %p1, %r0, 20; selp.b32 %r3, %r0, %r1, %p1;";
    clean(&format!("{select} @%p1 st.shared.b32 [buffer], %r3;"));
    let all = format!("{select} st.shared.b32 [buffer], %r3;");
    assert_eq!(found(&all), (register(0), Use::Store, 20));
    let choice = "setp.lt.u32 %p1, %r1, 20; selp.b32 %r3, 1, 2, %p1; st.shared.b32 [buffer], %r3;";
    assert_eq!(found(choice), (register(0), Use::Store, 0));
}

#[test]
fn a_defined_side_can_decide_a_predicate() {
    let logic = |op: &str, lane: &str| {
        format!(
            "setp.eq.u32 %p1, %r1, 0; setp.lt.u32 %p2, %r0, 20; {op}.pred %p3, %p1, %p2;
             setp.eq.u32 %p4, %r0, {lane}; @!%p4 exit; @%p3 exit;"
        )
    };
    clean(&logic("and", "20"));
    clean(&logic("or", "19"));
    assert_eq!(found(&logic("and", "19")).1, Use::Branch);
    assert_eq!(found(&logic("or", "20")).1, Use::Branch);
    assert_eq!(found(&logic("xor", "20")).1, Use::Branch);
}
