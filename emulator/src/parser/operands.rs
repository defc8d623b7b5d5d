//! Operands in every form of PTX ISA 6: registers, constants, symbols with offsets, addresses, vectors, pairs.

use super::Parser;
use crate::error::PtxError;
use crate::lexer::TokenKind;
use crate::syntax::{AddressBase, Operand};

impl<'a> Parser<'a> {
    pub(super) fn operand(&mut self) -> Result<Operand<'a>, PtxError> {
        match self.kind() {
            TokenKind::Punct('[') => self.address(),
            TokenKind::Punct('{') => self.vector().map(Operand::Vector),
            TokenKind::Punct('(') => self.list(),
            TokenKind::Punct('!') => {
                self.at += 1;
                self.word("a predicate after `!`").map(Operand::Not)
            }
            _ => {
                let first = self.scalar()?;
                if self.accept('|') {
                    let second = self.scalar()?;
                    return Ok(Operand::Pair(Box::new(first), Box::new(second)));
                }
                Ok(first)
            }
        }
    }

    /// A register, a constant, a symbol with or without an offset, or `_`.
    fn scalar(&mut self) -> Result<Operand<'a>, PtxError> {
        let negative = self.accept('-');
        let operand = match self.kind() {
            TokenKind::Integer(value) if negative => Operand::Integer(value.wrapping_neg()),
            TokenKind::Double(value) if negative => Operand::Double(-value),
            TokenKind::Integer(value) => Operand::Integer(value),
            TokenKind::Double(value) => Operand::Double(value),
            TokenKind::SingleBits(bits) if !negative => Operand::SingleBits(bits),
            TokenKind::DoubleBits(bits) if !negative => Operand::DoubleBits(bits),
            TokenKind::Word("_") if !negative => Operand::Sink,
            TokenKind::Word(name) if !negative => {
                self.at += 1;
                return self.name(name);
            }
            _ => return Err(self.expected("an operand")),
        };
        self.at += 1;
        Ok(operand)
    }

    /// What may follow a name: `.x`, `+4`.
    fn name(&mut self, name: &'a str) -> Result<Operand<'a>, PtxError> {
        if let TokenKind::Dotted(component) = self.kind() {
            self.at += 1;
            return Ok(Operand::Name {
                name,
                component: Some(component),
            });
        }
        if matches!(self.kind(), TokenKind::Punct('+' | '-')) {
            return Ok(Operand::Sum {
                name,
                offset: self.offset()?,
            });
        }
        Ok(Operand::Name {
            name,
            component: None,
        })
    }

    /// `+4`, `-4`, `+-4` or nothing (0).
    pub(super) fn offset(&mut self) -> Result<i64, PtxError> {
        let negative = if self.accept('+') {
            self.accept('-')
        } else if self.accept('-') {
            true
        } else {
            return Ok(0);
        };
        let line = self.line();
        let value = self.integer("an integer offset")?;
        let value = if negative {
            value.wrapping_neg()
        } else {
            value
        } as i64;
        if i32::try_from(value).is_err() && u32::try_from(value).is_err() {
            return Err(PtxError::syntax(
                line,
                "an offset of 32 bits",
                value.to_string(),
            ));
        }
        Ok(value)
    }

    fn address(&mut self) -> Result<Operand<'a>, PtxError> {
        self.expect('[')?;
        let (base, offset) = match self.scalar()? {
            Operand::Name {
                name,
                component: None,
            } => (AddressBase::Name(name), 0),
            Operand::Sum { name, offset } => (AddressBase::Name(name), offset),
            Operand::Integer(value) => (AddressBase::Absolute, value as i64),
            _ => return Err(self.expected("a register, symbol or number as address")),
        };
        let coordinates = if self.accept(',') {
            self.vector()?
        } else {
            Vec::new()
        };
        self.expect(']')?;
        Ok(Operand::Address {
            base,
            offset,
            coordinates,
        })
    }

    fn vector(&mut self) -> Result<Vec<Operand<'a>>, PtxError> {
        self.expect('{')?;
        let mut elements = Vec::with_capacity(4);
        loop {
            elements.push(self.scalar()?);
            if !self.accept(',') {
                self.expect('}')?;
                return Ok(elements);
            }
        }
    }

    fn list(&mut self) -> Result<Operand<'a>, PtxError> {
        self.expect('(')?;
        let mut elements = Vec::new();
        if self.accept(')') {
            return Ok(Operand::List(elements));
        }
        loop {
            elements.push(self.scalar()?);
            if !self.accept(',') {
                self.expect(')')?;
                return Ok(Operand::List(elements));
            }
        }
    }
}
