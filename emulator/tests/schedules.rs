//! Seeds find what a run in order misses, without any sanitizer; right kernels give the same bits under all of them.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
mod common;

use common::kernel;
use ptx_emulator::{
    Fault, FaultKind, GlobalMemory, Launch, Module, Options, Plan, Schedule, for_each_seed, launch,
};

/// Words of the output buffer that a program may write.
const WORDS: usize = 256;

/// The words of `out` after a launch of blocks of 64 threads with 256 bytes of dynamic shared memory.
fn output(text: &str, blocks: u32, options: &Options) -> Result<Vec<u32>, Fault> {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let memory = GlobalMemory::new();
    let out = memory.alloc(4 * WORDS).expect("room");
    memory.write(out, &[0; 4 * WORDS]).expect("in bounds");
    let shape = Launch {
        grid: [blocks, 1, 1],
        block: [64, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 256,
        params: &out.to_le_bytes(),
    };
    launch(module.kernel("k").expect("k"), &memory, &shape, options)?;
    let mut bytes = [0; 4 * WORDS];
    memory.read(out, &mut bytes).expect("in bounds");
    let words = bytes.as_chunks().0.iter();
    Ok(words.map(|word| u32::from_le_bytes(*word)).collect())
}

fn under(schedule: Schedule) -> Options<'static> {
    Options {
        schedule,
        ..Options::default()
    }
}

/// A program in which `MISTAKE` stands where the right one has something else.
struct Planted {
    body: &'static str,
    wrong: &'static str,
    right: &'static str,
}

impl Planted {
    fn text(&self, instead: &str) -> String {
        kernel(
            ".extern .shared .align 16 .b8 dynamic[];",
            &self.body.replace("MISTAKE", instead),
        )
    }

    /// In order both give the same result; over 64 seeds the right one always does, the wrong one does not.
    fn is_found_by_a_seed_only(&self) {
        let (wrong, right) = (self.text(self.wrong), self.text(self.right));
        let expected = output(&right, 1, &under(Schedule::InOrder)).expect("no fault");
        assert_eq!(
            output(&wrong, 1, &under(Schedule::InOrder)).as_ref(),
            Ok(&expected),
            "in order the mistake goes unnoticed"
        );
        let differs = |text: &str| {
            for_each_seed(0..64, |schedule| match output(text, 1, &under(schedule)) {
                Ok(found) if found == expected => Ok(()),
                Ok(_) => Err("the result differs".to_string()),
                Err(fault) => Err(fault.to_string()),
            })
        };
        assert_eq!(differs(&right), Ok(()));
        let failure = differs(&wrong).expect_err("a seed finds the mistake");
        assert_eq!(failure.error, "the result differs");
        assert_eq!(failure.plan, Schedule::Seeded(failure.seed).plan());
    }
}

#[test]
fn a_missing_barrier_between_producer_and_consumer() {
    Planted {
        body: "mov.u32 %r2, dynamic; setp.ge.u32 %p1, %r0, 32;
            @%p1 bra CONSUMER;
            shl.b32 %r3, %r0, 2; add.u32 %r3, %r2, %r3; st.shared.b32 [%r3], %r0;
            MISTAKE ret;
            CONSUMER: MISTAKE
            sub.u32 %r3, 63, %r0; shl.b32 %r3, %r3, 2; add.u32 %r3, %r2, %r3; ld.shared.b32 %r4, [%r3];
            mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1; st.global.b32 [%rd1], %r4;",
        wrong: "",
        right: "bar.sync 1, 64;",
    }
    .is_found_by_a_seed_only();
}

#[test]
fn a_buffer_that_is_filled_again_without_a_second_barrier() {
    Planted {
        body: "mov.u32 %r1, 0; mov.u32 %r5, 0; setp.eq.u32 %p1, %r0, 32;
            AGAIN:
            @%p1 st.shared.b32 [dynamic], %r1;
            bar.sync 0;
            ld.shared.b32 %r2, [dynamic];
            MISTAKE
            mad.lo.u32 %r5, %r5, 3, %r2;
            add.u32 %r1, %r1, 1; setp.lt.u32 %p2, %r1, 5; @%p2 bra AGAIN;
            mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1; st.global.b32 [%rd1], %r5;",
        wrong: "",
        right: "bar.sync 0;",
    }
    .is_found_by_a_seed_only();
}

#[test]
fn a_base_that_is_taken_for_better_aligned_than_it_is() {
    Planted {
        body: "mov.u32 %r2, dynamic; and.b32 %r3, %r0, 7; shl.b32 %r3, %r3, 5;
            MISTAKE %r4, %r2, %r3;
            st.shared.b32 [%r4], %r0; bar.sync 0;
            add.u32 %r4, %r2, %r3; setp.lt.u32 %p1, %r0, 8; @!%p1 ret;
            ld.shared.b32 %r5, [%r4]; and.b32 %r5, %r5, 7;
            mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1; st.global.b32 [%rd1], %r5;",
        wrong: "or.b32",
        right: "add.u32",
    }
    .is_found_by_a_seed_only();
}

#[test]
fn lanes_that_rely_on_the_order_of_the_two_sides_of_a_branch() {
    Planted {
        body: "setp.ge.u32 %p1, %r0, 16; setp.ge.u32 %p2, %r0, 32; @%p2 ret;
            @%p1 bra UPPER;
            st.shared.b32 [dynamic], 5; MISTAKE ret;
            UPPER: MISTAKE
            ld.shared.b32 %r1, [dynamic];
            mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1; st.global.b32 [%rd1], %r1;",
        wrong: "",
        right: "bar.warp.sync -1;",
    }
    .is_found_by_a_seed_only();
}

#[test]
fn a_maximum_that_starts_from_memory_nobody_has_written() {
    Planted {
        body: "MISTAKE
            ld.shared.f32 %f1, [dynamic]; max.f32 %f1, %f1, 0f3f800000; st.global.f32 [%rd0], %f1;",
        // Not-a-number loses against every other value.
        wrong: "",
        right: "st.shared.b32 [dynamic], 0; bar.sync 0;",
    }
    .is_found_by_a_seed_only();
}

#[test]
fn a_source_that_changes_before_its_copy_is_waited_for() {
    Planted {
        body: "setp.ne.u32 %p1, %r0, 0; @%p1 ret;
            st.global.b32 [%rd0], 1; mov.u32 %r2, dynamic;
            MISTAKE
            cp.async.ca.shared.global [%r2], [%rd0], 4;
            st.global.b32 [%rd0], 2;
            cp.async.wait_all; ld.shared.b32 %r1, [%r2]; st.global.b32 [%rd0+4], %r1;",
        wrong: "",
        right: "st.global.b32 [%rd0], 2;",
    }
    .is_found_by_a_seed_only();
}

#[test]
fn a_missing_wait_is_a_fault_under_every_schedule() {
    let text = kernel(
        ".extern .shared .align 16 .b8 dynamic[];",
        "setp.ne.u32 %p1, %r0, 0; @%p1 ret; mov.u32 %r2, dynamic;
         cp.async.ca.shared.global [%r2], [%rd0], 4; ld.shared.b32 %r1, [%r2]; cp.async.wait_all;",
    );
    let is_found = |schedule| {
        let fault = output(&text, 1, &under(schedule)).expect_err("a fault");
        matches!(fault.kind, FaultKind::AsyncReadEarly { .. })
    };
    assert!(is_found(Schedule::InOrder));
    let failing = for_each_seed(0..64, |schedule| {
        is_found(schedule).then_some(()).ok_or("runs")
    });
    assert_eq!(failing, Ok(()));
}

#[test]
fn a_warp_that_spins_for_a_starved_one_still_ends() {
    let text = kernel(
        ".extern .shared .align 16 .b8 dynamic[];",
        "setp.ge.u32 %p1, %r0, 32; @%p1 bra WAIT;
         setp.eq.u32 %p2, %r0, 0; @%p2 st.volatile.global.b32 [%rd0], 1; ret;
         WAIT: ld.volatile.global.b32 %r1, [%rd0]; setp.eq.u32 %p2, %r1, 0; @%p2 bra WAIT;",
    );
    for_each_seed(0..64, |schedule| {
        output(&text, 1, &under(schedule)).map(|_| ())
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_seed_gives_one_execution_on_any_number_of_threads() {
    // Warps race for tickets: the order of execution is the result.
    let text = kernel(
        ".extern .shared .align 16 .b8 dynamic[];",
        "setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.b32 [dynamic], 0; bar.sync 0;
         and.b32 %r4, %r0, 31; setp.ne.u32 %p1, %r4, 0; @%p1 ret;
         mov.u32 %r3, 9;
         MORE: atom.shared.add.u32 %r1, [dynamic], %r3;
         mad.lo.u32 %r3, %r3, 5, %r1; setp.lt.u32 %p2, %r3, 100000; @%p2 bra MORE;
         shr.u32 %r0, %r0, 5; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r0, %r2, 2, %r0;
         mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1; st.global.b32 [%rd1], %r3;",
    );
    let mut results = Vec::new();
    for seed in 0..32 {
        let on = |threads| {
            let options = Options {
                threads: Some(threads),
                ..under(Schedule::Seeded(seed))
            };
            output(&text, 64, &options).expect("no fault")
        };
        let alone = on(1);
        assert_eq!(alone, on(3), "seed {seed}");
        results.push(alone);
    }
    results.sort_unstable();
    results.dedup();
    assert!(
        results.len() > 1,
        "the order of execution shows in the result"
    );
}

#[test]
fn a_failing_seed_is_described() {
    let failure = for_each_seed(3..9, |schedule| match schedule {
        Schedule::Seeded(5) => Err("five"),
        _ => Ok(()),
    })
    .expect_err("seed 5 fails");
    let plan: Plan = Schedule::Seeded(5).plan();
    assert_eq!((failure.seed, failure.plan), (5, plan));
    let text = failure.to_string();
    assert_eq!(text, format!("schedule seed 5 ({plan}): five"));
    assert!(text.contains("blocks permuted, peer"), "{text}");
    assert_eq!(
        Schedule::InOrder.plan().to_string(),
        "blocks by number, peers in turn, warps in turn, each until it must wait, lanes with the lowest program counter first, \
         copies when waited for, dynamic shared memory at step 0, NaN where nothing is written"
    );
}
