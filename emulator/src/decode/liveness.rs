//! When each virtual register holds a value that is still needed.
//!
//! Time has two points per instruction: 2i when instruction i reads, 2i + 1 when it writes. A register's life is a
//! list of half-open ranges of points. A guarded write keeps the old value in some lanes, so it ends no life.

use super::access::{Access, registers};
use super::budget::{Budget, Cost};
use super::builder::{Builder, File, Line};
use super::flow::{Block, blocks};
use crate::error::PtxError;
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

    /// Adds a range. One that begins where the last one ended prolongs it, so that a register which lives through many
    /// blocks has one range and not one per block.
    fn add(&mut self, register: usize, start: u32, end: u32) -> usize {
        let ranges = &mut self.ranges[register];
        match ranges.last_mut() {
            Some(last) if last.1 == start => {
                last.1 = end;
                0
            }
            _ => {
                ranges.push((start, end));
                1
            }
        }
    }
}

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

/// The registers in a set.
fn members(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(word, &bits)| {
        std::iter::successors((bits != 0).then_some(bits), |bits| {
            let rest = bits & (bits - 1);
            (rest != 0).then_some(rest)
        })
        .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
    })
}

/// Computes the lives of the entry declared at `line`. `builder` is unchanged; the visitor merely asks for a mutable
/// borrow.
pub(super) fn lives(builder: &mut Builder, budget: &Budget, line: u32) -> Result<Lives, PtxError> {
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
    budget.spend(Cost::LiveBits, blocks.len() * words * 64, line)?;
    let live_out = live_out(builder, &blocks, &lives, words, &|words| {
        budget.spend(Cost::LiveWords, words, line)
    })?;
    let mut ends = vec![0; total];
    for (block, live) in blocks.iter().zip(live_out) {
        let pieces = walk(builder, block, live, &mut ends, &mut lives);
        budget.spend(Cost::LivePieces, pieces, line)?;
    }
    for ranges in &mut lives.ranges {
        merge_touching(ranges);
    }
    Ok(lives)
}

/// The registers of one line: those read (the guard and those kept among them), those written for all lanes, those written for some.
fn accesses(line: &mut Line, lives: &Lives, mut each: impl FnMut(Access, usize)) {
    let guard = line.guard;
    if guard != Guard::ALWAYS {
        each(Access::Read, lives.number(File::Pred, guard.pred.0));
    }
    for kept in &line.kept {
        each(Access::Read, lives.number(File::R32, *kept));
    }
    registers(&mut line.op, &mut |access, file, register| {
        let register = lives.number(file, *register);
        if access == Access::Update {
            each(Access::Read, register);
            each(Access::Write, register);
        } else {
            each(access, register);
        }
    });
}

/// Backward dataflow: what is live at the end of each block. `spend` pays for every word that is combined.
fn live_out(
    builder: &mut Builder,
    blocks: &[Block],
    lives: &Lives,
    words: usize,
    spend: &dyn Fn(usize) -> Result<(), PtxError>,
) -> Result<Vec<Set>, PtxError> {
    let (uses, kills) = uses_and_kills(builder, blocks, lives, words);
    let mut predecessors = vec![Vec::new(); blocks.len()];
    for (n, block) in blocks.iter().enumerate() {
        for &successor in &block.successors {
            predecessors[successor as usize].push(n);
        }
    }
    let mut live_in = uses.clone();
    let mut live_out = vec![vec![0u64; words]; blocks.len()];
    // A block is looked at again whenever more has become live at the start of one of its successors. The last block
    // comes first: most control flow goes forward.
    let mut pending: Vec<usize> = (0..blocks.len()).collect();
    let mut is_pending = vec![true; blocks.len()];
    while let Some(n) = pending.pop() {
        is_pending[n] = false;
        spend((blocks[n].successors.len() + 1) * words)?;
        for &successor in &blocks[n].successors {
            for (out, new) in live_out[n].iter_mut().zip(&live_in[successor as usize]) {
                *out |= new;
            }
        }
        let mut changed = false;
        for word in 0..words {
            let new = uses[n][word] | (live_out[n][word] & !kills[n][word]);
            changed |= new != live_in[n][word];
            live_in[n][word] = new;
        }
        for &predecessor in predecessors[n].iter().filter(|_| changed) {
            if !std::mem::replace(&mut is_pending[predecessor], true) {
                pending.push(predecessor);
            }
        }
    }
    Ok(live_out)
}

/// Per block: the registers read before they are written, and those written for all lanes before they are read.
fn uses_and_kills(
    builder: &mut Builder,
    blocks: &[Block],
    lives: &Lives,
    words: usize,
) -> (Vec<Set>, Vec<Set>) {
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
    (uses, kills)
}

/// Adds the ranges of one block, walking backward from what is live at its end, and returns their number. `ends` has a
/// place for every register, whatever it holds: for those in `live`, the point at which the life begun below ends.
fn walk(
    builder: &mut Builder,
    block: &Block,
    mut live: Set,
    ends: &mut [u32],
    lives: &mut Lives,
) -> usize {
    for register in members(&live) {
        ends[register] = 2 * block.end as u32;
    }
    let mut pieces = 0;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for i in (block.start..block.end).rev() {
        let line = &mut builder.code[i];
        let is_total = line.guard == Guard::ALWAYS;
        reads.clear();
        writes.clear();
        accesses(line, lives, |access, register| match access {
            Access::Read => reads.push(register),
            _ => writes.push(register),
        });
        let write = 2 * i as u32 + 1;
        for &register in &writes {
            if !contains(&live, register) {
                pieces += lives.add(register, write, write + 1);
                lives.dead_writes.push(i as u32);
            } else if is_total {
                pieces += lives.add(register, write, ends[register]);
                remove(&mut live, register);
            }
        }
        // With several results, none may take the place of a source before all of them are computed.
        let end = if writes.len() > 1 { write + 1 } else { write };
        for &register in &reads {
            if !contains(&live, register) {
                insert(&mut live, register);
                ends[register] = end;
            }
        }
    }
    for register in members(&live) {
        pieces += lives.add(register, 2 * block.start as u32, ends[register]);
    }
    pieces
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
