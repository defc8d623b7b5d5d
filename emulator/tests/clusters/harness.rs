//! Running small kernels in clusters.

use ptx_emulator::{
    Fault, FaultKind, GlobalMemory, Launch, LaunchReport, Module, Options, Sanitizers, Schedule,
    for_each_seed,
};

use crate::common::record::{self, Buffer, Launched};

/// Bytes of the output buffer.
const OUTPUT: usize = 4096;

/// A module for sm_90 with one entry `k(.param .u64 out)`, its directives and its body. `%rd0` is the global address
/// of `out`, `%r0` the thread, `%r1` the block, `%r2` the block's rank in its cluster.
pub fn kernel(directives: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n\
         .extern .shared .align 1024 .b8 dynamic[];\n.shared .align 16 .b8 buffer[1024];\n\
         .visible .entry k(.param .u64 out) {directives} {{\n\
         .reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<32>;\n\
         ld.param.u64 %rd0, [out]; mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %cluster_ctarank;\n\
         {body}\nret;\n}}"
    )
}

/// How a kernel is launched.
#[derive(Clone, Copy)]
pub struct Shape {
    pub grid: [u32; 3],
    pub cluster: Option<[u32; 3]>,
    pub threads: u32,
}

impl Shape {
    /// Clusters along x.
    pub fn along_x(blocks: u32, cluster: u32, threads: u32) -> Self {
        Self {
            grid: [blocks, 1, 1],
            cluster: Some([cluster, 1, 1]),
            threads,
        }
    }
}

/// The words of the output after a launch with all sanitizers.
pub fn run(
    text: &str,
    shape: Shape,
    schedule: Schedule,
) -> Result<(Vec<u32>, LaunchReport), Box<Fault>> {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let memory = GlobalMemory::new();
    let out = memory.alloc(OUTPUT).expect("memory");
    memory.write(out, &[0; OUTPUT]).expect("in bounds");
    let kernel = module.kernel("k").expect("the entry");
    let grid = Launch {
        grid: shape.grid,
        block: [shape.threads, 1, 1],
        cluster: shape.cluster,
        dynamic_shared_bytes: 1024,
        params: &out.to_le_bytes(),
    };
    let options = Options {
        schedule,
        sanitizers: Sanitizers::ALL,
        instruction_limit: Some(1 << 23),
        ..Options::default()
    };
    let launched = Launched {
        text,
        entry: "k",
        kernel,
        memory: &memory,
        shape: grid,
        buffers: &[Buffer::new(out, OUTPUT)],
        maps: &[],
    };
    let report = record::run(&launched, &options).map_err(Box::new)?;
    let mut bytes = vec![0; OUTPUT];
    memory.read(out, &mut bytes).expect("in bounds");
    let words = bytes.chunks_exact(4);
    let words = words.map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
    Ok((words.collect(), report))
}

/// The output of a kernel that is right: the same in order and under many seeds.
#[track_caller]
pub fn output(text: &str, shape: Shape) -> Vec<u32> {
    let (words, _) = run(text, shape, Schedule::InOrder)
        .unwrap_or_else(|fault| panic!("{}\n{text}", fault.report()));
    for_each_seed(0..48, |schedule| match run(text, shape, schedule) {
        Ok((found, _)) if found == words => Ok(()),
        Ok(_) => Err("another result".to_string()),
        Err(fault) => Err(fault.report().to_string()),
    })
    .unwrap_or_else(|failure| panic!("{failure}\n{text}"));
    words
}

/// The fault that a kernel ends with in order.
#[track_caller]
pub fn fault(text: &str, shape: Shape) -> FaultKind {
    match run(text, shape, Schedule::InOrder) {
        Err(fault) => fault.kind,
        Ok(_) => panic!("nothing was found in\n{text}"),
    }
}
