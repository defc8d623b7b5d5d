//! One instruction being decoded: its qualifiers, its errors, and the program it is added to.
//!
//! Qualifiers are taken one by one, in any order where the ISA names them in any order; whatever is left over at the
//! end is refused, so no qualifier is ever ignored by accident.

use super::builder::Builder;
use super::types::Ty;
use super::unit::Unit;
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::{Guard, LaneOp, Op, Pred, PredLogic};
use crate::syntax::Instruction;

/// One instruction being decoded.
pub(super) struct Inst<'u, 't, 'a> {
    /// The entry it belongs to.
    pub unit: &'u mut Unit<'t, 'a>,
    /// As written.
    pub ins: &'t Instruction<'a>,
    /// Bit i: qualifier i has been taken.
    taken: u64,
}

impl<'u, 't, 'a> Inst<'u, 't, 'a> {
    /// Starts with no qualifier taken.
    pub fn new(unit: &'u mut Unit<'t, 'a>, ins: &'t Instruction<'a>) -> Result<Self, PtxError> {
        let inst = Inst {
            unit,
            ins,
            taken: 0,
        };
        if inst.ins.qualifiers.len() > 64 {
            return Err(inst.bad("an instruction has at most 64 qualifiers"));
        }
        Ok(inst)
    }

    /// The program being built.
    pub fn builder(&mut self) -> &mut Builder {
        &mut self.unit.builder
    }

    /// Appends an operation under this instruction's guard.
    pub fn emit(&mut self, op: impl Into<Op>) -> Result<(), PtxError> {
        self.unit.builder.emit(op)
    }

    // ---- errors ----

    /// The statement breaks a rule.
    pub fn bad(&self, rule: impl Into<String>) -> PtxError {
        let statement = self
            .ins
            .text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let kind = PtxErrorKind::Operand {
            statement,
            rule: rule.into(),
        };
        PtxError::new(self.ins.line, kind)
    }

    /// The statement is legal and not executed here.
    pub fn unsupported(&self, way_out: &str) -> PtxError {
        PtxError::unsupported(self.ins.line, self.mnemonic(), way_out)
    }

    /// Opcode and qualifiers as written.
    pub fn mnemonic(&self) -> String {
        let mut words = vec![self.ins.opcode];
        words.extend(&self.ins.qualifiers);
        words.join(".")
    }

    // ---- qualifiers ----

    /// Takes the qualifier if it is there.
    pub fn take(&mut self, word: &str) -> bool {
        self.choose(&[(word, ())]).is_some()
    }

    /// Takes the first qualifier that is one of `options`.
    pub fn choose<T: Copy>(&mut self, options: &[(&str, T)]) -> Option<T> {
        self.take_map(|word| {
            let option = options.iter().find(|(name, _)| *name == word);
            option.map(|&(_, value)| value)
        })
    }

    /// Takes a qualifier that must be there.
    pub fn require<T: Copy>(&mut self, options: &[(&str, T)]) -> Result<T, PtxError> {
        self.choose(options).ok_or_else(|| {
            let names: Vec<_> = options.iter().map(|(name, _)| format!(".{name}")).collect();
            self.bad(format!("one of {} is missing", names.join(" ")))
        })
    }

    /// Takes the next type.
    pub fn next_type(&mut self) -> Option<Ty> {
        self.take_map(Ty::from_word)
    }

    /// Takes the next type, which must be there.
    pub fn ty(&mut self) -> Result<Ty, PtxError> {
        self.next_type().ok_or_else(|| match self.finish() {
            Err(unknown) => unknown,
            Ok(()) => self.bad("a type is missing"),
        })
    }

    /// The last type named, without taking it: it tells which family `add` and its like belong to.
    pub fn last_type(&self) -> Option<Ty> {
        self.ins
            .qualifiers
            .iter()
            .rev()
            .find_map(|word| Ty::from_word(word))
    }

    /// Takes the first qualifier left for which `meaning` has a value.
    pub(super) fn take_map<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        for (i, word) in self.ins.qualifiers.iter().enumerate() {
            if self.taken >> i & 1 == 0
                && let Some(value) = meaning(word)
            {
                self.taken |= 1 << i;
                return Some(value);
            }
        }
        None
    }

    /// Refuses what nobody took.
    pub fn finish(&self) -> Result<(), PtxError> {
        let mut words = self.ins.qualifiers.iter().enumerate();
        match words.find(|(i, _)| self.taken >> i & 1 == 0) {
            None => Ok(()),
            Some((_, word)) => {
                let way_out = format!("`.{word}` is unknown in this place; leave it out");
                Err(self.unsupported(&way_out))
            }
        }
    }

    // ---- several operations for one instruction ----

    /// Makes the guard survive this instruction's own writes: an instruction that is expanded into several operations
    /// may write the predicate that guards it with the first of them.
    pub fn protect_guard(&mut self) -> Result<(), PtxError> {
        let guard = self.unit.builder.guard;
        if guard == Guard::ALWAYS {
            return Ok(());
        }
        let copy = self.builder().fresh_pred()?;
        let (op, a, b) = (PredLogic::Mov, guard.pred, Pred::TRUE);
        self.builder()
            .emit_unguarded(LaneOp::PredLogic { op, d: copy, a, b })?;
        self.builder().guard = Guard {
            pred: copy,
            negated: guard.negated,
        };
        Ok(())
    }
}
