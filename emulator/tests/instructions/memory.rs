//! Atomics, barriers, asynchronous copies, matrices and address spaces.

use crate::check::per_lane;
use crate::common::{kernel, run, run_with};
use ptx_emulator::{MmaNumerics, Options};

#[test]
fn atomics_return_the_old_value_and_serialise() {
    let text = "st.global.b32 [%rd0+256], 0; bar.sync 0; atom.global.add.u32 %r1, [%rd0+256], 2;";
    let mut got = per_lane(text);
    got.sort_unstable();
    assert_eq!(got, (0..32).map(|n| 2 * n).collect::<Vec<u32>>());
    for (text, start, expected) in [
        ("atom.global.inc.u32 %r1, [%rd0+256], 2;", 2, 0),
        ("atom.global.dec.u32 %r1, [%rd0+256], 5;", 0, 5),
        ("atom.global.cas.b32 %r1, [%rd0+256], 7, 9;", 7, 9),
        ("atom.global.cas.b32 %r1, [%rd0+256], 8, 9;", 7, 7),
        ("atom.global.exch.b32 %r1, [%rd0+256], 3;", 7, 3),
        ("atom.global.min.s32 %r1, [%rd0+256], -1;", 4, u32::MAX),
        ("atom.global.max.u32 %r1, [%rd0+256], 3;", 4, 4),
        ("atom.global.xor.b32 %r1, [%rd0+256], 3;", 5, 6),
        (
            "atom.global.add.f32 %r1, [%rd0+256], 0f3f800000;",
            0x3f80_0000,
            0x4000_0000,
        ),
        ("red.global.add.u32 [%rd0+256], 3;", 4, 7),
        // Device memory flushes subnormal sums.
        ("red.global.add.f32 [%rd0+256], 0f00000001;", 1, 0),
    ] {
        let run = run(&format!("st.global.b32 [%rd0+256], {start}; {text}"), 1);
        run.result
            .clone()
            .unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(run.word(64), expected, "{text}");
    }
}

#[test]
fn atomics_of_many_blocks_lose_nothing() {
    let text = kernel(
        ".global .align 8 .u64 total;",
        "mov.u64 %rd1, total; atom.global.add.u64 %rd2, [%rd1], 1; red.global.add.u64 [%rd1], 1;
         ld.global.u64 %rd3, [%rd1]; atom.global.max.u64 %rd4, [%rd0], %rd3;",
    );
    // The output buffer starts as all ones, so make the maximum signed.
    let text = text.replace("atom.global.max.u64", "atom.global.max.s64");
    let run = run_with(
        &text,
        64,
        64,
        &Options {
            threads: Some(4),
            ..Options::default()
        },
    );
    run.result.clone().expect("no fault");
    assert_eq!(run.wide(0), 2 * 64 * 64);
}

#[test]
fn barriers_count_reduce_and_forget_exited_warps() {
    let text = kernel(
        ".shared .align 4 .b8 buffer[512];",
        "mov.u32 %r2, buffer; shl.b32 %r3, %r0, 2; add.u32 %r2, %r2, %r3; st.shared.b32 [%r2], %r0;
         bar.sync 0; xor.b32 %r4, %r3, 508; mov.u32 %r5, buffer; add.u32 %r5, %r5, %r4;
         ld.shared.b32 %r1, [%r5];
         setp.lt.u32 %p1, %r0, 40; bar.red.popc.u32 %r6, 1, %p1; bar.red.and.pred %p2, 2, %p1;
         bar.red.or.pred %p3, 3, %p1; selp.b32 %r7, 1, 0, %p2; selp.b32 %r8, 2, 0, %p3;
         add.u32 %r6, %r6, %r7; add.u32 %r6, %r6, %r8; shl.b32 %r6, %r6, 8; add.u32 %r1, %r1, %r6;
         mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;
         setp.ge.u32 %p4, %r0, 96; @%p4 exit; bar.sync 0;",
    );
    let run = run_with(&text, 1, 128, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    for thread in 0..128 {
        assert_eq!(
            run.word(thread as usize),
            (127 - thread) + ((40 + 2) << 8),
            "{thread}"
        );
    }
}

#[test]
fn a_producer_warp_may_arrive_without_waiting() {
    let text = kernel(
        ".shared .align 4 .b8 buffer[4];",
        "setp.lt.u32 %p1, %r0, 32; @%p1 bra CONSUMER;
         st.shared.b32 [buffer], 77; bar.arrive 1, 64; ret;
         CONSUMER: bar.sync 1, 64; ld.shared.b32 %r1, [buffer]; st.global.b32 [%rd0], %r1;",
    );
    let run = run_with(&text, 1, 64, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(run.word(0), 77);
}

#[test]
fn asynchronous_copies_land_at_the_wait_and_fill_with_zeros() {
    let text = kernel(
        ".shared .align 16 .b8 buffer[32];",
        "mov.b32 %r2, 0x11111111; st.global.v4.b32 [%rd0], {%r2, %r2, %r2, %r2};
         mov.u32 %r3, buffer; mov.b32 %r4, 6;
         cp.async.cg.shared.global [%r3], [%rd0], 16; cp.async.commit_group;
         cp.async.ca.shared.global [%r3+16], [%rd0], 16, %r4; cp.async.commit_group;
         cp.async.wait_group 1; ld.shared.b32 %r5, [%r3+12];
         cp.async.wait_all; ld.shared.b32 %r6, [%r3+20]; ld.shared.b32 %r7, [%r3+24];
         st.global.v4.b32 [%rd0+16], {%r5, %r6, %r7, %r7};",
    );
    let run = run_with(&text, 1, 1, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!([4, 5, 6].map(|i| run.word(i)), [0x1111_1111, 0x1111, 0]);
}

#[test]
fn ldmatrix_gives_each_lane_two_neighbours_of_a_row_or_of_a_column() {
    // Element (row, col) of the 8x8 matrix is 8 * row + col.
    let text = |transpose: &str| {
        kernel(
            ".shared .align 16 .b8 buffer[128];",
            &format!(
                "mov.u32 %r2, buffer; shl.b32 %r3, %r0, 2; add.u32 %r4, %r2, %r3;
                 shl.b32 %r5, %r0, 1; add.u32 %r6, %r5, 1; shl.b32 %r6, %r6, 16;
                 or.b32 %r5, %r5, %r6; st.shared.b32 [%r4], %r5; bar.sync 0;
                 and.b32 %r7, %r0, 7; shl.b32 %r7, %r7, 4; add.u32 %r7, %r2, %r7;
                 ldmatrix.sync.aligned.m8n8.x1{transpose}.shared.b16 {{%r1}}, [%r7];
                 mul.wide.u32 %rd20, %r0, 4; add.s64 %rd20, %rd0, %rd20; st.global.b32 [%rd20], %r1;"
            ),
        )
    };
    for (transpose, row_step, col_step) in [("", 8, 1), (".trans", 1, 8)] {
        let run = run_with(&text(transpose), 1, 32, &Options::default());
        run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
        for lane in 0..32u32 {
            let (g, t) = (lane / 4, lane % 4);
            let element = |col: u32| g * row_step + col * col_step;
            let expected = element(2 * t) | element(2 * t + 1) << 16;
            assert_eq!(run.word(lane as usize), expected, "{transpose} lane {lane}");
        }
    }
}

#[test]
fn mma_adds_products_of_whole_rows_and_columns() {
    // A and B are all ones, C is the lane: every element of D is 16 more than C.
    let text = kernel(
        "",
        "mov.b32 %r2, 0x3f803f80; cvt.rn.f32.u32 %r3, %r0;
         mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r4, %r5, %r6, %r7},
           {%r2, %r2, %r2, %r2}, {%r2, %r2}, {%r3, %r3, %r3, %r3};
         mul.wide.u32 %rd20, %r0, 16; add.s64 %rd20, %rd0, %rd20;
         st.global.v4.b32 [%rd20], {%r4, %r5, %r6, %r7};",
    );
    for mma in [MmaNumerics::F32, MmaNumerics::Hardware] {
        let run = run_with(
            &text,
            1,
            32,
            &Options {
                mma,
                ..Options::default()
            },
        );
        run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
        for i in 0..128 {
            assert_eq!(f32::from_bits(run.word(i)), 16.0 + (i / 4) as f32);
        }
    }
}

#[test]
fn generic_addresses_reach_every_space() {
    let text = kernel(
        ".shared .align 8 .b8 buffer[256]; .const .align 4 .b32 table[2] = {5, 6};",
        ".local .align 4 .b8 depot[8];
         mov.u64 %rd1, buffer; cvta.shared.u64 %rd1, %rd1; mov.u64 %rd2, depot;
         cvta.local.u64 %rd2, %rd2; mov.u64 %rd3, table; cvta.const.u64 %rd3, %rd3;
         st.b32 [%rd1], 3; st.b32 [%rd2+4], 4; ld.b32 %r1, [%rd1]; ld.local.b32 %r2, [depot+4];
         ld.b32 %r3, [%rd3+4]; ld.shared.b32 %r4, [buffer];
         isspacep.shared %p1, %rd1; selp.b32 %r5, 10, 0, %p1;
         add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; add.u32 %r1, %r1, %r4; add.u32 %r1, %r1, %r5;
         st.b32 [%rd0], %r1;",
    );
    let run = run_with(&text, 1, 1, &Options::default());
    run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(run.word(0), 3 + 4 + 6 + 3 + 10);
}

#[test]
fn movmatrix_transposes_eight_by_eight_elements() {
    // Element (row, column) is 8 * row + column; a lane holds columns 2t and 2t + 1 of row g.
    let body = "shl.b32 %r2, %r0, 1; add.u32 %r3, %r2, 1; shl.b32 %r3, %r3, 16; or.b32 %r2, %r2, %r3;\n\
                movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r2;";
    for (lane, got) in per_lane(body).into_iter().enumerate() {
        let (g, t) = (lane as u32 / 4, lane as u32 % 4);
        let (low, high) = (8 * (2 * t) + g, 8 * (2 * t + 1) + g);
        assert_eq!(got, low | high << 16, "lane {lane}");
    }
}

#[test]
fn hints_and_fences_change_no_value() {
    let body = "mov.u32 %r1, 7; mul.wide.u32 %rd2, %r0, 4; add.s64 %rd2, %rd0, %rd2; st.global.u32 [%rd2], %r0;\n\
                prefetch.global.L2 [%rd0]; prefetchu.L1 [%rd0]; createpolicy.fractional.L2::evict_first.b64 %rd3, 1.0;\n\
                applypriority.global.L2::evict_normal [%rd0], 128; fence.acq_rel.gpu; fence.sc.cta; membar.gl;\n\
                ld.global.u32 %r1, [%rd2];";
    assert_eq!(per_lane(body), (0..32).collect::<Vec<u32>>());
}
