//! Requests, sectors and bytes of device memory.

use ptx_emulator::{CounterOptions, SectorCounts};

use crate::{count, count_with, of_line};

/// requests, lane_bytes, bytes, sectors.
fn sectors([requests, lane_bytes, bytes, sectors]: [u64; 4]) -> SectorCounts {
    SectorCounts {
        requests,
        lane_bytes,
        bytes,
        sectors,
    }
}

/// `%rd1` is the lane's address, `stride` bytes from its neighbour's.
fn strided(stride: u32) -> String {
    format!("mul.wide.u32 %rd1, %r0, {stride}; add.s64 %rd1, %rd0, %rd1;")
}

#[test]
fn loads_touch_the_sectors_their_lanes_fall_into() {
    for (stride, load, threads, expected) in [
        // Coalesced, at each width.
        (1, "ld.global.u8 %r1, [%rd1];", 32, [1, 32, 32, 1]),
        (2, "ld.global.u16 %r1, [%rd1];", 32, [1, 64, 64, 2]),
        (4, "ld.global.b32 %r1, [%rd1];", 32, [1, 128, 128, 4]),
        (8, "ld.global.b64 %rd2, [%rd1];", 32, [1, 256, 256, 8]),
        (
            8,
            "ld.global.v2.b32 {%r1, %r2}, [%rd1];",
            32,
            [1, 256, 256, 8],
        ),
        (
            16,
            "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];",
            32,
            [1, 512, 512, 16],
        ),
        // Not beginning at a sector.
        (4, "ld.global.b32 %r1, [%rd1+4];", 32, [1, 128, 128, 5]),
        (4, "ld.global.b32 %r1, [%rd1+128];", 32, [1, 128, 128, 4]),
        // Strided.
        (8, "ld.global.b32 %r1, [%rd1];", 32, [1, 128, 128, 8]),
        (32, "ld.global.b32 %r1, [%rd1];", 32, [1, 128, 128, 32]),
        (64, "ld.global.u8 %r1, [%rd1];", 32, [1, 32, 32, 32]),
        // One address for all.
        (0, "ld.global.b32 %r1, [%rd1];", 32, [1, 128, 4, 1]),
        // Part of a warp, and a second warp.
        (4, "ld.global.b32 %r1, [%rd1];", 9, [1, 36, 36, 2]),
        (4, "ld.global.b32 %r1, [%rd1];", 64, [2, 256, 256, 8]),
        (4, "@%p1 ld.global.b32 %r1, [%rd1];", 32, [0, 0, 0, 0]),
    ] {
        let counts = of_line(&strided(stride), load, threads).global;
        assert_eq!(counts.loads, sectors(expected), "stride {stride}: {load}");
        assert_eq!(counts.sum(), sectors(expected), "stride {stride}: {load}");
    }
}

#[test]
fn efficiency_is_the_share_of_sector_bytes_that_was_asked_for() {
    let efficiency = |stride| {
        let counts = of_line(&strided(stride), "ld.global.b32 %r1, [%rd1];", 32);
        counts.global.loads.efficiency()
    };
    assert_eq!(efficiency(4), Some(1.0));
    assert_eq!(efficiency(8), Some(0.5));
    assert_eq!(efficiency(32), Some(0.125));
    assert_eq!(efficiency(0), Some(0.125));
    assert_eq!(SectorCounts::default().efficiency(), None);
}

#[test]
fn stores_atomics_and_copies_are_kept_apart() {
    let store = of_line(&strided(8), "st.global.b32 [%rd1], %r0;", 32).global;
    assert_eq!(store.stores, sectors([1, 128, 128, 8]));
    assert_eq!(store.loads, SectorCounts::default());

    let atomic = of_line(&strided(0), "red.global.add.u32 [%rd1], 1;", 32).global;
    assert_eq!(atomic.atomics, sectors([1, 128, 4, 1]));
    let wide = of_line(&strided(8), "atom.global.add.u64 %rd2, [%rd1], 1;", 32).global;
    assert_eq!(wide.atomics, sectors([1, 256, 256, 8]));

    let shared = "shl.b32 %r2, %r0, 4; mov.u32 %r3, buffer; add.u32 %r2, %r3, %r2;";
    let before = format!("{} {shared}", strided(16));
    let copy = "cp.async.cg.shared.global [%r2], [%rd1], 16;";
    let counts = of_line(&before, copy, 32);
    assert_eq!(counts.global.copies, sectors([1, 512, 512, 16]));
    assert_eq!(counts.shared.copies.lane_bytes, 512);
    // Lanes 3 and up read nothing and write zeros.
    let sizes = "setp.lt.u32 %p1, %r0, 3; selp.b32 %r4, 16, 0, %p1;";
    let copy = "cp.async.cg.shared.global [%r2], [%rd1], 16, %r4;";
    let counts = of_line(&format!("{before} {sizes}"), copy, 32);
    assert_eq!(counts.global.copies, sectors([1, 48, 48, 2]));
    assert_eq!(counts.shared.copies.lane_bytes, 512);
}

#[test]
fn a_generic_request_to_two_spaces_is_counted_in_both() {
    let before = "mov.u64 %rd2, buffer; cvta.shared.u64 %rd2, %rd2; setp.lt.u32 %p1, %r0, 16;
        selp.b64 %rd1, %rd2, %rd0, %p1; mul.wide.u32 %rd3, %r0, 4; add.s64 %rd1, %rd1, %rd3;";
    let counts = of_line(before, "st.b32 [%rd1], %r0;", 32);
    assert_eq!(counts.global.stores, sectors([1, 64, 64, 2]));
    assert_eq!(counts.shared.stores.requests, 1);
    assert_eq!(counts.shared.stores.lane_bytes, 64);
    assert_eq!(counts.executed().warp, 1);
}

#[test]
fn a_request_to_two_allocations_is_one_request() {
    let before = "mov.u64 %rd2, other; setp.lt.u32 %p1, %r0, 16; selp.b64 %rd1, %rd2, %rd0, %p1;";
    let text = format!("{before}\nst.global.b32 [%rd1], 0;");
    let options = CounterOptions::default();
    let counters = count_with(".global .align 4 .b8 other[64];", &text, 32, options);
    let stores = counters.total.global.stores;
    assert_eq!(stores, sectors([1, 128, 8, 2]));
    assert_eq!(counters.allocations.len(), 2);
}

#[test]
fn local_memory_counts_requests_and_bytes() {
    let body = ".local .align 4 .b8 depot[8]; st.local.b32 [depot+4], 3;
        ld.local.b32 %r2, [depot+4];";
    let local = count(body, 20).total.local;
    assert_eq!((local.requests, local.lane_bytes), (2, 160));
}
