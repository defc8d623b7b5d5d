//! Classes, FLOPs, divergence and lines.

use ptx_emulator::InstructionClass as Class;
use ptx_emulator::{CounterOptions, Counters, Executed, L2Cache, Operations, Options, Schedule};

use crate::common::{kernel, run_with};
use crate::{count, of_line};

const MMA: &str = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, \
                   {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f0, %f1, %f2, %f3};";
const HALF_MMA: &str = "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r1, %r2}, {%r1, %r2}, \
                        {%r5}, {%r1, %r2};";

const CLASSES: &[(&str, Class)] = &[
    (MMA, Class::Tensor),
    ("ex2.approx.f32 %f1, %f2;", Class::Mufu),
    ("ex2.approx.f16x2 %r1, %r2;", Class::Mufu),
    ("div.approx.f32 %f1, %f2, %f3;", Class::Mufu),
    ("sub.f32 %f1, %f2, %f3;", Class::F32),
    ("setp.lt.f32 %p1, %f2, %f3;", Class::F32),
    ("neg.f64 %d1, %d2;", Class::F64),
    ("fma.rn.f16 %h1, %h2, %h3, %h4;", Class::Half),
    ("lop3.b32 %r1, %r2, %r3, %r4, 17;", Class::Integer),
    ("setp.lt.s32 %p1, %r2, %r3;", Class::Integer),
    ("cvt.rn.f32.s32 %f1, %r2;", Class::Conversion),
    ("cvt.u64.u32 %rd1, %r2;", Class::Conversion),
    ("selp.b32 %r1, %r2, %r3, %p1;", Class::Move),
    ("and.pred %p1, %p2, %p3;", Class::Move),
    ("cvta.shared.u64 %rd1, %rd2;", Class::Address),
    ("st.shared.b32 [buffer], %r1;", Class::Shared),
    (
        "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [buffer];",
        Class::Matrix,
    ),
    ("st.global.b32 [%rd0], %r1;", Class::Global),
    ("ld.b32 %r1, [%rd0];", Class::Global),
    (
        "cp.async.ca.shared.global [buffer], [%rd0], 4;",
        Class::AsyncCopy,
    ),
    ("cp.async.wait_all;", Class::AsyncCopy),
    ("red.global.add.u32 [%rd0], %r1;", Class::Atomic),
    ("ld.param.u64 %rd1, [out];", Class::Constant),
    (
        "shfl.sync.idx.b32 %r1, %r2, 0, 31, 0xffffffff;",
        Class::Exchange,
    ),
    ("vote.sync.any.pred %p1, %p2, -1;", Class::Exchange),
    ("bar.warp.sync 0xffffffff;", Class::Barrier),
    ("fence.acq_rel.gpu;", Class::Barrier),
    ("bar.sync 0;", Class::Barrier),
    ("bar.red.popc.u32 %r1, 0, %p1;", Class::Barrier),
    ("mov.u32 %r1, %clock;", Class::Other),
];

#[test]
fn every_instruction_has_its_class() {
    for &(line, class) in CLASSES {
        // One lane where 32 would copy to one place twice.
        let threads = if line.starts_with("cp.async.ca") {
            1
        } else {
            32
        };
        let counts = of_line("", line, threads);
        let once = Executed {
            warp: 1,
            thread: u64::from(threads),
        };
        assert_eq!(counts.class(class), once, "{line}: {counts:?}");
        assert_eq!(counts.executed(), once, "{line}: {counts:?}");
    }
}

#[test]
fn flops_are_counted_per_executing_lane_and_element() {
    let none = Operations::default();
    let f32_flops = |n| Operations {
        f32_flops: n,
        ..none
    };
    let mufu = |n| Operations { mufu: n, ..none };
    let half_flops = |n| Operations {
        half_flops: n,
        ..none
    };
    let tensor_flops = |n| Operations {
        tensor_flops: n,
        ..none
    };
    for (line, threads, expected) in [
        ("fma.rn.f32 %f1, %f2, %f3, %f4;", 32, f32_flops(64)),
        ("fma.rn.f32 %f1, %f2, %f3, %f4;", 20, f32_flops(40)),
        ("@%p1 mul.f32 %f1, %f2, %f3;", 32, f32_flops(5)),
        ("max.f32 %f1, %f2, %f3;", 32, f32_flops(32)),
        ("sqrt.rn.f32 %f1, %f2;", 32, f32_flops(32)),
        ("abs.f32 %f1, %f2;", 32, none),
        ("setp.lt.f32 %p2, %f2, %f3;", 32, none),
        (
            "fma.rn.f64 %d1, %d2, %d3, %d4;",
            32,
            Operations {
                f64_flops: 64,
                ..none
            },
        ),
        ("add.f16 %h1, %h2, %h3;", 32, half_flops(32)),
        ("fma.rn.bf16x2 %r1, %r2, %r3, %r4;", 32, half_flops(128)),
        ("ex2.approx.ftz.f32 %f1, %f2;", 32, mufu(32)),
        ("tanh.approx.f16x2 %r1, %r2;", 32, mufu(64)),
        (
            "div.full.f32 %f1, %f2, %f3;",
            32,
            Operations {
                mufu: 32,
                ..f32_flops(32)
            },
        ),
        (MMA, 32, tensor_flops(2 * 16 * 8 * 16)),
        (HALF_MMA, 32, tensor_flops(2 * 16 * 8 * 8)),
        ("add.u32 %r1, %r2, %r3;", 32, none),
    ] {
        let counts = of_line("setp.lt.u32 %p1, %r0, 5;", line, threads);
        assert_eq!(counts.operations, expected, "{line}, {threads} threads");
    }
}

#[test]
fn lanes_that_a_guard_excludes_do_not_execute() {
    let guarded = "@%p1 add.u32 %r1, %r2, %r3;";
    let executed = |setp| of_line(setp, guarded, 64).executed();
    let some = executed("setp.lt.u32 %p1, %r0, 40;");
    assert_eq!((some.warp, some.thread), (2, 40));
    assert_eq!(some.lane_use(), Some(40.0 / 64.0));
    let none = executed("setp.lt.u32 %p1, %r0, 0;");
    assert_eq!((none.warp, none.thread), (2, 0));
    assert_eq!(Executed::default().lane_use(), None);
    // A barrier that nobody executes is an instruction and no arrival.
    let counts = of_line("setp.lt.u32 %p1, %r0, 0;", "@%p1 bar.sync 0;", 64);
    assert_eq!((counts.executed().warp, counts.barrier_arrivals), (2, 0));
}

#[test]
fn a_branch_diverges_when_the_lanes_that_stand_together_part() {
    let counts = |setp| {
        let text = "@%p1 bra L;\nadd.u32 %r1, %r0, %r0; L: add.u32 %r2, %r0, %r0;";
        count(&format!("{setp} {text}"), 64).total
    };
    let branches = |setp| (counts(setp).branches, counts(setp).divergent_branches);
    assert_eq!(branches("setp.lt.u32 %p1, %r0, 8;"), (1, 1));
    assert_eq!(branches("setp.lt.u32 %p1, %r0, 32;"), (1, 0));
    assert_eq!(branches("setp.lt.u32 %p1, %r0, 40;"), (2, 1));
    assert_eq!(branches("setp.lt.u32 %p1, %r0, 0;"), (0, 0));
    // 24 lanes of the first warp and all of the second add.
    let adds = counts("setp.lt.u32 %p1, %r0, 8;").class(Class::Integer);
    let setp_and_last_add = 2 * 64;
    assert_eq!(adds.thread, setp_and_last_add + 24 + 32);
}

#[test]
fn an_indexed_branch_diverges_by_its_targets() {
    let table = "TABLE: .branchtargets A, A, B;";
    let ends = "A: add.u32 %r2, %r0, %r0; B: add.u32 %r3, %r0, %r0;";
    for (index, expected) in [
        ("mov.u32 %r1, 1;", (1, 0)),
        ("and.b32 %r1, %r0, 1;", (1, 0)),
        ("and.b32 %r1, %r0, 2;", (1, 1)),
    ] {
        let total = count(&format!("{table} {index} brx.idx %r1, TABLE; {ends}"), 32).total;
        let branches = (total.branches, total.divergent_branches);
        assert_eq!(branches, expected, "{index}");
    }
}

#[test]
fn a_warp_arrives_once_at_each_barrier() {
    let counts = of_line("", "bar.sync 0;", 128);
    assert_eq!(counts.barrier_arrivals, 4);
    assert_eq!(counts.executed().thread, 128);
    // The two halves of a warp arrive together, from two lines.
    let body = "setp.lt.u32 %p1, %r0, 16; @%p1 bra L;\nbarrier.sync 0;\nbra M;\nL: barrier.sync 0;\nM: \
                add.u32 %r1, %r0, %r0;";
    let total = count(body, 32).total;
    assert_eq!(total.barrier_arrivals, 1);
    let barriers = total.class(Class::Barrier);
    assert_eq!((barriers.warp, barriers.thread), (2, 32));
}

#[test]
fn exchanges_count_once_however_their_lanes_meet() {
    let halves = "setp.lt.u32 %p1, %r0, 16; @%p1 bra L;
        shfl.sync.bfly.b32 %r1, %r0, 16, 31, 0xffffffff;
        bra M;
        L: shfl.sync.bfly.b32 %r1, %r0, 16, 31, 0xffffffff;
        M: shfl.sync.bfly.b32 %r2, %r0, 1, 31, 0xffffffff;";
    let shuffles = count(halves, 32).total.class(Class::Exchange);
    assert_eq!((shuffles.warp, shuffles.thread), (3, 64));
    // Two member masks on one line are two exchanges.
    let masks = "setp.lt.u32 %p1, %r0, 16; selp.b32 %r3, 0xffff, 0xffff0000, %p1;";
    let pairs = of_line(masks, "shfl.sync.bfly.b32 %r1, %r0, 1, 31, %r3;", 32).executed();
    assert_eq!((pairs.warp, pairs.thread), (2, 32));
}

#[test]
fn lines_add_up_to_the_total_and_to_what_the_report_says() {
    let text = kernel(
        "",
        "mov.u32 %r1, 0;\nL: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 10;\n@%p1 bra L;",
    );
    let options = Options {
        counters: Some(CounterOptions::default()),
        ..Options::default()
    };
    let report = run_with(&text, 3, 96, &options).result.expect("no fault");
    let counters = report.counters.expect("counters");
    assert_eq!((counters.launches, counters.blocks), (1, 3));
    let executed = counters.total.executed();
    assert_eq!(executed.warp, report.warp_instructions);
    assert_eq!(executed.thread, report.thread_instructions);
    let mut sum = 0;
    for line in &counters.lines {
        sum += line.counts.executed().warp;
    }
    assert_eq!(sum, executed.warp);
    let first = 1 + text.lines().position(|l| l.starts_with("L:")).unwrap() as u32;
    let at = |line| counters.lines.iter().find(|l| l.line == line).unwrap();
    assert_eq!(at(first).counts.executed().warp, 3 * 3 * 2 * 10);
    assert_eq!(at(first + 1).counts.branches, 3 * 3 * 9);
}

#[test]
fn lines_know_their_source() {
    let text = kernel("", "add.u32 %r1, %r0, 1;\n.loc 1 7 3\nadd.u32 %r2, %r0, 2;");
    let text = format!("{text}\n.file 1 \"kernel.rs\"\n");
    let options = Options {
        counters: Some(CounterOptions::default()),
        ..Options::default()
    };
    let report = run_with(&text, 1, 32, &options).result.expect("no fault");
    let lines = report.counters.expect("counters").lines;
    let sources: Vec<_> = lines.iter().map(|l| l.source.clone()).collect();
    let kernel = Some(("kernel.rs".to_string(), 7));
    // The template's load, the first addition, the second one, the return after it.
    assert_eq!(sources, [None, None, kernel.clone(), kernel]);
}

#[test]
fn several_launches_add_up() {
    let one = count("add.u32 %r1, %r0, 1;", 32);
    let mut two = one.clone();
    two += &one;
    assert_eq!((two.launches, two.blocks), (2, 2));
    assert_eq!(two.lines.len(), one.lines.len());
    let warps = |c: &Counters| c.total.executed().warp;
    assert_eq!(warps(&two), 2 * warps(&one));
    let mut other = count("add.u32 %r1, %r0, 1;\nadd.u32 %r1, %r0, 1;", 64);
    other += &one;
    let line = |c: &Counters| c.lines[1].counts.executed().thread;
    assert_eq!(line(&other), 64 + 32);
}

#[test]
fn counting_changes_neither_results_nor_other_schedules() {
    let text = kernel(
        "",
        "st.global.b32 [%rd0], %r0; atom.global.add.u32 %r1, [%rd0+4], 1;",
    );
    let with = |counters, schedule| {
        let options = Options {
            counters,
            schedule,
            ..Options::default()
        };
        let run = run_with(&text, 5, 70, &options);
        let words = [run.word(0), run.word(1)];
        (words, run.result.expect("no fault").thread_instructions)
    };
    for schedule in [Schedule::InOrder, Schedule::Seeded(3)] {
        let counted = with(Some(CounterOptions::default()), schedule);
        assert_eq!(counted.0[1], 5 * 70 - 1);
        assert_eq!(counted.1, with(None, schedule).1);
    }
}

#[test]
fn what_is_counted_just_before_a_fault_changes_no_fault() {
    let declarations = ".shared .align 16 .b8 buffer[64];";
    for body in [
        "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd0+4072];",
        "ld.global.b32 %r1, [%rd0+4094];",
        "mov.u32 %r5, buffer; ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r5+44];",
        "mov.u32 %r5, buffer; ld.shared.b64 %rd1, [%r5+57];",
        "mov.u32 %r5, 4000; cp.async.ca.shared.global [buffer], [%rd0], 16, %r5;",
        "T: .branchtargets A; mov.u32 %r1, 9; brx.idx %r1, T; A: add.u32 %r1, %r0, %r0;",
    ] {
        let fault = |counters| {
            let options = Options {
                counters,
                ..Options::default()
            };
            let run = run_with(&kernel(declarations, body), 1, 1, &options);
            run.result
                .err()
                .unwrap_or_else(|| panic!("{body} is no fault"))
        };
        assert_eq!(
            fault(Some(CounterOptions::default())),
            fault(None),
            "{body}"
        );
    }
}

#[test]
fn an_impossible_cache_is_refused() {
    for (bytes, ways, reason) in [
        (0, 1, "0 bytes"),
        (1024, 0, "0 ways"),
        (1000, 1, "1000 bytes"),
        (1 << 31, 16, "at most 1073741824"),
    ] {
        let l2 = L2Cache::Bounded { bytes, ways };
        let options = Options {
            counters: Some(CounterOptions { l2 }),
            ..Options::default()
        };
        let fault = run_with(&kernel("", ""), 1, 32, &options).result;
        let message = fault.expect_err("an impossible cache").to_string();
        assert!(message.contains(reason), "{message}");
        assert!(message.starts_with("cannot launch k"), "{message}");
    }
}
