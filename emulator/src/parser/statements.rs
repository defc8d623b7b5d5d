//! Statements of a function body: declarations, labels, instructions, scopes.

use super::Parser;
use crate::error::PtxError;
use crate::lexer::TokenKind;
use crate::syntax::{Instruction, Statement, VariableSpace};

/// Scopes nest this deep at most; compilers use two.
const MAX_DEPTH: u32 = 64;

impl<'a> Parser<'a> {
    /// Statements up to and including the closing brace. The opening one has been read.
    pub(super) fn body(&mut self, depth: u32) -> Result<Vec<Statement<'a>>, PtxError> {
        if depth > MAX_DEPTH {
            let what = format!("nesting scopes more than {MAX_DEPTH} deep");
            return Err(PtxError::unsupported(self.line(), what, "remove braces"));
        }
        let mut statements = Vec::new();
        while !self.accept('}') {
            match self.kind() {
                TokenKind::Dotted(word) => self.directive(word, &mut statements)?,
                TokenKind::Punct('{') => {
                    self.at += 1;
                    statements.push(Statement::Block(self.body(depth + 1)?));
                }
                TokenKind::Punct(';') => self.at += 1,
                TokenKind::Word(name) if self.colon_follows() => {
                    let line = self.line();
                    self.at += 2;
                    statements.push(self.label(name, line)?);
                }
                TokenKind::Word(_) | TokenKind::Punct('@') => {
                    let instruction = self.instruction()?;
                    statements.push(Statement::Instruction(Box::new(instruction)));
                }
                _ => return Err(self.expected("a statement or `}`")),
            }
        }
        Ok(statements)
    }

    fn directive(
        &mut self,
        word: &'a str,
        statements: &mut Vec<Statement<'a>>,
    ) -> Result<(), PtxError> {
        let line = self.line();
        self.at += 1;
        let space = match word {
            "reg" => return self.registers(|regs| statements.push(Statement::Registers(regs))),
            "loc" => return self.location(),
            "pragma" => return self.skip_statement(),
            "shared" => VariableSpace::Shared,
            "local" => VariableSpace::Local,
            "param" => VariableSpace::Param,
            _ => {
                let way_out = "a body declares .reg, .shared, .local and .param";
                return Err(PtxError::unsupported(line, format!(".{word}"), way_out));
            }
        };
        let mut variables = Vec::new();
        self.variables(space, false, &mut variables)?;
        statements.extend(variables.into_iter().map(Statement::Variable));
        Ok(())
    }

    /// What follows `name:`: nothing, or a directive that the label names.
    fn label(&mut self, name: &'a str, line: u32) -> Result<Statement<'a>, PtxError> {
        if self.accept_dotted("branchtargets") {
            let mut labels = vec![self.word("a label")?];
            while self.accept(',') {
                labels.push(self.word("a label")?);
            }
            self.expect(';')?;
            return Ok(Statement::BranchTargets { name, line, labels });
        }
        if self.accept_dotted("callprototype") || self.accept_dotted("calltargets") {
            self.skip_statement()?;
            return Ok(Statement::CallPrototype);
        }
        Ok(Statement::Label { name, line })
    }

    fn instruction(&mut self) -> Result<Instruction<'a>, PtxError> {
        let start = self.token().start;
        let mut guard = None;
        if self.accept('@') {
            let negated = self.accept('!');
            guard = Some((self.word("a predicate after `@`")?, negated));
        }
        let line = self.line();
        let opcode = self.word("an opcode")?;
        let mut qualifiers = Vec::new();
        while let TokenKind::Dotted(word) = self.kind() {
            self.at += 1;
            qualifiers.push(word);
        }
        let mut operands = Vec::new();
        if self.kind() != TokenKind::Punct(';') {
            operands.push(self.operand()?);
            while self.accept(',') {
                operands.push(self.operand()?);
            }
        }
        let text = &self.text[start..self.token().end];
        self.expect(';')?;
        let source = self.locations.current();
        Ok(Instruction {
            line,
            source,
            text,
            guard,
            opcode,
            qualifiers,
            operands,
        })
    }
}
