//! Unfolds one entry into a flat program: bodies, scopes, labels, and device functions inlined at each call.
//!
//! A call's parameters are bytes of the thread's local memory that caller and callee both name; no call stack exists.

use super::budget::Cost;
use super::builder::{Builder, Label};
use super::gates;
use super::inst::Inst;
use super::opcodes;
use super::scope::Scopes;
use super::sources::Sources;
use super::static_shared::StaticShared;
use super::symbols::{Symbol, Symbols};
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::{Guard, Location, Op, Pred, SharedLayout};
use crate::syntax::{
    Formal, Function, Instruction, ModuleTree, Statement, Variable, VariableSpace,
};

/// Calls nest this deep at most.
const MAX_CALL_DEPTH: usize = 64;

/// One entry while it is decoded.
pub(super) struct Unit<'t, 'a> {
    /// The module it is part of.
    pub tree: &'t ModuleTree<'a>,
    /// The module's variables and functions.
    pub symbols: &'t Symbols<'t, 'a>,
    /// Its program so far.
    pub builder: Builder,
    /// Names that are visible now.
    pub scopes: Scopes<'a>,
    /// Source lines of the program so far.
    pub sources: Sources,
    /// Source line of the call that is being inlined.
    call_site: Option<u32>,
    /// Shared memory of the module, this entry and all device functions.
    pub shared: SharedLayout,
    /// Size of the parameter buffer in bytes.
    pub param_bytes: u32,
    /// The `.shared` variables of the entry's body.
    static_shared: StaticShared,
    /// The carry flag, once an instruction since the last call or return has named it.
    carry: Option<Pred>,
    /// Functions being inlined, outermost first, with the label that `ret` jumps to; the entry has none.
    calls: Vec<(&'a str, Option<Label>)>,
}

impl<'t, 'a> Unit<'t, 'a> {
    /// Decodes all of `entry`.
    pub fn decode(
        tree: &'t ModuleTree<'a>,
        symbols: &'t Symbols<'t, 'a>,
        entry: &'t Function<'a>,
    ) -> Result<Self, PtxError> {
        let mut unit = Unit {
            tree,
            symbols,
            builder: Builder::new(),
            scopes: Scopes::new(),
            sources: Sources::default(),
            call_site: None,
            shared: symbols.shared,
            param_bytes: 0,
            static_shared: StaticShared::default(),
            carry: None,
            calls: vec![(entry.name, None)],
        };
        let body = entry.body.as_deref().unwrap_or_default();
        unit.static_shared.place(&mut unit.shared, body)?;
        unit.entry_params(&entry.params)?;
        unit.body(body)?;
        unit.builder.emit(Op::Exit)?;
        Ok(unit)
    }

    /// Lays the parameters out as C does a struct (PTX ISA 5.1.6).
    fn entry_params(&mut self, params: &[Formal<'a>]) -> Result<(), PtxError> {
        let mut end = 0u64;
        for param in params {
            let (variable, bytes) = match param {
                Formal::Param(variable) => (variable, variable.bytes),
                Formal::Register(registers) => {
                    let way_out = "declare the parameters of an entry as .param";
                    return Err(PtxError::unsupported(
                        registers.line,
                        "a .reg parameter",
                        way_out,
                    ));
                }
            };
            let offset = end.next_multiple_of(u64::from(variable.align));
            end = offset + bytes.unwrap_or(u64::MAX >> 1);
            // PTX ISA 5.1.6.1: the largest parameter buffer of any version.
            let limit = 32764;
            if end > limit {
                let what = "the parameter buffer in bytes";
                return Err(PtxError::limit(variable.line, what, end, limit));
            }
            let symbol = Symbol::EntryParam(offset as u32);
            self.scopes.bind(variable.name, symbol, variable.line)?;
        }
        self.param_bytes = end as u32;
        Ok(())
    }

    /// The variable that a name stands for here.
    pub fn find_variable(&self, name: &str) -> Option<Symbol> {
        let module = || self.symbols.variables.get(name).copied();
        self.scopes.variable(name).or_else(module)
    }

    /// Offset of a variable in its space; those that only a launch places have none.
    pub fn offset_of(&self, symbol: Symbol) -> u32 {
        match symbol {
            Symbol::Global(_) | Symbol::DynamicShared => 0,
            Symbol::Const(offset)
            | Symbol::Shared(offset)
            | Symbol::Local(offset)
            | Symbol::EntryParam(offset)
            | Symbol::CallParam(offset) => offset,
        }
    }

    /// The carry flag of `add.cc` and its like (PTX ISA 9.7.2).
    pub fn carry(&mut self) -> Result<Pred, PtxError> {
        let carry = match self.carry {
            Some(carry) => carry,
            None => self.builder.fresh_pred()?,
        };
        self.carry = Some(carry);
        Ok(carry)
    }

    /// Where `ret` goes in the current function; `None` in the entry.
    pub fn return_label(&self) -> Option<Label> {
        self.calls.last().and_then(|&(_, label)| label)
    }

    fn body(&mut self, body: &'t [Statement<'a>]) -> Result<(), PtxError> {
        self.scopes.enter(body, &mut self.builder)?;
        for statement in body {
            self.statement(statement)?;
        }
        self.scopes.leave();
        Ok(())
    }

    fn statement(&mut self, statement: &'t Statement<'a>) -> Result<(), PtxError> {
        match statement {
            Statement::Registers(registers) => self.scopes.declare(registers, &mut self.builder),
            Statement::Variable(variable) => self.variable(variable),
            Statement::Label { name, .. } => {
                if let Some(label) = self.scopes.label(name) {
                    self.builder.place(label);
                }
                Ok(())
            }
            Statement::Instruction(instruction) => self.instruction(instruction),
            Statement::Block(inner) => self.body(inner),
            Statement::BranchTargets { name, line, labels } => self.table(name, *line, labels),
            // Only indirect calls look at prototypes, and those are refused where they stand.
            Statement::CallPrototype => Ok(()),
        }
    }

    fn variable(&mut self, variable: &Variable<'a>) -> Result<(), PtxError> {
        if !variable.initial.is_empty() {
            let what = format!("an initialiser for {}", variable.name);
            let way_out = "only .global and .const variables have one; store the values";
            return Err(PtxError::unsupported(variable.line, what, way_out));
        }
        let in_function = self.symbols.static_shared.of(variable);
        let place = self.static_shared.of(variable).or(in_function);
        let symbol = match (variable.space, variable.bytes, place) {
            (VariableSpace::Shared, _, Some(place)) => place,
            (VariableSpace::Local, Some(bytes), _) => {
                Symbol::Local(self.builder.local(bytes, variable.align)?)
            }
            (VariableSpace::Param, Some(bytes), _) => {
                Symbol::CallParam(self.builder.local(bytes, variable.align)?)
            }
            _ => {
                let what = format!("{} in this place", variable.name);
                let way_out = "give it a length, or declare it at module scope";
                return Err(PtxError::unsupported(variable.line, what, way_out));
            }
        };
        self.scopes.bind(variable.name, symbol, variable.line)
    }

    fn table(&mut self, name: &'a str, line: u32, labels: &[&'a str]) -> Result<(), PtxError> {
        let labels: Result<Vec<_>, _> = labels
            .iter()
            .map(|name| self.find_label(name, line).map(|label| label.0))
            .collect();
        self.builder.tables.push(labels?);
        let table = self.builder.tables.len() as u32 - 1;
        self.scopes.bind_table(name, table, line)
    }

    /// The label that a branch names.
    pub fn find_label(&self, name: &str, line: u32) -> Result<Label, PtxError> {
        self.scopes.label(name).ok_or_else(|| {
            PtxError::new(
                line,
                PtxErrorKind::Undefined {
                    name: name.to_string(),
                },
            )
        })
    }

    fn instruction(&mut self, ins: &'t Instruction<'a>) -> Result<(), PtxError> {
        self.builder.location = Location {
            line: ins.line,
            source: self.sources.place(self.symbols, ins.source, self.call_site),
        };
        gates::check(ins, self.tree)?;
        let mut inst = Inst::new(self, ins)?;
        if let Some((name, negated)) = ins.guard {
            let pred = inst.named_pred(name)?;
            inst.builder().guard = Guard { pred, negated };
        }
        opcodes::decode(&mut inst)?;
        inst.finish()?;
        self.builder.guard = Guard::ALWAYS;
        Ok(())
    }

    /// Inlines `function`. `bind` gives the callee's parameters their values once its names are the visible ones.
    pub fn inline(
        &mut self,
        function: &'t Function<'a>,
        line: u32,
        bind: impl FnOnce(&mut Self) -> Result<(), PtxError>,
    ) -> Result<(), PtxError> {
        if self.calls.iter().any(|&(name, _)| name == function.name) {
            let function = function.name.to_string();
            return Err(PtxError::new(line, PtxErrorKind::Recursion { function }));
        }
        if self.calls.len() >= MAX_CALL_DEPTH {
            let (what, limit) = ("the depth of calls", MAX_CALL_DEPTH as u64);
            return Err(PtxError::limit(line, what, limit + 1, limit));
        }
        let budget = &self.symbols.budget;
        budget.spend(Cost::InlinedText, function.text_bytes, line)?;
        let end = self.builder.label();
        let call = self.builder.location;
        let callers_call_site = std::mem::replace(&mut self.call_site, call.source);
        let callers_base = self.scopes.enter_function();
        self.calls.push((function.name, Some(end)));
        self.carry = None;
        self.scopes.enter(&[], &mut self.builder)?;
        bind(self)?;
        self.body(function.body.as_deref().unwrap_or_default())?;
        self.scopes.leave();
        self.calls.pop();
        self.carry = None;
        self.scopes.leave_function(callers_base);
        self.call_site = callers_call_site;
        self.builder.location = call;
        self.builder.place(end);
        Ok(())
    }
}
