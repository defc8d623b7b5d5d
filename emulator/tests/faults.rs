//! Every rule that a kernel can break is reported with its place.

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

fn shared(body: &str, threads: u32) -> Run {
    let text = kernel(".shared .align 16 .b8 buffer[64];", body);
    run_with(&text, 1, threads, &Options::default())
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
    assert_eq!((fault.entry.as_str(), fault.line), ("k", 10));
    let text = fault.to_string();
    assert!(
        text.contains("k, PTX line 10, block (0, 0, 0), warp 0, lane 24"),
        "{text}"
    );
}

#[test]
fn wild_and_misaligned_addresses_are_refused() {
    let kind = |body: &str| run(body, 32).fault().kind;
    assert!(matches!(
        kind("mov.u64 %rd1, 64; ld.global.b32 %r1, [%rd1];"),
        FaultKind::OutOfBounds { address: 64, .. }
    ));
    assert!(matches!(
        kind("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd0+8];"),
        FaultKind::Misaligned { alignment: 16, .. }
    ));
    assert!(matches!(
        shared("ld.shared.b32 %r1, [buffer+64];", 1).fault().kind,
        FaultKind::OutOfBounds {
            space: "shared",
            address: 64,
            ..
        }
    ));
    assert!(matches!(
        shared(
            "mov.u64 %rd1, buffer; cvta.shared.u64 %rd1, %rd1; ld.global.b32 %r1, [%rd1];",
            1
        )
        .fault()
        .kind,
        FaultKind::WrongSpace {
            expected: "global",
            ..
        }
    ));
    assert!(matches!(
        shared("mov.u64 %rd1, buffer; st.b32 [%rd1], %r1;", 1)
            .fault()
            .kind,
        FaultKind::OutOfBounds {
            space: "global",
            ..
        }
    ));
}

#[test]
fn constant_and_parameter_space_are_read_only() {
    let text = kernel(
        ".const .align 4 .b32 table[1] = {5};",
        "mov.u64 %rd1, table; cvta.const.u64 %rd1, %rd1; st.b32 [%rd1], 1;",
    );
    let fault = run_with(&text, 1, 1, &Options::default()).fault();
    assert!(matches!(
        fault.kind,
        FaultKind::ReadOnly { space: "const", .. }
    ));
}

#[test]
fn traps_and_divisions_by_zero_stop_the_launch() {
    assert_eq!(run("trap;", 1).fault().kind, FaultKind::Trap);
    let fault = run("sub.u32 %r1, %r0, 7; div.u32 %r1, 5, %r1;", 32).fault();
    assert_eq!(
        (fault.kind, fault.lane),
        (FaultKind::DivisionByZero, Some(7))
    );
    let guarded = run("setp.ne.u32 %p1, %r0, 0; @%p1 div.u32 %r1, 5, %r0;", 32);
    assert!(guarded.result.is_ok());
}

#[test]
fn aligned_instructions_in_divergent_code_are_found() {
    let fault = run(
        "setp.lt.u32 %p1, %r0, 7; @%p1 bra LOW;\nbar.sync 0; bra DONE;\nLOW: bar.sync 0;\nDONE:",
        32,
    )
    .fault();
    assert_eq!(
        fault.kind,
        FaultKind::AlignedDivergent {
            lines: vec![11, 12]
        }
    );
    let matrix = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%r4, %r5, %r6, %r7},
        {%r2, %r2}, {%r2}, {%r2, %r2, %r2, %r2};";
    let fault = run(&format!("setp.lt.u32 %p1, %r0, 7; @%p1 exit; {matrix}"), 32).fault();
    assert_eq!(fault.kind, FaultKind::MissingLanes { live: 0xffff_ff80 });
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
fn lanes_that_wait_for_each_other_are_a_deadlock() {
    let fault = run(
        "setp.lt.u32 %p1, %r0, 7; @%p1 bra LOW;\nbar.warp.sync -1; bra DONE;\n\
         LOW: shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, -1;\nDONE:",
        32,
    )
    .fault();
    assert_eq!(
        fault.kind,
        FaultKind::WarpDeadlock {
            lines: vec![11, 12]
        }
    );
    let fault = run("shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, 1;", 32).fault();
    assert_eq!(
        (fault.kind, fault.lane),
        (FaultKind::MaskWithoutSelf { mask: 1 }, Some(1))
    );
}

#[test]
fn barriers_that_cannot_complete_or_are_misused_are_reported() {
    let kind = |body: &str| run(body, 64).fault().kind;
    let branch = "setp.lt.u32 %p1, %r0, 32; @%p1 bra LOW;";
    let FaultKind::Deadlock { waiting } = kind(&format!("{branch} bar.sync 1, 64; LOW:")) else {
        panic!("not a deadlock");
    };
    assert_eq!(
        waiting,
        "warps [1] wait at barrier 1, where 32 of 64 threads have arrived"
    );
    assert_eq!(
        kind("mov.u32 %r1, 16; bar.sync %r1;"),
        FaultKind::BarrierId { id: 16 }
    );
    assert_eq!(
        kind("mov.u32 %r1, 33; bar.sync 1, %r1;"),
        FaultKind::BarrierCount { count: 33, max: 64 }
    );
    assert_eq!(
        kind(&format!("{branch} bar.sync 1, 32; ret; LOW: bar.sync 1;")),
        FaultKind::BarrierMismatch {
            id: 1,
            expected: 64,
            found: 32
        }
    );
    assert_eq!(
        kind(&format!(
            "{branch} bar.sync 1; ret; LOW: bar.red.popc.u32 %r1, 1, %p1;"
        )),
        FaultKind::BarrierMixed { id: 1 }
    );
    assert_eq!(
        kind(&format!(
            "{branch} ret; LOW: bar.arrive 1, 64; bar.sync 1, 64;"
        )),
        FaultKind::BarrierTwice { id: 1 }
    );
    assert_eq!(
        kind("bar.sync %r0;"),
        FaultKind::NonUniformOperand {
            operand: "barrier number"
        }
    );
}

#[test]
fn touching_a_copy_before_its_wait_is_found() {
    let copy =
        "mov.u32 %r2, buffer; cp.async.cg.shared.global [%r2], [%rd0], 16; cp.async.commit_group;";
    let kind = |rest: &str| shared(&format!("{copy} {rest}"), 1).fault().kind;
    let early = FaultKind::AsyncReadEarly { address: 4 };
    assert_eq!(kind("ld.shared.b32 %r1, [%r2+4];"), early);
    assert_eq!(kind("st.shared.b32 [%r2+4], %r1;"), early);
    assert_eq!(
        kind("cp.async.wait_group 1; ld.shared.b32 %r1, [%r2+4];"),
        early
    );
    assert_eq!(
        kind("cp.async.ca.shared.global [%r2+8], [%rd0], 4;"),
        FaultKind::AsyncOverlap { address: 8 }
    );
    assert_eq!(
        kind("mov.b32 %r3, 17; cp.async.cg.shared.global [%r2+16], [%rd0], 16, %r3;"),
        FaultKind::CopySize {
            source_bytes: 17,
            size: 16
        }
    );
    let waited = shared(
        &format!("{copy} cp.async.wait_group 0; ld.shared.b32 %r1, [%r2+4];"),
        1,
    );
    assert!(waited.result.is_ok());
}

#[test]
fn branches_that_promise_uniformity_must_keep_it() {
    let fault = run(
        "setp.lt.u32 %p1, %r0, 7; @%p1 bra.uni DONE; st.global.b32 [%rd0], 1; DONE:",
        32,
    )
    .fault();
    assert_eq!(fault.kind, FaultKind::NonUniformBranch);
    let fault = run(
        "TABLE: .branchtargets A, B; brx.idx %r0, TABLE; A: ret; B: ret;",
        32,
    )
    .fault();
    assert_eq!(fault.kind, FaultKind::BranchRange { index: 2, len: 2 });
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
