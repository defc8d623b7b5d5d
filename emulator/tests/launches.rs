//! What a launch refuses, what a fault tells about its place, what it leaves behind.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
mod common;

use common::{Run, kernel, run, run_with};
use ptx_emulator::{Fault, FaultKind, GlobalMemory, Launch, Module, Options, Schedule, launch};

trait Faulty {
    /// The fault; panics when the kernel ran through.
    fn fault(self) -> Fault;
}

impl Faulty for Run {
    fn fault(self) -> Fault {
        self.result.expect_err("the kernel should fault")
    }
}

#[test]
fn accesses_outside_an_allocation_name_lane_and_address() {
    let fault = run(
        "mul.wide.u32 %rd1, %r0, 4; add.s64 %rd1, %rd0, %rd1; st.global.b32 [%rd1+4000], 1;",
        32,
    )
    .fault();
    // Lanes 0 to 23 fit into the 4096 bytes.
    assert_eq!(fault.lane, Some(24));
    assert!(matches!(
        fault.kind,
        FaultKind::OutOfBounds {
            space: "global",
            bytes: 4,
            ..
        }
    ));
    assert_eq!((&*fault.entry, fault.line), ("k", 10));
    let text = fault.to_string();
    assert!(
        text.contains("k, PTX line 10, block (0, 0, 0), warp 0, lane 24"),
        "{text}"
    );
}

#[test]
fn an_aligned_instruction_waits_for_lanes_that_come_later() {
    let run = run(
        "setp.lt.u32 %p1, %r0, 7; @%p1 bra LOW; add.u32 %r0, %r0, 0; bra MEET; LOW: add.u32 %r0, %r0, 0;
         MEET: bar.sync 0;",
        32,
    );
    assert!(run.result.is_ok());
}

#[test]
fn the_fault_of_the_lowest_block_found_is_reported() {
    let text = kernel(
        "",
        "mov.u32 %r1, %ctaid.x; setp.ge.u32 %p1, %r1, 5; @%p1 trap;",
    );
    let options = Options {
        threads: Some(1),
        ..Options::default()
    };
    assert_eq!(run_with(&text, 64, 32, &options).fault().block, [5, 0, 0]);
    for seed in 0..4 {
        let options = Options {
            schedule: Schedule::Seeded(seed),
            ..options
        };
        assert!(run_with(&text, 64, 32, &options).fault().block[0] >= 5);
    }
}

#[test]
fn launches_that_do_not_fit_are_refused_before_they_start() {
    let text = kernel("", "").replace(") {", ")\n.reqntid 32\n{");
    let module = Module::parse(&text).expect("valid");
    let memory = GlobalMemory::new();
    let good = Launch {
        grid: [1; 3],
        block: [32, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &[0; 8],
    };
    let message = |launch_this: Launch| {
        let kernel = module.kernel("k").expect("the entry");
        match launch(kernel, &memory, &launch_this, &Options::default()) {
            Ok(_) => String::new(),
            Err(fault) => fault.to_string(),
        }
    };
    assert_eq!(message(good), "");
    for (bad, says) in [
        (
            Launch {
                grid: [0, 1, 1],
                ..good
            },
            "grid [0, 1, 1]",
        ),
        (
            Launch {
                block: [64, 32, 1],
                ..good
            },
            "1024 threads",
        ),
        (
            Launch {
                block: [64, 1, 1],
                ..good
            },
            ".reqntid",
        ),
        (
            Launch {
                params: &[0; 4],
                ..good
            },
            "4 bytes of parameters",
        ),
        (
            Launch {
                cluster: None,
                dynamic_shared_bytes: 16,
                ..good
            },
            "no .extern .shared",
        ),
    ] {
        let message = message(bad);
        assert!(
            message.starts_with("cannot launch k: ") && message.contains(says),
            "{message}"
        );
    }
}

#[test]
fn what_was_stored_before_a_fault_stays() {
    let run = run("mov.u64 %rd1, 5; st.global.b64 [%rd0], %rd1; trap;", 1);
    assert_eq!(run.wide(0), 5);
    assert_eq!(run.fault().kind, FaultKind::Trap);
}

#[test]
fn oversized_memory_is_refused_instead_of_allocated() {
    for (declarations, body, says) in [
        (
            "",
            ".local .align 8 .b8 big[600000]; mov.u64 %rd1, big; st.local.b32 [%rd1], 1;",
            "local",
        ),
        (
            ".shared .align 8 .b8 big[300000];",
            "st.shared.b32 [big], 1;",
            "shared",
        ),
    ] {
        let fault = run_with(&kernel(declarations, body), 1, 1, &Options::default()).fault();
        assert!(fault.to_string().contains(says), "{fault}");
    }
}

#[test]
fn lanes_that_a_guard_excludes_cannot_fault() {
    let guarded = run("setp.ne.u32 %p1, %r0, 0; @%p1 div.u32 %r1, 5, %r0;", 32);
    assert!(guarded.result.is_ok());
}
