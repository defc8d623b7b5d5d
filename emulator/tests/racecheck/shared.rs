//! Shared memory within a warp and across the warps of a block.

use ptx_emulator::AccessKind::{Read, Write};

use crate::check::{ONE_WARP, Shape, TWO_WARPS, clean, race, seen};

/// First shared address that a program may use on sm_90.
const FIRST_SHARED: u64 = 0x400;
const IN_A_WARP: &str = "lanes of one warp need bar.warp.sync between them";
const ACROSS_WARPS: &str = "no barrier between them";

#[test]
fn lanes_of_a_warp_are_ordered_by_bar_warp_sync_and_by_no_exchange() {
    let body = |between: &str| {
        format!("st.shared.u32 [%rd2], %r0;\n{between}\nld.shared.u32 %r5, [%rd3];")
    };
    let found = race(ONE_WARP, &body(""));
    assert_eq!(seen(&found.first), (Write, 0, 0, 1, 0));
    assert_eq!(seen(&found.second), (Read, 0, 0, 0, 2));
    assert_eq!((found.space, found.address), ("shared", FIRST_SHARED + 4));
    assert_eq!(found.missing, IN_A_WARP);
    clean(ONE_WARP, &body("bar.warp.sync -1;"));
    clean(ONE_WARP, &body("bar.sync 0;"));
    for exchange in [
        "shfl.sync.bfly.b32 %r6, %r0, 1, 0x1f, -1;",
        "vote.sync.any.pred %p1, 1, -1;",
        "redux.sync.add.s32 %r6, %r0, -1;",
        "membar.cta;",
    ] {
        assert_eq!(race(ONE_WARP, &body(exchange)).missing, IN_A_WARP);
    }
}

#[test]
fn both_accesses_are_traced_to_the_source() {
    let found = race(
        ONE_WARP,
        ".loc 1 7 0\nst.shared.u32 [%rd2], %r0;\n.loc 1 9 0\nld.shared.u32 %r5, [%rd3];",
    );
    let source = |line| Some(("kernel.rs".to_string(), line));
    assert_eq!(
        (found.first.source, found.second.source),
        (source(7), source(9))
    );
}

#[test]
fn a_lane_is_in_order_with_itself() {
    clean(
        TWO_WARPS,
        "st.shared.u32 [%rd2], 1; ld.shared.u32 %r5, [%rd2]; st.shared.u32 [%rd2], %r5;
         bar.warp.sync -1; ld.shared.u32 %r5, [%rd2]; st.shared.u32 [%rd2], 2;",
    );
}

#[test]
fn warps_are_ordered_by_barriers_only() {
    let write_read = |between: &str| {
        format!("st.shared.u32 [%rd2], %r0;\n{between}\nld.shared.u32 %r5, [%rd4];")
    };
    let found = race(TWO_WARPS, &write_read(""));
    // Warp 0 has read the word when warp 1 comes to write it.
    assert_eq!(seen(&found.first), (Read, 0, 0, 0, 2));
    assert_eq!(seen(&found.second), (Write, 0, 1, 0, 0));
    assert_eq!(found.missing, ACROSS_WARPS);
    race(TWO_WARPS, &write_read("bar.warp.sync -1;"));
    clean(TWO_WARPS, &write_read("bar.sync 0;"));
    clean(TWO_WARPS, &write_read("bar.red.popc.u32 %r6, 0, 1;"));
}

#[test]
fn a_write_must_come_after_earlier_reads_and_writes() {
    let body = |first: &str, between: &str| {
        format!(
            "setp.lt.u32 %p1, %r0, 32; @%p1 {first};\n{between}\n@!%p1 st.shared.u32 [%rd2], 7;"
        )
    };
    for (first, access) in [
        ("ld.shared.u32 %r5, [%rd4]", Read),
        ("st.shared.u32 [%rd4], 7", Write),
    ] {
        let found = race(TWO_WARPS, &body(first, ""));
        assert_eq!(seen(&found.first), (access, 0, 0, 0, 0));
        assert_eq!(seen(&found.second), (Write, 0, 1, 0, 2));
        clean(TWO_WARPS, &body(first, "bar.sync 0;"));
    }
}

#[test]
fn lanes_of_one_store_have_no_order_even_with_equal_values() {
    let found = race(ONE_WARP, "st.shared.u32 [%rd1], 7;");
    assert_eq!(seen(&found.first), (Write, 0, 0, 0, 0));
    assert_eq!(seen(&found.second), (Write, 0, 0, 1, 0));
    assert_eq!(found.missing, "the lanes of one instruction have no order");
    clean(
        ONE_WARP,
        "setp.eq.u32 %p1, %r0, 5; @%p1 st.shared.u32 [%rd1], 7;",
    );
}

#[test]
fn every_reader_counts_not_only_the_last_one() {
    // Lanes read the same word at different instructions; a later writer has to know of all.
    let body = |writer: u32, between: &str| {
        format!(
            "setp.eq.u32 %p1, %r0, 3; setp.eq.u32 %p2, %r0, 4; setp.eq.u32 %p3, %r0, {writer};
             @%p1 ld.shared.u32 %r5, [%rd1];\n@%p2 ld.shared.u32 %r5, [%rd1];\n{between}
             @%p3 st.shared.u32 [%rd1], 1;"
        )
    };
    let found = race(ONE_WARP, &body(4, ""));
    assert_eq!(seen(&found.first), (Read, 0, 0, 3, 1));
    let found = race(ONE_WARP, &body(3, ""));
    assert_eq!(seen(&found.first), (Read, 0, 0, 4, 2));
    clean(ONE_WARP, &body(3, "bar.warp.sync -1;"));
    let found = race(Shape(1, 96), &body(70, ""));
    assert_eq!((found.first.warp, found.second.warp), (0, 2));
}

/// Four rounds of: write a word, barrier, read the other warp's word. `flip` changes between two
/// buffers; `second` is what stands at the end of a round.
fn rounds(flip: u32, second: &str) -> String {
    format!(
        "mov.u32 %r8, 0;\nLOOP: st.shared.u32 [%rd2], %r8; bar.sync 0; ld.shared.u32 %r5, [%rd4]; {second}
         xor.b64 %rd2, %rd2, {flip}; xor.b64 %rd4, %rd4, {flip};
         add.u32 %r8, %r8, 1; setp.lt.u32 %p1, %r8, 4; @%p1 bra LOOP;"
    )
}

#[test]
fn one_buffer_needs_two_barriers_in_a_round_and_two_buffers_need_one() {
    let found = race(TWO_WARPS, &rounds(0, ""));
    // Warp 0 begins the next round before warp 1 has read.
    assert_eq!(seen(&found.first), (Write, 0, 0, 0, 1));
    assert_eq!(seen(&found.second), (Read, 0, 1, 0, 1));
    clean(TWO_WARPS, &rounds(0, "bar.sync 0;"));
    clean(TWO_WARPS, &rounds(512, ""));
}

#[test]
fn named_barriers_order_those_that_arrived_before_those_that_waited() {
    let handover = |producer: &str, consumer: &str| {
        format!(
            "setp.lt.u32 %p1, %r0, 32; @%p1 bra PRODUCER;\n{consumer}\nbra DONE;\nPRODUCER: {producer}\nDONE:"
        )
    };
    let write = "st.shared.u32 [%rd2], %r0;";
    let read = "ld.shared.u32 %r5, [%rd4];";
    clean(
        TWO_WARPS,
        &handover(
            &format!("{write} bar.arrive 1, 64;"),
            &format!("bar.sync 1, 64; {read}"),
        ),
    );
    // The consumer waits at the barrier that the producer has arrived at before writing.
    race(
        TWO_WARPS,
        &handover(
            &format!("bar.arrive 2, 64; {write} bar.arrive 1, 64;"),
            &format!("bar.sync 2, 64; {read} bar.sync 1, 64;"),
        ),
    );
    // To arrive is to tell, not to be told.
    race(
        TWO_WARPS,
        &handover(
            &format!("bar.arrive 1, 64; {read}"),
            "st.shared.u32 [%rd2], %r0; bar.sync 1, 64;",
        ),
    );
}

#[test]
fn a_barrier_hands_on_what_was_learnt_at_an_earlier_one() {
    // Warp 0 writes, warp 1 learns of it, warp 2 learns of it from warp 1.
    let body = |last: u32| {
        format!(
            "setp.lt.u32 %p1, %r0, 32; setp.lt.u32 %p2, %r0, 64;
             @%p1 bra FIRST; @%p2 bra SECOND;
             bar.sync {last}, 64; ld.shared.u32 %r5, [%rd1]; bar.arrive 3, 64; bra DONE;
             FIRST: setp.eq.u32 %p3, %r0, 0; @%p3 st.shared.u32 [%rd1], 1; bar.arrive 1, 64; bra DONE;
             SECOND: bar.arrive 4, 64; bar.sync 1, 64; bar.arrive 2, 64; bar.sync 3, 64;
             DONE:"
        )
    };
    clean(Shape(1, 96), &body(2));
    race(Shape(1, 96), &body(4));
}

#[test]
fn a_member_mask_orders_its_members_only() {
    // The low half writes its words and reads the next lane's; lane 15 reads that of lane 16.
    let body = |reader: &str| {
        format!(
            "setp.lt.u32 %p1, %r0, 16; st.shared.u32 [%rd2], %r0; @!%p1 bra DONE;\n\
             bar.warp.sync 0xffff; {reader} ld.shared.u32 %r5, [%rd3];\nDONE:"
        )
    };
    let found = race(ONE_WARP, &body(""));
    assert_eq!((found.first.lane, found.second.lane), (16, 15));
    clean(ONE_WARP, &body("setp.lt.u32 %p2, %r0, 15; @%p2"));
}

#[test]
fn lanes_hand_on_through_partial_synchronisation() {
    // Lane 0 writes; the pairs of lanes synchronise one after the other; lane 2 reads.
    let body = |first: &str, second: &str| {
        format!(
            "setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p2, %r0, 2; setp.gt.u32 %p3, %r0, 2; @%p3 bra DONE;
             @%p0 st.shared.u32 [%rd1], 1;\n{first}\n{second}\n@%p2 ld.shared.u32 %r5, [%rd1];\nDONE:"
        )
    };
    let low = "setp.lt.u32 %p4, %r0, 2; @%p4 bar.warp.sync 3;";
    let high = "setp.gt.u32 %p4, %r0, 0; @%p4 bar.warp.sync 6;";
    clean(ONE_WARP, &body(low, high));
    race(ONE_WARP, &body(high, low));
    // What one lane knows, a barrier tells the other warps.
    let spread = format!(
        "{}\nbar.sync 0; setp.eq.u32 %p5, %r0, 40; @%p5 st.shared.u32 [%rd1], 2;",
        body(low, "").replace("@%p2 ld", "@%p0 ld")
    );
    clean(TWO_WARPS, &spread);
}

#[test]
fn neighbouring_bytes_and_halves_do_not_race() {
    clean(
        TWO_WARPS,
        "cvt.u64.u32 %rd5, %r0; add.s64 %rd5, %rd1, %rd5; st.shared.u8 [%rd5], %r0;
         bar.sync 0; ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%rd1+16];
         bar.sync 0; mul.wide.u32 %rd6, %r0, 2; add.s64 %rd6, %rd1, %rd6; st.shared.u16 [%rd6], %r0;
         ld.shared.u16 %r4, [%rd6];",
    );
    // A word is wider than the byte that its lane has written.
    let found = race(
        ONE_WARP,
        "cvt.u64.u32 %rd5, %r0; add.s64 %rd5, %rd1, %rd5;\nst.shared.u8 [%rd5], %r0;
         and.b64 %rd6, %rd5, -4; ld.shared.u32 %r4, [%rd6];",
    );
    let lanes = (found.first.lane, found.second.lane);
    assert_eq!((found.address, lanes), (FIRST_SHARED, (0, 1)));
}

#[test]
fn accesses_of_all_sizes_to_one_place_are_compared_byte_by_byte() {
    // Thread 0 of each warp: a 16-byte store against a 2-byte load in its middle, and beside it.
    let body = |offset: u32| {
        format!(
            "setp.eq.u32 %p1, %r0, 0; setp.eq.u32 %p2, %r0, 32;
             @%p1 st.shared.v4.u32 [%rd1], {{%r0, %r0, %r0, %r0}};
             @%p2 ld.shared.u16 %r5, [%rd1+{offset}];"
        )
    };
    for offset in [0, 6, 14] {
        let address = race(TWO_WARPS, &body(offset)).address;
        assert_eq!(address, FIRST_SHARED + u64::from(offset));
    }
    clean(TWO_WARPS, &body(16));
}

#[test]
fn the_whole_warp_reads_every_row_of_ldmatrix() {
    let body = |between: &str| {
        format!(
            "and.b32 %r1, %r0, 7; mul.wide.u32 %rd5, %r1, 16; add.s64 %rd5, %rd1, %rd5;
             setp.lt.u32 %p1, %r0, 8; @%p1 st.shared.v4.u32 [%rd5], {{%r0, %r0, %r0, %r0}};\n{between}
             ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r6}}, [%rd5];"
        )
    };
    assert_eq!(race(ONE_WARP, &body("")).missing, IN_A_WARP);
    clean(ONE_WARP, &body("bar.warp.sync -1;"));
}

#[test]
fn blocks_that_follow_each_other_do_not_share_shared_memory() {
    clean(
        Shape(20, 64),
        "st.shared.u32 [%rd2], %r0; bar.sync 0; ld.shared.u32 %r5, [%rd4];",
    );
}

#[test]
fn atomics_on_shared_memory_race_with_plain_accesses_only() {
    let body = |between: &str, after: &str| {
        format!(
            "setp.eq.u32 %p1, %r0, 0; setp.eq.u32 %p2, %r0, 40; @%p1 st.shared.u32 [%rd1], 0;\n{between}
             atom.shared.add.u32 %r5, [%rd1], 1; red.shared.add.u32 [%rd1], 1;\n{after}"
        )
    };
    clean(TWO_WARPS, &body("bar.sync 0;", ""));
    clean(
        TWO_WARPS,
        &body("bar.sync 0;", "bar.sync 0; ld.shared.u32 %r5, [%rd1];"),
    );
    // The first word is written by thread 0, which is in order with its own atomic but not with others'.
    race(TWO_WARPS, &body("", ""));
    race(
        TWO_WARPS,
        &body("bar.sync 0;", "@%p2 ld.shared.u32 %r5, [%rd1];"),
    );
    clean(
        TWO_WARPS,
        &body("bar.sync 0;", "@%p2 ld.volatile.shared.u32 %r5, [%rd1];"),
    );
    let found = race(
        TWO_WARPS,
        &body("bar.sync 0;", "@%p2 ld.volatile.shared.u16 %r5, [%rd1];"),
    );
    assert_eq!(
        found.missing,
        "strong accesses of different sizes are not ordered with each other"
    );
}
