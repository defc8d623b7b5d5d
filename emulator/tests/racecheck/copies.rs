//! `cp.async`.

use ptx_emulator::AccessKind::{CopyRead, CopyWrite, Read, Write};
use ptx_emulator::FaultKind;

use crate::check::{ONE_WARP, TWO_WARPS, clean, conflict, fault, race, seen};

/// Lane i of the first warp copies 16 bytes from `data` to `buffer`, both at 16 i.
fn copy(after: &str) -> String {
    format!(
        "setp.lt.u32 %p1, %r0, 32; and.b32 %r1, %r0, 31; mul.wide.u32 %rd5, %r1, 16;
         add.s64 %rd6, %rd1, %rd5; mov.u64 %rd7, data; add.s64 %rd7, %rd7, %rd5;
         @%p1 cp.async.cg.shared.global [%rd6], [%rd7], 16; cp.async.commit_group;\n{after}"
    )
}

#[test]
fn a_copy_is_there_for_others_after_wait_and_barrier() {
    let read = "xor.b64 %rd6, %rd6, 16; ld.shared.u32 %r5, [%rd6];";
    clean(
        TWO_WARPS,
        &copy(&format!("cp.async.wait_group 0; bar.sync 0; {read}")),
    );
    clean(
        TWO_WARPS,
        &copy("cp.async.wait_group 0;\n@%p1 ld.shared.u32 %r5, [%rd6];"),
    );
    let body = copy(&format!("cp.async.wait_group 0;\n@%p1 {read}").replace("@%p1 xor", "xor"));
    let found = race(ONE_WARP, &body);
    assert_eq!(seen(&found.first), (CopyWrite, 0, 0, 1, 2));
    assert_eq!(seen(&found.second), (Read, 0, 0, 0, 4));
}

#[test]
fn a_barrier_before_the_wait_is_too_early() {
    let read = "ld.shared.u32 %r5, [%rd6];";
    // Whether the copy has landed when the other warp reads is a matter of luck.
    let fault = fault(
        TWO_WARPS,
        &copy(&format!("bar.sync 0; cp.async.wait_all; @!%p1 {read}")),
    );
    assert!(
        matches!(
            fault.kind,
            FaultKind::Race(_) | FaultKind::AsyncReadEarly { .. }
        ),
        "{fault}"
    );
    clean(
        TWO_WARPS,
        &copy(&format!("cp.async.wait_all; bar.sync 0; @!%p1 {read}")),
    );
}

#[test]
fn a_copy_must_be_issued_after_the_last_use_of_its_destination() {
    let body = |between: &str| {
        format!(
            "ld.shared.u32 %r5, [%rd1+256];\n{between}\n{}",
            copy("cp.async.wait_all;")
        )
    };
    let found = race(TWO_WARPS, &body(""));
    assert!(
        [(Read, CopyWrite), (CopyWrite, Read)].contains(&(found.first.access, found.second.access))
    );
    clean(TWO_WARPS, &body("bar.sync 0;"));
}

#[test]
fn a_copy_must_be_issued_after_its_source_is_written() {
    let body = |between: &str| {
        format!(
            "mul.wide.u32 %rd8, %r0, 8; mov.u64 %rd9, data; add.s64 %rd9, %rd9, %rd8;
             st.global.u64 [%rd9], %rd8;\n{between}\n{}",
            copy("cp.async.wait_all;")
        )
    };
    let found = race(TWO_WARPS, &body(""));
    assert_eq!((found.first.access, found.second.access), (Write, CopyRead));
    assert_eq!(found.space, "global");
    clean(TWO_WARPS, &body("bar.sync 0;"));
}

#[test]
fn the_source_must_not_change_before_the_wait() {
    let modified = |body: &str| fault(ONE_WARP, &copy(body));
    let own = modified("st.global.u32 [%rd7+12], 1; cp.async.wait_all;");
    assert!(
        matches!(own.kind, FaultKind::CopySourceModified { .. }),
        "{own}"
    );
    assert_eq!(own.lane, Some(0));
    clean(
        ONE_WARP,
        &copy("cp.async.wait_all; st.global.u32 [%rd7+12], 1;"),
    );
    // Another lane, ordered after the issue but not after the wait.
    let other = modified(
        "bar.warp.sync -1; xor.b64 %rd7, %rd7, 16; st.global.u32 [%rd7], 1; cp.async.wait_all;",
    );
    assert!(
        matches!(other.kind, FaultKind::CopySourceModified { .. }),
        "{other}"
    );
    let after =
        "cp.async.wait_all; bar.warp.sync -1; xor.b64 %rd7, %rd7, 16; st.global.u32 [%rd7], 1;";
    clean(ONE_WARP, &copy(after));
    // Ordered with nothing.
    let found = conflict(modified(
        "xor.b64 %rd7, %rd7, 16; st.global.u32 [%rd7], 1; cp.async.wait_all;",
    ));
    assert_eq!((found.first.access, found.second.access), (CopyRead, Write));
}

#[test]
fn the_read_of_a_copy_lasts_until_the_wait() {
    // The other warp writes the source behind a barrier that comes before the wait: whether the
    // copy has landed then is a matter of luck.
    let late = copy("bar.sync 0;\n@%p1 cp.async.wait_all; @!%p1 st.global.u32 [%rd7], 1;");
    let kind = fault(TWO_WARPS, &late).kind;
    assert!(
        matches!(
            kind,
            FaultKind::Race(_) | FaultKind::CopySourceModified { .. }
        ),
        "{kind}"
    );
    clean(
        TWO_WARPS,
        &copy("cp.async.wait_all; bar.sync 0; @!%p1 st.global.u32 [%rd7], 1;"),
    );
}

#[test]
fn bytes_that_a_copy_does_not_read_may_change() {
    let body = |offset: u32| {
        copy(&format!(
            "@%p1 st.global.u32 [%rd7+{offset}], 1; cp.async.wait_all;"
        ))
        .replace("[%rd7], 16;", "[%rd7], 16, 8;")
    };
    clean(ONE_WARP, &body(8));
    let kind = fault(ONE_WARP, &body(4)).kind;
    assert!(
        matches!(kind, FaultKind::CopySourceModified { .. }),
        "{kind}"
    );
}

#[test]
fn copies_of_two_groups_land_each_with_its_own_wait() {
    // Two groups of the thread; the older one is waited for and then read by everybody.
    let second = "add.s64 %rd6, %rd6, 512; @%p1 cp.async.cg.shared.global [%rd6], [%rd7], 16;
         cp.async.commit_group; cp.async.wait_group 1; bar.sync 0;";
    let read = |offset: i32| format!("xor.b64 %rd8, %rd6, 16; ld.shared.u32 %r5, [%rd8+{offset}];");
    clean(
        TWO_WARPS,
        &copy(&format!("{second} {} cp.async.wait_all;", read(-512))),
    );
    let kind = fault(
        TWO_WARPS,
        &copy(&format!("{second} {} cp.async.wait_all;", read(0))),
    )
    .kind;
    assert!(
        matches!(kind, FaultKind::AsyncReadEarly { .. } | FaultKind::Race(_)),
        "{kind}"
    );
}
