//! Module scope: where `.global`, `.const` and `.shared` variables lie, and which functions there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::budget::Budget;
use super::static_shared::StaticShared;
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::{GlobalVariable, Globals, Relocation, SharedLayout, SharedModel, window};
use crate::syntax::{Constant, Function, ModuleTree, SourceLine, Variable, VariableSpace};

/// What a name of a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    /// Index of a `.global` variable.
    Global(u32),
    /// Offset in the constant bank.
    Const(u32),
    /// Offset in the block's static shared memory.
    Shared(u32),
    /// The array whose size the launch gives.
    DynamicShared,
    /// Offset in the thread's local memory.
    Local(u32),
    /// Offset in the entry's parameter buffer.
    EntryParam(u32),
    /// Offset in local memory of a parameter that one call passes.
    CallParam(u32),
}

/// Bytes of all `.global` variables at most.
const MAX_GLOBAL_BYTES: u64 = 1 << 31;

/// The variables and functions of a module.
pub(super) struct Symbols<'t, 'a> {
    /// Variables by name.
    pub variables: HashMap<&'a str, Symbol>,
    /// Functions with bodies by name.
    pub functions: HashMap<&'a str, &'t Function<'a>>,
    /// Names of all functions, with and without bodies.
    function_names: HashSet<&'a str>,
    /// `.global` variables.
    pub globals: Arc<Globals>,
    /// Constant bank.
    pub constants: Arc<[u8]>,
    /// Shared memory declared at module scope and in the bodies of device functions.
    pub shared: SharedLayout,
    /// The `.shared` variables of those bodies.
    pub static_shared: StaticShared,
    /// Index of each `.file` by its number; the first one wins.
    pub files: HashMap<u32, u32>,
    /// Lines that `.loc` directives name.
    pub source_lines: &'t [SourceLine],
    /// What decoding this module has cost.
    pub budget: Budget,
}

impl<'t, 'a> Symbols<'t, 'a> {
    /// Lays out everything at module scope.
    pub fn new(tree: &'t ModuleTree<'a>) -> Result<Self, PtxError> {
        let model = SharedModel::of(tree.target);
        let mut symbols = Symbols {
            variables: HashMap::new(),
            functions: HashMap::new(),
            function_names: tree
                .functions
                .iter()
                .map(|function| function.name)
                .collect(),
            globals: Arc::default(),
            constants: Arc::default(),
            shared: SharedLayout {
                model,
                static_end: model.first(),
                dynamic_align: None,
            },
            static_shared: StaticShared::default(),
            files: HashMap::new(),
            source_lines: &tree.source_lines,
            budget: Budget::new(tree),
        };
        for (index, &(number, _)) in tree.files.iter().enumerate() {
            symbols.files.entry(number).or_insert(index as u32);
        }
        let mut constants = Vec::new();
        let mut globals = Vec::new();
        for variable in &tree.variables {
            let symbol = match variable.space {
                VariableSpace::Global => {
                    globals.push(variable);
                    Symbol::Global(globals.len() as u32 - 1)
                }
                VariableSpace::Const => Symbol::Const(place_constant(&mut constants, variable)?),
                _ => place_shared(&mut symbols.shared, variable)?,
            };
            if symbols.variables.insert(variable.name, symbol).is_some() {
                return Err(duplicate(variable.line, variable.name));
            }
        }
        let mut total = 0;
        let variables = globals.iter().map(|variable| {
            total += variable.bytes.unwrap_or(0);
            if total > MAX_GLOBAL_BYTES {
                let what = "the size of all .global variables in bytes";
                return Err(PtxError::limit(
                    variable.line,
                    what,
                    total,
                    MAX_GLOBAL_BYTES,
                ));
            }
            symbols.global(variable)
        });
        let variables = variables.collect::<Result<_, _>>()?;
        symbols.globals = Arc::new(Globals { variables });
        symbols.constants = constants.into();
        for function in tree
            .functions
            .iter()
            .filter(|function| function.body.is_some())
        {
            if symbols.functions.insert(function.name, function).is_some() {
                return Err(duplicate(function.line, function.name));
            }
        }
        for function in tree.functions.iter().filter(|function| !function.is_entry) {
            let body = function.body.as_deref().unwrap_or_default();
            symbols.static_shared.place(&mut symbols.shared, body)?;
        }
        Ok(symbols)
    }

    fn global(&self, variable: &Variable<'a>) -> Result<GlobalVariable, PtxError> {
        let Some(bytes) = variable.bytes.filter(|_| !variable.is_extern) else {
            let what = format!("{}, defined outside this module", variable.name);
            return Err(PtxError::unsupported(
                variable.line,
                what,
                "link the modules into one text",
            ));
        };
        if variable.align > 256 {
            let what = format!(".align {} of a .global variable", variable.align);
            return Err(PtxError::unsupported(
                variable.line,
                what,
                "the largest is 256",
            ));
        }
        let mut relocations = Vec::new();
        let initial = initial_bytes(variable, |offset, name, addend| {
            match self.variables.get(name) {
                Some(&Symbol::Global(variable)) => {
                    relocations.push(Relocation {
                        offset,
                        variable,
                        addend,
                    });
                    Ok(())
                }
                // A table of functions serves indirect calls, which are refused where they stand; a null pointer
                // faults when it is followed.
                None if self.function_names.contains(name) => Ok(()),
                _ => {
                    let what = format!("the address of {name} in an initialiser");
                    let way_out = "variables in .global memory may stand there";
                    Err(PtxError::unsupported(variable.line, what, way_out))
                }
            }
        })?;
        let (name, align) = (variable.name.to_string(), variable.align);
        Ok(GlobalVariable {
            name,
            align,
            bytes,
            initial,
            relocations,
        })
    }
}

/// The error for a name that stands for two things.
pub(super) fn duplicate(line: u32, name: &str) -> PtxError {
    PtxError::new(
        line,
        PtxErrorKind::Duplicate {
            name: name.to_string(),
        },
    )
}

/// The initialiser's bytes. `relocate(offset, symbol, addend)` hears of every address among them.
fn initial_bytes<'a>(
    variable: &Variable<'a>,
    mut relocate: impl FnMut(u32, &'a str, i64) -> Result<(), PtxError>,
) -> Result<Vec<u8>, PtxError> {
    let size = variable.element_bytes as usize;
    let mut bytes = Vec::with_capacity(size * variable.initial.len());
    for &constant in &variable.initial {
        let bits = match constant {
            Constant::Bits(bits) => bits,
            Constant::Double(value) if size == 4 => u64::from((value as f32).to_bits()),
            Constant::Double(value) if size == 8 => value.to_bits(),
            Constant::Address { name, offset, .. } if size == 8 => {
                relocate(bytes.len() as u32, name, offset)?;
                0
            }
            _ => {
                let expected = format!("a constant of {size} bytes in the initialiser");
                return Err(PtxError::syntax(
                    variable.line,
                    expected,
                    format!("{constant:?}"),
                ));
            }
        };
        let wide = u128::from(bits).to_le_bytes();
        bytes.extend_from_slice(&wide[..size.min(wide.len())]);
    }
    Ok(bytes)
}

fn place_constant(bank: &mut Vec<u8>, variable: &Variable) -> Result<u32, PtxError> {
    let offset = bank.len().next_multiple_of(variable.align as usize);
    let bytes = variable.bytes.unwrap_or(0);
    // PTX ISA 5.1.3: the bank holds 64 KiB.
    if variable.is_extern || offset as u64 + bytes > 1 << 16 {
        let what = format!("{} outside the 64 KiB of .const", variable.name);
        return Err(PtxError::unsupported(
            variable.line,
            what,
            "put it into .global memory",
        ));
    }
    let contents = initial_bytes(variable, |_, name, _| {
        let what = format!("the address of {name} in a .const initialiser");
        Err(PtxError::unsupported(
            variable.line,
            what,
            "put the table into .global memory",
        ))
    })?;
    bank.resize(offset, 0);
    bank.extend(contents);
    bank.resize(offset + bytes as usize, 0);
    Ok(offset as u32)
}

/// Gives a `.shared` variable its place.
pub(super) fn place_shared(
    shared: &mut SharedLayout,
    variable: &Variable,
) -> Result<Symbol, PtxError> {
    if !variable.initial.is_empty() {
        let what = format!("an initialiser for {}", variable.name);
        let way_out = "shared memory has none; store the values in the kernel";
        return Err(PtxError::unsupported(variable.line, what, way_out));
    }
    let Some(bytes) = variable.bytes else {
        let align = shared.dynamic_align.unwrap_or(1);
        shared.dynamic_align = Some(align.max(variable.align));
        return Ok(Symbol::DynamicShared);
    };
    let offset = u64::from(shared.static_end).next_multiple_of(u64::from(variable.align));
    let limit = window::BYTES;
    if offset + bytes > limit {
        let (what, value) = ("shared memory in bytes", offset + bytes);
        return Err(PtxError::limit(variable.line, what, value, limit));
    }
    shared.static_end = (offset + bytes) as u32;
    Ok(Symbol::Shared(offset as u32))
}
