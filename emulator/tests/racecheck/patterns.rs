//! Release and acquire patterns between blocks and inside one.

use ptx_emulator::AccessKind::{Read, Write};

use crate::check::{Shape, TWO_WARPS, clean, race, race_in_order};

const NO_PATTERN: &str = "no release and acquire between the two blocks";

/// Block 0 writes `data` and raises `flag`; block 1 looks at the flag once, and reads `data` when it
/// is up. In order it always is; under a seed block 1 may come first.
fn message(raise: &str, look: &str) -> String {
    format!(
        "setp.eq.u32 %p1, %r9, 0; @!%p1 bra READER;
         st.global.u32 [data], 42;\n{raise}\nbra DONE;
         READER: {look}\nsetp.ne.u32 %p2, %r5, 1; @%p2 bra DONE;
         ld.global.u32 %r6, [data];\nDONE:"
    )
}

const BLOCKS: Shape = Shape(2, 1);

#[test]
fn release_and_acquire_order_two_blocks() {
    let raise = "st.release.gpu.global.u32 [flag], 1;";
    let look = "ld.acquire.gpu.global.u32 %r5, [flag];";
    let fenced_raise = "fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [flag], 1;";
    let fenced_look = "ld.relaxed.gpu.global.u32 %r5, [flag]; fence.acq_rel.gpu;";
    for raise in [
        raise,
        fenced_raise,
        "membar.gl; st.volatile.global.u32 [flag], 1;",
    ] {
        for look in [
            look,
            fenced_look,
            "ld.volatile.global.u32 %r5, [flag]; membar.sys;",
        ] {
            clean(BLOCKS, &message(raise, look));
        }
    }
    let through_atomics = "atom.acq_rel.gpu.global.exch.b32 %r7, [flag], 1;";
    clean(
        BLOCKS,
        &message(
            through_atomics,
            "atom.acquire.gpu.global.add.u32 %r5, [flag], 0;",
        ),
    );
    clean(
        BLOCKS,
        &message(
            "fence.sc.gpu; red.relaxed.gpu.global.add.u32 [flag], 1;",
            look,
        ),
    );
}

#[test]
fn half_a_pattern_orders_nothing() {
    let raise = "fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [flag], 1;";
    let look = "ld.relaxed.gpu.global.u32 %r5, [flag]; fence.acq_rel.gpu;";
    let no_release = "st.relaxed.gpu.global.u32 [flag], 1; fence.acq_rel.gpu;";
    let no_acquire = "fence.acq_rel.gpu; ld.relaxed.gpu.global.u32 %r5, [flag];";
    for (raise, look) in [
        (no_release, look),
        (raise, no_acquire),
        (no_release, no_acquire),
    ] {
        let found = race_in_order(BLOCKS, &message(raise, look));
        assert_eq!((found.first.access, found.second.access), (Write, Read));
        assert_eq!((found.first.block[0], found.second.block[0]), (0, 1));
        assert_eq!(found.missing, NO_PATTERN);
    }
}

#[test]
fn a_plain_flag_is_a_race_itself() {
    let raise = "membar.gl; st.global.u32 [flag], 1;";
    let found = race_in_order(
        BLOCKS,
        &message(raise, "ld.global.u32 %r5, [flag]; membar.gl;"),
    );
    assert_eq!((found.first.access, found.second.access), (Write, Read));
}

#[test]
fn a_fence_of_block_scope_orders_inside_the_block_only() {
    let raise = "fence.acq_rel.cta; st.relaxed.gpu.global.u32 [flag], 1;";
    let look = "ld.relaxed.gpu.global.u32 %r5, [flag]; fence.acq_rel.cta;";
    let wide_raise = "fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [flag], 1;";
    let wide_look = "ld.relaxed.gpu.global.u32 %r5, [flag]; fence.acq_rel.gpu;";
    race_in_order(BLOCKS, &message(raise, look));
    race_in_order(BLOCKS, &message(raise, wide_look));
    race_in_order(BLOCKS, &message(wide_raise, look));
    // The narrow fence does not take away what the wide one before it has done.
    let both = format!("fence.acq_rel.gpu; {raise}");
    clean(BLOCKS, &message(&both, wide_look));
    // The same, thread 0 to thread 32 of one block, which waits for the flag.
    let inside = |raise: &str, look: &str| {
        format!(
            "setp.eq.u32 %p1, %r0, 0; setp.eq.u32 %p2, %r0, 32; @%p1 bra WRITER; @!%p2 bra DONE;
             AGAIN: {look} setp.ne.u32 %p3, %r5, 1; @%p3 bra AGAIN;
             ld.global.u32 %r6, [data]; bra DONE;
             WRITER: st.global.u32 [data], 42; {raise}\nDONE:"
        )
    };
    clean(TWO_WARPS, &inside(raise, look));
    clean(
        TWO_WARPS,
        &inside(
            "st.release.cta.global.u32 [flag], 1;",
            "ld.acquire.cta.global.u32 %r5, [flag];",
        ),
    );
    race(
        TWO_WARPS,
        &inside("st.relaxed.cta.global.u32 [flag], 1;", look),
    );
    race(
        TWO_WARPS,
        &inside(raise, "ld.relaxed.cta.global.u32 %r5, [flag];"),
    );
}

#[test]
fn a_flag_in_shared_memory_orders_two_warps_and_two_lanes() {
    let body = |reader: u32, release: &str| {
        format!(
            "setp.eq.u32 %p1, %r0, 0; setp.eq.u32 %p2, %r0, {reader};
             @%p1 st.shared.u32 [%rd1], 0; bar.sync 0; @%p1 bra WRITER; @!%p2 bra DONE;
             AGAIN: ld.acquire.cta.shared.u32 %r5, [%rd1]; setp.ne.u32 %p3, %r5, 1; @%p3 bra AGAIN;
             ld.shared.u32 %r6, [%rd1+64]; bra DONE;
             WRITER: st.shared.u32 [%rd1+64], 42; st.{release}.cta.shared.u32 [%rd1], 1;\nDONE:"
        )
    };
    for reader in [32, 1] {
        clean(TWO_WARPS, &body(reader, "release"));
        race(TWO_WARPS, &body(reader, "relaxed"));
    }
}

#[test]
fn what_comes_after_the_fence_is_not_released() {
    let late = "fence.acq_rel.gpu; st.global.u32 [data], 43; st.relaxed.gpu.global.u32 [flag], 1;";
    race_in_order(
        BLOCKS,
        &message(late, "ld.acquire.gpu.global.u32 %r5, [flag];"),
    );
}

#[test]
fn a_release_is_one_of_its_own_location() {
    let look = "ld.acquire.gpu.global.u32 %r5, [flag];";
    let elsewhere = "st.release.gpu.global.u32 [flag+4], 1; st.relaxed.gpu.global.u32 [flag], 1;";
    race_in_order(BLOCKS, &message(elsewhere, look));
    let same = "st.release.gpu.global.u32 [flag], 0; st.relaxed.gpu.global.u32 [flag], 1;";
    clean(BLOCKS, &message(same, look));
    let raise = "st.release.gpu.global.u32 [flag], 1;";
    let acquire_elsewhere =
        "ld.relaxed.gpu.global.u32 %r5, [flag]; ld.acquire.gpu.global.u32 %r7, [flag+4];";
    race_in_order(BLOCKS, &message(raise, acquire_elsewhere));
    let acquire_again =
        "ld.relaxed.gpu.global.u32 %r5, [flag]; ld.acquire.gpu.global.u32 %r7, [flag];";
    clean(BLOCKS, &message(raise, acquire_again));
}

#[test]
fn a_lane_releases_what_it_knows_and_not_what_its_neighbours_do() {
    // Thread 1 writes, thread 0 raises the flag.
    let body = |between: &str| {
        format!(
            "setp.eq.u32 %p1, %r9, 0; setp.eq.u32 %p3, %r0, 1; setp.eq.u32 %p4, %r0, 0; @!%p1 bra READER;
             @%p3 st.global.u32 [data], 42;\n{between}
             @%p4 st.release.gpu.global.u32 [flag], 1; bra DONE;
             READER: @!%p4 bra DONE; ld.acquire.gpu.global.u32 %r5, [flag]; setp.ne.u32 %p2, %r5, 1;
             @%p2 bra DONE; ld.global.u32 %r6, [data];\nDONE:"
        )
    };
    race_in_order(Shape(2, 32), &body(""));
    clean(Shape(2, 32), &body("bar.warp.sync -1;"));
    clean(Shape(2, 32), &body("bar.sync 0;"));
}

#[test]
fn a_lane_that_acquires_tells_the_others_at_a_barrier() {
    let body = |between: &str| {
        format!(
            "setp.eq.u32 %p1, %r9, 0; setp.eq.u32 %p4, %r0, 0; @!%p1 bra READER;
             @!%p4 bra DONE; st.global.u32 [data], 42; st.release.gpu.global.u32 [flag], 1; bra DONE;
             READER: mov.u32 %r5, 0; @%p4 ld.acquire.gpu.global.u32 %r5, [flag];
             setp.eq.u32 %p2, %r5, 1; bar.red.or.pred %p5, 1, %p2; {between}
             @!%p5 bra DONE; ld.global.u32 %r6, [data];\nDONE:"
        )
    };
    clean(Shape(2, 64), &body(""));
    let silent = body("").replace(
        "bar.red.or.pred %p5, 1, %p2;",
        "mov.pred %p5, %p1; not.pred %p5, %p5;",
    );
    race_in_order(Shape(2, 64), &silent);
}

/// Every block writes its words, counts itself, and the last one reads all words.
fn last_block(before: &str, after: &str) -> String {
    format!(
        "mov.u64 %rd5, data; mad.lo.u32 %r5, %r9, 64, %r0; mul.wide.u32 %rd6, %r5, 4; add.s64 %rd6, %rd5, %rd6;
         mul.wide.u32 %rd7, %r0, 4; add.s64 %rd7, %rd5, %rd7; mov.u32 %r7, 0;
         st.global.u32 [%rd6], %r0; bar.sync 0; setp.eq.u32 %p1, %r0, 0; @!%p1 bra MEET;
         {before} atom.global.add.u32 %r7, [flag], 1; {after}
         MEET: setp.eq.u32 %p2, %r7, 3; bar.red.or.pred %p3, 1, %p2; @!%p3 bra DONE;
         ld.global.u32 %r6, [%rd7]; ld.global.u32 %r6, [%rd7+256]; ld.global.u32 %r6, [%rd7+512];
         ld.global.u32 %r6, [%rd7+768]; st.global.u32 [%rd0], 1;\nDONE:"
    )
    .replace("st.global.u32 [%rd0], 1;", "@%p1 st.global.u32 [%rd0], 1;")
}

#[test]
fn the_last_block_may_read_what_all_have_written_when_fences_say_so() {
    let fence = "fence.acq_rel.gpu;";
    let grid = Shape(4, 64);
    clean(grid, &last_block(fence, fence));
    clean(grid, &last_block("membar.gl;", "membar.gl;"));
    for (before, after) in [("", fence), (fence, ""), ("", "")] {
        race(grid, &last_block(before, after));
    }
    // The counter's own ordering will do.
    let ordered = last_block("", "").replace("atom.global", "atom.acq_rel.gpu.global");
    clean(grid, &ordered);
    let relaxed = last_block("", "").replace("atom.global", "atom.relaxed.gpu.global");
    race(grid, &relaxed);
}

#[test]
fn a_read_modify_write_passes_on_what_was_released_and_a_store_does_not() {
    // Block 0 releases 1, block 1 makes it 2, block 2 acquires 2.
    let body = |change: &str| {
        format!(
            "setp.eq.u32 %p1, %r9, 0; setp.eq.u32 %p2, %r9, 1; @%p1 bra WRITER; @%p2 bra BETWEEN;
             ld.acquire.gpu.global.u32 %r5, [flag]; setp.ne.u32 %p3, %r5, 2; @%p3 bra DONE;
             ld.global.u32 %r6, [data]; bra DONE;
             WRITER: st.global.u32 [data], 42; fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [flag], 1; bra DONE;
             BETWEEN: {change}\nDONE:"
        )
    };
    clean(
        Shape(3, 1),
        &body("atom.relaxed.gpu.global.cas.b32 %r7, [flag], 1, 2;"),
    );
    clean(
        Shape(3, 1),
        &body("red.relaxed.gpu.global.add.u32 [flag], 1;"),
    );
    race_in_order(Shape(3, 1), &body("st.relaxed.gpu.global.u32 [flag], 2;"));
}

#[test]
fn red_is_never_part_of_an_acquire() {
    let look = |op: &str| format!("{op} fence.acq_rel.gpu; mov.u32 %r5, 1;");
    let raise = "st.release.gpu.global.u32 [flag], 1;";
    // Block 1 reads whatever it has seen, so that only the order in which blocks run in order counts.
    race_in_order(
        BLOCKS,
        &message(raise, &look("red.relaxed.gpu.global.add.u32 [flag], 0;")),
    );
    let atom = "atom.relaxed.gpu.global.add.u32 %r5, [flag], 0; fence.acq_rel.gpu;";
    clean(BLOCKS, &message(raise, atom));
}

#[test]
fn knowledge_is_handed_on_from_block_to_block() {
    // 0 tells 1, 1 tells 2: 2 may read what 0 has written.
    let body = |last: &str| {
        format!(
            "setp.eq.u32 %p1, %r9, 0; setp.eq.u32 %p2, %r9, 1; @%p1 bra FIRST; @%p2 bra SECOND;
             ld.acquire.gpu.global.u32 %r5, [flag+4]; setp.ne.u32 %p3, %r5, 1; @%p3 bra DONE;
             ld.global.u32 %r6, [data]; bra DONE;
             FIRST: st.global.u32 [data], 42; st.release.gpu.global.u32 [flag], 1; bra DONE;
             SECOND: ld.acquire.gpu.global.u32 %r5, [flag]; setp.ne.u32 %p3, %r5, 1; @%p3 bra DONE;
             st.{last}.gpu.global.u32 [flag+4], 1;\nDONE:"
        )
    };
    clean(Shape(3, 1), &body("release"));
    race_in_order(Shape(3, 1), &body("relaxed"));
}
