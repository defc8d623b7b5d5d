//! `cp.async.bulk` and `cp.reduce.async.bulk` between contiguous memories.

use crate::launched::{INIT, WAIT, kernel, no_map, pattern, tile_out, under_many_schedules};

#[test]
fn a_load_brings_its_bytes_and_completes_its_mbarrier() {
    for bytes in [16, 1024, 1040, 12_288] {
        let body = format!(
            "{INIT} @%p0 bra WAIT;
            mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {bytes};
            cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0+32], {bytes}, [%r2];
            {WAIT} {}",
            tile_out(bytes)
        );
        let input = pattern(16_384);
        under_many_schedules(&kernel(&body), &input, &no_map(), |done| {
            assert_eq!(done.output[..bytes as usize], input[32..][..bytes as usize]);
            assert!(done.output[bytes as usize..].iter().all(|byte| *byte == 0));
        });
    }
}

#[test]
fn two_stages_carry_more_data_than_they_hold() {
    // One producer thread, one consumer warp, eight tiles of 1 KiB through two buffers.
    let body = "
    @%p0 bra START;
    mov.u32 %r3, 0;
    mbarrier.init.shared::cta.b64 [%r2], 1;
    mbarrier.init.shared::cta.b64 [%r2+8], 1;
    add.u32 %r4, %r1, 16384;
    mbarrier.init.shared::cta.b64 [%r4], 32;
    mbarrier.init.shared::cta.b64 [%r4+8], 32;
    fence.mbarrier_init.release.cluster;
    START: bar.sync 0;
    add.u32 %r4, %r1, 16384;
    mov.u32 %r3, 0;
    setp.ge.u32 %p1, %r0, 32;
    @%p1 bra CONSUME;
    @%p0 bra DONE;
    PRODUCE:
    and.b32 %r5, %r3, 1; shr.u32 %r6, %r3, 1; and.b32 %r6, %r6, 1; xor.b32 %r6, %r6, 1;
    mad.lo.u32 %r7, %r5, 8, %r2; mad.lo.u32 %r8, %r5, 8, %r4;
    EMPTY: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r8], %r6;
    @!%p2 bra EMPTY;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r7], 1024;
    mad.lo.u32 %r9, %r5, 1024, %r1;
    mul.wide.u32 %rd3, %r3, 1024; add.u64 %rd3, %rd3, %rd0;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r9], [%rd3], 1024, [%r7];
    add.u32 %r3, %r3, 1; setp.lt.u32 %p2, %r3, 8;
    @%p2 bra PRODUCE;
    bra DONE;
    CONSUME:
    and.b32 %r5, %r3, 1; shr.u32 %r6, %r3, 1; and.b32 %r6, %r6, 1;
    mad.lo.u32 %r7, %r5, 8, %r2; mad.lo.u32 %r8, %r5, 8, %r4;
    FULL: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r7], %r6;
    @!%p2 bra FULL;
    sub.u32 %r10, %r0, 32;
    mad.lo.u32 %r9, %r5, 1024, %r1; mad.lo.u32 %r9, %r10, 32, %r9;
    ld.shared.v4.b32 {%r11, %r12, %r13, %r14}, [%r9];
    ld.shared.v4.b32 {%r15, %r16, %r17, %r18}, [%r9+16];
    mbarrier.arrive.shared::cta.b64 _, [%r8];
    mul.wide.u32 %rd3, %r3, 1024; add.u64 %rd3, %rd3, %rd1;
    mul.wide.u32 %rd4, %r10, 32; add.u64 %rd3, %rd3, %rd4;
    st.global.v4.b32 [%rd3], {%r11, %r12, %r13, %r14};
    st.global.v4.b32 [%rd3+16], {%r15, %r16, %r17, %r18};
    add.u32 %r3, %r3, 1; setp.lt.u32 %p2, %r3, 8;
    @%p2 bra CONSUME;
    DONE:";
    let input = pattern(8192);
    under_many_schedules(&kernel(body), &input, &no_map(), |done| {
        assert_eq!(done.output[..8192], input);
    });
}

/// 64 threads write a word each, one thread stores or reduces the 256 bytes to the start of the output.
fn from_tile(value: &str, copy: &str) -> String {
    kernel(&format!(
        "mad.lo.u32 %r3, %r0, 4, %r1; {value} st.shared.b32 [%r3], %r4;
        fence.proxy.async.shared::cta; bar.sync 0;
        @%p0 bra DONE;
        {copy}
        DONE:"
    ))
}

#[test]
fn a_store_writes_what_the_threads_have_fenced() {
    let text = from_tile(
        "mul.lo.u32 %r4, %r0, 3;",
        "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 128;
        cp.async.bulk.commit_group;
        cp.async.bulk.global.shared::cta.bulk_group [%rd1+128], [%r1+128], 128;
        cp.async.bulk.commit_group;
        cp.async.bulk.wait_group.read 1;
        cp.async.bulk.wait_group 0;",
    );
    under_many_schedules(&text, &[], &no_map(), |done| {
        let expected: Vec<u8> = (0..64u32).flat_map(|i| (3 * i).to_le_bytes()).collect();
        assert_eq!(done.output[..256], expected);
    });
}

#[test]
fn what_is_only_read_at_the_end_is_written_by_the_end_of_the_launch() {
    let text = from_tile(
        "mov.u32 %r4, %r0;",
        "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 256;
        cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;",
    );
    under_many_schedules(&text, &[], &no_map(), |done| {
        let expected: Vec<u8> = (0..64u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(done.output[..256], expected);
    });
}

/// Operation, what thread `i` computes into `%r4`, and the word that two of them make of 0.
type Reduction = (&'static str, &'static str, fn(u32) -> u32);

#[test]
fn reductions_combine_element_by_element() {
    let reduce = |op: &str| {
        format!(
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.{op} [%rd1], [%r1], 256;
            cp.reduce.async.bulk.global.shared::cta.bulk_group.{op} [%rd1], [%r1], 256;
            cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;"
        )
    };
    let cases: [Reduction; 6] = [
        ("add.u32", "add.u32 %r4, %r0, 5;", |i| 2 * (i + 5)),
        (
            "add.f32",
            "cvt.rn.f32.u32 %f0, %r0; mov.b32 %r4, %f0;",
            |i| (2.0 * i as f32).to_bits(),
        ),
        ("max.s32", "sub.u32 %r4, %r0, 32;", |i| {
            (i as i32 - 32).max(0) as u32
        }),
        ("xor.b32", "mov.u32 %r4, %r0;", |_| 0),
        ("inc.u32", "mov.u32 %r4, 1;", |_| 0),
        ("or.b32", "mov.u32 %r4, %r0;", |i| i),
    ];
    for (op, value, expected) in cases {
        let text = from_tile(value, &reduce(op))
            .replace(".reg .b16 %h<8>;", ".reg .b16 %h<8>; .reg .f32 %f<4>;");
        under_many_schedules(&text, &[], &no_map(), |done| {
            let expected: Vec<u8> = (0..64).flat_map(|i| expected(i).to_le_bytes()).collect();
            assert_eq!(done.output[..256], expected, "{op}");
        });
    }
}

#[test]
fn reductions_of_halves_round_each_element() {
    // Pairs (1, 2) in f16 and in bf16, added twice to zeros.
    for (ty, pair, sum) in [
        ("f16", 0x4000_3c00_u32, 0x4400_4000_u32),
        ("bf16", 0x4000_3f80, 0x4080_4000),
    ] {
        let copy = format!(
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.{ty} [%rd1], [%r1], 256;
            cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.{ty} [%rd1], [%r1], 256;
            cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;"
        );
        let text = from_tile(&format!("mov.b32 %r4, {pair:#x};"), &copy);
        under_many_schedules(&text, &[], &no_map(), |done| {
            assert_eq!(done.output[..256], sum.to_le_bytes().repeat(64), "{ty}");
        });
    }
}
