//! Small kernels, launched under all sanitizers and many schedules.

use ptx_emulator::{GlobalMemory, Launch, LaunchReport, Module, Options, Sanitizers, Schedule};

use crate::common::fixtures::Map;
use crate::common::record::{self, Buffer, Launched};

/// Bytes of the `input` and `output` buffers.
pub const BUFFER: usize = 1 << 16;

/// A module whose entry `k(input, output, map)` runs `body`. `%rd0` points to the input, `%rd1` to the output, `%rd2` is
/// the generic address of the tensor map; `%r0` is the thread, `%r1` the tile, `%r2` two mbarriers.
pub fn kernel(body: &str) -> String {
    format!(
        ".version 8.6\n.target sm_90\n.address_size 64\n\
         .shared .align 1024 .b8 tile[32768];\n.shared .align 8 .b64 full[2];\n\
         .visible .entry k(.param .u64 input, .param .u64 output, .param .align 64 .b8 map[128]) {{\n\
         .reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>;\n\
         ld.param.u64 %rd0, [input]; ld.param.u64 %rd1, [output];\n\
         mov.b64 %rd2, map; cvta.param.u64 %rd2, %rd2;\n\
         mov.u32 %r0, %tid.x; mov.u32 %r1, tile; mov.u32 %r2, full; setp.ne.u32 %p0, %r0, 0;\n\
         {body}\nret;\n}}\n"
    )
}

/// One thread initialises the first mbarrier for one arrival, and all threads know of it.
pub const INIT: &str = "
    @%p0 bra INITIALISED;
    mbarrier.init.shared::cta.b64 [%r2], 1;
    fence.mbarrier_init.release.cluster;
INITIALISED:
    bar.sync 0;
";

/// Everybody waits for the first phase of the first mbarrier.
pub const WAIT: &str = "
WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 %p7, [%r2], 0;
    @!%p7 bra WAIT;
";

/// Copies `bytes` bytes of the tile to the output, with 64 threads.
pub fn tile_out(bytes: u32) -> String {
    format!(
        "mov.u32 %r20, %r0;
        OUT: setp.ge.u32 %p6, %r20, {};
        @%p6 bra OUT_DONE;
        mad.lo.u32 %r21, %r20, 4, %r1; ld.shared.b32 %r22, [%r21];
        mul.wide.u32 %rd10, %r20, 4; add.u64 %rd10, %rd10, %rd1; st.global.b32 [%rd10], %r22;
        add.u32 %r20, %r20, 64; bra OUT;
        OUT_DONE:",
        bytes / 4
    )
}

/// A finished launch.
pub struct Done {
    pub report: LaunchReport,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
}

/// Where the tensor map lies in the parameters.
const MAP_OFFSET: usize = 64;

/// Runs a kernel on one block of 64 threads, with `input` at the start of the input buffer, which the map describes, and
/// zeros elsewhere.
pub fn run(text: &str, input: &[u8], map: &Map, options: &Options) -> Done {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let memory = GlobalMemory::new();
    let [from, to] = [0; 2].map(|_| memory.alloc(BUFFER).expect("memory"));
    let mut bytes = vec![0; BUFFER];
    memory.write(to, &bytes).expect("in bounds");
    bytes[..input.len()].copy_from_slice(input);
    memory.write(from, &bytes).expect("in bounds");
    let mut params: Vec<u8> = [from, to].iter().flat_map(|at| at.to_le_bytes()).collect();
    params.resize(MAP_OFFSET, 0);
    params.extend(map.encode(from).expect("a map").as_bytes());
    let shape = Launch {
        grid: [1; 3],
        block: [64, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &params,
    };
    let launched = Launched {
        text,
        entry: "k",
        kernel: module.kernel("k").expect("the entry"),
        memory: &memory,
        shape,
        buffers: &[from, to].map(|address| Buffer::new(address, BUFFER)),
        maps: std::slice::from_ref(map),
    };
    let report = record::run(&launched, options)
        .unwrap_or_else(|fault| panic!("{:?}: {}\n{text}", options.schedule, fault.report()));
    let mut output = vec![0; BUFFER];
    memory.read(from, &mut bytes).expect("in bounds");
    memory.read(to, &mut output).expect("in bounds");
    Done {
        report,
        input: bytes,
        output,
    }
}

/// A map for kernels that use none.
pub fn no_map() -> Map {
    map("u8", &[16], &[], &[16], &[1])
}

/// A map of the input without swizzle, filled with zeros outside.
pub fn map(
    data_type: &str,
    dims: &[u64],
    strides: &[u64],
    box_dims: &[u32],
    element_strides: &[u32],
) -> Map {
    Map {
        offset: MAP_OFFSET,
        buffer: 0,
        data_type: data_type.to_string(),
        dims: dims.to_vec(),
        strides: strides.to_vec(),
        box_dims: box_dims.to_vec(),
        element_strides: element_strides.to_vec(),
        swizzle: 0,
        fills_with_nan: false,
    }
}

/// Runs it in order and under seeds, all sanitizers on, and hands each outcome to `check`.
pub fn under_many_schedules(text: &str, input: &[u8], map: &Map, check: impl Fn(&Done)) {
    let seeds = (0..24).map(Schedule::Seeded);
    for schedule in [Schedule::InOrder].into_iter().chain(seeds) {
        let options = Options {
            schedule,
            threads: Some(1),
            sanitizers: Sanitizers::ALL,
            ..Options::default()
        };
        check(&run(text, input, map, &options));
    }
}

/// Bytes that are all different from their neighbours.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}
