//! Which registers of a warp are undefined.

use crate::fault::Origin;
use crate::ir::{LaneOp, Op, Pred, PredLogic};
use crate::machine::registers::{LANES, Lanes, Registers, lanes_of};

/// The undefined lanes of one value, and where each comes from.
#[derive(Clone, Copy, Default)]
pub(super) struct Taint {
    pub lanes: u32,
    origins: Lanes<Option<Origin>>,
}

impl Taint {
    pub fn add(&mut self, lane: usize, origin: Origin) {
        self.lanes |= 1 << lane;
        self.origins[lane] = Some(origin);
    }

    /// Takes over `lanes` of another value.
    pub fn replace(&mut self, lanes: u32, other: &Taint) {
        self.lanes = self.lanes & !lanes | other.lanes & lanes;
        for lane in lanes_of(other.lanes & lanes) {
            self.origins[lane] = other.origins[lane];
        }
    }

    /// The origin of an undefined lane.
    pub fn origin(&self, lane: usize) -> Option<Origin> {
        self.origins[lane].filter(|_| self.lanes >> lane & 1 != 0)
    }
}

/// One mask of undefined lanes per slot, numbered as in [`Effects`](super::Effects).
pub(super) struct RegisterShadow {
    undefined: Vec<u32>,
    /// Where the undefined lanes of each slot come from; `None` for a slot that nobody has written
    /// and nobody has read yet. Empty until the first undefined value is read, which in most
    /// kernels is never.
    origins: Vec<Lanes<Option<Origin>>>,
}

impl RegisterShadow {
    pub fn new() -> Self {
        Self {
            undefined: Vec::new(),
            origins: Vec::new(),
        }
    }

    /// The state before the first instruction.
    pub fn reset(&mut self, initial: &[u32]) {
        self.undefined.clear();
        self.undefined.extend_from_slice(initial);
        self.origins.clear();
    }

    /// Undefined lanes of a slot.
    #[inline]
    pub fn undefined(&self, slot: u32) -> u32 {
        self.undefined[slot as usize]
    }

    /// Lanes in which any of `slots` is undefined.
    #[inline]
    pub fn any(&self, slots: &[u32]) -> u32 {
        slots
            .iter()
            .fold(0, |lanes, slot| lanes | self.undefined(*slot))
    }

    /// `lanes` of every slot get defined values.
    #[inline]
    pub fn define(&mut self, slots: &[u32], lanes: u32) {
        for slot in slots {
            self.undefined[*slot as usize] &= !lanes;
        }
    }

    /// `lanes` of a slot get values that are undefined where `taint` says.
    pub fn write(&mut self, slot: u32, lanes: u32, taint: &Taint) {
        self.define(&[slot], lanes);
        for lane in lanes_of(lanes & taint.lanes) {
            if let Some(origin) = taint.origin(lane) {
                self.undefine(slot, lane, origin);
            }
        }
    }

    /// One lane of a slot gets an undefined value.
    pub fn undefine(&mut self, slot: u32, lane: usize, origin: Origin) {
        self.undefined[slot as usize] |= 1 << lane;
        *self.origin_mut(slot, lane) = Some(origin);
    }

    /// Where an undefined lane of a slot comes from: when from nowhere else, from its being read
    /// by `line`, which is remembered.
    pub fn origin(&mut self, slot: u32, lane: usize, line: u32) -> Origin {
        *self
            .origin_mut(slot, lane)
            .get_or_insert(Origin::Register { line })
    }

    fn origin_mut(&mut self, slot: u32, lane: usize) -> &mut Option<Origin> {
        if self.origins.is_empty() {
            self.origins = vec![[None; LANES]; self.undefined.len()];
        }
        &mut self.origins[slot as usize][lane]
    }

    /// The origin of a lane in which one of `slots` is undefined: that of the first one.
    pub fn origin_among(&mut self, slots: &[u32], lane: usize, line: u32) -> Option<Origin> {
        let undefined = |slot: &&u32| self.undefined(**slot) >> lane & 1 != 0;
        let slot = *slots.iter().find(undefined)?;
        Some(self.origin(slot, lane, line))
    }

    /// The result of an operation on `values`: undefined in those of `lanes` where an operand is
    /// that matters.
    pub fn combine(
        &mut self,
        regs: &Registers,
        op: &Op,
        (values, lanes): (&[u32], u32),
        line: u32,
    ) -> Taint {
        let mut taint = Taint::default();
        for (index, &slot) in values.iter().enumerate() {
            let matters = self.relevance(regs, op, values, index);
            let fresh = self.undefined(slot) & matters & lanes & !taint.lanes;
            for lane in lanes_of(fresh) {
                taint.add(lane, self.origin(slot, lane, line));
            }
        }
        taint
    }

    /// Lanes in which the operand `values[index]` can change the result.
    fn relevance(&self, regs: &Registers, op: &Op, values: &[u32], index: usize) -> u32 {
        let chosen = |p: Pred| {
            let chosen = regs.get_pred(p);
            [chosen, !chosen, u32::MAX][index]
        };
        let Op::Lane(op) = *op else {
            return u32::MAX;
        };
        match op {
            LaneOp::Select32 { p, .. } | LaneOp::Select64 { p, .. } => chosen(p),
            // A defined false (true) decides a conjunction (disjunction) alone.
            LaneOp::PredLogic { op, a, b, .. } => {
                let other = [b, a][index];
                let other_undefined = self.undefined(values[1 - index]);
                match op {
                    PredLogic::And => regs.get_pred(other) | other_undefined,
                    PredLogic::Or => !regs.get_pred(other) | other_undefined,
                    PredLogic::Mov | PredLogic::Not | PredLogic::Xor => u32::MAX,
                }
            }
            _ => u32::MAX,
        }
    }
}
