//! Judgements on small kernels.

use ptx_emulator::{
    AccessKind, Conflict, Fault, FaultKind, GlobalMemory, Launch, Module, Options, Party,
    Sanitizers, Schedule, launch,
};

/// What stands before every body; the body begins on the next line.
///
/// `%r0` is the thread, `%r9` the block; `%rd0` points to 4096 global bytes, `%rd1` is `buffer`, `%rd2` the
/// thread's own word in it, `%rd3` that of the next lane of its warp, `%rd4` that of the same lane of
/// the other warp of a pair.
const HEAD: &str = "\
.version 8.0
.target sm_90
.address_size 64
.file 1 \"kernel.rs\"
.shared .align 16 .b8 buffer[1024];
.global .align 4 .b32 flag[4];
.global .align 16 .b8 data[1024];
.visible .entry k(.param .u64 out) {
.reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<32>;
ld.param.u64 %rd0, [out]; mov.u32 %r0, %tid.x; mov.u32 %r9, %ctaid.x;
mov.u64 %rd1, buffer; mul.wide.u32 %rd2, %r0, 4; add.s64 %rd2, %rd1, %rd2;
add.u32 %r1, %r0, 1; xor.b32 %r1, %r1, %r0; and.b32 %r1, %r1, 31; xor.b32 %r1, %r1, %r0;
mul.wide.u32 %rd3, %r1, 4; add.s64 %rd3, %rd1, %rd3;
xor.b64 %rd4, %rd2, 128;
";
/// PTX line of the first line of a body.
pub const FIRST_LINE: u32 = 15;

const RACECHECK: Sanitizers = Sanitizers {
    racecheck: true,
    ..Sanitizers::NONE
};
const SEEDS: std::ops::Range<u64> = 0..6;

/// Blocks and threads of a block.
#[derive(Clone, Copy)]
pub struct Shape(pub u32, pub u32);

pub const ONE_WARP: Shape = Shape(1, 32);
pub const TWO_WARPS: Shape = Shape(1, 64);

fn judge(shape: Shape, body: &str, schedule: Schedule) -> Result<(), Box<Fault>> {
    let options = Options {
        schedule,
        sanitizers: RACECHECK,
        ..Options::default()
    };
    judge_with(shape, body, &options)
}

/// In order, and one block after the other.
pub fn judge_on_one_thread(shape: Shape, body: &str) -> Result<(), Box<Fault>> {
    let options = Options {
        threads: Some(1),
        sanitizers: RACECHECK,
        ..Options::default()
    };
    judge_with(shape, body, &options)
}

fn judge_with(shape: Shape, body: &str, options: &Options) -> Result<(), Box<Fault>> {
    let module = Module::parse(&format!("{HEAD}{body}\nret;\n}}"));
    let module = module.unwrap_or_else(|error| panic!("{error}\n{body}"));
    let memory = GlobalMemory::new();
    let out = memory.alloc(4096).expect("memory");
    let grid = Launch {
        grid: [shape.0, 1, 1],
        block: [shape.1, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &out.to_le_bytes(),
    };
    let kernel = module.kernel("k").expect("the entry");
    match launch(kernel, &memory, &grid, options) {
        Ok(_) => Ok(()),
        Err(fault) => Err(Box::new(fault)),
    }
}

fn schedules() -> impl Iterator<Item = Schedule> {
    [Schedule::InOrder]
        .into_iter()
        .chain(SEEDS.map(Schedule::Seeded))
}

/// The fault that the kernel ends with in order; under every seed it must fault too.
#[track_caller]
pub fn fault(shape: Shape, body: &str) -> Fault {
    for seed in SEEDS {
        let judged = judge(shape, body, Schedule::Seeded(seed));
        assert!(judged.is_err(), "seed {seed} finds nothing in\n{body}");
    }
    fault_in_order(shape, body)
}

/// The fault that the kernel ends with in order; another order may take another path.
#[track_caller]
pub fn fault_in_order(shape: Shape, body: &str) -> Fault {
    match judge(shape, body, Schedule::InOrder) {
        Err(fault) => *fault,
        Ok(()) => panic!("nothing was found in\n{body}"),
    }
}

/// The two accesses of a race that every schedule must find.
#[track_caller]
pub fn race(shape: Shape, body: &str) -> Conflict {
    for schedule in schedules() {
        let judged = judge(shape, body, schedule).map_err(|fault| fault.kind);
        let is_race = matches!(judged, Err(FaultKind::Race(_)));
        assert!(is_race, "{schedule:?}: {judged:?}\n{body}");
    }
    conflict(fault_in_order(shape, body))
}

/// The two accesses of a race that is there when blocks run in order.
#[track_caller]
pub fn race_in_order(shape: Shape, body: &str) -> Conflict {
    conflict(fault_in_order(shape, body))
}

#[track_caller]
pub fn conflict(fault: Fault) -> Conflict {
    match fault.kind {
        FaultKind::Race(conflict) => {
            let second = &conflict.second;
            assert_eq!(
                (fault.line, fault.block, fault.warp, fault.lane),
                (second.line, second.block, second.warp, Some(second.lane)),
                "the fault is where the second access is"
            );
            *conflict
        }
        kind => panic!("not a race: {kind}"),
    }
}

/// No schedule may find anything.
#[track_caller]
pub fn clean(shape: Shape, body: &str) {
    for schedule in schedules() {
        if let Err(fault) = judge(shape, body, schedule) {
            panic!("{schedule:?}: {fault}\n{body}");
        }
    }
}

/// What a party did, in which block, warp and lane, at which line of the body, counted from 0.
pub fn seen(party: &Party) -> (AccessKind, u32, u32, u32, u32) {
    let line = party.line - FIRST_LINE;
    (party.access, party.block[0], party.warp, party.lane, line)
}
