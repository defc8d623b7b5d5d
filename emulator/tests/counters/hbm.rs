//! Bytes between L2 and device memory.

use ptx_emulator::{CounterOptions, HbmCounts, L2Cache};

use crate::{UNBOUNDED, count, count_with};

/// Read, written, and the least of both.
fn hbm(counts: HbmCounts) -> [u64; 4] {
    [
        counts.read_bytes,
        counts.write_bytes,
        counts.min_read_bytes,
        counts.min_write_bytes,
    ]
}

fn small(bytes: u64, ways: u32) -> CounterOptions {
    CounterOptions {
        l2: L2Cache::Bounded { bytes, ways },
    }
}

/// `%rd1` is the lane's word.
const WORD: &str = "mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1;";

#[test]
fn each_sector_is_read_once_and_written_once_while_l2_holds_it() {
    for (body, expected) in [
        ("ld.global.b32 %r1, [%rd1];", [128, 0, 128, 0]),
        // Twice the same.
        (
            "ld.global.b32 %r1, [%rd1]; ld.global.b32 %r2, [%rd1];",
            [128, 0, 128, 0],
        ),
        // The second sector that a shifted load adds.
        (
            "ld.global.b32 %r1, [%rd1]; ld.global.b32 %r2, [%rd1+4];",
            [160, 0, 160, 0],
        ),
        // Whole sectors need not be read before they are written, nor after.
        ("st.global.b32 [%rd1], 0;", [0, 128, 0, 128]),
        (
            "st.global.b32 [%rd1], 0; st.global.b32 [%rd1], 0;",
            [0, 128, 0, 128],
        ),
        (
            "st.global.b32 [%rd1], 0; ld.global.b32 %r1, [%rd1];",
            [0, 128, 0, 128],
        ),
        (
            "ld.global.b32 %r1, [%rd1]; st.global.b32 [%rd1], 0;",
            [128, 128, 128, 128],
        ),
        // Bytes 4 to 131: three whole sectors, and parts of two, which need the rest.
        ("st.global.b32 [%rd1+4], 0;", [64, 160, 64, 160]),
        // Now only the last is in parts.
        (
            "st.global.b32 [%rd1+4], 0; st.global.b32 [%rd1], 0;",
            [32, 160, 32, 160],
        ),
        // Atomics need the old value.
        ("red.global.add.u32 [%rd1], 1;", [128, 128, 128, 128]),
        (
            "st.global.b32 [%rd1], 0; red.global.add.u32 [%rd1], 1;",
            [0, 128, 0, 128],
        ),
    ] {
        let counters = count(&format!("{WORD} {body}"), 32);
        assert_eq!(hbm(counters.hbm), expected, "{body}");
        assert_eq!(counters.allocations[0].hbm, counters.hbm);
        let unbounded = count_with("", &format!("{WORD} {body}"), 32, UNBOUNDED);
        assert_eq!(unbounded.hbm, counters.hbm, "{body}");
    }
}

#[test]
fn what_leaves_a_small_l2_is_read_again() {
    // Eight lines of 128 bytes, twice: 1 KiB in all.
    let twice = format!(
        "{WORD} mov.u32 %r3, 0; A: mov.u32 %r2, 0; mov.u64 %rd2, %rd1;
         B: ld.global.b32 %r1, [%rd2]; add.s64 %rd2, %rd2, 128; add.u32 %r2, %r2, 1;
         setp.lt.u32 %p1, %r2, 8; @%p1 bra B;
         add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 2; @%p1 bra A;"
    );
    let read = |options| count_with("", &twice, 32, options).hbm;
    assert_eq!(hbm(read(small(1024, 8))), [1024, 0, 1024, 0]);
    // A round over more lines than there are ways finds none of them.
    assert_eq!(hbm(read(small(896, 7))), [2048, 0, 1024, 0]);
    // Four sets of two: each set gets two lines, and both stay.
    assert_eq!(hbm(read(small(1024, 2))), [1024, 0, 1024, 0]);
    // Four sets of one: the two lines of each set take turns.
    assert_eq!(hbm(read(small(512, 1))), [2048, 0, 1024, 0]);
}

#[test]
fn lines_as_far_apart_as_there_are_sets_do_not_share_one() {
    // Lines 0, 4, 8 and 12, twice.
    let loads: String = [0, 4, 8, 12, 0, 4, 8, 12]
        .map(|line| format!("ld.global.b32 %r1, [%rd1+{}];", 128 * line))
        .concat();
    let counters = count_with("", &format!("{WORD} {loads}"), 32, small(512, 1));
    assert_eq!(hbm(counters.hbm), [512, 0, 512, 0]);
}

#[test]
fn what_leaves_a_small_l2_newer_than_memory_is_written_each_time() {
    // One line of 128 bytes: lines 0 and 1 drive each other out.
    let body = format!(
        "{WORD} st.global.b32 [%rd1], 0; ld.global.b32 %r1, [%rd1+128];
         st.global.b32 [%rd1], 1; ld.global.b32 %r1, [%rd1+128];"
    );
    let counters = count_with("", &body, 32, small(128, 1));
    assert_eq!(hbm(counters.hbm), [256, 256, 128, 128]);
    let counters = count_with("", &body, 32, small(256, 2));
    assert_eq!(hbm(counters.hbm), [128, 128, 128, 128]);
}

#[test]
fn traffic_belongs_to_its_allocation() {
    let body = format!(
        "{WORD} ld.global.b32 %r1, [%rd1]; mov.u64 %rd2, other; mul.wide.u32 %rd3, %r0, 4;
         add.s64 %rd2, %rd2, %rd3; st.global.b32 [%rd2], %r1; ld.global.b32 %r1, [%rd1];"
    );
    let counters = count_with(".global .align 4 .b8 other[128];", &body, 32, small(128, 1));
    let [out, other] = counters.allocations[..] else {
        panic!("{:?}", counters.allocations)
    };
    assert_eq!((out.bytes, hbm(out.hbm)), (4096, [256, 0, 128, 0]));
    assert_eq!((other.bytes, hbm(other.hbm)), (128, [0, 128, 0, 128]));
    assert_eq!(counters.hbm.bytes(), 256 + 128);
    assert_eq!(counters.hbm.min_bytes(), 128 + 128);
}
