//! Running small PTX texts: a template kernel around an instruction, and a launch of a whole text.

pub mod fixtures;
pub mod record;

use ptx_emulator::{Fault, GlobalMemory, Launch, LaunchReport, Module, Options};
use record::{Buffer, Launched};

/// Registers that a body may use. `%r0` is the lane's index in the block.
const REGISTERS: &str = "
    .reg .pred %p<8>; .reg .b16 %h<16>; .reg .b32 %r<32>; .reg .f32 %f<16>; .reg .b64 %rd<32>;
    .reg .f64 %d<8>;";

/// A module for sm_90 with one entry `k(.param .u64 out)`; `%rd0` is the global address of `out`.
pub fn kernel(declarations: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n{declarations}\n\
         .visible .entry k(.param .u64 out) {{ {REGISTERS}\n\
         ld.param.u64 %rd0, [out];\nmov.u32 %r0, %tid.x;\n{body}\nret;\n}}"
    )
}

/// A finished or faulty launch of `text`'s only entry, with a 4 KiB output buffer.
pub struct Run {
    /// What the launch said.
    pub result: Result<LaunchReport, Fault>,
    output: Vec<u8>,
}

impl Run {
    /// Word `index` of the output buffer.
    pub fn word(&self, index: usize) -> u32 {
        let bytes = &self.output[4 * index..4 * index + 4];
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    /// Double word `index`.
    pub fn wide(&self, index: usize) -> u64 {
        u64::from(self.word(2 * index)) | u64::from(self.word(2 * index + 1)) << 32
    }
}

/// Launches `text` with `blocks` blocks of `threads` threads.
pub fn run_with(text: &str, blocks: u32, threads: u32, options: &Options) -> Run {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let entry = module.entries().next().expect("one entry").to_string();
    let memory = GlobalMemory::new();
    let out = memory.alloc(4096).expect("memory");
    let launched = Launched {
        text,
        entry: &entry,
        kernel: module.kernel(&entry).expect("the entry"),
        memory: &memory,
        shape: Launch {
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            cluster: None,
            dynamic_shared_bytes: 0,
            params: &out.to_le_bytes(),
        },
        buffers: &[Buffer::new(out, 4096)],
        maps: &[],
    };
    let result = record::run(&launched, options);
    let mut output = vec![0; 4096];
    memory.read(out, &mut output).expect("the output buffer");
    Run { result, output }
}

/// Launches the template kernel with one block.
pub fn run(body: &str, threads: u32) -> Run {
    run_with(&kernel("", body), 1, threads, &Options::default())
}
