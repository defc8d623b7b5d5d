//! Traffic of bulk copies.

use ptx_emulator::{CounterOptions, Counters, InstructionClass, Options};

use crate::launched::{INIT, WAIT, kernel, no_map, pattern, run};

fn counters(body: &str) -> Counters {
    let options = Options {
        counters: Some(CounterOptions::default()),
        ..Options::default()
    };
    let done = run(&kernel(body), &pattern(4096), &no_map(), &options);
    done.report.counters.expect("counters")
}

#[test]
fn a_load_reads_its_sectors_once_and_writes_shared_memory() {
    let counters = counters(&format!(
        "{INIT} @%p0 bra WAIT;
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 1024;
        cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0+16], 1024, [%r2];
        {WAIT}"
    ));
    let loads = counters.total.global.bulk_loads;
    assert_eq!(
        (loads.requests, loads.lane_bytes, loads.bytes),
        (1, 1024, 1024)
    );
    // From the middle of a sector to the middle of another one.
    assert_eq!(loads.sectors, 33);
    assert_eq!(counters.total.shared.bulk_writes.lane_bytes, 1024);
    assert_eq!(counters.total.shared.bulk_writes.wavefronts, 8);
    assert_eq!(counters.hbm.read_bytes, 33 * 32);
    assert_eq!(counters.total.class(InstructionClass::BulkCopy).warp, 1);
    // Once for init and arrival each, and once for each warp's wait.
    assert_eq!(counters.total.class(InstructionClass::Mbarrier).warp, 4);
}

#[test]
fn stores_and_reductions_are_told_apart() {
    let counters = counters(
        "mad.lo.u32 %r3, %r0, 4, %r1; st.shared.b32 [%r3], %r0;
        fence.proxy.async.shared::cta; bar.sync 0;
        @%p0 bra DONE;
        cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 256;
        cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd1+1024], [%r1], 128;
        cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
        DONE:",
    );
    let global = counters.total.global;
    assert_eq!(
        (global.bulk_stores.bytes, global.bulk_stores.sectors),
        (256, 8)
    );
    assert_eq!(
        (global.bulk_reductions.bytes, global.bulk_reductions.sectors),
        (128, 4)
    );
    assert_eq!(counters.total.shared.bulk_reads.lane_bytes, 384);
    assert_eq!(
        (counters.hbm.read_bytes, counters.hbm.write_bytes),
        (128, 384)
    );
}
