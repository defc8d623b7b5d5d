//! Basic blocks of a program and how control passes between them.

use super::builder::{Builder, Line};
use crate::ir::{Guard, Op};

/// A run of instructions that is entered at its start and left at its end only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Index of its first instruction.
    pub start: usize,
    /// Index after its last instruction.
    pub end: usize,
    /// Blocks that may run next.
    pub successors: Vec<u32>,
}

/// Where the labels of a program are.
pub(super) fn target(builder: &Builder, label: u32) -> usize {
    // Every label is placed when its scope has been walked; a missing one would leave the program at its end.
    builder.labels[label as usize].map_or(builder.code.len(), |index| index as usize)
}

/// Cuts a program into blocks, in program order.
pub(super) fn blocks(builder: &Builder) -> Vec<Block> {
    let code = &builder.code;
    let mut starts = vec![false; code.len() + 1];
    starts[0] = true;
    for (i, line) in code.iter().enumerate() {
        let targets = targets(builder, line);
        if !targets.is_empty() || matches!(line.op, Op::Exit | Op::Trap) {
            starts[i + 1] = true;
        }
        targets.into_iter().for_each(|target| starts[target] = true);
    }
    let starts: Vec<usize> = (0..code.len()).filter(|&i| starts[i]).collect();
    let block_at = |i: usize| starts.partition_point(|&start| start <= i) as u32 - 1;
    let mut blocks = Vec::with_capacity(starts.len());
    for (n, &start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(code.len());
        let last = &code[end - 1];
        let mut successors: Vec<u32> = targets(builder, last)
            .into_iter()
            .filter(|&target| target < code.len())
            .map(block_at)
            .collect();
        if falls_through(last) && end < code.len() {
            successors.push(n as u32 + 1);
        }
        blocks.push(Block {
            start,
            end,
            successors,
        });
    }
    blocks
}

/// Instructions that a branch may go to.
fn targets(builder: &Builder, line: &Line) -> Vec<usize> {
    match line.op {
        Op::Bra { target: label, .. } => vec![target(builder, label)],
        Op::BranchIndexed { table, .. } => {
            let labels = &builder.tables[table as usize];
            labels.iter().map(|&label| target(builder, label)).collect()
        }
        _ => Vec::new(),
    }
}

fn falls_through(line: &Line) -> bool {
    let leaves = matches!(
        line.op,
        Op::Bra { .. } | Op::BranchIndexed { .. } | Op::Exit | Op::Trap
    );
    !leaves || line.guard != Guard::ALWAYS
}
