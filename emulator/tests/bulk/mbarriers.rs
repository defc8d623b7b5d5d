//! The mbarrier through its instructions.

use crate::launched::{kernel, no_map, under_many_schedules};

/// Runs `body` in one thread; it leaves up to eight words in `%r8` to `%r15`.
fn words(body: &str, expected: [u32; 8]) {
    let stores: String = (0..8)
        .map(|index| format!("st.global.b32 [%rd1+{}], %r{};\n", 4 * index, index + 8))
        .collect();
    let zeros: String = (8..16).map(|r| format!("mov.b32 %r{r}, 0;\n")).collect();
    let text = kernel(&format!("@%p0 bra DONE;\n{zeros}\n{body}\n{stores}\nDONE:"));
    under_many_schedules(&text, &[], &no_map(), |done| {
        let found: Vec<u32> = done.output[..32]
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect();
        assert_eq!(found, expected, "{body}");
    });
}

/// Asks with `try_wait`, whose success must come; a plain test may fail without a reason.
fn sees(parity: u32, into: u32) -> String {
    format!(
        "L{into}: mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2], {parity};
        @!%p1 bra L{into}; selp.b32 %r{into}, 1, 0, %p1;"
    )
}

fn does_not_see(parity: u32, into: u32) -> String {
    format!(
        "mbarrier.test_wait.parity.shared::cta.b64 %p1, [%r2], {parity}; selp.b32 %r{into}, 7, 8, %p1;"
    )
}

#[test]
fn a_phase_needs_its_arrivals_and_its_bytes() {
    // The trace of ISA 9.7.13.15: arrivals and transactions in turn.
    let body = [
        "mbarrier.init.shared::cta.b64 [%r2], 2;".to_string(),
        sees(1, 8),
        does_not_see(0, 9),
        "mbarrier.arrive.expect_tx.shared::cta.b64 %rd3, [%r2], 8192;
        mbarrier.complete_tx.shared::cta.relaxed.cta.b64 [%r2], 4096;
        mbarrier.arrive.shared::cta.b64 %rd4, [%r2];"
            .to_string(),
        does_not_see(0, 10),
        "mbarrier.complete_tx.shared::cta.relaxed.cta.b64 [%r2], 4096;".to_string(),
        sees(0, 11),
        does_not_see(1, 12),
        "mbarrier.pending_count.b64 %r13, %rd3; mbarrier.pending_count.b64 %r14, %rd4;".to_string(),
        "L15: mbarrier.try_wait.shared::cta.b64 %p1, [%r2], %rd4; @!%p1 bra L15; mov.b32 %r15, 1;"
            .to_string(),
    ];
    words(&body.join("\n"), [1, 8, 8, 1, 8, 2, 1, 1]);
}

#[test]
fn arrivals_count_drop_and_come_in_groups() {
    let body = [
        "mbarrier.init.shared::cta.b64 [%r2], 4;
        mbarrier.arrive.shared::cta.b64 %rd3, [%r2], 3;
        mbarrier.arrive_drop.shared::cta.b64 %rd4, [%r2];
        mbarrier.pending_count.b64 %r8, %rd3; mbarrier.pending_count.b64 %r9, %rd4;"
            .to_string(),
        sees(0, 10),
        "mbarrier.arrive.noComplete.shared::cta.b64 %rd5, [%r2], 2;
        mbarrier.arrive.shared::cta.b64 %rd6, [%r2];
        mbarrier.pending_count.b64 %r11, %rd5; mbarrier.pending_count.b64 %r12, %rd6;"
            .to_string(),
        sees(1, 13),
        "mbarrier.inval.shared::cta.b64 [%r2]; mbarrier.init.shared::cta.b64 [%r2], 1;".to_string(),
        sees(1, 14),
    ];
    words(&body.join("\n"), [4, 1, 1, 3, 1, 1, 1, 0]);
}

#[test]
fn generic_addresses_reach_mbarriers() {
    let body = [
        "cvt.u64.u32 %rd3, %r2; cvta.shared.u64 %rd3, %rd3;
        mbarrier.init.b64 [%rd3], 1; mbarrier.arrive.b64 %rd4, [%rd3];"
            .to_string(),
        sees(0, 8),
    ];
    words(&body.join("\n"), [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn threads_of_two_warps_hand_values_on() {
    // Warp 1 writes, 32 arrivals complete the phase, warp 0 reads what it has waited for.
    let body = "
    @%p0 bra START;
    mbarrier.init.shared::cta.b64 [%r2], 32;
    START: bar.sync 0;
    mad.lo.u32 %r3, %r0, 4, %r1;
    setp.lt.u32 %p1, %r0, 32;
    @%p1 bra READ;
    st.shared.b32 [%r3], %r0;
    mbarrier.arrive.shared::cta.b64 _, [%r2];
    bra DONE;
    READ: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0;
    @!%p2 bra READ;
    ld.shared.b32 %r4, [%r3+128];
    mul.wide.u32 %rd3, %r0, 4; add.u64 %rd3, %rd3, %rd1;
    st.global.b32 [%rd3], %r4;
    DONE:";
    under_many_schedules(&kernel(body), &[], &no_map(), |done| {
        let expected: Vec<u8> = (32..64u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(done.output[..128], expected);
    });
}

#[test]
fn copies_of_single_threads_arrive_when_they_are_complete() {
    // cp.async of every thread, counted in the barrier (.noinc) or on top of it.
    for (suffix, count) in [(".noinc", 64), ("", 1)] {
        let own = match suffix {
            "" => "@!%p0 mbarrier.arrive.shared::cta.b64 _, [%r2];",
            _ => "",
        };
        let body = format!(
            "@%p0 bra START;
            mbarrier.init.shared::cta.b64 [%r2], {count};
            START: bar.sync 0;
            mad.lo.u32 %r3, %r0, 16, %r1;
            mul.wide.u32 %rd3, %r0, 16; add.u64 %rd4, %rd3, %rd0;
            cp.async.cg.shared.global [%r3], [%rd4], 16;
            cp.async.mbarrier.arrive{suffix}.shared::cta.b64 [%r2];
            bar.sync 0;
            {own}
            WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0;
            @!%p2 bra WAIT;
            xor.b32 %r4, %r0, 63; mad.lo.u32 %r3, %r4, 16, %r1;
            ld.shared.v4.b32 {{%r5, %r6, %r7, %r8}}, [%r3];
            mul.wide.u32 %rd3, %r4, 16; add.u64 %rd3, %rd3, %rd1;
            st.global.v4.b32 [%rd3], {{%r5, %r6, %r7, %r8}};"
        );
        let input = crate::launched::pattern(1024);
        under_many_schedules(&kernel(&body), &input, &no_map(), |done| {
            assert_eq!(done.output[..1024], input);
        });
    }
}
