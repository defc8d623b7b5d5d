//! Names inside functions: registers, variables, labels and branch tables of nested scopes.

use std::collections::HashMap;

use super::builder::{Builder, File, Label};
use super::symbols::{Symbol, duplicate};
use crate::error::PtxError;
use crate::syntax::{Class, Registers, Statement, Type};

/// A declared register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register {
    /// Its file.
    pub file: File,
    /// Its declared size; 0 for a predicate.
    pub bytes: u8,
    /// What its declared type means.
    pub class: Class,
    /// Its virtual number.
    pub index: u16,
}

/// Scopes that may be open at a time, those of callers included: the decoder's own stack is finite.
const MAX_OPEN: usize = 256;

/// One pair of braces.
#[derive(Default)]
struct Scope<'a> {
    registers: HashMap<&'a str, Register>,
    /// Ranges by the part of their names before the number.
    ranges: HashMap<&'a str, Registers<'a>>,
    variables: HashMap<&'a str, Symbol>,
    labels: HashMap<&'a str, Label>,
    tables: HashMap<&'a str, u32>,
}

impl<'a> Scope<'a> {
    /// The range that declares `name`: `%r<12>` declares `%r0` to `%r11`.
    fn range(&self, name: &str) -> Option<&Registers<'a>> {
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        // Numbers of at most 32 bits have 10 digits; any of those before them may belong to the name of the range.
        let shortest = prefix.len().max(name.len().saturating_sub(10));
        (shortest..name.len()).find_map(|end| {
            let (prefix, digits) = name.split_at_checked(end)?;
            let range = self.ranges.get(prefix)?;
            let is_canonical = digits == "0" || !digits.starts_with('0');
            let is_inside = digits.parse().is_ok_and(|n: u32| Some(n) < range.count);
            (is_canonical && is_inside).then_some(range)
        })
    }
}

/// The scopes that are open. A function sees its own only, however deep the calls that led to it.
pub(super) struct Scopes<'a> {
    open: Vec<Scope<'a>>,
    /// Index of the outermost scope of the current function.
    base: usize,
}

impl<'a> Scopes<'a> {
    /// No scope is open.
    pub fn new() -> Self {
        Scopes {
            open: Vec::new(),
            base: 0,
        }
    }

    /// Opens a scope; its labels are known from its beginning.
    pub fn enter(&mut self, body: &[Statement<'a>], builder: &mut Builder) -> Result<(), PtxError> {
        if self.open.len() >= MAX_OPEN {
            let (what, limit) = ("the depth of scopes and calls", MAX_OPEN as u64);
            return Err(PtxError::limit(
                builder.location.line,
                what,
                limit + 1,
                limit,
            ));
        }
        let mut scope = Scope::default();
        for statement in body {
            if let Statement::Label { name, line } = *statement
                && scope.labels.insert(name, builder.label()).is_some()
            {
                return Err(duplicate(line, name));
            }
        }
        self.open.push(scope);
        Ok(())
    }

    /// Closes the innermost scope.
    pub fn leave(&mut self) {
        self.open.pop();
    }

    /// Hides the caller's names. Returns what [`Scopes::leave_function`] needs to show them again.
    pub fn enter_function(&mut self) -> usize {
        std::mem::replace(&mut self.base, self.open.len())
    }

    /// Shows the caller's names again.
    pub fn leave_function(&mut self, callers_base: usize) {
        self.base = callers_base;
    }

    fn innermost(&mut self) -> &mut Scope<'a> {
        if self.open.len() == self.base {
            self.open.push(Scope::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Inner scopes first.
    fn visible(&self) -> impl Iterator<Item = &Scope<'a>> {
        self.open[self.base..].iter().rev()
    }

    /// Declares registers; those of a range come into being when they are first named.
    pub fn declare(
        &mut self,
        registers: &Registers<'a>,
        builder: &mut Builder,
    ) -> Result<(), PtxError> {
        let scope = self.innermost();
        if registers.count.is_some() {
            return match scope.ranges.insert(registers.name, registers.clone()) {
                Some(_) => Err(duplicate(registers.line, registers.name)),
                None => Ok(()),
            };
        }
        let register = create(registers, builder)?;
        match scope.registers.insert(registers.name, register) {
            Some(_) => Err(duplicate(registers.line, registers.name)),
            None => Ok(()),
        }
    }

    /// Binds a name to a register that exists already.
    pub fn bind_register(
        &mut self,
        name: &'a str,
        register: Register,
        line: u32,
    ) -> Result<(), PtxError> {
        match self.innermost().registers.insert(name, register) {
            Some(_) => Err(duplicate(line, name)),
            None => Ok(()),
        }
    }

    /// Binds a name to a variable.
    pub fn bind(&mut self, name: &'a str, symbol: Symbol, line: u32) -> Result<(), PtxError> {
        match self.innermost().variables.insert(name, symbol) {
            Some(_) => Err(duplicate(line, name)),
            None => Ok(()),
        }
    }

    /// Binds a name to a branch table.
    pub fn bind_table(&mut self, name: &'a str, table: u32, line: u32) -> Result<(), PtxError> {
        match self.innermost().tables.insert(name, table) {
            Some(_) => Err(duplicate(line, name)),
            None => Ok(()),
        }
    }

    /// The register called `name`.
    pub fn register(
        &mut self,
        name: &'a str,
        builder: &mut Builder,
    ) -> Result<Option<Register>, PtxError> {
        let base = self.base;
        for scope in self.open[base..].iter_mut().rev() {
            if let Some(&register) = scope.registers.get(name) {
                return Ok(Some(register));
            }
            if let Some(range) = scope.range(name) {
                let register = create(range, builder)?;
                scope.registers.insert(name, register);
                return Ok(Some(register));
            }
        }
        Ok(None)
    }

    /// The variable called `name`.
    pub fn variable(&self, name: &str) -> Option<Symbol> {
        self.visible()
            .find_map(|scope| scope.variables.get(name).copied())
    }

    /// The label called `name`.
    pub fn label(&self, name: &str) -> Option<Label> {
        self.visible()
            .find_map(|scope| scope.labels.get(name).copied())
    }

    /// The branch table called `name`.
    pub fn table(&self, name: &str) -> Option<u32> {
        self.visible()
            .find_map(|scope| scope.tables.get(name).copied())
    }
}

/// A fresh register of the declared type.
pub(super) fn create(
    registers: &Registers<'_>,
    builder: &mut Builder,
) -> Result<Register, PtxError> {
    let (file, bytes, class) = match registers.ty {
        Type::Pred => (File::Pred, 0, Class::Bits),
        Type::Value { bytes: 8, class } => (File::R64, 8, class),
        Type::Value { bytes: 16, .. } => {
            let way_out = "use pairs of .b64 registers";
            return Err(PtxError::unsupported(registers.line, ".reg .b128", way_out));
        }
        Type::Value { bytes, class } => (File::R32, bytes, class),
    };
    Ok(Register {
        file,
        bytes,
        class,
        index: builder.register(file)?,
    })
}
