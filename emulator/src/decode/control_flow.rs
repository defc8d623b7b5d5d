//! Branches, calls, ends of threads (PTX ISA 9.7.12).

use super::budget::Cost;
use super::builder::File;
use super::inst::Inst;
use super::scope::{Register, create};
use super::symbols::Symbol;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Address, Consistency, Guard, LaneOp, Op, Pred, PredLogic, R32, R64, Space};
use crate::syntax::{Formal, Function, Operand};

impl<'t, 'a> Inst<'_, 't, 'a> {
    /// `bra[.uni] label`
    pub fn bra(&mut self) -> Result<(), PtxError> {
        let uniform = self.take("uni");
        self.arity(1..=1)?;
        let name = self.plain_name(0)?;
        let target = self.unit.find_label(name, self.ins.line)?.0;
        self.emit(Op::Bra { target, uniform })
    }

    /// `brx.idx[.uni] index, table`
    pub fn brx(&mut self) -> Result<(), PtxError> {
        self.require(&[("idx", ())])?;
        let uniform = self.take("uni");
        self.arity(2..=2)?;
        let index = self.r32(0, Ty::U32)?;
        let name = self.plain_name(1)?;
        let Some(table) = self.unit.scopes.table(name) else {
            return Err(self.bad(format!(
                "no .branchtargets called {name} stands before this line"
            )));
        };
        let targets = self.unit.builder.tables[table as usize].len();
        let budget = &self.unit.symbols.budget;
        budget.spend(Cost::JumpTargets, targets, self.ins.line)?;
        self.emit(Op::BranchIndexed {
            table,
            index,
            uniform,
        })
    }

    /// `ret[.uni]`: back to the caller; from an entry, the end of the thread.
    pub fn ret(&mut self) -> Result<(), PtxError> {
        let uniform = self.take("uni");
        self.arity(0..=0)?;
        let op = match self.unit.return_label() {
            Some(label) => Op::Bra {
                target: label.0,
                uniform,
            },
            None => Op::Exit,
        };
        self.emit(op)
    }

    fn plain_name(&self, i: usize) -> Result<&'a str, PtxError> {
        match *self.operand(i)? {
            Operand::Name {
                name,
                component: None,
            } => Ok(name),
            _ => Err(self.bad(format!("operand {} must be a name", i + 1))),
        }
    }

    /// `call[.uni] [(results),] function [, (arguments)]`
    pub fn call(&mut self) -> Result<(), PtxError> {
        self.take("uni");
        let (results, rest) = match self.ins.operands.as_slice() {
            [Operand::List(results), rest @ ..] => (results.as_slice(), rest),
            rest => (&[][..], rest),
        };
        let (callee, arguments) = match rest {
            [
                Operand::Name {
                    name,
                    component: None,
                },
            ] => (*name, &[][..]),
            [
                Operand::Name {
                    name,
                    component: None,
                },
                Operand::List(arguments),
            ] => (*name, arguments.as_slice()),
            _ => return Err(self.unsupported("call a function by its name with one argument list")),
        };
        if self.find_register(callee)?.is_some() {
            return Err(
                self.unsupported("indirect calls are not inlined; call the function by name")
            );
        }
        let Some(&function) = self.unit.symbols.functions.get(callee) else {
            let way_out = format!("{callee} has no body in this module; link it into the text");
            return Err(self.unsupported(&way_out));
        };
        if function.is_entry {
            return Err(self.bad(format!("{callee} is an entry; only a .func can be called")));
        }
        self.inline(function, results, arguments)
    }

    fn inline(
        &mut self,
        function: &'t Function<'a>,
        results: &'t [Operand<'a>],
        arguments: &'t [Operand<'a>],
    ) -> Result<(), PtxError> {
        let (returns, params) = (function.returns.len(), function.params.len());
        if (returns, params) != (results.len(), arguments.len()) {
            let rule = format!(
                "{} has {params} parameters and {returns} results",
                function.name
            );
            return Err(self.bad(rule));
        }
        // The guard becomes a branch around the inlined body.
        let guard = std::mem::replace(&mut self.builder().guard, Guard::ALWAYS);
        let after = self.builder().label();
        if guard != Guard::ALWAYS {
            self.builder().guard = Guard {
                pred: guard.pred,
                negated: !guard.negated,
            };
            self.emit(Op::Bra {
                target: after.0,
                uniform: false,
            })?;
            self.builder().guard = Guard::ALWAYS;
        }
        let mut places = Vec::new();
        for (formal, actual) in function.params.iter().zip(arguments) {
            let place = self.place(formal, actual)?;
            self.copy_in(place, actual)?;
            places.push((formal, place));
        }
        let first_result = places.len();
        for (formal, actual) in function.returns.iter().zip(results) {
            places.push((formal, self.place(formal, actual)?));
        }
        self.unit.inline(function, self.ins.line, |unit| {
            places
                .iter()
                .try_for_each(|&(formal, place)| match (formal, place) {
                    (Formal::Param(variable), Place::Area { symbol, .. }) => {
                        unit.scopes.bind(variable.name, symbol, variable.line)
                    }
                    (Formal::Register(registers), Place::Register(register)) => unit
                        .scopes
                        .bind_register(registers.name, register, registers.line),
                    _ => Ok(()),
                })
        })?;
        for (&(_, place), actual) in places[first_result..].iter().zip(results) {
            self.copy_out(place, actual)?;
        }
        self.builder().place(after);
        Ok(())
    }

    /// Where the callee finds a parameter: the caller's own `.param` area, or a fresh place of the formal's kind.
    fn place(&mut self, formal: &Formal<'a>, actual: &Operand<'a>) -> Result<Place, PtxError> {
        let variable = match formal {
            Formal::Register(registers) => {
                return Ok(Place::Register(create(registers, self.builder())?));
            }
            Formal::Param(variable) => variable,
        };
        if let &Operand::Name {
            name,
            component: None,
        } = actual
            && let Some(symbol @ Symbol::CallParam(_)) = self.unit.find_variable(name)
        {
            return Ok(Place::Area {
                symbol,
                bytes: None,
            });
        }
        let bytes = variable.bytes.unwrap_or(0);
        let symbol = Symbol::CallParam(self.builder().local(bytes, variable.align)?);
        Ok(Place::Area {
            symbol,
            bytes: u8::try_from(bytes).ok(),
        })
    }

    fn copy_in(&mut self, place: Place, actual: &Operand<'a>) -> Result<(), PtxError> {
        match place {
            Place::Area { bytes: None, .. } => Ok(()),
            Place::Area {
                symbol,
                bytes: Some(bytes),
            } => {
                let ty = self.scalar(bytes)?;
                let a = [self.source(actual, ty)?, 0, 0, 0];
                let (space, address) = self.local_access(symbol)?;
                let ty = ty.in_memory(bytes);
                self.emit(Op::Store {
                    space,
                    consistency: Consistency::Weak,
                    ty,
                    vector: 1,
                    a,
                    address,
                })
            }
            Place::Register(register) => {
                let a = self.source(actual, self.scalar(register.bytes)?)?;
                self.emit(copy(register.file, register.index, a))
            }
        }
    }

    fn copy_out(&mut self, place: Place, actual: &Operand<'a>) -> Result<(), PtxError> {
        match place {
            Place::Area { bytes: None, .. } => Ok(()),
            Place::Area {
                symbol,
                bytes: Some(bytes),
            } => {
                let ty = self.scalar(bytes)?.in_memory(bytes);
                let d = [self.destination(actual, self.scalar(bytes)?)?, 0, 0, 0];
                let (space, address) = self.local_access(symbol)?;
                self.emit(Op::Load {
                    space,
                    consistency: Consistency::Weak,
                    ty,
                    vector: 1,
                    d,
                    address,
                })
            }
            Place::Register(register) => {
                let d = self.destination(actual, self.scalar(register.bytes)?)?;
                self.emit(copy(register.file, d, register.index))
            }
        }
    }

    fn local_access(&mut self, symbol: Symbol) -> Result<(Space, Address), PtxError> {
        let offset = self.unit.offset_of(symbol);
        self.absolute(Space::Local, i64::from(offset))
    }

    /// The bit type of a parameter passed in a register.
    fn scalar(&self, bytes: u8) -> Result<Ty, PtxError> {
        Ok(match bytes {
            0 => Ty::Pred,
            1 => Ty::B8,
            2 => Ty::B16,
            4 => Ty::B32,
            8 => Ty::B64,
            _ => {
                return Err(
                    self.unsupported("pass parameters larger than 8 bytes as .param variables")
                );
            }
        })
    }
}

/// Where a callee finds a parameter or leaves a result.
#[derive(Clone, Copy)]
enum Place {
    /// A `.param` area; `bytes` when it is fresh and the value has to be copied.
    Area { symbol: Symbol, bytes: Option<u8> },
    /// A register of the callee.
    Register(Register),
}

/// A move within one register file.
pub(super) fn copy(file: File, d: u16, a: u16) -> LaneOp {
    match file {
        File::R32 => LaneOp::Mov32 {
            d: R32(d),
            a: R32(a),
        },
        File::R64 => LaneOp::Mov64 {
            d: R64(d),
            a: R64(a),
        },
        File::Pred => LaneOp::PredLogic {
            op: PredLogic::Mov,
            d: Pred(d),
            a: Pred(a),
            b: Pred::TRUE,
        },
    }
}
