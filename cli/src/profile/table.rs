//! The profile as it is printed.

use std::io::{Result, Write};

use flash_attention::Window;
use flash_attention::profile::{
    BankCounts, BlockNeeds, Counters, Counts, HbmCounts, InstructionClass, L2Cache, LaunchProfile,
    Occupancy, SectorCounts, occupancy,
};

use crate::options::window_text;

use super::document::{Document, Problem};
use super::format::{bytes, count, percent, plural, share};
use super::machine_code::{self, MachineCode};
use super::source::hot_lines;

/// Lines of the source that are printed, at most.
const HOTTEST: usize = 10;
/// Compute capabilities that occupancy is known for.
pub const CAPABILITIES: [(u32, u32); 4] = [(8, 0), (8, 6), (8, 9), (9, 0)];

pub fn print(document: &Document, out: &mut impl Write) -> Result<()> {
    writeln!(out, "problem    {}", problem(document))?;
    writeln!(out, "L2         {}", l2(document.l2))?;
    if document.profile.launches.is_empty() {
        writeln!(out, "launches   none, the output is empty")?;
    }
    for launch in &document.profile.launches {
        writeln!(out, "\nkernel     {}", geometry(launch))?;
        let code = document.machine_code_of(&launch.entry);
        writeln!(out, "occupancy  {}", occupancies(launch, code))?;
        instructions(&launch.counters.total, out)?;
        operations(&launch.counters.total, out)?;
        global(&launch.counters.total, out)?;
        hbm(document, &launch.counters, out)?;
        shared(&launch.counters.total, out)?;
        machine_code::print(code, out)?;
        hottest(document, launch, out)?;
    }
    Ok(())
}

/// `random numbers, bf16, batch 1, ...`
pub fn problem(document: &Document) -> String {
    let problem = &document.problem;
    let ([batch, seqlen_q, num_heads, head_dim], [_, seqlen_k, num_heads_k, _]) =
        (problem.q, problem.k);
    format!(
        "{}, {}, batch {batch}, seqlen_q {seqlen_q}, seqlen_k {seqlen_k}, num_heads {num_heads}, \
         num_heads_k {num_heads_k}, head_dim {head_dim}{}",
        problem.source,
        problem.dtype,
        options(problem)
    )
}

/// `, causal, softmax_scale 0.5`
fn options(problem: &Problem) -> String {
    let more = &problem.more;
    let window = Window {
        left: more.window_left,
        right: more.window_right,
    };
    let known = [
        problem.is_causal.then(|| "causal".to_owned()),
        (window != Window::default()).then(|| format!("window {}", window_text(window))),
        more.is_top_left.then(|| "top-left".to_owned()),
        problem.softmax_scale.map(|x| format!("softmax_scale {x}")),
        (more.softcap != 0.0).then(|| format!("softcap {}", more.softcap)),
        more.dropout
            .map(|(probability, seed)| format!("dropout {probability} with seed {seed}")),
        more.is_backward.then(|| "backward".to_owned()),
        more.is_deterministic.then(|| "deterministic".to_owned()),
    ];
    let known = known.into_iter().flatten();
    known.map(|option| format!(", {option}")).collect()
}

/// `40.00 MiB in sets of 16 lines`
pub fn l2(cache: L2Cache) -> String {
    match cache {
        L2Cache::Unbounded => "unbounded".to_owned(),
        L2Cache::Bounded { bytes: size, ways } => {
            format!("{} in sets of {ways} lines", bytes(size))
        }
    }
}

/// `ENTRY: 64 blocks of 128 threads, 32.00 KiB of shared memory each`
pub fn geometry(launch: &LaunchProfile) -> String {
    let threads = launch.block.iter().product::<u32>();
    format!(
        "{}: {} of {}, {} of shared memory each",
        launch.entry,
        plural(launch.counters.blocks, "block"),
        plural(threads.into(), "thread"),
        bytes(launch.shared_bytes.into())
    )
}

/// Blocks that each kind of multiprocessor holds; registers count where the machine code is known.
pub fn occupancies(launch: &LaunchProfile, code: Option<&MachineCode>) -> String {
    let needs = BlockNeeds {
        threads: launch.block.iter().product(),
        shared_bytes: launch.shared_bytes,
        registers: code.map(|code| code.registers),
    };
    let of = |capability: (u32, u32)| {
        let (major, minor) = capability;
        let Occupancy { blocks, limits, .. } = occupancy(capability, &needs).ok()?;
        let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
        Some(format!(
            "sm_{major}{minor} {blocks} ({})",
            limits.join(", ")
        ))
    };
    let known: Vec<String> = CAPABILITIES.into_iter().filter_map(of).collect();
    let left_out = match code {
        Some(_) => "",
        None => ", registers left out",
    };
    format!("blocks per multiprocessor{left_out}: {}", known.join(", "))
}

fn instructions(total: &Counts, out: &mut impl Write) -> Result<()> {
    let all = total.executed();
    writeln!(
        out,
        "{:22} {:>15} {:>8} {:>17}",
        "instructions", "warp", "share", "thread"
    )?;
    for class in InstructionClass::ALL {
        let executed = total.class(*class);
        if executed.warp > 0 {
            writeln!(
                out,
                "  {:20} {:>15} {:>8} {:>17}",
                class.name(),
                count(executed.warp),
                share(executed.warp, all.warp),
                count(executed.thread)
            )?;
        }
    }
    let (warp, thread) = (count(all.warp), count(all.thread));
    writeln!(out, "  {:20} {warp:>15} {:>8} {thread:>17}", "total", "")?;
    writeln!(
        out,
        "  lanes in use {}; branches {}, divergent {}; arrivals at barriers {}",
        percent(all.lane_use().unwrap_or(0.0)),
        count(total.branches),
        count(total.divergent_branches),
        count(total.barrier_arrivals)
    )
}

fn operations(total: &Counts, out: &mut impl Write) -> Result<()> {
    let operations = total.operations;
    writeln!(out, "operations")?;
    for (name, n) in [
        ("tensor core FLOPs", operations.tensor_flops),
        ("f32 FLOPs", operations.f32_flops),
        ("f64 FLOPs", operations.f64_flops),
        ("f16, bf16 FLOPs", operations.half_flops),
        ("multi-function values", operations.mufu),
    ] {
        if n > 0 {
            writeln!(out, "  {name:28} {:>17}", count(n))?;
        }
    }
    if let Some(per_mflop) = overhead(total) {
        writeln!(
            out,
            "  {per_mflop:.0} PTX instructions of a warp outside the tensor cores per MFLOP inside"
        )?;
    }
    Ok(())
}

/// Warp instructions that are no products, per million FLOPs of products.
pub fn overhead(total: &Counts) -> Option<f64> {
    let flops = total.operations.tensor_flops;
    let others = total.executed().warp - total.class(InstructionClass::Tensor).warp;
    (flops > 0).then(|| others as f64 * 1e6 / flops as f64)
}

fn global(total: &Counts, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{:22} {:>15} {:>12} {:>14} {:>11}",
        "global memory", "requests", "sectors", "L1 to L2", "efficiency"
    )?;
    for (name, counts) in global_parts(total) {
        writeln!(
            out,
            "  {name:20} {:>15} {:>12} {:>14} {:>11}",
            count(counts.requests),
            count(counts.sectors),
            bytes(counts.sector_bytes()),
            percent(counts.efficiency().unwrap_or(0.0))
        )?;
    }
    Ok(())
}

/// The kinds of requests that occurred, with their names.
pub fn global_parts(total: &Counts) -> impl Iterator<Item = (&'static str, SectorCounts)> {
    let global = total.global;
    let parts = [
        ("loads", global.loads),
        ("stores", global.stores),
        ("atomics", global.atomics),
        ("cp.async", global.copies),
        ("bulk loads", global.bulk_loads),
        ("bulk stores", global.bulk_stores),
        ("bulk reductions", global.bulk_reductions),
    ];
    parts.into_iter().filter(|(_, counts)| counts.requests > 0)
}

fn hbm(document: &Document, counters: &Counters, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{:22} {:>15} {:>12} {:>14} {:>12}",
        "L2 to device memory", "read", "at least", "written", "at least"
    )?;
    let mut line = |name: &str, hbm: HbmCounts| {
        writeln!(
            out,
            "  {name:20} {:>15} {:>12} {:>14} {:>12}",
            bytes(hbm.read_bytes),
            bytes(hbm.min_read_bytes),
            bytes(hbm.write_bytes),
            bytes(hbm.min_write_bytes)
        )
    };
    for allocation in &counters.allocations {
        let name = document.profile.tensor_at(allocation.address);
        line(name.unwrap_or("unnamed"), allocation.hbm)?;
    }
    line("total", counters.hbm)
}

fn shared(total: &Counts, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{:22} {:>15} {:>12} {:>14} {:>12}",
        "shared memory", "requests", "wavefronts", "at least", "conflicts"
    )?;
    for (name, counts) in shared_parts(total) {
        writeln!(
            out,
            "  {name:20} {:>15} {:>12} {:>14} {:>12}",
            count(counts.requests),
            count(counts.wavefronts),
            count(counts.ideal_wavefronts),
            count(counts.conflicts())
        )?;
    }
    if total.shared.operand_bytes > 0 {
        let operands = bytes(total.shared.operand_bytes);
        writeln!(
            out,
            "  operands of wgmma    {operands:>15} read beside that"
        )?;
    }
    Ok(())
}

/// The kinds of requests that occurred, with their names.
pub fn shared_parts(total: &Counts) -> impl Iterator<Item = (&'static str, BankCounts)> {
    let shared = total.shared;
    let parts = [
        ("loads", shared.loads),
        ("stores", shared.stores),
        ("ldmatrix", shared.matrix_loads),
        ("atomics", shared.atomics),
        ("cp.async", shared.copies),
        ("bulk reads", shared.bulk_reads),
        ("bulk writes", shared.bulk_writes),
        ("peers", shared.peers),
    ];
    parts.into_iter().filter(|(_, counts)| counts.requests > 0)
}

fn hottest(document: &Document, launch: &LaunchProfile, out: &mut impl Write) -> Result<()> {
    let all = launch.counters.total.executed().warp;
    let mut lines: Vec<_> = hot_lines(std::slice::from_ref(launch))
        .into_iter()
        .collect();
    lines.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.executed().warp));
    writeln!(
        out,
        "{:22} {:>15} {:>8} {:>12}",
        "hottest lines", "warp", "share", "conflicts"
    )?;
    for (place, counts) in lines.iter().take(HOTTEST) {
        let warp = counts.executed().warp;
        writeln!(
            out,
            "  {:20} {:>15} {:>8} {:>12}  {place}  {}",
            "",
            count(warp),
            share(warp, all),
            count(counts.shared.sum().conflicts()),
            document.text(place).unwrap_or_default()
        )?;
    }
    Ok(())
}
