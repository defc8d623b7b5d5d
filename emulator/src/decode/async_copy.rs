//! Asynchronous copies from global to shared memory (PTX ISA 9.7.9, "cp.async").

use super::builder::File;
use super::gates;
use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{CpAsync, CpAsyncSource, Guard, Op, Space};
use crate::syntax::Operand;

impl Inst<'_, '_, '_> {
    /// `cp.async` and its groups
    pub fn cp(&mut self) -> Result<(), PtxError> {
        let reduces = self.take("reduce");
        self.require(&[("async", ())])?;
        if self.take("bulk") {
            return self.bulk(reduces);
        }
        if reduces {
            return Err(self.bad("cp.reduce is asynchronous and in bulk"));
        }
        if self.ins.qualifiers.contains(&"mbarrier") {
            return self.copies_arrive();
        }
        if self.take("commit_group") {
            self.arity(0..=0)?;
            return self.emit(Op::CpAsyncCommit);
        }
        if self.take("wait_all") {
            self.arity(0..=0)?;
            return self.emit(Op::CpAsyncWaitAll);
        }
        if self.take("wait_group") {
            self.arity(1..=1)?;
            let pending = u32::try_from(self.constant(0)?)
                .map_err(|_| self.bad("the number of pending groups is a 32-bit constant"))?;
            return self.emit(Op::CpAsyncWait { pending });
        }
        self.copy_async()
    }

    /// `cp.async.{ca,cg}.shared.global [dst], [src], size[, src_size | ignore][, policy]`
    fn copy_async(&mut self) -> Result<(), PtxError> {
        let through_l1 = self.require(&[("ca", true), ("cg", false)])?;
        self.require(&[("shared", ()), ("shared::cta", ())])?;
        self.require(&[("global", ())])?;
        let has_policy = self.copy_hints().policy;
        let count = self.arity(3..=5)? - usize::from(has_policy);
        if !(3..=4).contains(&count) {
            return Err(self.bad("a policy operand comes with .L2::cache_hint, and only then"));
        }
        let (_, dst) = self.address(0, Space::Shared)?;
        let (_, src) = self.address(1, Space::Global)?;
        let size = match (self.constant(2)?, through_l1) {
            (4, true) => 4,
            (8, true) => 8,
            (16, _) => 16,
            _ => return Err(self.bad(".ca copies 4, 8 or 16 bytes, .cg copies 16")),
        };
        let source = if count == 4 {
            self.copy_source()?
        } else {
            CpAsyncSource::Full
        };
        if has_policy {
            self.r64(count, Ty::B64)?;
        }
        self.emit(Op::CpAsync(Box::new(CpAsync {
            dst,
            src,
            size,
            source,
        })))
    }

    /// Operand 3: a number of bytes, or a predicate that replaces all of them by zeros.
    fn copy_source(&mut self) -> Result<CpAsyncSource, PtxError> {
        let (name, negated) = match *self.operand(3)? {
            Operand::Not(name) => (name, true),
            Operand::Name {
                name,
                component: None,
            } => (name, false),
            _ => return Ok(CpAsyncSource::Bytes(self.r32(3, Ty::U32)?)),
        };
        let register = self.find_register(name)?;
        if !negated && register.is_none_or(|register| register.file != File::Pred) {
            return Ok(CpAsyncSource::Bytes(self.r32(3, Ty::U32)?));
        }
        let what = "cp.async with a predicate";
        gates::check_form(self.ins.line, what, (80, (7, 5)), self.unit.tree)?;
        let pred = self.named_pred(name)?;
        Ok(CpAsyncSource::IgnoreIf(Guard { pred, negated }))
    }
}
