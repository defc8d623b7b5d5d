//! ptoxide's own matrix product kernel, executed by the emulator and by ptoxide.

use std::cell::Cell;
use std::env;
use std::fs;
use std::path::PathBuf;

use ptoxide::{Argument, Context, LaunchParams};
use ptx_emulator::{GlobalMemory, Launch, Module, Options, launch};

use super::Plan;
use super::inputs::difference;
use crate::SuiteError;
use crate::results::Comparison;
use crate::timing::{Contender, interleave};

/// Rows and columns of a block's part of the result, fixed in the kernel.
const BLOCK: u32 = 16;
const KERNEL: &str = "ptoxide-0.1.0/kernels/gemm.ptx";

/// Two square matrices, whose entries and all sums on the way are integers that f32 holds.
struct Product {
    size: usize,
    ptx: String,
    a: Vec<f32>,
    b: Vec<f32>,
}

/// C = A·B in f32, blocks of 16x16 threads on both sides. Results must be equal bit for bit.
pub(super) fn compare(plan: &Plan) -> Result<Comparison, SuiteError> {
    let size = plan.gemm_size;
    let path = kernel_path()?;
    let matrix = |period: usize, offset: f32| -> Vec<f32> {
        (0..size * size)
            .map(|i| (i % period) as f32 - offset)
            .collect()
    };
    let product = Product {
        size,
        ptx: fs::read_to_string(&path).map_err(SuiteError::file(&path))?,
        a: matrix(13, 6.0),
        b: matrix(7, 3.0),
    };
    let work = format!("gemm.ptx of ptoxide, {size} x {size} x {size}");
    let (instructions, out) = product.with_emulator()?;
    let difference = difference(&out, &product.with_ptoxide()?);
    if difference != 0.0 {
        let name = "ptoxide".to_owned();
        return Err(SuiteError::Differ {
            work,
            name,
            difference,
            limit: 0.0,
        });
    }
    let contenders = vec![
        Contender::new("emulator", || product.with_emulator().map(drop)),
        Contender::new("ptoxide 0.1.0", || product.with_ptoxide().map(drop)),
    ];
    Ok(Comparison {
        work,
        timings: interleave(plan.rounds, contenders)?,
        agreement: Some("results equal bit for bit".to_owned()),
        thread_instructions: Some(instructions),
    })
}

impl Product {
    /// From the text to C.
    fn with_ptoxide(&self) -> Result<Vec<f32>, SuiteError> {
        let theirs = |error: &dyn std::fmt::Debug| SuiteError::Peer {
            name: "ptoxide",
            message: format!("{error:?}"),
        };
        let mut context = Context::new_with_module(&self.ptx).map_err(|error| theirs(&error))?;
        let [a, b, c] = [(); 3].map(|()| context.alloc::<f32>(self.a.len()));
        context.write(a, &self.a);
        context.write(b, &self.b);
        let grid = self.size as u32 / BLOCK;
        let shape = LaunchParams::func_id(0)
            .grid2d(grid, grid)
            .block2d(BLOCK, BLOCK);
        let size = || Argument::U64(self.size as u64);
        let [a, b, at_c] = [a, b, c].map(Argument::ptr);
        let arguments = [a, b, at_c, size(), size(), size()];
        context
            .run(shape, &arguments)
            .map_err(|error| theirs(&error))?;
        let mut out = vec![0.0; self.a.len()];
        context.read(c, &mut out);
        Ok(out)
    }

    /// From the text to C as well; and how many instructions its threads executed.
    fn with_emulator(&self) -> Result<(u64, Vec<f32>), SuiteError> {
        let instructions = Cell::new(0);
        let run = || -> Result<Vec<f32>, Box<dyn std::error::Error>> {
            let module = Module::parse(&self.ptx)?;
            let entry = module.entries().next().ok_or("gemm.ptx has no entry")?;
            let memory = GlobalMemory::new();
            let mut bytes = vec![0; self.a.len() * 4];
            let (a, b, c) = (
                memory.alloc(bytes.len())?,
                memory.alloc(bytes.len())?,
                memory.alloc(bytes.len())?,
            );
            memory.write(a, &to_bytes(&self.a))?;
            memory.write(b, &to_bytes(&self.b))?;
            let size = self.size as u64;
            let words = [a, b, c, size, size, size];
            let params: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let grid = self.size as u32 / BLOCK;
            let shape = Launch {
                grid: [grid, grid, 1],
                block: [BLOCK, BLOCK, 1],
                cluster: None,
                dynamic_shared_bytes: 0,
                params: &params,
            };
            let report = launch(module.kernel(entry)?, &memory, &shape, &Options::default())?;
            instructions.set(report.thread_instructions);
            memory.read(c, &mut bytes)?;
            let (words, _) = bytes.as_chunks();
            Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        };
        let out = run().map_err(|error| ours(error.as_ref()))?;
        Ok((instructions.get(), out))
    }
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn ours(error: &dyn std::error::Error) -> SuiteError {
    SuiteError::Peer {
        name: "emulator",
        message: error.to_string(),
    }
}

/// The kernel lies in the crate's source, which cargo has unpacked to build this program.
fn kernel_path() -> Result<PathBuf, SuiteError> {
    let home = |name: &str| env::var_os(name).map(PathBuf::from);
    let cargo = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
    let sources = cargo.unwrap_or_default().join("registry/src");
    let registries = fs::read_dir(&sources).map_err(SuiteError::file(&sources))?;
    let mut paths = registries
        .flatten()
        .map(|registry| registry.path().join(KERNEL));
    paths
        .find(|path| path.is_file())
        .ok_or_else(|| SuiteError::Peer {
            name: "ptoxide",
            message: format!("{KERNEL} is not below {}", sources.display()),
        })
}
