//! Wavefronts and bank conflicts of shared memory.

use ptx_emulator::{BankCounts, CounterOptions, Options};

use crate::common::{kernel, run_with};
use crate::of_line;

/// `%r1` is the lane's address in shared memory, `stride` bytes from its neighbour's.
fn strided(stride: u32) -> String {
    format!("mov.u32 %r2, buffer; mad.lo.u32 %r1, %r0, {stride}, %r2;")
}

fn cost(counts: BankCounts) -> (u64, u64) {
    (counts.wavefronts, counts.ideal_wavefronts)
}

#[test]
fn wavefronts_are_the_most_words_that_one_bank_serves() {
    let v4 = "ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r1];";
    for (stride, load, threads, expected) in [
        (4, "ld.shared.b32 %r3, [%r1];", 32, (1, 1)),
        (8, "ld.shared.b32 %r3, [%r1];", 32, (2, 1)),
        (16, "ld.shared.b32 %r3, [%r1];", 32, (4, 1)),
        (32, "ld.shared.b32 %r3, [%r1];", 32, (8, 1)),
        (128, "ld.shared.b32 %r3, [%r1];", 32, (32, 1)),
        (132, "ld.shared.b32 %r3, [%r1];", 32, (1, 1)),
        // One word for all, or for two lanes each.
        (0, "ld.shared.b32 %r3, [%r1];", 32, (1, 1)),
        (2, "ld.shared.u16 %r3, [%r1];", 32, (1, 1)),
        (1, "ld.shared.u8 %r3, [%r1];", 32, (1, 1)),
        (256, "ld.shared.u8 %r3, [%r1];", 32, (32, 1)),
        // 8 bytes: two halves.
        (8, "ld.shared.b64 %rd3, [%r1];", 32, (2, 2)),
        (8, "ld.shared.v2.b32 {%r3, %r4}, [%r1];", 32, (2, 2)),
        (16, "ld.shared.b64 %rd3, [%r1];", 32, (4, 2)),
        (0, "ld.shared.b64 %rd3, [%r1];", 32, (2, 2)),
        // 16 bytes: four quarters.
        (16, v4, 32, (4, 4)),
        (32, v4, 32, (8, 4)),
        (128, v4, 32, (32, 4)),
        (144, v4, 32, (4, 4)),
        // Part of a warp.
        (128, "ld.shared.b32 %r3, [%r1];", 5, (5, 1)),
        (8, "ld.shared.b64 %rd3, [%r1];", 16, (1, 1)),
        (8, "ld.shared.b64 %rd3, [%r1];", 17, (2, 2)),
        (128, v4, 8, (8, 1)),
        (16, v4, 40, (5, 5)),
    ] {
        let loads = of_line(&strided(stride), load, threads).shared.loads;
        assert_eq!(
            cost(loads),
            expected,
            "stride {stride}, {threads} threads: {load}"
        );
        assert_eq!(loads.conflicts(), expected.0 - expected.1);
        assert_eq!(loads.requests, u64::from(threads.div_ceil(32)));
    }
}

#[test]
fn stores_are_as_loads() {
    let store = |stride| of_line(&strided(stride), "st.shared.b32 [%r1], %r0;", 32).shared;
    assert_eq!(cost(store(4).stores), (1, 1));
    assert_eq!(cost(store(64).stores), (16, 1));
    assert_eq!(store(4).stores.lane_bytes, 128);
    assert_eq!(store(4).sum(), store(4).stores);
}

#[test]
fn atomics_on_one_word_take_turns() {
    let atomic = |stride, text: &str| of_line(&strided(stride), text, 32).shared.atomics;
    assert_eq!(cost(atomic(4, "red.shared.add.u32 [%r1], 1;")), (1, 1));
    assert_eq!(cost(atomic(0, "red.shared.add.u32 [%r1], 1;")), (32, 1));
    assert_eq!(cost(atomic(128, "red.shared.add.u32 [%r1], 1;")), (32, 1));
    let wide = "atom.shared.add.u64 %rd1, [%r1], 1;";
    assert_eq!(cost(atomic(8, wide)), (2, 2));
    assert_eq!(cost(atomic(0, wide)), (32, 2));
}

#[test]
fn ldmatrix_rows_of_128_bytes_need_a_swizzle() {
    let load = |before: &str, count: u32| {
        let registers = ["%r3", "%r4", "%r5", "%r6"][..count as usize].join(", ");
        let line =
            format!("ldmatrix.sync.aligned.m8n8.x{count}.shared.b16 {{{registers}}}, [%r1];");
        of_line(before, &line, 32).shared.matrix_loads
    };
    // All rows begin in one bank: each matrix takes eight turns.
    assert_eq!(cost(load(&strided(128), 1)), (8, 1));
    assert_eq!(cost(load(&strided(128), 2)), (16, 2));
    assert_eq!(cost(load(&strided(128), 4)), (32, 4));
    // A chunk of 16 bytes xor the row: the eight rows of a matrix cover all banks.
    let swizzled = "and.b32 %r7, %r0, 7; shl.b32 %r7, %r7, 4; mov.u32 %r2, buffer;
        mad.lo.u32 %r1, %r0, 128, %r2; xor.b32 %r1, %r1, %r7;";
    assert_eq!(cost(load(swizzled, 4)), (4, 4));
    // So do padded rows, and rows without gaps.
    assert_eq!(cost(load(&strided(144), 4)), (4, 4));
    assert_eq!(cost(load(&strided(16), 4)), (4, 4));
    // 64 bytes: two rows cover all banks.
    assert_eq!(cost(load(&strided(64), 4)), (16, 4));
    assert_eq!(load(&strided(16), 2).lane_bytes, 256);
}

#[test]
fn the_shared_side_of_copies_is_a_store() {
    let global = "mul.wide.u32 %rd1, %r0, 16; add.s64 %rd1, %rd0, %rd1;";
    let copy = "cp.async.cg.shared.global [%r1], [%rd1], 16;";
    let cost_of = |stride| {
        let counts = of_line(&format!("{} {global}", strided(stride)), copy, 32);
        cost(counts.shared.copies)
    };
    assert_eq!(cost_of(16), (4, 4));
    assert_eq!(cost_of(128), (32, 4));
}

#[test]
fn accesses_to_other_blocks_of_the_cluster_are_counted_apart() {
    let body = "barrier.cluster.arrive; barrier.cluster.wait;
        mov.u32 %r2, buffer; mad.lo.u32 %r2, %r0, 4, %r2; mov.u32 %r3, %cluster_ctarank; xor.b32 %r4, %r3, 1;
        st.shared.u32 [%r2], %r0; barrier.cluster.arrive; barrier.cluster.wait;
        mapa.shared::cluster.u32 %r5, %r2, %r4; ld.shared::cluster.u32 %r6, [%r5];
        mapa.shared::cluster.u32 %r7, %r2, %r3; ld.shared::cluster.u32 %r8, [%r7];
        barrier.cluster.arrive; barrier.cluster.wait;";
    let text = kernel(".shared .align 16 .b8 buffer[128];", body);
    let text = text.replace(
        "(.param .u64 out) {",
        "(.param .u64 out) .reqnctapercluster 2 {",
    );
    let options = Options {
        counters: Some(CounterOptions::default()),
        ..Options::default()
    };
    let report = run_with(&text, 2, 32, &options).result.expect("no fault");
    let counters = report.counters.expect("counters were asked for");
    let shared = counters.total.shared;
    assert_eq!(
        (shared.loads.requests, shared.loads.lane_bytes),
        (2, 2 * 128)
    );
    assert_eq!(
        (shared.peers.requests, shared.peers.lane_bytes),
        (2, 2 * 128)
    );
    assert_eq!(counters.total.barrier_arrivals, 6);
}
