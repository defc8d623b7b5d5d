//! What ptxas makes of the kernels that ran: registers, spills, and the mix of the hottest loop.
//!
//! The two figures to steer by are warp instructions outside the tensor cores per MFLOP on them, and the sum of the
//! cycles that the instructions of the loop make the next one wait for issue. Both are counted from machine code, the
//! same at every run, and tell nothing of caches.

use std::collections::BTreeMap;
use std::io::{Result, Write};

use flash_attention::profile::LaunchProfile;
use flash_attention::{Kernel, kernels};
use kernel_builder::sass::{Class, LoopFigures, SassError, assemble, hottest_loop, ptxas_version};
use serde::{Deserialize, Serialize};

/// What is known of one kernel's machine code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineCode {
    /// PTX symbol of the kernel.
    pub entry: String,
    /// The GPU it was assembled for: the oldest that runs it.
    pub machine: String,
    /// The assembler.
    pub ptxas: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread in bytes.
    pub stack_bytes: u32,
    /// Bytes per thread that are stored and loaded because registers do not suffice.
    pub spill_bytes: u32,
    /// The loop with the most tensor-core work; none in a kernel without products.
    pub hottest_loop: Option<HottestLoop>,
}

/// One trip of one warp through a loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HottestLoop {
    /// Instructions by class; classes that do not occur are left out.
    pub instructions: BTreeMap<String, u32>,
    /// Floating-point operations on the tensor cores.
    pub tensor_flop: u64,
    /// Warp instructions outside the tensor cores per million of those.
    pub other_instructions_per_mflop: f64,
    /// Cycles between the issue of one instruction and the next, summed.
    pub stall_cycles: u32,
}

impl From<&LoopFigures> for HottestLoop {
    fn from(figures: &LoopFigures) -> HottestLoop {
        let count = |class: &Class| (class.name().to_owned(), figures.count(*class));
        let occurring = Class::ALL.iter().map(count).filter(|(_, n)| *n > 0);
        HottestLoop {
            instructions: occurring.collect(),
            tensor_flop: figures.tensor_flop,
            other_instructions_per_mflop: figures.other_instructions_per_mflop(),
            stall_cycles: figures.stall_cycles,
        }
    }
}

/// Assembles the kernels of `launches`, each once. Nothing when the tools are not installed.
///
/// # Errors
/// What ptxas or nvdisasm say about a kernel.
pub fn of(launches: &[LaunchProfile]) -> std::result::Result<Vec<MachineCode>, SassError> {
    let mut codes: Vec<MachineCode> = Vec::new();
    for launch in launches {
        let kernel = kernels().find(|kernel| kernel.spec.entry == launch.entry);
        let is_new = codes.iter().all(|code| code.entry != launch.entry);
        let Some(kernel) = kernel.filter(|_| is_new) else {
            continue;
        };
        match assembled(&kernel) {
            Err(SassError::MissingTool { .. }) => return Ok(Vec::new()),
            code => codes.push(code?),
        }
    }
    Ok(codes)
}

fn assembled(kernel: &Kernel) -> std::result::Result<MachineCode, SassError> {
    let (entry, machine) = (kernel.spec.entry, kernel.spec.arch.name());
    let code = assemble(kernel.ptx, machine)?;
    let missing = || SassError::MissingKernel {
        place: "machine code",
        kernel: entry.to_owned(),
    };
    let kernel = code.kernels.first().ok_or_else(missing)?;
    let usage = kernel.usage;
    Ok(MachineCode {
        entry: entry.to_owned(),
        machine: machine.to_owned(),
        ptxas: ptxas_version()?,
        registers: usage.registers,
        stack_bytes: usage.stack_bytes,
        spill_bytes: usage.spill_store_bytes + usage.spill_load_bytes,
        hottest_loop: hottest_loop(&kernel.function)?
            .as_ref()
            .map(HottestLoop::from),
    })
}

/// Prints what is known of a kernel, or how to get to know it.
pub fn print(code: Option<&MachineCode>, out: &mut impl Write) -> Result<()> {
    let Some(code) = code else {
        return writeln!(
            out,
            "machine code           not known: no ptxas or nvdisasm (`cargo xtask setup` installs them)"
        );
    };
    writeln!(
        out,
        "machine code           {}, {}",
        code.machine, code.ptxas
    )?;
    writeln!(
        out,
        "  {} registers, {} bytes of stack, {} bytes of spills",
        code.registers, code.stack_bytes, code.spill_bytes
    )?;
    let Some(hottest) = &code.hottest_loop else {
        return Ok(());
    };
    let mix: Vec<String> = hottest
        .by_count()
        .map(|(class, n)| format!("{class} {n}"))
        .collect();
    writeln!(
        out,
        "  hottest loop: {} instructions, {} stall cycles, {:.1} instructions outside the tensor cores per MFLOP inside",
        hottest.instructions.values().sum::<u32>(),
        hottest.stall_cycles,
        hottest.other_instructions_per_mflop
    )?;
    writeln!(out, "    {}", mix.join(", "))
}

impl HottestLoop {
    /// Classes with their instructions, the most frequent first.
    pub fn by_count(&self) -> impl Iterator<Item = (&str, u32)> {
        let mut classes: Vec<_> = self
            .instructions
            .iter()
            .map(|(class, n)| (class.as_str(), *n))
            .collect();
        classes.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        classes.into_iter()
    }
}
