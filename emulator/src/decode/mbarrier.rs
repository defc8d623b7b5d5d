//! `mbarrier` (PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier").

use super::inst::Inst;
use super::types::Ty;
use crate::error::{PtxError, PtxErrorKind};
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
            let window = self.barrier_head()?;
            self.arity(2..=2)?;
            let count = self.r32(1, Ty::U32)?;
            return self.barrier_op(0, window, MbarrierAction::Init { count }, None);
        }
        if self.take("inval") {
            let window = self.barrier_head()?;
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
        self.take("relaxed");
        self.barrier_scope();
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

    /// Takes `.shared` with or without its block.
    pub(super) fn shared_window(&mut self) -> Option<Space> {
        self.choose(&[
            ("shared", Space::Shared),
            ("shared::cta", Space::Shared),
            ("shared::cluster", Space::SharedCluster),
        ])
    }

    fn barrier_scope(&mut self) -> Scope {
        let scopes = [("cta", Scope::Cta), ("cluster", Scope::Cluster)];
        self.choose(&scopes).unwrap_or(Scope::Cta)
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
        let is_relaxed = self.choose(&[("relaxed", true), ("release", false)]);
        let scope = self.barrier_scope();
        let release = (is_relaxed != Some(true)).then_some(scope);
        let window = self.barrier_head()?;
        let number = usize::from(self.arity(2..=3)? == 3);
        if (expects || no_complete) && number == 0 {
            return Err(self.bad("a third operand with the number is missing"));
        }
        if number == 1 && !no_complete {
            self.needs_sm90("an mbarrier.arrive with a number")?;
        }
        let state = match self.operand(0)? {
            Operand::Sink => None,
            _ if window == Space::SharedCluster => {
                return Err(self.bad("an arrival in another block returns no state; write _"));
            }
            operand => Some(R64(self.destination(operand, 8)?)),
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
        let is_relaxed = self.choose(&[("relaxed", true), ("acquire", false)]);
        let scope = self.barrier_scope();
        let acquire = (is_relaxed != Some(true)).then_some(scope);
        let window = self.barrier_head()?;
        if window == Space::SharedCluster {
            return Err(self.bad("only an mbarrier of the own block can be waited for"));
        }
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
        let window = self.barrier_head()?;
        self.arity(1..=1)?;
        let action = MbarrierAction::AfterCopies { counted };
        self.barrier_op(0, window, action, Some(Scope::Cta))
    }

    /// Refuses a form that older targets do not have, where no qualifier tells it.
    fn needs_sm90(&self, what: &str) -> Result<(), PtxError> {
        let (target, (major, minor)) = (self.unit.tree.target, self.unit.tree.version);
        if target >= 90 {
            return Ok(());
        }
        let kind = PtxErrorKind::Target {
            what: what.to_string(),
            needs: ".target sm_90 and .version 7.8".to_string(),
            declared: format!(".target sm_{target} and .version {major}.{minor}"),
        };
        Err(PtxError::new(self.ins.line, kind))
    }
}
