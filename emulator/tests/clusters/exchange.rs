//! What blocks of a cluster give each other through shared memory, barriers and atomics.

use ptx_emulator::{FaultKind, Schedule};

use crate::harness::{Shape, fault, kernel, output, run};

/// All threads of the cluster meet.
const MEET: &str = "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n";

#[test]
fn a_sum_over_the_cluster_goes_through_the_memory_of_its_blocks() {
    // Each thread puts a number into its own block, reads those of all blocks, and stores their sum.
    let body = format!(
        "{MEET} mad.lo.u32 %r3, %r1, 1000, %r0; mov.u32 %r4, buffer; mad.lo.u32 %r4, %r0, 4, %r4; st.shared.u32 [%r4], %r3;
         {MEET} mov.u32 %r5, 0; mov.u32 %r6, 0; mov.u32 %r7, %cluster_nctarank;
         next: mapa.shared::cluster.u32 %r8, %r4, %r6; ld.shared::cluster.u32 %r9, [%r8];
         add.u32 %r5, %r5, %r9; add.u32 %r6, %r6, 1; setp.lt.u32 %p0, %r6, %r7; @%p0 bra next;
         mov.u32 %r10, %ntid.x; mad.lo.u32 %r11, %r1, %r10, %r0; mad.wide.u32 %rd1, %r11, 4, %rd0;
         st.global.u32 [%rd1], %r5;\n{MEET}"
    );
    for (blocks, cluster, threads) in [(4, 4, 96), (8, 2, 40), (8, 8, 32)] {
        let shape = Shape::along_x(blocks, cluster, threads);
        let words = output(&kernel("", &body), shape);
        for block in 0..blocks {
            let first = block / cluster * cluster;
            let of_blocks: u32 = (first..first + cluster).map(|block| 1000 * block).sum();
            for thread in 0..threads {
                let index = (block * threads + thread) as usize;
                assert_eq!(words[index], of_blocks + cluster * thread);
            }
        }
    }
}

#[test]
fn generic_addresses_and_vectors_reach_peers() {
    // Every block writes into the next one, by generic addresses, and reads what it got.
    let body = format!(
        "mov.u64 %rd1, buffer; cvta.shared.u64 %rd1, %rd1; mad.wide.u32 %rd1, %r0, 16, %rd1;
         mov.u32 %r3, %cluster_nctarank; add.u32 %r4, %r2, 1; rem.u32 %r4, %r4, %r3; mapa.u64 %rd2, %rd1, %r4;
         {MEET} mul.lo.u32 %r5, %r1, 100; add.u32 %r5, %r5, %r0; st.v4.u32 [%rd2], {{%r5, %r1, %r2, %r0}};
         {MEET} ld.v4.u32 {{%r6, %r7, %r8, %r9}}, [%rd1]; mad.lo.u32 %r10, %r1, 32, %r0;
         mad.wide.u32 %rd3, %r10, 16, %rd0; st.global.v4.u32 [%rd3], {{%r6, %r7, %r8, %r9}};"
    );
    let words = output(&kernel("", &body), Shape::along_x(6, 3, 32));
    for (index, found) in words.chunks_exact(4).take(6 * 32).enumerate() {
        let (block, thread) = (index as u32 / 32, index as u32 % 32);
        let from = block / 3 * 3 + (block + 2) % 3;
        assert_eq!(found, [100 * from + thread, from, from % 3, thread]);
    }
}

#[test]
fn atomics_of_a_cluster_meet_in_one_block() {
    let body = format!(
        "mapa.shared::cluster.u32 %r3, buffer, 0; setp.eq.u32 %p0, %r0, 0; setp.eq.u32 %p1, %r2, 0;
         and.pred %p2, %p0, %p1; @%p2 st.shared.u32 [buffer], 0;
         {MEET} red.relaxed.cluster.shared::cluster.add.u32 [%r3], 1;
         {MEET} @!%p2 bra end; ld.shared.u32 %r4, [buffer]; mad.wide.u32 %rd1, %r1, 4, %rd0; st.global.u32 [%rd1], %r4;
         end:"
    );
    let words = output(&kernel("", &body), Shape::along_x(8, 4, 64));
    assert_eq!(words[..8], [256, 0, 0, 0, 256, 0, 0, 0]);
}

#[test]
fn a_phase_ends_when_all_have_arrived_or_exited_and_early_arrivals_wait_late() {
    // Block 1 exits at once; warps of block 0 arrive, do something else, and wait.
    let body = "setp.eq.u32 %p0, %r2, 1; @%p0 exit;
         barrier.cluster.arrive; bar.sync 0; barrier.cluster.wait;
         barrier.cluster.arrive.release; barrier.cluster.wait.acquire;
         mad.wide.u32 %rd1, %r0, 4, %rd0; st.global.u32 [%rd1], 7;";
    let words = output(&kernel("", body), Shape::along_x(2, 2, 64));
    assert_eq!(words[..64], [7; 64]);
}

#[test]
fn blocks_of_a_cluster_may_wait_for_each_other_in_loops() {
    // Rank 0 hands a number to the next rank by release and acquire, that one to the next, and so on.
    let body = format!(
        "setp.ne.u32 %p0, %r0, 0; @!%p0 st.shared.u32 [buffer], 0; {MEET} @%p0 bra done;
         mov.u32 %r3, %cluster_nctarank; sub.u32 %r3, %r3, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra give;
         again: ld.acquire.cluster.shared.u32 %r4, [buffer]; setp.eq.u32 %p2, %r4, 0; @%p2 bra again;
         ld.shared.u32 %r5, [buffer+4]; mad.wide.u32 %rd1, %r1, 4, %rd0; st.global.u32 [%rd1], %r5;
         give: setp.eq.u32 %p3, %r2, %r3; @%p3 bra done; add.u32 %r6, %r2, 1; mul.lo.u32 %r7, %r6, 11;
         mapa.shared::cluster.u32 %r8, buffer, %r6; st.shared::cluster.u32 [%r8+4], %r7;
         st.release.cluster.shared::cluster.u32 [%r8], 1;\ndone: {MEET}"
    );
    let words = output(&kernel("", &body), Shape::along_x(3, 3, 32));
    assert_eq!(words[..3], [0, 11, 22]);
    // The block's own scope is too small for that.
    let narrow = body.replace("st.release.cluster", "st.release.cta");
    let kind = fault(&kernel("", &narrow), Shape::along_x(3, 3, 32));
    assert!(matches!(kind, FaultKind::Race(_)), "{kind}");
}

#[test]
fn a_relaxed_arrival_hands_on_what_a_fence_has_made_ready() {
    let body = |fence: &str| {
        format!(
            "{MEET} mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 4, %r3; st.shared.u32 [%r3], %r1; {fence}
             barrier.cluster.arrive.relaxed; barrier.cluster.wait; xor.b32 %r4, %r2, 1;
             mapa.shared::cluster.u32 %r5, %r3, %r4; ld.shared::cluster.u32 %r6, [%r5]; {MEET}
             mad.lo.u32 %r7, %r1, 32, %r0; mad.wide.u32 %rd1, %r7, 4, %rd0; st.global.u32 [%rd1], %r6;"
        )
    };
    let shape = Shape::along_x(2, 2, 32);
    let words = output(&kernel("", &body("fence.acq_rel.cluster;")), shape);
    assert_eq!(words[..64], [[1; 32], [0; 32]].concat());
    for fence in ["", "fence.acq_rel.cta;"] {
        let kind = fault(&kernel("", &body(fence)), shape);
        assert!(matches!(kind, FaultKind::Race(_)), "{fence}: {kind}");
    }
}

#[test]
fn global_memory_is_ordered_by_the_barrier_of_the_cluster_and_by_nothing_across_clusters() {
    let body = |index: &str| {
        format!(
            "{index} mad.wide.u32 %rd1, %r3, 4, %rd0; mad.wide.u32 %rd2, %r1, 4, %rd0;
             setp.eq.u32 %p0, %r0, 0; @%p0 st.global.u32 [%rd2], %r1; {MEET}
             @%p0 ld.global.u32 %r4, [%rd1]; @%p0 st.global.u32 [%rd2+64], %r4;"
        )
    };
    let shape = Shape::along_x(4, 2, 32);
    let words = output(&kernel("", &body("xor.b32 %r3, %r1, 1;")), shape);
    assert_eq!(words[16..20], [1, 0, 3, 2]);
    let kind = fault(&kernel("", &body("xor.b32 %r3, %r1, 2;")), shape);
    assert!(matches!(kind, FaultKind::Race(_)), "{kind}");
}

#[test]
fn seeds_find_a_peer_that_has_not_started_and_one_that_has_exited() {
    let access = "mapa.shared::cluster.u32 %r3, buffer, 0; setp.eq.u32 %p0, %r2, 1;
                  @%p0 st.shared::cluster.u32 [%r3], 1;";
    let shape = Shape::along_x(2, 2, 32);
    let found = |body: String, is_it: fn(&FaultKind) -> bool| {
        let text = kernel("", &body);
        (0..64).any(|seed| {
            let result = run(&text, shape, Schedule::Seeded(seed));
            result.is_err_and(|fault| is_it(&fault.kind))
        })
    };
    let not_started = |kind: &FaultKind| matches!(kind, FaultKind::PeerNotStarted { .. });
    assert!(found(format!("{access} {MEET}"), not_started));
    let exited = |kind: &FaultKind| matches!(kind, FaultKind::PeerExited { .. });
    assert!(found(format!("{MEET} {access}"), exited));
}
