//! ptoxide's own matrix product kernel, executed by ptoxide and by the emulator.

use ptoxide::{Argument, Context, LaunchParams};
use ptx_emulator::{GlobalMemory, Launch, Module, Options, launch};

use crate::timing::compare;

const SIZE: usize = 256;
const BLOCK: u32 = 16;

/// C = A·B for three 256x256 f32 matrices, blocks of 16x16 threads on both sides, results compared.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let ptx = std::fs::read_to_string(kernel_path()?)?;
    let a: Vec<f32> = (0..SIZE * SIZE).map(|i| (i % 13) as f32 - 6.0).collect();
    let b: Vec<f32> = (0..SIZE * SIZE).map(|i| (i % 7) as f32 - 3.0).collect();
    let mut theirs = vec![0f32; SIZE * SIZE];
    let mut ours = vec![0f32; SIZE * SIZE];

    let module = Module::parse(&ptx)?;
    let entry = module
        .entries()
        .next()
        .ok_or("gemm.ptx has no entry")?
        .to_owned();
    let mut instructions = 0;

    println!("gemm.ptx of ptoxide 0.1.0, {SIZE}x{SIZE}x{SIZE}:");
    let timings = compare(
        5,
        vec![
            (
                "ptoxide 0.1.0",
                Box::new(|| with_ptoxide(&ptx, &a, &b, &mut theirs)),
            ),
            (
                "emulator",
                Box::new(|| instructions = with_emulator(&module, &entry, &a, &b, &mut ours)),
            ),
        ],
    );
    if ours != theirs {
        return Err("the two results differ".into());
    }
    let rate = instructions as f64 / timings[1].median.as_secs_f64() / 1e9;
    println!(
        "  emulator is {:.1} times faster; {rate:.2} G thread instructions/s; results equal bit for bit",
        timings[0].ratio_to(&timings[1])
    );
    Ok(())
}

/// The kernel lies in the crate's source, which cargo has unpacked to build this program.
fn kernel_path() -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
    let home = std::env::var("CARGO_HOME")
        .map(Into::into)
        .unwrap_or_else(|_| {
            std::path::Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cargo")
        });
    for registry in std::fs::read_dir(home.join("registry/src"))? {
        let path = registry?.path().join("ptoxide-0.1.0/kernels/gemm.ptx");
        if path.is_file() {
            return Ok(path);
        }
    }
    Err("ptoxide-0.1.0/kernels/gemm.ptx is not in cargo's registry sources".into())
}

fn with_ptoxide(ptx: &str, a: &[f32], b: &[f32], c: &mut [f32]) {
    let mut context = Context::new_with_module(ptx).expect("ptoxide parses its own kernel");
    let (da, db, dc) = (
        context.alloc(a.len()),
        context.alloc(b.len()),
        context.alloc(c.len()),
    );
    context.write(da, a);
    context.write(db, b);
    let grid = SIZE as u32 / BLOCK;
    let size = || Argument::U64(SIZE as u64);
    context
        .run(
            LaunchParams::func_id(0)
                .grid2d(grid, grid)
                .block2d(BLOCK, BLOCK),
            &[
                Argument::ptr(da),
                Argument::ptr(db),
                Argument::ptr(dc),
                size(),
                size(),
                size(),
            ],
        )
        .expect("ptoxide runs its own kernel");
    context.read(dc, c);
}

fn with_emulator(module: &Module, entry: &str, a: &[f32], b: &[f32], c: &mut [f32]) -> u64 {
    let mut run = || -> Result<u64, Box<dyn std::error::Error>> {
        let memory = GlobalMemory::new();
        let [da, db, dc] = [a.len(), b.len(), c.len()].map(|n| memory.alloc(n * 4));
        let (da, db, dc) = (da?, db?, dc?);
        memory.write(da, &to_bytes(a))?;
        memory.write(db, &to_bytes(b))?;
        let size = SIZE as u64;
        let params: Vec<u8> = [da, db, dc, size, size, size]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let grid = SIZE as u32 / BLOCK;
        let shape = Launch {
            grid: [grid, grid, 1],
            block: [BLOCK, BLOCK, 1],
            cluster: None,
            dynamic_shared_bytes: 0,
            params: &params,
        };
        let report = launch(module.kernel(entry)?, &memory, &shape, &Options::default())?;
        let mut bytes = vec![0; c.len() * 4];
        memory.read(dc, &mut bytes)?;
        for (value, bytes) in c.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(report.thread_instructions)
    };
    run().expect("the emulator runs gemm.ptx")
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
