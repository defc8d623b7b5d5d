//! What may have happened to the registers of products, along all paths.

use std::collections::{HashMap, HashSet};

use crate::decode::access::registers;
use crate::decode::budget::{Budget, Cost};
use crate::decode::builder::{Builder, File, Line};
use crate::decode::flow::{Block, blocks};
use crate::decode::propagate::total_move;
use crate::error::PtxError;
use crate::ir::{Guard, Op, R32, Wgmma, WgmmaA};

/// Commits since the youngest product that has a register in flight; this many when there is none.
pub(super) const LANDED: u8 = u8::MAX;
/// More commits than any wait leaves pending.
const MANY: u8 = LANDED - 1;

/// What may have happened to one register on some path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// As D, and as A: commits since the issue.
    pub result: u8,
    pub input: u8,
    /// Since the last fence.
    pub mark: Mark,
}

/// Uses since the last fence, the worst of all paths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// None.
    Clean,
    /// As D of products with the registers of this one, by its place in the program.
    Result(u32),
    /// As A.
    Input,
    /// Others, or several of the above.
    Dirty,
}

const AT_REST: State = State {
    result: LANDED,
    input: LANDED,
    mark: Mark::Clean,
};

impl State {
    /// Takes in what another path may have done.
    fn join(&mut self, other: &State) -> bool {
        let before = *self;
        self.result = self.result.min(other.result);
        self.input = self.input.min(other.input);
        if self.mark == Mark::Clean {
            self.mark = other.mark;
        } else if other.mark != Mark::Clean && other.mark != self.mark {
            self.mark = Mark::Dirty;
        }
        *self != before
    }

    pub fn in_flight(&self) -> bool {
        self.result != LANDED || self.input != LANDED
    }
}

/// The registers that products use, numbered.
pub(super) struct Universe<'a> {
    /// By name: a register, or what several have in common.
    pub numbers: HashMap<usize, usize>,
    pub name: &'a dyn Fn(u16) -> usize,
}

impl Universe<'_> {
    pub fn number(&self, register: u16) -> Option<usize> {
        self.numbers.get(&(self.name)(register)).copied()
    }

    fn insert(&mut self, register: u16) {
        let number = self.numbers.len();
        self.numbers.entry((self.name)(register)).or_insert(number);
    }
}

pub(super) fn product(line: &Line) -> Option<&Wgmma> {
    match &line.op {
        Op::Wgmma(op) => Some(op),
        _ => None,
    }
}

pub(super) fn inputs(op: &Wgmma) -> &[R32] {
    match &op.a {
        WgmmaA::Registers(a) => a,
        WgmmaA::Shared(..) => &[],
    }
}

/// Source and destination of a move of a 32-bit register.
pub(super) fn move_of(line: &Line) -> Option<(u16, u16)> {
    match total_move(line)? {
        (File::R32, d, a) => Some((d, a)),
        _ => None,
    }
}

/// The registers of products, and those that moves hand them on to.
pub(super) fn universe<'a>(builder: &Builder, name: &'a dyn Fn(u16) -> usize) -> Universe<'a> {
    let mut universe = Universe {
        numbers: HashMap::new(),
        name,
    };
    let mut moves: HashMap<u16, Vec<u16>> = HashMap::new();
    let mut pending = Vec::new();
    for line in &builder.code {
        if let Some((d, a)) = move_of(line) {
            moves.entry(a).or_default().push(d);
        }
        for r in product(line)
            .iter()
            .flat_map(|op| op.d.iter().chain(inputs(op)))
        {
            universe.insert(r.0);
            pending.push(r.0);
        }
    }
    let mut seen: HashSet<u16> = pending.iter().copied().collect();
    while let Some(register) = pending.pop() {
        for d in moves.get(&register).into_iter().flatten() {
            if seen.insert(*d) {
                universe.insert(*d);
                pending.push(*d);
            }
        }
    }
    universe
}

/// Follows the products along all paths and calls `visit` with every instruction and the states
/// before it, once they are final.
pub(super) fn follow(
    builder: &mut Builder,
    universe: &Universe,
    (budget, line): (&Budget, u32),
    visit: &mut dyn FnMut(usize, &mut Line, &[State]),
) -> Result<(), PtxError> {
    let blocks = blocks(builder);
    let size = universe.numbers.len();
    budget.spend(Cost::LiveBits, blocks.len() * size * 64, line)?;
    let mut before = vec![vec![AT_REST; size]; blocks.len()];
    // No fence has been yet.
    before[0]
        .iter_mut()
        .for_each(|state| state.mark = Mark::Dirty);
    let mut pending: Vec<usize> = (0..blocks.len()).rev().collect();
    let mut is_pending = vec![true; blocks.len()];
    while let Some(n) = pending.pop() {
        is_pending[n] = false;
        let Block {
            start,
            end,
            ref successors,
        } = blocks[n];
        budget.spend(Cost::LiveWords, (successors.len() + 1) * size, line)?;
        let mut states = before[n].clone();
        for i in start..end {
            step(i, &mut builder.code[i], universe, &mut states);
        }
        for &successor in successors {
            let successor = successor as usize;
            let joined = before[successor].iter_mut().zip(&states);
            let changes = joined.fold(false, |changed, (old, new)| old.join(new) | changed);
            if changes && !std::mem::replace(&mut is_pending[successor], true) {
                pending.push(successor);
            }
        }
    }
    for (block, mut states) in blocks.iter().zip(before) {
        for i in block.start..block.end {
            visit(i, &mut builder.code[i], &states);
            step(i, &mut builder.code[i], universe, &mut states);
        }
    }
    Ok(())
}

/// What instruction `i` does to the states.
fn step(i: usize, line: &mut Line, universe: &Universe, states: &mut [State]) {
    let always = line.guard == Guard::ALWAYS;
    match &line.op {
        Op::Wgmma(op) => issue(i, op, universe, states),
        Op::WgmmaCommit => {
            for state in states {
                for age in [&mut state.result, &mut state.input] {
                    if *age < MANY {
                        *age += 1;
                    }
                }
            }
        }
        Op::WgmmaWait { pending } if always => {
            let landed = |age: u8| age != LANDED && u32::from(age) > *pending;
            for state in states {
                for age in [&mut state.result, &mut state.input] {
                    if landed(*age) {
                        *age = LANDED;
                    }
                }
            }
        }
        Op::WgmmaFence if always => {
            states.iter_mut().for_each(|state| state.mark = Mark::Clean);
        }
        _ => other(line, universe, states),
    }
}

fn issue(i: usize, op: &Wgmma, universe: &Universe, states: &mut [State]) {
    for number in op.d.iter().filter_map(|d| universe.number(d.0)) {
        states[number].result = 0;
        // The first of a chain stands for all of it.
        if !matches!(states[number].mark, Mark::Result(_)) {
            states[number].mark = Mark::Result(i as u32);
        }
    }
    for number in inputs(op).iter().filter_map(|a| universe.number(a.0)) {
        states[number].input = 0;
        states[number].mark = Mark::Input;
    }
}

/// A move hands a register in flight on; where both names stand for one slot it does nothing at all.
/// Everything else is a use.
fn other(line: &mut Line, universe: &Universe, states: &mut [State]) {
    if let Some((d, a)) = move_of(line)
        && let (Some(d), Some(a)) = (universe.number(d), universe.number(a))
    {
        if d != a {
            states[d] = State {
                mark: Mark::Dirty,
                input: states[d].input,
                result: states[a].result,
            };
            states[a].result = LANDED;
            states[a].mark = Mark::Dirty;
        }
        return;
    }
    registers(&mut line.op, &mut |_, file, register| {
        if file == File::R32
            && let Some(number) = universe.number(*register)
        {
            states[number].mark = Mark::Dirty;
        }
    });
}
