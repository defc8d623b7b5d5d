//! `profile --static`: what the main loops of the kernels for Hopper are predicted to cost a multiprocessor, beside those
//! of FlashAttention-3. Nothing runs: it takes ptxas and nvdisasm, and no GPU.

use std::io::Write;

use anyhow::{Context, Result};
use flash_attention::{Dtype, Kernel, KernelVariant, kernels};
use kernel_builder::sass::model::{Cycles, Demand, FLASH3, Pass, Schedule, Tile, Trip};
use kernel_builder::sass::{assemble, hottest_trip, ptxas_version};

use super::format::percent;

/// A loop of the table.
struct Row {
    /// The kernel, or whose loop it is.
    name: String,
    trip: Trip,
}

impl Row {
    /// Rows of one pass and head dimension are together, FlashAttention-3's first.
    fn rank(&self) -> (bool, u32, bool) {
        let tile = self.trip.tile;
        let is_ours = !self.name.starts_with(FLASH3_NAME);
        (is_backward(&tile), tile.head_dim, is_ours)
    }
}

const FLASH3_NAME: &str = "FlashAttention-3";

pub fn print(out: &mut impl Write) -> Result<()> {
    let mut rows = Vec::new();
    for reference in FLASH3 {
        rows.push(Row {
            name: FLASH3_NAME.to_owned(),
            trip: reference.trip(),
        });
    }
    for kernel in kernels() {
        let Some(tile) = tile(&kernel.variant) else {
            continue;
        };
        rows.push(Row {
            name: kernel.spec.entry.to_owned(),
            trip: assembled(&kernel, tile).with_context(|| kernel.spec.entry)?,
        });
    }
    rows.sort_by_key(Row::rank);
    writeln!(out, "ptxas      {}", ptxas_version()?)?;
    writeln!(out, "{}", ABOUT)?;
    for backward in [false, true] {
        let rows = rows
            .iter()
            .filter(|row| is_backward(&row.trip.tile) == backward);
        table(backward, rows, out)?;
    }
    Ok(())
}

const ABOUT: &str = "\
predicted, not measured, for one step of the main loop without a mask on one multiprocessor of sm_90, bf16:
  instr, stall       instructions of one warp, and cycles of issue stall between them
  per MFLOP          instructions outside the tensor cores per million operations on them
  tensor .. shared   cycles for which each part is busy; the largest is a floor, named in the next column
  shared B           bytes that shared memory gives and takes
  then, for each way to share the tensor cores, cycles, and the share of their peak that this would be
  L2                 bytes per cycle that L2 must give and take for the best of these to hold";

fn is_backward(tile: &Tile) -> bool {
    matches!(tile.pass, Pass::Backward { .. })
}

/// The tile of a kernel for Hopper and bf16; `None` for others.
fn tile(variant: &KernelVariant) -> Option<Tile> {
    match variant {
        KernelVariant::HopperForward(v) if v.dtype == Dtype::Bf16 => {
            Some(Tile::forward(v.head_dim, v.block_m, v.block_n))
        }
        KernelVariant::HopperBackward(v) if v.dtype == Dtype::Bf16 => {
            Some(Tile::backward(v.head_dim, v.block_m, v.block_n))
        }
        _ => None,
    }
}

/// The main loop of a kernel.
fn assembled(kernel: &Kernel, tile: Tile) -> Result<Trip> {
    let code = assemble(kernel.ptx, kernel.spec.arch.name())?;
    let only = code.kernels.first().context("the module has no entry")?;
    let instructions = hottest_trip(&only.function)?.context("no loop with products")?;
    let trip = Trip::new(Demand::of(&instructions)?, tile);
    trip.context("the products of the main loop are not those of whole steps")
}

/// The ways to share the tensor cores that a pass has, with their names.
fn schedules(is_backward: bool) -> &'static [(&'static str, Schedule)] {
    match is_backward {
        false => &[
            ("ping-pong", Schedule::PingPong),
            ("overlap", Schedule::Overlap),
        ],
        true => &[("lockstep", Schedule::Lockstep)],
    }
}

fn table<'a>(
    is_backward: bool,
    rows: impl Iterator<Item = &'a Row>,
    out: &mut impl Write,
) -> Result<()> {
    let pass = if is_backward { "backward" } else { "forward" };
    write!(
        out,
        "\n{pass:36} {:>4} {:>8} {:>6} {:>6} {:>9}",
        "d", "tile", "instr", "stall", "per MFLOP"
    )?;
    for name in Cycles::PARTS {
        write!(out, " {name:>6}")?;
    }
    write!(out, " {:>6} {:>8}", "floor", "shared B")?;
    for (name, _) in schedules(is_backward) {
        write!(out, " {name:>9} {:>7}", "")?;
    }
    writeln!(out, " {:>5}", "L2")?;
    for row in rows {
        line(row, schedules(is_backward), out)?;
    }
    Ok(())
}

fn line(row: &Row, schedules: &[(&str, Schedule)], out: &mut impl Write) -> Result<()> {
    let (trip, tile) = (&row.trip, &row.trip.tile);
    write!(
        out,
        "{:36} {:>4} {:>8} {:>6.0} {:>6.0} {:>9.1}",
        row.name,
        tile.head_dim,
        format!("{}x{}", tile.block_m, tile.block_n),
        trip.instructions(),
        trip.stall_cycles(),
        trip.demand.other_instructions_per_mflop()
    )?;
    let cycles = trip.cycles();
    for busy in cycles.parts() {
        write!(out, " {busy:>6.0}")?;
    }
    let (floor, _) = cycles.floor();
    write!(out, " {floor:>6} {:>8.0}", trip.shared_bytes())?;
    let mut l2 = 0.0_f64;
    for &(_, schedule) in schedules {
        let share = percent(trip.utilization(schedule));
        write!(out, " {:>9.0} {share:>7}", trip.predicted(schedule))?;
        l2 = l2.max(trip.l2_bytes_per_cycle(schedule));
    }
    writeln!(out, " {l2:>5.1}")?;
    Ok(())
}
