//! Global memory: within a block, across blocks, atomics, the non-coherent path.

use ptx_emulator::AccessKind::{Atomic, NonCoherentRead, Read, Write};
use ptx_emulator::FaultKind;

use crate::check::{ONE_WARP, Shape, TWO_WARPS, clean, fault, race, seen};

const BLOCKS_MEET_NOWHERE: &str = "different blocks are ordered by nothing here";
const SCOPE: &str = "the .cta scope of one of them does not include the other block";

/// Thread 0 of each of `blocks` blocks.
fn single(blocks: u32) -> Shape {
    Shape(blocks, 1)
}

#[test]
fn blocks_that_write_the_same_word_race() {
    let found = race(single(4), "st.global.u32 [%rd0], 1;");
    assert_eq!((found.first.access, found.second.access), (Write, Write));
    assert_ne!(found.first.block, found.second.block);
    assert_eq!(found.missing, BLOCKS_MEET_NOWHERE);
    clean(
        single(4),
        "mul.wide.u32 %rd5, %r9, 4; add.s64 %rd5, %rd0, %rd5; st.global.u32 [%rd5], 1;",
    );
}

#[test]
fn blocks_that_write_neighbouring_bytes_do_not_race() {
    clean(
        Shape(4, 32),
        "mad.lo.u32 %r5, %r0, 4, %r9; cvt.u64.u32 %rd5, %r5; add.s64 %rd5, %rd0, %rd5;
         st.global.u8 [%rd5], %r9;",
    );
}

#[test]
fn one_block_that_writes_races_with_any_reader_whatever_the_order() {
    // Many blocks read; the shadow keeps two of them, and each of these writers differs from one.
    for writer in [0, 3, 7] {
        let body = format!(
            "ld.global.u32 %r5, [%rd0];\nsetp.eq.u32 %p1, %r9, {writer}; @%p1 st.global.u32 [%rd0], 1;"
        );
        let found = race(single(8), &body);
        assert_ne!(found.first.block, found.second.block);
        assert_eq!(found.missing, BLOCKS_MEET_NOWHERE);
    }
    clean(single(8), "ld.global.u32 %r5, [%rd0];");
    clean(
        Shape(8, 128),
        "ld.global.u32 %r5, [%rd0]; ld.global.u32 %r5, [%rd0];",
    );
}

#[test]
fn blocks_are_named_by_their_index() {
    let found = race(
        single(3),
        "setp.eq.u32 %p1, %r9, 1; @%p1 exit;\nst.global.u32 [%rd0+8], 1;",
    );
    let mut blocks = [found.first.block, found.second.block];
    blocks.sort_unstable();
    assert_eq!(blocks, [[0, 0, 0], [2, 0, 0]]);
    assert_eq!(found.space, "global");
    assert_eq!(found.address % 256, 8);
}

#[test]
fn the_warps_of_a_block_are_ordered_on_global_memory_as_on_shared() {
    let body = |between: &str| {
        format!(
            "mul.wide.u32 %rd5, %r0, 4; add.s64 %rd5, %rd0, %rd5; xor.b64 %rd6, %rd5, 128;
             st.global.u32 [%rd5], %r0;\n{between}\nld.global.u32 %r5, [%rd6];"
        )
    };
    let found = race(TWO_WARPS, &body(""));
    assert_eq!(found.missing, "no barrier between them");
    race(TWO_WARPS, &body("bar.warp.sync -1;"));
    clean(TWO_WARPS, &body("bar.sync 0;"));
}

#[test]
fn own_readers_are_remembered_beside_those_of_other_blocks() {
    // Each block owns a word; warp 1 reads it, warp 0 writes it.
    let body = |between: &str| {
        format!(
            "mul.wide.u32 %rd5, %r9, 4; add.s64 %rd5, %rd0, %rd5;
             setp.eq.u32 %p1, %r0, 33; setp.eq.u32 %p2, %r0, 2;
             @%p1 ld.global.u32 %r5, [%rd5];\n{between}\n@%p2 st.global.u32 [%rd5], 1;"
        )
    };
    let found = race(Shape(3, 64), &body(""));
    assert_eq!(found.first.block, found.second.block);
    clean(Shape(3, 64), &body("bar.sync 0;"));
}

#[test]
fn memory_that_the_kernel_writes_must_not_be_read_through_the_non_coherent_path() {
    let kind = |body: &str| match fault(ONE_WARP, body).kind {
        FaultKind::NonCoherentWrite(conflict) => conflict,
        kind => panic!("{kind}"),
    };
    let address = "mul.wide.u32 %rd5, %r0, 4; add.s64 %rd5, %rd0, %rd5;";
    let (load, store) = ("ld.global.nc.u32 %r5, [%rd5];", "st.global.u32 [%rd5], 1;");
    // The same thread, in order: the path does not care.
    let found = kind(&format!("{address}\n{load}\n{store}"));
    assert_eq!(seen(&found.first), (NonCoherentRead, 0, 0, 0, 1));
    assert_eq!(seen(&found.second), (Write, 0, 0, 0, 2));
    let found = kind(&format!("{address}\n{store} bar.sync 0;\n{load}"));
    assert_eq!(
        (found.first.access, found.second.access),
        (Write, NonCoherentRead)
    );
    // Another reader, another epoch, an atomic.
    kind(&format!(
        "{address} {load} bar.sync 0; ld.global.u32 %r5, [%rd5]; bar.sync 0; {store}"
    ));
    kind(&format!(
        "{address} {load} bar.sync 0; red.global.add.u32 [%rd0], 1;"
    ));
    clean(
        TWO_WARPS,
        &format!("{address} {load} ld.global.u32 %r5, [%rd5]; {load} st.global.u32 [%rd5+256], 1;"),
    );
}

#[test]
fn other_blocks_must_not_write_what_one_reads_non_coherently() {
    let body = "setp.eq.u32 %p1, %r9, 1; @%p1 st.global.u32 [%rd0], 1;\n\
                @!%p1 ld.global.nc.u32 %r5, [%rd0];";
    let kind = fault(single(3), body).kind;
    assert!(matches!(kind, FaultKind::NonCoherentWrite(_)), "{kind}");
}

#[test]
fn atomics_of_all_blocks_count_together() {
    clean(
        Shape(6, 64),
        "atom.global.add.u32 %r5, [%rd0], 1; red.global.add.u32 [%rd0], 1; red.add.u32 [%rd0], 1;
         red.global.add.f32 [%rd0+4], 0f3f800000; ld.volatile.global.u32 %r5, [%rd0];
         ld.relaxed.gpu.global.u32 %r5, [%rd0]; st.relaxed.sys.global.u32 [%rd0+8], 1;",
    );
}

#[test]
fn atomics_of_block_scope_do_not_reach_other_blocks() {
    let found = race(single(3), "atom.relaxed.cta.global.add.u32 %r5, [%rd0], 1;");
    assert_eq!((found.first.access, found.second.access), (Atomic, Atomic));
    assert_eq!(found.missing, SCOPE);
    let mixed = "setp.eq.u32 %p1, %r9, 1; @%p1 red.relaxed.cta.global.add.u32 [%rd0], 1;\n\
                 @!%p1 red.global.add.u32 [%rd0], 1;";
    assert_eq!(race(single(3), mixed).missing, SCOPE);
    // A later atomic of the same thread does not make up for it.
    let later = "setp.eq.u32 %p1, %r9, 1; @!%p1 red.relaxed.cta.global.add.u32 [%rd0], 1;\n\
                 red.global.add.u32 [%rd0], 1;";
    assert_eq!(race(single(3), later).missing, SCOPE);
    clean(
        Shape(1, 64),
        "atom.relaxed.cta.global.add.u32 %r5, [%rd0], 1;",
    );
}

#[test]
fn a_plain_access_races_with_atomics_that_nothing_orders_it_with() {
    for plain in ["ld.global.u32 %r6, [%rd0];", "st.global.u32 [%rd0], 1;"] {
        let body = format!(
            "red.global.add.u32 [%rd0], 1;\nsetp.eq.u32 %p1, %r9, 5; setp.eq.u32 %p2, %r0, 3;
             and.pred %p1, %p1, %p2; @%p1 {plain}"
        );
        let found = race(Shape(6, 32), &body);
        let kinds = [found.first.access, found.second.access];
        assert!(kinds.contains(&Atomic) && (kinds.contains(&Read) || kinds.contains(&Write)));
    }
    // In one block a barrier is enough.
    clean(
        TWO_WARPS,
        "red.global.add.u32 [%rd0], 1; bar.sync 0; ld.global.u32 %r5, [%rd0];",
    );
    race(
        TWO_WARPS,
        "red.global.add.u32 [%rd0], 1; ld.global.u32 %r5, [%rd0];",
    );
}

#[test]
fn strong_accesses_must_agree_on_their_size() {
    let body = "setp.eq.u32 %p1, %r9, 1; @%p1 red.global.add.u64 [%rd0], 1;\n\
                @!%p1 red.global.add.u32 [%rd0+4], 1;";
    let found = race(single(3), body);
    assert_eq!(
        found.missing,
        "strong accesses of different sizes are not ordered with each other"
    );
    // A vector is a number of scalars.
    clean(
        single(3),
        "ld.volatile.global.v2.u32 {%r4, %r5}, [%rd0]; red.global.add.u32 [%rd0+4], 1;",
    );
}

#[test]
fn what_is_written_before_a_launch_is_there_in_it() {
    // Every launch starts with fresh shadow: the same word, written by another block each time.
    clean(
        single(1),
        "st.global.u32 [%rd0], 1; ld.global.u32 %r5, [%rd0];",
    );
}
