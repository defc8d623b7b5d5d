//! Bulk copies into the shared memory of peers.

use crate::harness::{Shape, kernel, output};

/// One mbarrier of one arrival in each block, known to the whole cluster; `%r10` is its address, `%r11` that of `buffer`,
/// and thread 0 of each block has announced `bytes` bytes.
fn expecting(bytes: u32) -> String {
    format!(
        ".shared .align 8 .b64 full;
        mov.u32 %r10, full; mov.u32 %r11, buffer; setp.ne.u32 %p0, %r0, 0;
        @%p0 bra START;
        mbarrier.init.shared::cta.b64 [%r10], 1;
        fence.mbarrier_init.release.cluster;
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r10], {bytes};
        START: barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;"
    )
}

/// Everybody waits for the block's mbarrier and stores the thread's word of `buffer` to the block's part of the output.
const WAIT_AND_STORE: &str = "
    WAIT: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p7, [%r10], 0;
    @!%p7 bra WAIT;
    mad.lo.u32 %r12, %r0, 4, %r11; ld.shared.b32 %r13, [%r12];
    mad.lo.u32 %r14, %r1, 32, %r0; mad.wide.u32 %rd5, %r14, 4, %rd0;
    st.global.b32 [%rd5], %r13;
    barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;";

#[test]
fn a_multicast_brings_the_same_bytes_to_the_blocks_of_its_mask() {
    // Each block sends its 64 bytes of the module's table to both blocks of the cluster.
    let body = format!(
        "{}
        @%p0 bra WAIT;
        mov.b16 %h0, 3; mov.u64 %rd1, table; mad.wide.u32 %rd1, %r2, 64, %rd1;
        mad.lo.u32 %r3, %r2, 64, %r11;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r3], [%rd1], 64, [%r10], %h0;
        {WAIT_AND_STORE}",
        expecting(128)
    );
    let values: Vec<String> = (0..32).map(|i| (7 * i + 1).to_string()).collect();
    let table = format!(
        ".global .align 16 .b32 table[32] = {{{}}};",
        values.join(", ")
    );
    let text = kernel("", &body)
        .replace(
            ".shared .align 16 .b8 buffer",
            &format!("{table}\n.shared .align 16 .b8 buffer"),
        )
        .replace(".reg .pred %p<8>;", ".reg .pred %p<8>; .reg .b16 %h<4>;");
    let words = output(&text, Shape::along_x(4, 2, 32));
    for block in 0..4 {
        let expected: Vec<u32> = (0..32).map(|i| 7 * i + 1).collect();
        assert_eq!(words[32 * block..][..32], expected);
    }
}

#[test]
fn a_block_copies_and_adds_its_shared_memory_to_that_of_its_peer() {
    // Each block writes 128 bytes at 256 in its own buffer, and sends them to the start of its peer's.
    for (operation, twice) in [
        (
            "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes",
            false,
        ),
        (
            "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32",
            true,
        ),
    ] {
        let body = format!(
            "{}
            mad.lo.u32 %r3, %r0, 4, %r11; mad.lo.u32 %r4, %r1, 100, %r0;
            mov.u32 %r7, 5; st.shared.b32 [%r3], %r7; st.shared.b32 [%r3+256], %r4;
            fence.proxy.async.shared::cta;
            barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;
            @%p0 bra WAIT;
            xor.b32 %r5, %r2, 1; mapa.shared::cluster.u32 %r6, %r11, %r5; mapa.shared::cluster.u32 %r8, %r10, %r5;
            add.u32 %r9, %r11, 256;
            {operation} [%r6], [%r9], 128, [%r8];
            {WAIT_AND_STORE}",
            expecting(128)
        );
        let words = output(&kernel("", &body), Shape::along_x(2, 2, 32));
        for block in 0..2 {
            let peer = 1 - block;
            let sum = if twice { 5 } else { 0 };
            let expected: Vec<u32> = (0..32).map(|i| 100 * peer + i + sum).collect();
            assert_eq!(words[32 * block as usize..][..32], expected, "{operation}");
        }
    }
}
