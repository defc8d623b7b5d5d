//! Places of the `.shared` variables that bodies declare: one each, however often a function is inlined.

use std::collections::HashMap;

use super::symbols::{Symbol, place_shared};
use crate::error::PtxError;
use crate::ir::SharedLayout;
use crate::syntax::{Statement, Variable, VariableSpace};

/// `.shared` variables of bodies by their declaration.
#[derive(Default)]
pub(super) struct StaticShared {
    places: HashMap<*const (), Symbol>,
}

impl StaticShared {
    /// Finds places for the variables of a body before any address is taken: the dynamic array lies behind all of them.
    pub fn place(
        &mut self,
        shared: &mut SharedLayout,
        body: &[Statement<'_>],
    ) -> Result<(), PtxError> {
        for statement in body {
            match statement {
                Statement::Block(inner) => self.place(shared, inner)?,
                Statement::Variable(variable) if variable.space == VariableSpace::Shared => {
                    let symbol = place_shared(shared, variable)?;
                    self.places.insert(key(variable), symbol);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The place of a variable, if its body has been seen.
    pub fn of(&self, variable: &Variable<'_>) -> Option<Symbol> {
        self.places.get(&key(variable)).copied()
    }
}

/// Declarations are told apart by where they stand in the syntax tree, which does not move while it is decoded.
fn key(variable: &Variable<'_>) -> *const () {
    std::ptr::from_ref(variable).cast()
}
