//! `mbarrier` (PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier").

use super::gates;
use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{
    MbarrierAction, MbarrierOp, MbarrierPhase, MbarrierWait, Op, R64, Scope, SharedOperand, Space,
};
use crate::syntax::Operand;

impl Inst<'_, '_, '_> {
    /// `mbarrier`
    pub fn mbarrier(&mut self) -> Result<(), PtxError> {
        if self.take("pending_count") {
            return self.mbarrier_pending();
        }
        if self.take("init") {
            let window = self.own_barrier_head()?;
            self.arity(2..=2)?;
            let count = self.r32(1, Ty::U32)?;
            return self.barrier_op(0, window, MbarrierAction::Init { count }, None);
        }
        if self.take("inval") {
            let window = self.own_barrier_head()?;
            self.arity(1..=1)?;
            return self.barrier_op(0, window, MbarrierAction::Invalidate, None);
        }
        if self.take("test_wait") {
            return self.mbarrier_wait(false);
        }
        if self.take("try_wait") {
            return self.mbarrier_wait(true);
        }
        let drops = self.take("arrive_drop");
        if drops || self.take("arrive") {
            return self.mbarrier_arrive(drops);
        }
        let expects = self.take("expect_tx");
        if !expects {
            self.require(&[("complete_tx", ())])?;
        }
        self.barrier_order(&[("relaxed", true)])?;
        let window = self.barrier_head()?;
        self.arity(2..=2)?;
        let bytes = self.r32(1, Ty::U32)?;
        let action = match expects {
            true => MbarrierAction::Expect { bytes },
            false => MbarrierAction::Complete { bytes },
        };
        self.barrier_op(0, window, action, None)
    }

    /// Takes `.shared` or nothing, and `.b64`.
    fn barrier_head(&mut self) -> Result<Space, PtxError> {
        let window = self.shared_window().unwrap_or(Space::Generic);
        self.only_type(Ty::B64)?;
        self.finish()?;
        Ok(window)
    }

    /// As [`Inst::barrier_head`], without `.shared::cluster`.
    fn own_barrier_head(&mut self) -> Result<Space, PtxError> {
        match self.barrier_head()? {
            Space::SharedCluster => {
                Err(self.bad("this works on an mbarrier of the own block; write .shared::cta"))
            }
            window => Ok(window),
        }
    }

    /// Takes `.shared` with or without its block.
    pub(super) fn shared_window(&mut self) -> Option<Space> {
        self.choose(&[
            ("shared", Space::Shared),
            ("shared::cta", Space::Shared),
            ("shared::cluster", Space::SharedCluster),
        ])
    }

    /// Takes order and scope, which come together: the scope of an acquire or release, which is what no order means.
    fn barrier_order(&mut self, orders: &[(&str, bool)]) -> Result<Option<Scope>, PtxError> {
        let is_relaxed = self.choose(orders);
        let scope = self.choose(&[("cta", Scope::Cta), ("cluster", Scope::Cluster)]);
        if is_relaxed.is_some() != scope.is_some() {
            let names: Vec<_> = orders.iter().map(|(name, _)| format!(".{name}")).collect();
            let rule = format!("{} and .cta or .cluster come together", names.join(" or "));
            return Err(self.bad(rule));
        }
        Ok((is_relaxed != Some(true)).then_some(scope.unwrap_or(Scope::Cta)))
    }

    /// Operand `i`, an address in shared memory.
    pub(super) fn shared_place(
        &mut self,
        i: usize,
        space: Space,
    ) -> Result<SharedOperand, PtxError> {
        let (space, address) = self.address(i, space)?;
        Ok(SharedOperand { space, address })
    }

    fn barrier_op(
        &mut self,
        i: usize,
        window: Space,
        action: MbarrierAction,
        release: Option<Scope>,
    ) -> Result<(), PtxError> {
        let place = self.shared_place(i, window)?;
        self.emit(Op::Mbarrier(Box::new(MbarrierOp {
            action,
            place,
            release,
        })))
    }

    /// `mbarrier.{arrive,arrive_drop}[.expect_tx][.noComplete] state, [a][, count | bytes]`
    fn mbarrier_arrive(&mut self, drops: bool) -> Result<(), PtxError> {
        let expects = self.take("expect_tx");
        let no_complete = self.take("noComplete");
        let release = self.barrier_order(&[("relaxed", true), ("release", false)])?;
        let window = self.barrier_head()?;
        if no_complete && (expects || release != Some(Scope::Cta) || window == Space::SharedCluster)
        {
            let rule = ".noComplete goes with .release.cta on an mbarrier of the own block only";
            return Err(self.bad(rule));
        }
        let number = usize::from(self.arity(2..=3)? == 3);
        if (expects || no_complete) && number == 0 {
            return Err(self.bad("a third operand with the number is missing"));
        }
        if number == 1 && !no_complete {
            let what = "an mbarrier.arrive with a number";
            gates::check_sm90(self.ins.line, what, self.unit.tree)?;
        }
        let state = match self.operand(0)? {
            Operand::Sink => {
                let what = "an arrival without a state";
                gates::check_form(self.ins.line, what, (80, (7, 1)), self.unit.tree)?;
                None
            }
            _ if window == Space::SharedCluster => {
                return Err(self.bad("an arrival in another block returns no state; write _"));
            }
            operand => Some(R64(self.destination(operand, Ty::B64)?)),
        };
        let value = match number {
            1 => Some(self.r32(2, Ty::U32)?),
            _ => None,
        };
        let (count, expect) = if expects {
            (None, value)
        } else {
            (value, None)
        };
        let action = MbarrierAction::Arrive {
            state,
            count,
            expect,
            drops,
            no_complete,
        };
        self.barrier_op(1, window, action, release)
    }

    /// `mbarrier.{test_wait,try_wait}[.parity] p, [a], state | parity[, nanoseconds]`
    fn mbarrier_wait(&mut self, sleeps: bool) -> Result<(), PtxError> {
        let by_parity = self.take("parity");
        let acquire = self.barrier_order(&[("relaxed", true), ("acquire", false)])?;
        let window = self.own_barrier_head()?;
        let count = self.arity(3..=if sleeps { 4 } else { 3 })?;
        let d = self.dpred(0)?;
        let place = self.shared_place(1, window)?;
        let phase = if by_parity {
            MbarrierPhase::Parity(self.r32(2, Ty::U32)?)
        } else {
            MbarrierPhase::State(self.r64(2, Ty::B64)?)
        };
        if count == 4 {
            // A hint for how long to sleep, in nanoseconds.
            self.r32(3, Ty::U32)?;
        }
        self.emit(Op::MbarrierWait(Box::new(MbarrierWait {
            d,
            place,
            phase,
            sleeps,
            acquire,
        })))
    }

    /// `mbarrier.pending_count.b64 count, state`
    fn mbarrier_pending(&mut self) -> Result<(), PtxError> {
        self.only_type(Ty::B64)?;
        self.arity(2..=2)?;
        let (d, a) = (self.d32(0, Ty::U32)?, self.r64(1, Ty::B64)?);
        self.emit(Op::MbarrierPending { d, a })
    }

    /// `cp.async.mbarrier.arrive[.noinc][.shared].b64 [a]`
    pub(super) fn copies_arrive(&mut self) -> Result<(), PtxError> {
        self.require(&[("mbarrier", ())])?;
        self.require(&[("arrive", ())])?;
        let counted = self.take("noinc");
        let window = self.own_barrier_head()?;
        self.arity(1..=1)?;
        let action = MbarrierAction::AfterCopies { counted };
        self.barrier_op(0, window, action, Some(Scope::Cta))
    }
}
