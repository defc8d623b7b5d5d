//! Operands in brackets: addresses in registers, of variables, and absolute ones.

use super::builder::{File, Value};
use super::inst::Inst;
use super::symbols::Symbol;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Address, AddressBase, R32, R64, Space};
use crate::syntax::{self, Operand};

impl<'a> Inst<'_, '_, 'a> {
    /// Address operand `i` of an access to `space`. The space that comes back differs for `.param`: parameters of
    /// device functions are in local memory.
    pub fn address(&mut self, i: usize, space: Space) -> Result<(Space, Address), PtxError> {
        let &Operand::Address {
            base,
            offset,
            ref coordinates,
        } = self.operand(i)?
        else {
            return Err(self.bad(format!("operand {} must be an address in brackets", i + 1)));
        };
        if !coordinates.is_empty() {
            return Err(self.bad("coordinates are for tensor copies"));
        }
        self.address_of(base, offset, space)
    }

    /// An address operand, taken apart.
    pub fn address_of(
        &mut self,
        base: syntax::AddressBase<'a>,
        offset: i64,
        space: Space,
    ) -> Result<(Space, Address), PtxError> {
        let name = match base {
            syntax::AddressBase::Absolute => return self.absolute(space, offset),
            syntax::AddressBase::Name(name) => name,
        };
        let Some(register) = self.find_register(name)? else {
            return self.symbol_access(name, space, offset);
        };
        self.check_class(register, Ty::U64, name)?;
        let base = match (register.file, register.bytes) {
            (File::R64, _) => AddressBase::R64(R64(register.index)),
            (File::R32, 4) if !matches!(space, Space::Global | Space::Generic) => {
                AddressBase::R32(R32(register.index))
            }
            _ => return Err(self.bad(format!("{name} does not have the size of an address"))),
        };
        let offset = i32::try_from(offset)
            .map_err(|_| self.bad(format!("offset {offset} does not fit 32 bits with sign")))?;
        Ok((space, Address { base, offset }))
    }

    /// The address of byte `address` of a space.
    pub fn absolute(&mut self, space: Space, address: i64) -> Result<(Space, Address), PtxError> {
        let base = AddressBase::R64(self.builder().const64(address as u64)?);
        Ok((space, Address { base, offset: 0 }))
    }

    /// An address that the launch knows.
    fn placed(&mut self, space: Space, value: Value) -> Result<(Space, Address), PtxError> {
        let base = AddressBase::R64(R64(self.builder().preload(File::R64, value)?));
        Ok((space, Address { base, offset: 0 }))
    }

    fn elsewhere(&self, name: &str, symbol: Symbol) -> PtxError {
        let lies_in = space_of(symbol);
        self.bad(format!(
            "{name} lies in {lies_in:?} memory; name that space"
        ))
    }

    /// Refuses a variable that lies in another space.
    pub fn check_lies_in(&self, operand: &Operand<'a>, space: Space) -> Result<(), PtxError> {
        let (Operand::Name { name, .. } | Operand::Sum { name, .. }) = *operand else {
            return Ok(());
        };
        let window = match space {
            Space::SharedCluster => Space::Shared,
            space => space,
        };
        match self.unit.find_variable(name) {
            Some(symbol) if space_of(symbol) != window => Err(self.elsewhere(name, symbol)),
            _ => Ok(()),
        }
    }

    /// `[variable+offset]`.
    fn symbol_access(
        &mut self,
        name: &'a str,
        space: Space,
        offset: i64,
    ) -> Result<(Space, Address), PtxError> {
        let symbol = self.symbol(name)?;
        match symbol {
            Symbol::Global(index) if matches!(space, Space::Global | Space::Generic) => {
                return self.placed(space, Value::Global(index, offset));
            }
            Symbol::Shared(_) | Symbol::DynamicShared
                if matches!(space, Space::Shared | Space::SharedCluster) =>
            {
                let value = self.symbol_address(name, offset, Ty::B64)?;
                return self.placed(space, value);
            }
            _ if space_of(symbol) == space => {}
            _ => return Err(self.elsewhere(name, symbol)),
        }
        let space = match symbol {
            Symbol::CallParam(_) => Space::Local,
            _ => space,
        };
        self.absolute(space, i64::from(self.unit.offset_of(symbol)) + offset)
    }
}

/// Where a variable lies.
fn space_of(symbol: Symbol) -> Space {
    match symbol {
        Symbol::Global(_) => Space::Global,
        Symbol::Const(_) => Space::Const,
        Symbol::Shared(_) | Symbol::DynamicShared => Space::Shared,
        Symbol::Local(_) => Space::Local,
        Symbol::EntryParam(_) | Symbol::CallParam(_) => Space::Param,
    }
}
