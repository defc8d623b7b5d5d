//! Reads of a copy of a preloaded value become reads of the value itself, so that the moves which only fetch
//! constants, addresses and special registers into registers need not run.
//!
//! A copy is known from its move to the next write of its register within a block, and everywhere when the move is
//! the register's only write.

use std::collections::{HashMap, HashSet};

use super::access::{Access, registers};
use super::builder::{Builder, File, Line};
use super::flow::blocks;
use crate::ir::{Guard, LaneOp, Op, PredLogic};

/// A register of a file.
type Register = (File, u16);

/// Rewrites the reads; the moves stay, to be dropped where their results are dead.
pub(super) fn preloads(builder: &mut Builder) {
    let mut fixed: HashSet<Register> = HashSet::with_capacity(builder.preloads.len() + 1);
    fixed.extend(
        builder
            .preloads
            .iter()
            .map(|(&(file, _), &register)| (file, register)),
    );
    fixed.insert((File::Pred, 0));
    let everywhere = only_copies(builder, &fixed);
    for block in blocks(builder) {
        let mut copies: HashMap<Register, u16> = HashMap::new();
        for line in &mut builder.code[block.start..block.end] {
            // The registers of a product's A are in use until its wait: which they are matters.
            let is_product = matches!(line.op, Op::Wgmma(_));
            registers(&mut line.op, &mut |access, file, register| {
                let key = (file, *register);
                match access {
                    Access::Read if is_product && file == File::R32 => {}
                    Access::Read => {
                        let value = copies.get(&key).or_else(|| everywhere.get(&key));
                        *register = value.copied().unwrap_or(*register);
                    }
                    // What an update adds to must not be another register than what it writes.
                    Access::Write | Access::Update => {
                        copies.remove(&key);
                    }
                }
            });
            if let Some((file, d, a)) = total_move(line)
                && fixed.contains(&(file, a))
            {
                copies.insert((file, d), a);
            }
        }
    }
}

/// The registers whose only write is a move of a preloaded value, with that value's register.
fn only_copies(builder: &mut Builder, fixed: &HashSet<Register>) -> HashMap<Register, u16> {
    let mut writes: HashMap<Register, u32> = HashMap::new();
    let mut copies = HashMap::new();
    for line in &mut builder.code {
        registers(&mut line.op, &mut |access, file, register| {
            if access != Access::Read {
                *writes.entry((file, *register)).or_default() += 1;
            }
        });
        if let Some((file, d, a)) = total_move(line)
            && fixed.contains(&(file, a))
        {
            copies.insert((file, d), a);
        }
    }
    copies.retain(|register, _| writes[register] == 1);
    copies
}

/// File, destination and source of a move for all lanes.
pub(super) fn total_move(line: &Line) -> Option<(File, u16, u16)> {
    if line.guard != Guard::ALWAYS {
        return None;
    }
    let Op::Lane(op) = line.op else {
        return None;
    };
    match op {
        LaneOp::Mov32 { d, a } => Some((File::R32, d.0, a.0)),
        LaneOp::Mov64 { d, a } => Some((File::R64, d.0, a.0)),
        LaneOp::PredLogic {
            op: PredLogic::Mov,
            d,
            a,
            ..
        } => Some((File::Pred, d.0, a.0)),
        _ => None,
    }
}
