//! Declarations: variables with their initialisers, registers, formal parameters (PTX ISA 5.4).

use super::Parser;
use crate::error::PtxError;
use crate::lexer::TokenKind;
use crate::syntax::{Constant, Formal, Registers, Type, Variable, VariableSpace};

/// Largest variable in bytes: more than any device has, and small enough that no sum of sizes wraps.
const MAX_VARIABLE_BYTES: u64 = 1 << 40;

impl<'a> Parser<'a> {
    /// `[.align n] .type name[dims] [= init], ..;` after the state space.
    pub(super) fn variables(
        &mut self,
        space: VariableSpace,
        is_extern: bool,
        into: &mut Vec<Variable<'a>>,
    ) -> Result<(), PtxError> {
        let (align, element_bytes) = self.element()?;
        loop {
            let mut variable = self.declarator(space, align, element_bytes)?;
            variable.is_extern = is_extern;
            if self.accept('=') {
                self.initialiser(&mut variable.initial)?;
                let given = element_bytes as u64 * variable.initial.len() as u64;
                let bytes = *variable.bytes.get_or_insert(given);
                if given > bytes {
                    let expected = format!("at most {bytes} bytes for {}", variable.name);
                    return Err(PtxError::syntax(
                        variable.line,
                        expected,
                        format!("{given} bytes"),
                    ));
                }
            }
            into.push(variable);
            if !self.accept(',') {
                return self.expect(';');
            }
        }
    }

    /// `[.align n] [.v4] .type [.ptr [.space] [.align n]]`: alignment and element size in bytes.
    fn element(&mut self) -> Result<(u32, u32), PtxError> {
        let mut align = None;
        let mut lanes = 1;
        loop {
            let line = self.line();
            match self.dotted("a type")? {
                "align" => align = Some(self.alignment()?),
                "v2" => lanes = 2,
                "v4" => lanes = 4,
                word => {
                    let bytes = match Type::from_word(word) {
                        Some(Type::Value { bytes, .. }) => u32::from(bytes),
                        _ => {
                            return Err(PtxError::syntax(line, "the type of a variable", word));
                        }
                    };
                    self.pointer_annotation()?;
                    return Ok((align.unwrap_or(bytes * lanes), bytes * lanes));
                }
            }
        }
    }

    fn alignment(&mut self) -> Result<u32, PtxError> {
        let line = self.line();
        let align = self.small_integer("an alignment")?;
        if !align.is_power_of_two() || align > 1 << 20 {
            let expected = "an alignment that is a power of two up to 2^20";
            return Err(PtxError::syntax(line, expected, align.to_string()));
        }
        Ok(align)
    }

    /// `.ptr [.space] [.align n]` tells what a pointer parameter points to; it changes nothing.
    fn pointer_annotation(&mut self) -> Result<(), PtxError> {
        if self.accept_dotted("ptr") {
            while let TokenKind::Dotted(word) = self.kind() {
                self.at += 1;
                if word == "align" {
                    self.alignment()?;
                }
            }
        }
        Ok(())
    }

    fn declarator(
        &mut self,
        space: VariableSpace,
        align: u32,
        element_bytes: u32,
    ) -> Result<Variable<'a>, PtxError> {
        let line = self.line();
        let name = self.word("the name of a variable")?;
        let mut bytes = Some(u64::from(element_bytes));
        while self.accept('[') {
            if self.accept(']') {
                bytes = None;
                continue;
            }
            let length = self.integer("an array length")?;
            self.expect(']')?;
            bytes = bytes.map(|bytes| bytes.saturating_mul(length));
        }
        if bytes.is_some_and(|bytes| bytes > MAX_VARIABLE_BYTES) {
            let what = format!("{name} of more than 2^40 bytes");
            return Err(PtxError::unsupported(line, what, "declare it smaller"));
        }
        let initial = Vec::new();
        Ok(Variable {
            line,
            space,
            is_extern: false,
            align,
            element_bytes,
            name,
            bytes,
            initial,
        })
    }

    /// A value or a brace list of values.
    fn initialiser(&mut self, into: &mut Vec<Constant<'a>>) -> Result<(), PtxError> {
        if self.kind() != TokenKind::Punct('{') {
            into.push(self.constant()?);
            return Ok(());
        }
        let line = self.line();
        self.expect('{')?;
        while !self.accept('}') {
            if self.kind() == TokenKind::Punct('{') {
                return Err(PtxError::unsupported(
                    line,
                    "nested braces",
                    "write one flat list",
                ));
            }
            into.push(self.constant()?);
            if self.kind() != TokenKind::Punct('}') {
                self.expect(',')?;
            }
        }
        Ok(())
    }

    fn constant(&mut self) -> Result<Constant<'a>, PtxError> {
        let negative = self.accept('-');
        let constant = match self.kind() {
            TokenKind::Integer(value) if negative => Constant::Bits(value.wrapping_neg()),
            TokenKind::Double(value) if negative => Constant::Double(-value),
            TokenKind::Integer(value) => Constant::Bits(value),
            TokenKind::Double(value) => Constant::Double(value),
            TokenKind::SingleBits(bits) if !negative => Constant::Bits(u64::from(bits)),
            TokenKind::DoubleBits(bits) if !negative => Constant::Bits(bits),
            TokenKind::Word(_) if !negative => return self.address_constant(),
            _ => return Err(self.expected("a constant")),
        };
        self.at += 1;
        Ok(constant)
    }

    /// `symbol+4` or `generic(symbol)+4`.
    fn address_constant(&mut self) -> Result<Constant<'a>, PtxError> {
        let mut name = self.word("a symbol")?;
        let is_generic = name == "generic" && self.accept('(');
        if is_generic {
            name = self.word("a symbol in generic(..)")?;
            self.expect(')')?;
        }
        let offset = self.offset()?;
        Ok(Constant::Address {
            name,
            offset,
            is_generic,
        })
    }

    /// `.type name, name<n>, ..;` after `.reg`.
    pub(super) fn registers(
        &mut self,
        mut each: impl FnMut(Registers<'a>),
    ) -> Result<(), PtxError> {
        let ty = self.register_type()?;
        loop {
            each(self.register(ty)?);
            if !self.accept(',') {
                return self.expect(';');
            }
        }
    }

    fn register_type(&mut self) -> Result<Type, PtxError> {
        let line = self.line();
        let word = self.dotted("a register type")?;
        Type::from_word(word)
            .ok_or_else(|| PtxError::unsupported(line, format!(".reg .{word}"), "use scalar types"))
    }

    fn register(&mut self, ty: Type) -> Result<Registers<'a>, PtxError> {
        let line = self.line();
        let name = self.word("the name of a register")?;
        let mut count = None;
        if self.accept('<') {
            count = Some(self.small_integer("a number of registers")?);
            self.expect('>')?;
        }
        Ok(Registers {
            line,
            ty,
            name,
            count,
        })
    }

    /// `(.param .b32 a, .reg .b32 b)`, or nothing at all.
    pub(super) fn formals(&mut self) -> Result<Vec<Formal<'a>>, PtxError> {
        let mut formals = Vec::new();
        if !self.accept('(') || self.accept(')') {
            return Ok(formals);
        }
        loop {
            formals.push(match self.dotted("`.param` or `.reg`")? {
                "reg" => {
                    let ty = self.register_type()?;
                    Formal::Register(self.register(ty)?)
                }
                "param" => {
                    let (align, element_bytes) = self.element()?;
                    Formal::Param(self.declarator(VariableSpace::Param, align, element_bytes)?)
                }
                word => return Err(PtxError::syntax(self.line(), "`.param` or `.reg`", word)),
            });
            if !self.accept(',') {
                self.expect(')')?;
                return Ok(formals);
            }
        }
    }
}
