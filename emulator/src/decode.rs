//! The syntax tree to [`Kernel`]s.
//!
//! ```text
//! symbols ── unit (scopes, calls inlined) ── opcodes ── integer, float, memory, ..      program over virtual registers
//!                     flow ── propagate ── flight ── liveness ── slots                  program over slots
//! ```
//! Nothing is guessed: an opcode, qualifier or operand without a decoder is an error with its line.

mod access;
mod addresses;
mod async_copy;
mod atomics;
mod bits;
mod budget;
mod builder;
mod bulk;
mod carry;
mod compare;
mod control_flow;
mod convert;
mod flight;
mod float;
mod flow;
mod gates;
mod hints;
mod inst;
mod integer;
mod liveness;
mod matrix;
mod mbarrier;
mod memory;
mod movement;
mod multiply;
mod opcodes;
mod operands;
mod propagate;
mod scope;
mod slots;
mod sources;
mod special;
mod static_shared;
mod symbols;
mod types;
mod unit;
mod warp;
mod warpgroup;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::PtxError;
use crate::ir::{
    BlockShape, ClusterBounds, Instruction, Kernel, LaneOp, Op, Pred, PredLogic, Preload, R32, R64,
};
use crate::syntax::{Function, ModuleTree};
pub(crate) use access::{Access, registers};
pub(crate) use builder::File;
use builder::{Builder, Value};
use slots::Slots;
use symbols::Symbols;
use unit::Unit;

/// Registers of a multiprocessor.
const REGISTERS: u32 = 65536;

/// Decodes every entry that has a body, in the order of the text.
pub(crate) fn kernels(tree: &ModuleTree) -> Result<Vec<Kernel>, PtxError> {
    let symbols = Symbols::new(tree)?;
    let names = tree.files.iter().map(|&(_, name)| name.to_string());
    let source_files: Arc<[String]> = names.collect();
    let entries = tree
        .functions
        .iter()
        .filter(|function| function.is_entry && function.body.is_some());
    entries
        .map(|entry| kernel(tree, &symbols, &source_files, entry))
        .collect()
}

fn kernel<'t, 'a>(
    tree: &'t ModuleTree<'a>,
    symbols: &'t Symbols<'t, 'a>,
    source_files: &Arc<[String]>,
    entry: &'t Function<'a>,
) -> Result<Kernel, PtxError> {
    let Unit {
        mut builder,
        sources,
        shared,
        param_bytes,
        ..
    } = Unit::decode(tree, symbols, entry)?;
    carry::check(&builder)?;
    propagate::preloads(&mut builder);
    flight::keep(&mut builder, &symbols.budget, entry.line)?;
    let slots = slots::assign(&mut builder, &symbols.budget, entry.line)?;
    let product_marks = flight::touches(&mut builder, &slots, &symbols.budget, entry.line)?;
    slots::rename(&mut builder, &slots);
    let block_shape = match (entry.reqntid, entry.maxntid) {
        (Some(shape), _) => BlockShape::Exactly(shape),
        (None, Some(shape)) => BlockShape::AtMost(
            shape
                .iter()
                .fold(1, |product: u32, &n| product.saturating_mul(n)),
        ),
        (None, None) => BlockShape::Any,
    };
    let cluster = cluster_bounds(tree, entry)?;
    let mut kernel = Kernel {
        entry: entry.name.to_string(),
        program: Vec::new(),
        locations: Vec::new(),
        source_lines: sources.lines,
        source_files: source_files.clone(),
        slots: slots.counts,
        preloads: preloads(&builder, &slots),
        branch_tables: Vec::new(),
        param_bytes,
        shared,
        local_bytes: builder.local_bytes,
        constants: symbols.constants.clone(),
        globals: symbols.globals.clone(),
        block_shape,
        registers: registers_per_thread(entry),
        touches: HashMap::new(),
        product_marks,
        cluster,
    };
    lay_out(builder, &mut kernel);
    Ok(kernel)
}

fn cluster_bounds(tree: &ModuleTree, entry: &Function) -> Result<ClusterBounds, PtxError> {
    let bounds = ClusterBounds {
        required: entry.reqnctapercluster,
        max_blocks: entry.maxclusterrank,
        explicit: entry.explicitcluster,
    };
    if bounds != ClusterBounds::default() {
        gates::check_sm90(entry.line, "a cluster directive", tree)?;
    }
    Ok(bounds)
}

/// Registers that a thread starts with: `.maxnreg`, or what a multiprocessor has for each thread of as
/// many blocks as `.minnctapersm` says (one, when it says nothing). Registers are granted by eight.
fn registers_per_thread(entry: &Function) -> Option<u32> {
    let by_bound = entry.maxnreg.map(|registers| registers.next_multiple_of(8));
    let shape = entry.reqntid.or(entry.maxntid);
    let by_shape = shape.map(|shape| {
        let threads = shape.iter().map(|&n| u64::from(n)).product::<u64>();
        let blocks = u64::from(entry.minnctapersm.unwrap_or(1));
        let share = u64::from(REGISTERS) / threads.saturating_mul(blocks).max(1);
        (share.min(256) / 8 * 8) as u32
    });
    match (by_bound, by_shape) {
        (Some(bound), Some(share)) => Some(bound.min(share)),
        (bound, share) => bound.or(share),
    }
}

fn preloads(builder: &Builder, slots: &Slots) -> Vec<Preload> {
    let mut preloads: Vec<Preload> = Vec::with_capacity(builder.preloads.len());
    for (&(file, value), &register) in &builder.preloads {
        let slot = slots.of(file, register);
        preloads.push(match (file, value) {
            (File::R32, Value::Special(special)) => Preload::Special(R32(slot), special),
            (File::Pred, Value::Special(special)) => Preload::SpecialPred(Pred(slot), special),
            (File::R64, Value::Special(special)) => Preload::Special64(R64(slot), special),
            (File::R32, Value::Shared(place, offset)) => {
                Preload::Shared32(R32(slot), place, offset)
            }
            (_, Value::Shared(place, offset)) => Preload::Shared64(R64(slot), place, offset),
            (_, Value::Global(variable, offset)) => Preload::Global(R64(slot), variable, offset),
            (File::R32, Value::Bits(bits)) => Preload::Const32(R32(slot), bits as u32),
            (File::R64, Value::Bits(bits)) => Preload::Const64(R64(slot), bits),
            (File::Pred, Value::Bits(bits)) => Preload::ConstPred(Pred(slot), bits != 0),
        });
    }
    // The same text gives the same kernel, whatever the order of the map.
    preloads.sort_by_key(|preload| match *preload {
        Preload::Const32(R32(slot), _)
        | Preload::Special(R32(slot), _)
        | Preload::Shared32(R32(slot), ..) => (0, slot),
        Preload::Const64(R64(slot), _)
        | Preload::Shared64(R64(slot), ..)
        | Preload::Special64(R64(slot), _)
        | Preload::Global(R64(slot), ..) => (1, slot),
        Preload::ConstPred(Pred(slot), _) | Preload::SpecialPred(Pred(slot), _) => (2, slot),
    });
    preloads
}

/// Drops what does nothing and turns labels into program counters.
fn lay_out(builder: Builder, kernel: &mut Kernel) {
    let Builder {
        code,
        labels,
        tables,
        ..
    } = builder;
    let mut kept: Vec<bool> = code.iter().map(|line| !is_idle(&line.op)).collect();
    let len = code.len();
    let target = |label: u32| labels[label as usize].map_or(len, |index| index as usize);
    for (i, line) in code.iter().enumerate() {
        if let Op::Bra { target: label, .. } = line.op
            && target(label) > i
            && kept[i + 1..target(label)].iter().all(|kept| !kept)
        {
            kept[i] = false;
        }
    }
    let mut pcs = Vec::with_capacity(code.len() + 1);
    let mut pc = 0;
    for &kept in &kept {
        pcs.push(pc);
        pc += u32::from(kept);
    }
    pcs.push(pc);
    let pc_of = |label: u32| pcs[target(label)];
    kernel.branch_tables = tables
        .iter()
        .map(|table| table.iter().map(|&label| pc_of(label)).collect())
        .collect();
    for (line, _) in code.into_iter().zip(&kept).filter(|&(_, &kept)| kept) {
        let op = match line.op {
            Op::Bra { target, uniform } => Op::Bra {
                target: pc_of(target),
                uniform,
            },
            op => op,
        };
        let touches_products = line.touches.is_some();
        if let Some(touches) = line.touches {
            kernel.touches.insert(kernel.program.len() as u32, *touches);
        }
        kernel.program.push(Instruction {
            guard: line.guard,
            op,
            touches_products,
        });
        kernel.locations.push(line.location);
    }
}

/// Nothing changes when it is left out.
fn is_idle(op: &Op) -> bool {
    match *op {
        Op::Nop => true,
        Op::Lane(LaneOp::Mov32 { d, a }) => d == a,
        Op::Lane(LaneOp::Mov64 { d, a }) => d == a,
        Op::Lane(LaneOp::PredLogic {
            op: PredLogic::Mov,
            d,
            a,
            ..
        }) => d == a,
        _ => false,
    }
}
