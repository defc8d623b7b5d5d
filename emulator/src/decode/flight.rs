//! Registers of warpgroup products between their issue and their wait (PTX ISA, "wgmma.fence",
//! "wgmma.wait_group").
//!
//! D and the registers of A keep their slots until the wait; and the few instructions that can meet a
//! register in flight on some path are marked, so that the machine need not look at the others. Both
//! follow the products along all paths. A move that hands a register in flight on to another name, as
//! compilers write around inline assembly, is no use of it where both get one slot.

mod paths;

use std::collections::HashMap;

use super::access::{Access, registers};
use super::budget::Budget;
use super::builder::{Builder, File, Line};
use super::slots::Slots;
use crate::error::PtxError;
use crate::ir::{Op, R32, Touches, Wgmma};

use paths::{LANDED, Mark, State, Universe, follow, inputs, move_of, product, universe};

fn has_products(builder: &Builder) -> bool {
    builder.code.iter().any(|line| product(line).is_some())
}

/// Makes every wait, and every end of a thread, keep the registers that may be in flight there.
pub(super) fn keep(builder: &mut Builder, budget: &Budget, line: u32) -> Result<(), PtxError> {
    if !has_products(builder) {
        return Ok(());
    }
    let name = |register: u16| usize::from(register);
    let universe = universe(builder, &name);
    let mut in_order: Vec<(usize, u16)> = universe
        .numbers
        .iter()
        .map(|(register, number)| (*number, *register as u16))
        .collect();
    in_order.sort_unstable();
    follow(
        builder,
        &universe,
        (budget, line),
        &mut |_, line, states| {
            if matches!(line.op, Op::WgmmaWait { .. } | Op::Exit) {
                let kept = in_order
                    .iter()
                    .filter(|(number, _)| states[*number].in_flight());
                line.kept = kept.map(|(_, register)| *register).collect();
            }
        },
    )
}

/// Marks the instructions that may use a register in flight and, where a fence may be missing, all
/// that use registers of products. Returns how many registers [`Touches::marks`] counts.
pub(super) fn touches(
    builder: &mut Builder,
    slots: &Slots,
    budget: &Budget,
    line: u32,
) -> Result<u16, PtxError> {
    if !has_products(builder) {
        return Ok(0);
    }
    let name = |register: u16| slots.leader(register);
    let universe = universe(builder, &name);
    let mut lacks_fence = false;
    let mut firsts = HashMap::new();
    for (i, line) in builder.code.iter().enumerate() {
        if let Some(op) = product(line) {
            firsts.insert(i as u32, op.clone());
        }
    }
    follow(
        builder,
        &universe,
        (budget, line),
        &mut |_, line, states| match &line.op {
            Op::Wgmma(op) => lacks_fence |= !is_fenced(op, &universe, states, &firsts),
            _ => note_flights(line, &universe, slots, states),
        },
    )?;
    if !lacks_fence {
        return Ok(0);
    }
    for line in &mut builder.code {
        note_uses(line, &universe);
    }
    Ok(universe.numbers.len() as u16)
}

/// Whether a fence stands before the product on every path.
fn is_fenced(
    op: &Wgmma,
    universe: &Universe,
    states: &[State],
    firsts: &HashMap<u32, Wgmma>,
) -> bool {
    let mark = |r: &R32| universe.number(r.0).map_or(Mark::Clean, |n| states[n].mark);
    let continues = |first: &u32| {
        let first = firsts.get(first);
        first.is_some_and(|first| op.is_same_accumulation(first))
    };
    let d = op.d.iter().all(|d| match mark(d) {
        Mark::Clean => true,
        Mark::Result(first) => continues(&first),
        Mark::Input | Mark::Dirty => false,
    });
    d && inputs(op)
        .iter()
        .all(|a| matches!(mark(a), Mark::Clean | Mark::Input))
}

/// Whether a move vanishes because both of its registers have one slot.
fn vanishes(line: &Line, universe: &Universe) -> bool {
    move_of(line).is_some_and(|(d, a)| (universe.name)(d) == (universe.name)(a))
}

/// Notes the slots of a line that may be in flight when it reads or writes them.
fn note_flights(line: &mut Line, universe: &Universe, slots: &Slots, states: &[State]) {
    if vanishes(line, universe) {
        return;
    }
    let mut touches = Touches::default();
    registers(&mut line.op, &mut |access, file, register| {
        let number = (file == File::R32).then(|| universe.number(*register));
        let Some(number) = number.flatten() else {
            return;
        };
        let slot = R32(slots.of(file, *register));
        let State { result, input, .. } = states[number];
        match access {
            Access::Read if result != LANDED => touches.reads.push(slot),
            Access::Read => {}
            _ if result != LANDED || input != LANDED => touches.writes.push(slot),
            _ => {}
        }
    });
    if touches != Touches::default() {
        line.touches = Some(Box::new(touches));
    }
}

/// Notes the registers of a line that products use.
fn note_uses(line: &mut Line, universe: &Universe) {
    if vanishes(line, universe) {
        return;
    }
    let mut marks = Vec::new();
    if let Some(op) = product(line) {
        let used = op.d.iter().chain(inputs(op));
        marks.extend(used.filter_map(|r| universe.number(r.0)));
    } else {
        registers(&mut line.op, &mut |_, file, register| {
            if file == File::R32 {
                marks.extend(universe.number(*register));
            }
        });
    }
    if !marks.is_empty() {
        let touches = line.touches.get_or_insert_default();
        touches.marks = marks.into_iter().map(|number| number as u16).collect();
    }
}
