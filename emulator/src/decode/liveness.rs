//! When each virtual register holds a value that is still needed.
//!
//! Time has two points per instruction: 2i when instruction i reads, 2i + 1 when it writes. A register's life is a
//! list of half-open ranges of points. A guarded write keeps the old value in some lanes, so it ends no life.

use super::access::{Access, registers};
use super::builder::{Builder, File, Line};
use super::flow::{Block, blocks};
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::Guard;

/// Half-open range of points.
pub(super) type Range = (u32, u32);

/// The lives of all virtual registers, numbered through the three files one after the other.
pub(super) struct Lives {
    /// First number of each file.
    base: [usize; 3],
    /// Ranges of each register, sorted and disjoint.
    pub ranges: Vec<Vec<Range>>,
    /// Instructions with a result that nobody reads.
    pub dead_writes: Vec<u32>,
}

impl Lives {
    /// The number of a register.
    pub fn number(&self, file: File, register: u16) -> usize {
        self.base[file as usize] + usize::from(register)
    }

    /// The numbers of a file's registers.
    pub fn numbers(&self, file: File) -> std::ops::Range<usize> {
        let end = self
            .base
            .get(file as usize + 1)
            .copied()
            .unwrap_or(self.ranges.len());
        self.base[file as usize]..end
    }
}

/// Bits of one kind of live set over all blocks at most: 64 MiB.
const MAX_BITS: usize = 1 << 29;

/// A set of registers as bits.
type Set = Vec<u64>;

fn contains(set: &[u64], n: usize) -> bool {
    set[n / 64] >> (n % 64) & 1 != 0
}

fn insert(set: &mut [u64], n: usize) {
    set[n / 64] |= 1 << (n % 64);
}

fn remove(set: &mut [u64], n: usize) {
    set[n / 64] &= !(1 << (n % 64));
}

/// Computes the lives. `builder` is unchanged; the visitor merely asks for a mutable borrow.
pub(super) fn lives(builder: &mut Builder) -> Result<Lives, PtxError> {
    let blocks = blocks(builder);
    let counts = builder.counts.map(|count| count as usize);
    let total = counts.iter().sum::<usize>();
    let base = [0, counts[0], counts[0] + counts[1]];
    let mut lives = Lives {
        base,
        ranges: vec![Vec::new(); total],
        dead_writes: Vec::new(),
    };
    let words = total.div_ceil(64);
    if blocks.len() * words * 64 > MAX_BITS {
        let (what, limit) = ("branches times registers".to_string(), MAX_BITS as u64);
        let value = (blocks.len() * words * 64) as u64;
        return Err(PtxError::new(0, PtxErrorKind::Limit { what, value, limit }));
    }
    let live_out = live_out(builder, &blocks, &lives, words);
    for (block, live) in blocks.iter().zip(live_out) {
        walk(builder, block, live, &mut lives);
    }
    for ranges in &mut lives.ranges {
        merge_touching(ranges);
    }
    Ok(lives)
}

/// The registers of one line: those read (the guard among them), those written for all lanes, those written for some.
fn accesses(line: &mut Line, lives: &Lives, mut each: impl FnMut(Access, usize)) {
    let guard = line.guard;
    if guard != Guard::ALWAYS {
        each(Access::Read, lives.number(File::Pred, guard.pred.0));
    }
    registers(&mut line.op, &mut |access, file, register| {
        each(access, lives.number(file, *register));
    });
}

/// Backward dataflow: what is live at the end of each block.
fn live_out(builder: &mut Builder, blocks: &[Block], lives: &Lives, words: usize) -> Vec<Set> {
    let mut uses = vec![vec![0u64; words]; blocks.len()];
    let mut kills = uses.clone();
    for (n, block) in blocks.iter().enumerate() {
        for line in &mut builder.code[block.start..block.end] {
            let is_total = line.guard == Guard::ALWAYS;
            accesses(line, lives, |access, register| match access {
                Access::Read if !contains(&kills[n], register) => insert(&mut uses[n], register),
                Access::Write if is_total => insert(&mut kills[n], register),
                _ => {}
            });
        }
    }
    let mut live_in = uses.clone();
    let mut live_out = vec![vec![0u64; words]; blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (n, block) in blocks.iter().enumerate().rev() {
            for &successor in &block.successors {
                for (out, new) in live_out[n].iter_mut().zip(&live_in[successor as usize]) {
                    *out |= new;
                }
            }
            for word in 0..words {
                let new = uses[n][word] | (live_out[n][word] & !kills[n][word]);
                changed |= new != live_in[n][word];
                live_in[n][word] = new;
            }
        }
    }
    live_out
}

/// Adds the ranges of one block, walking backward from what is live at its end.
fn walk(builder: &mut Builder, block: &Block, mut live: Set, lives: &mut Lives) {
    let mut ends = std::collections::HashMap::new();
    for (word, &bits) in live.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            ends.insert(
                word * 64 + bits.trailing_zeros() as usize,
                2 * block.end as u32,
            );
            bits &= bits - 1;
        }
    }
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for i in (block.start..block.end).rev() {
        let line = &mut builder.code[i];
        let is_total = line.guard == Guard::ALWAYS;
        reads.clear();
        writes.clear();
        accesses(line, lives, |access, register| match access {
            Access::Read => reads.push(register),
            Access::Write => writes.push(register),
        });
        let write = 2 * i as u32 + 1;
        for &register in &writes {
            if !contains(&live, register) {
                lives.ranges[register].push((write, write + 1));
                lives.dead_writes.push(i as u32);
            } else if is_total {
                let end = ends.remove(&register).unwrap_or(write + 1);
                lives.ranges[register].push((write, end));
                remove(&mut live, register);
            }
        }
        // With several results, none may take the place of a source before all of them are computed.
        let end = if writes.len() > 1 { write + 1 } else { write };
        for &register in &reads {
            if !contains(&live, register) {
                insert(&mut live, register);
                ends.insert(register, end);
            }
        }
    }
    for (register, end) in ends {
        lives.ranges[register].push((2 * block.start as u32, end));
    }
}

/// Sorts ranges and joins those that touch or overlap.
pub(super) fn merge_touching(ranges: &mut Vec<Range>) {
    ranges.sort_unstable();
    let mut kept: usize = 0;
    for i in 0..ranges.len() {
        let (start, end) = ranges[i];
        if kept > 0 && start <= ranges[kept - 1].1 {
            ranges[kept - 1].1 = ranges[kept - 1].1.max(end);
        } else {
            ranges[kept] = (start, end);
            kept += 1;
        }
    }
    ranges.truncate(kept);
}
