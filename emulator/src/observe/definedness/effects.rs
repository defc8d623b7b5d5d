//! What each instruction of a kernel reads and writes, laid out for quick use at every step.

use crate::decode::{Access, File, registers};
use crate::fault::Use;
use crate::ir::{Instruction, Kernel, Op, Preload, WgmmaA};
use crate::machine::Options;
use crate::machine::warp_ops::meeting;

/// How the results of an instruction come by their definedness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// From its operands.
    Compute,
    /// From memory.
    Memory,
    /// From the operands of other lanes, once they have met.
    Exchange,
    /// They are always defined.
    Barrier,
}

/// One instruction. Its slots are neighbours in [`Effects::slots`]: sinks, values, results.
pub(super) struct Effect {
    pub kind: Kind,
    /// What the sinks are used for.
    pub used: Use,
    /// Slot of the guard.
    pub guard: u32,
    start: u32,
    sinks: u8,
    values: u8,
    results: u8,
}

/// All instructions of a kernel.
///
/// The slots of the three register files are numbered through: 32-bit slots first, as they are in
/// the IR, then 64-bit slots, then predicates.
pub(crate) struct Effects {
    table: Vec<Effect>,
    slots: Vec<u32>,
    lines: Vec<u32>,
    /// Lanes of each slot that are undefined when a block begins.
    pub(super) initial: Vec<u32>,
    pub(super) local_bytes: u32,
    /// Whether registers and memory are undefined until they are written.
    pub(super) unwritten: bool,
    /// Whether values from lanes that do not take part in a shuffle are undefined.
    pub(super) shuffles: bool,
}

impl Effects {
    pub fn new(kernel: &Kernel, options: &Options) -> Self {
        let mut effects = Self {
            table: Vec::with_capacity(kernel.program.len()),
            slots: Vec::new(),
            lines: kernel.locations.iter().map(|at| at.line).collect(),
            initial: initial(kernel, options.sanitizers.initcheck),
            local_bytes: kernel.local_bytes,
            unwritten: options.sanitizers.initcheck,
            shuffles: options.sanitizers.synccheck,
        };
        for instruction in &kernel.program {
            let effect = effects.effect(kernel, instruction);
            effects.table.push(effect);
        }
        effects
    }

    /// Appends the slots of `instruction`.
    fn effect(&mut self, kernel: &Kernel, instruction: &Instruction) -> Effect {
        let (mut sinks, mut values, mut results) = (Vec::new(), Vec::new(), Vec::new());
        // The visitor may change registers; it needs an operation of its own.
        let mut op = instruction.op.clone();
        let is_sink = sink_rule(&op);
        let mut reads = 0;
        registers(&mut op, &mut |access, file, slot| {
            let slot = number(kernel, file, *slot);
            if access != Access::Read {
                results.push(slot);
            }
            match access {
                Access::Write => {}
                Access::Read | Access::Update => {
                    let list = if is_sink(reads) {
                        &mut sinks
                    } else {
                        &mut values
                    };
                    list.push(slot);
                    reads += 1;
                }
            }
        });
        let start = self.slots.len() as u32;
        // No instruction reads more than the 135 registers of wgmma, nor writes more than 128.
        let [sinks, values, results] = [sinks, values, results].map(|list| {
            self.slots.extend(&list);
            list.len() as u8
        });
        let (kind, used) = kind(&instruction.op);
        Effect {
            kind,
            used,
            guard: number(kernel, File::Pred, instruction.guard.pred.0),
            start,
            sinks,
            values,
            results,
        }
    }

    pub(super) fn at(&self, pc: u32) -> &Effect {
        &self.table[pc as usize]
    }

    /// PTX line of an instruction.
    pub(super) fn line(&self, pc: u32) -> u32 {
        self.lines[pc as usize]
    }

    /// Every slot that is read, apart from the guard.
    pub(super) fn sources(&self, effect: &Effect) -> &[u32] {
        self.part(effect.start, effect.sinks + effect.values)
    }

    /// Slots that must be defined.
    pub(super) fn sinks(&self, effect: &Effect) -> &[u32] {
        self.part(effect.start, effect.sinks)
    }

    /// Slots whose values are used up in results or stored.
    pub(super) fn values(&self, effect: &Effect) -> &[u32] {
        self.part(effect.start + u32::from(effect.sinks), effect.values)
    }

    /// Slots that are written.
    pub(super) fn results(&self, effect: &Effect) -> &[u32] {
        let before = u32::from(effect.sinks) + u32::from(effect.values);
        self.part(effect.start + before, effect.results)
    }

    fn part(&self, start: u32, count: u8) -> &[u32] {
        &self.slots[start as usize..][..usize::from(count)]
    }
}

/// The number of a slot among those of all files.
fn number(kernel: &Kernel, file: File, slot: u16) -> u32 {
    let counts = kernel.slots;
    let base = match file {
        File::R32 => 0,
        File::R64 => u32::from(counts.r32),
        File::Pred => u32::from(counts.r32) + u32::from(counts.r64),
    };
    base + u32::from(slot)
}

/// Undefined lanes of every slot before the first instruction.
fn initial(kernel: &Kernel, unwritten: bool) -> Vec<u32> {
    // Slot 0 of the predicates exists in every kernel and is always true.
    let total = number(kernel, File::Pred, kernel.slots.pred.max(1));
    let mut undefined = vec![if unwritten { u32::MAX } else { 0 }; total as usize];
    undefined[number(kernel, File::Pred, 0) as usize] = 0;
    for preload in &kernel.preloads {
        let (file, slot) = match *preload {
            Preload::Const32(d, _) | Preload::Special(d, _) | Preload::Shared32(d, ..) => {
                (File::R32, d.0)
            }
            Preload::Const64(d, _)
            | Preload::Special64(d, _)
            | Preload::Shared64(d, ..)
            | Preload::Global(d, ..) => (File::R64, d.0),
            Preload::ConstPred(d, _) | Preload::SpecialPred(d, _) => (File::Pred, d.0),
        };
        undefined[number(kernel, file, slot) as usize] = 0;
    }
    undefined
}

/// Which of the registers that `op` reads, in the order of [`registers`], are sinks.
fn sink_rule(op: &Op) -> fn(usize) -> bool {
    match op {
        // The base address comes first.
        Op::Load { .. }
        | Op::Store { .. }
        | Op::Atom { .. }
        | Op::Red { .. }
        | Op::AtomicVector(_)
        | Op::LdMatrix { .. }
        | Op::StMatrix { .. } => |read| read == 0,
        // The descriptor of B comes first, then the predicate and the descriptor of A, if there are any.
        Op::Wgmma(op) => {
            let is_shared = matches!(op.a, WgmmaA::Shared(..));
            match usize::from(op.accumulate.is_some()) + usize::from(is_shared) {
                0 => |read| read < 1,
                1 => |read| read < 2,
                _ => |read| read < 3,
            }
        }
        // The exchanged value comes first, then what names lanes.
        Op::Shfl { .. }
        | Op::Vote { .. }
        | Op::Ballot { .. }
        | Op::MatchAny32 { .. }
        | Op::MatchAny64 { .. }
        | Op::MatchAll32 { .. }
        | Op::MatchAll64 { .. }
        | Op::Redux { .. } => |read| read > 0,
        // Which lanes get a fault depends on the rank that they name.
        Op::MapAddress32 { .. } | Op::MapAddress64 { .. } => |read| read == 1,
        Op::CpAsync(_)
        | Op::Elect { .. }
        | Op::WarpSync { .. }
        | Op::Barrier { .. }
        | Op::BarrierPopc { .. }
        | Op::BarrierLogic { .. }
        | Op::Mbarrier(_)
        | Op::MbarrierWait(_)
        | Op::BulkCopy(_)
        | Op::BranchIndexed { .. } => |_| true,
        _ => |_| false,
    }
}

fn kind(op: &Op) -> (Kind, Use) {
    match op {
        Op::Load { .. }
        | Op::Store { .. }
        | Op::Atom { .. }
        | Op::Red { .. }
        | Op::AtomicVector(_)
        | Op::LdMatrix { .. }
        | Op::StMatrix { .. }
        | Op::CpAsync(_)
        | Op::Mbarrier(_)
        | Op::BulkCopy(_) => (Kind::Memory, Use::Address),
        Op::MbarrierWait(wait) if wait.sleeps => (Kind::Barrier, Use::Address),
        Op::MbarrierWait(_) => (Kind::Memory, Use::Address),
        Op::Barrier { .. }
        | Op::BarrierPopc { .. }
        | Op::BarrierLogic { .. }
        | Op::ClusterArrive { .. }
        | Op::ClusterWait { .. } => (Kind::Barrier, Use::Branch),
        Op::Wgmma(_) => (Kind::Compute, Use::Address),
        _ if meeting(op).is_some() => (Kind::Exchange, Use::Address),
        _ => (Kind::Compute, Use::Branch),
    }
}
