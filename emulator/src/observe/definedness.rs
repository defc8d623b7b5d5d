//! initcheck: values that come from registers or memory that nobody has written. Also the part of
//! synccheck that finds values shuffled from lanes that do not take part.
//!
//! Every register is defined or undefined as a whole, per lane; memory is so per byte. Undefined
//! values may be moved, computed with and kept in local memory. They are reported where they
//! matter: in a guard or a barrier, in an address, in what is stored for others to see.
//!
//! ```text
//! effects      the registers of every instruction
//! registers    undefined registers, and the rule for most instructions
//! matrix       the rules for mma, movmatrix, ldmatrix
//! exchange     the rules for shfl, vote, match, redux
//! bytes        undefined bytes of shared and local memory
//! memory       loads, stores, atomics and copies; bulk: bulk copies
//! ```
//! Device memory is watched by its allocations (`memory/written.rs`).

mod bulk;
mod bytes;
mod effects;
mod exchange;
mod matrix;
mod memory;
mod registers;

use std::sync::Arc;

use super::{ClusterSize, Step};
use crate::fault::{FaultKind, Origin, Outcome, Use, lane_fault};
use crate::ir::Op;
use crate::machine::context::Context;
use crate::machine::warp::Warp;

use bytes::UndefinedBytes;
pub(crate) use effects::Effects;
use effects::Kind;
use memory::Copied;
use registers::{RegisterShadow, Taint};

/// Which values of a cluster are defined.
pub(crate) struct Definedness {
    effects: Arc<Effects>,
    warps: Vec<WarpShadow>,
    /// By the block's rank.
    shared: Vec<UndefinedBytes>,
    /// Lanes in which the running store or atomic has an undefined value.
    stored: u32,
    /// What the running `cp.async` reads.
    copied: Copied,
}

/// Which values of a warp are defined.
struct WarpShadow {
    registers: RegisterShadow,
    /// Local memory, one lane after the other.
    local: UndefinedBytes,
    /// Operands that lanes have brought to an exchange.
    inputs: Taint,
}

impl Definedness {
    pub fn new(effects: Arc<Effects>, size: &ClusterSize) -> Self {
        let local_bytes = 32 * effects.local_bytes as usize;
        let warp = |_| WarpShadow {
            registers: RegisterShadow::new(),
            local: UndefinedBytes::new(local_bytes),
            inputs: Taint::default(),
        };
        Self {
            effects,
            warps: (0..size.all_warps()).map(warp).collect(),
            shared: (0..size.blocks)
                .map(|_| UndefinedBytes::new(size.shared_bytes as usize))
                .collect(),
            stored: 0,
            copied: Copied::default(),
        }
    }

    pub fn cluster_start(&mut self) {
        let effects = &self.effects;
        for shared in &mut self.shared {
            shared.reset(effects.unwritten);
        }
        for warp in &mut self.warps {
            warp.registers.reset(&effects.initial);
            warp.local.reset(effects.unwritten);
            warp.inputs.lanes = 0;
        }
    }

    /// Guard, operands and results of an instruction; of one that waits for other lanes, what its
    /// lanes bring along.
    pub fn before(&mut self, warp: &Warp, step: &Step) -> Outcome {
        let effects = &*self.effects;
        let effect = effects.at(step.pc);
        let shadow = &mut self.warps[warp.number as usize];
        if shadow.registers.undefined(effect.guard) & step.group != 0 {
            let (guard, line) = ([effect.guard], effects.line(step.pc));
            return refuse(
                &mut shadow.registers,
                &guard,
                (step.group, Use::Branch),
                line,
            );
        }
        if shadow.registers.any(effects.sources(effect)) & step.lanes != 0 {
            return self.with_undefined_operands(warp, step);
        }
        match effect.kind {
            Kind::Compute | Kind::Memory => {
                self.stored = 0;
                self.copied.lanes = 0;
                if step.executes {
                    let results = effects.results(effect);
                    shadow.registers.define(results, step.lanes);
                }
            }
            Kind::Exchange => shadow.inputs.lanes &= !step.lanes,
            Kind::Barrier => {}
        }
        Ok(())
    }

    /// The rest of [`Self::before`] when an operand is undefined.
    #[cold]
    fn with_undefined_operands(&mut self, warp: &Warp, step: &Step) -> Outcome {
        let effects = &*self.effects;
        let effect = effects.at(step.pc);
        let line = effects.line(step.pc);
        let op = &step.instruction.op;
        let shadow = &mut self.warps[warp.number as usize];
        let registers = &mut shadow.registers;
        let sinks = (step.lanes & naming_lanes(op), effect.used);
        refuse(registers, effects.sinks(effect), sinks, line)?;
        let values = (effects.values(effect), step.lanes);
        match effect.kind {
            Kind::Exchange => {
                let taint = registers.combine(&warp.regs, op, values, line);
                shadow.inputs.replace(step.lanes, &taint);
            }
            Kind::Compute if step.executes => compute(registers, warp, effects, step),
            Kind::Memory if step.executes => {
                self.stored = registers.any(values.0) & step.lanes;
                self.copied.lanes = 0;
                // An atomic that has an undefined operand is about to be reported, with the origin
                // in a register that may be its result as well.
                if self.stored == 0 {
                    registers.define(effects.results(effect), step.lanes);
                }
            }
            Kind::Compute | Kind::Memory | Kind::Barrier => {}
        }
        Ok(())
    }

    /// The result of a wait for an mbarrier is defined.
    pub fn waited(&mut self, warp: &Warp, pc: u32, lanes: u32) {
        let effects = &*self.effects;
        let registers = &mut self.warps[warp.number as usize].registers;
        registers.define(effects.results(effects.at(pc)), lanes);
    }

    /// The results of a barrier are defined; its operands were seen when the lanes came to it.
    pub fn arrive(&mut self, warp: &Warp, _context: &Context) -> Outcome {
        let effects = &*self.effects;
        let registers = &mut self.warps[warp.number as usize].registers;
        for group in &warp.groups {
            registers.define(effects.results(effects.at(group.pc)), group.lanes);
        }
        Ok(())
    }
}

/// Lanes whose operands `op` looks at, of those that execute it.
fn naming_lanes(op: &Op) -> u32 {
    match op {
        Op::LdMatrix { count, .. } | Op::StMatrix { count, .. } => {
            u32::MAX >> (32 - 8 * u32::from(*count))
        }
        _ => u32::MAX,
    }
}

/// The results of an instruction that computes with undefined operands.
fn compute(registers: &mut RegisterShadow, warp: &Warp, effects: &Effects, step: &Step) {
    let effect = effects.at(step.pc);
    let line = effects.line(step.pc);
    match &step.instruction.op {
        Op::Mma(mma) => matrix::mma(registers, mma, line),
        Op::Wgmma(wgmma) => {
            let accumulates = wgmma.accumulate.is_some_and(|p| warp.regs.get_pred(p) != 0);
            matrix::wgmma(registers, accumulates, wgmma, line);
        }
        &Op::MovMatrix { d, a } => matrix::movmatrix(registers, d, a, line),
        op => {
            let values = (effects.values(effect), step.lanes);
            let taint = registers.combine(&warp.regs, op, values, line);
            for result in effects.results(effect) {
                registers.write(*result, step.lanes, &taint);
            }
        }
    }
}

/// Reports the first of `lanes` in which one of `slots` is undefined.
#[cold]
fn refuse(
    registers: &mut RegisterShadow,
    slots: &[u32],
    (lanes, used): (u32, Use),
    line: u32,
) -> Outcome {
    let lane = (registers.any(slots) & lanes).trailing_zeros();
    match registers.origin_among(slots, lane as usize & 31, line) {
        Some(origin) if lane < 32 => report(lane as usize, origin, used),
        _ => Ok(()),
    }
}

#[cold]
fn report(lane: usize, origin: Origin, used: Use) -> Outcome {
    lane_fault(lane as u32, FaultKind::Uninitialised { origin, used })
}
