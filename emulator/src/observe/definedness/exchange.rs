//! Values that lanes of a warp give each other.

use super::registers::Taint;
use super::{Definedness, Effects, WarpShadow};
use crate::fault::{Origin, Outcome};
use crate::ir::Op;
use crate::machine::registers::lanes_of;
use crate::machine::warp::Warp;
use crate::machine::warp_ops::shuffle_source;
use crate::observe::Exchange;

impl Definedness {
    /// The lanes of an exchange have met; [`Self::before`] has seen what each brought along.
    pub fn exchange(&mut self, warp: &Warp, exchange: &Exchange) -> Outcome {
        let effects = &*self.effects;
        let shadow = &mut self.warps[warp.number as usize];
        let results = effects.results(effects.at(exchange.pc));
        let complete = exchange.lanes == u32::MAX || !effects.shuffles;
        if complete && shadow.inputs.lanes & exchange.lanes == 0 {
            shadow.registers.define(results, exchange.part);
        } else {
            spread(effects, shadow, warp, exchange);
        }
        Ok(())
    }
}

/// Results that may be undefined.
#[cold]
fn spread(effects: &Effects, shadow: &mut WarpShadow, warp: &Warp, exchange: &Exchange) {
    let results = effects.results(effects.at(exchange.pc));
    let defined = Taint::default();
    let taint = match exchange.op {
        Op::Shfl { .. } => shuffled(effects, &shadow.inputs, warp, exchange),
        _ => agreed(&shadow.inputs, exchange),
    };
    for (index, result) in results.iter().enumerate() {
        // The predicate of a shuffle says whether the source is in range, which the value has no
        // part in.
        let of_value = index == 0 || !matches!(exchange.op, Op::Shfl { .. });
        let taint = if of_value { &taint } else { &defined };
        shadow.registers.write(*result, exchange.part, taint);
    }
}

/// Every lane gets the value of its source lane.
fn shuffled(effects: &Effects, inputs: &Taint, warp: &Warp, exchange: &Exchange) -> Taint {
    let mut taint = Taint::default();
    let &Op::Shfl { mode, b, c, .. } = exchange.op else {
        return taint;
    };
    let (b, c) = (warp.regs.get32(b), warp.regs.get32(c));
    let line = effects.line(exchange.pc);
    for lane in lanes_of(exchange.part) {
        let (source, _) = shuffle_source(mode, lane as u32, b[lane], c[lane]);
        let takes_part = exchange.lanes >> source & 1 != 0;
        let origin = if takes_part {
            inputs.origin(source as usize)
        } else {
            let lane = source;
            effects.shuffles.then_some(Origin::Shuffle { lane, line })
        };
        if let Some(origin) = origin {
            taint.add(lane, origin);
        }
    }
    taint
}

/// Every lane gets a value that all have a part in.
fn agreed(inputs: &Taint, exchange: &Exchange) -> Taint {
    let mut taint = Taint::default();
    let first = lanes_of(inputs.lanes & exchange.lanes).next();
    if let Some(origin) = first.and_then(|lane| inputs.origin(lane)) {
        lanes_of(exchange.part).for_each(|lane| taint.add(lane, origin));
    }
    taint
}
