//! PTX text to its [syntax tree](crate::syntax): module directives and functions here, the rest in the submodules.
//!
//! Checks the grammar only. Directives that change what a program computes and are not known are refused; those that
//! only inform a compiler or a debugger are passed over by name.

mod declarations;
mod locations;
mod operands;
mod statements;

use crate::error::PtxError;
use crate::lexer::{Token, TokenKind, tokens};
use crate::syntax::{Function, ModuleTree, VariableSpace};
use locations::Locations;

/// Parses a module.
pub(crate) fn parse(text: &str) -> Result<ModuleTree<'_>, PtxError> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        locations: Locations::default(),
    };
    let mut tree = ModuleTree::default();
    parser.header(&mut tree)?;
    while parser.kind() != TokenKind::End {
        parser.module_item(&mut tree)?;
    }
    tree.source_lines = parser.locations.into_lines();
    Ok(tree)
}

/// A cursor over the tokens. `at` never passes the final [`TokenKind::End`].
struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    /// What the `.loc` directives have said so far.
    locations: Locations,
}

impl<'a> Parser<'a> {
    fn token(&self) -> Token<'a> {
        self.tokens[self.at]
    }

    fn kind(&self) -> TokenKind<'a> {
        self.token().kind
    }

    fn line(&self) -> u32 {
        self.token().line
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.token();
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    /// The token as it is spelled, for messages.
    fn spelling(&self, token: Token<'a>) -> &'a str {
        match token.kind {
            TokenKind::End => "the end of the text",
            _ => &self.text[token.start..token.end],
        }
    }

    fn expected(&self, what: &str) -> PtxError {
        let got = self.spelling(self.token());
        PtxError::syntax(self.line(), what, got)
    }

    fn colon_follows(&self) -> bool {
        let next = self.tokens.get(self.at + 1);
        next.is_some_and(|token| token.kind == TokenKind::Punct(':'))
    }

    /// Takes the punctuation mark if it is next.
    fn accept(&mut self, mark: char) -> bool {
        let found = self.kind() == TokenKind::Punct(mark);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, mark: char) -> Result<(), PtxError> {
        if self.accept(mark) {
            Ok(())
        } else {
            Err(self.expected(&mark.to_string()))
        }
    }

    /// Takes the dotted word if it is next.
    fn accept_dotted(&mut self, word: &str) -> bool {
        let found = self.kind() == TokenKind::Dotted(word);
        if found {
            self.at += 1;
        }
        found
    }

    fn word(&mut self, what: &str) -> Result<&'a str, PtxError> {
        match self.kind() {
            TokenKind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn dotted(&mut self, what: &str) -> Result<&'a str, PtxError> {
        match self.kind() {
            TokenKind::Dotted(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn integer(&mut self, what: &str) -> Result<u64, PtxError> {
        match self.kind() {
            TokenKind::Integer(value) => {
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn small_integer(&mut self, what: &str) -> Result<u32, PtxError> {
        let line = self.line();
        let value = self.integer(what)?;
        u32::try_from(value).map_err(|_| {
            PtxError::syntax(
                line,
                format!("{what} of at most 32 bits"),
                value.to_string(),
            )
        })
    }

    /// `.version`, `.target`, `.address_size`: what a module must begin with.
    fn header(&mut self, tree: &mut ModuleTree<'a>) -> Result<(), PtxError> {
        while let TokenKind::Dotted(word @ ("version" | "target" | "address_size" | "file")) =
            self.kind()
        {
            let line = self.line();
            self.at += 1;
            match word {
                "version" => tree.version = self.version()?,
                "target" => (tree.target, tree.is_arch_specific) = self.target()?,
                "file" => self.file(tree)?,
                _ => {
                    let bits = self.integer("32 or 64 after .address_size")?;
                    if bits != 64 {
                        let what = format!(".address_size {bits}");
                        return Err(PtxError::unsupported(line, what, "compile for 64"));
                    }
                }
            }
        }
        if tree.version == (0, 0) || tree.target == 0 {
            return Err(self.expected("a module that begins with .version and .target"));
        }
        Ok(())
    }

    fn version(&mut self) -> Result<(u32, u32), PtxError> {
        let token = self.advance();
        let spelling = self.spelling(token);
        spelling
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .filter(|&(major, _)| major > 0)
            .ok_or_else(|| PtxError::syntax(token.line, "major.minor after .version", spelling))
    }

    /// The number, and whether the suffix `a` follows.
    fn target(&mut self) -> Result<(u32, bool), PtxError> {
        let line = self.line();
        let name = self.word("sm_NN after .target")?;
        while self.accept(',') {
            self.word("a target option after the comma")?;
        }
        name.strip_prefix("sm_")
            .and_then(|number| number.trim_end_matches(['a', 'f']).parse().ok())
            .filter(|&number| number > 0)
            .map(|number| (number, name.ends_with('a')))
            .ok_or_else(|| PtxError::syntax(line, "sm_NN after .target", name))
    }

    /// `.file 1 "name"[, time, size]`, after its first word.
    fn file(&mut self, tree: &mut ModuleTree<'a>) -> Result<(), PtxError> {
        let number = self.small_integer("a file number")?;
        let TokenKind::Text(name) = self.kind() else {
            return Err(self.expected("a quoted file name"));
        };
        self.at += 1;
        while self.accept(',') {
            self.integer("a number")?;
        }
        tree.files.push((number, name));
        Ok(())
    }

    fn module_item(&mut self, tree: &mut ModuleTree<'a>) -> Result<(), PtxError> {
        if let TokenKind::Word(_) = self.kind()
            && self.colon_follows()
        {
            // A label between debug sections.
            self.at += 2;
            return Ok(());
        }
        let mut is_extern = false;
        let line = self.line();
        loop {
            match self.dotted("a module directive")? {
                "visible" | "weak" | "common" => {}
                "extern" => is_extern = true,
                "entry" => return self.function(tree, true),
                "func" => return self.function(tree, false),
                "global" => {
                    return self.variables(VariableSpace::Global, is_extern, &mut tree.variables);
                }
                "const" => {
                    return self.variables(VariableSpace::Const, is_extern, &mut tree.variables);
                }
                "shared" => {
                    return self.variables(VariableSpace::Shared, is_extern, &mut tree.variables);
                }
                "file" => return self.file(tree),
                "section" => return self.skip_section(),
                "pragma" => return self.skip_statement(),
                word => {
                    let way_out = "remove it, or declare what it names in this module";
                    return Err(PtxError::unsupported(line, format!(".{word}"), way_out));
                }
            }
        }
    }

    /// `.section .debug_info { .. }`, after its first word: only debuggers read it.
    fn skip_section(&mut self) -> Result<(), PtxError> {
        self.dotted("the name of a section")?;
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.advance().kind {
                TokenKind::Punct('{') => depth += 1,
                TokenKind::Punct('}') => depth -= 1,
                TokenKind::End => return Err(self.expected("`}` at the end of a section")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Everything up to and including the next semicolon.
    fn skip_statement(&mut self) -> Result<(), PtxError> {
        loop {
            match self.advance().kind {
                TokenKind::Punct(';') => return Ok(()),
                TokenKind::End => return Err(self.expected("`;`")),
                _ => {}
            }
        }
    }

    /// A function or entry after `.func` or `.entry`.
    fn function(&mut self, tree: &mut ModuleTree<'a>, is_entry: bool) -> Result<(), PtxError> {
        self.locations.begin_function();
        let start = self.token().start;
        let returns = self.formals()?;
        let line = self.line();
        let name = self.word("the name of a function")?;
        let params = self.formals()?;
        let mut function = Function {
            line,
            text_bytes: 0,
            is_entry,
            name,
            returns,
            params,
            reqntid: None,
            maxntid: None,
            minnctapersm: None,
            maxnreg: None,
            reqnctapercluster: None,
            maxclusterrank: None,
            explicitcluster: false,
            body: None,
        };
        self.function_directives(&mut function)?;
        if !self.accept(';') {
            self.expect('{')?;
            function.body = Some(self.body(0)?);
        }
        function.text_bytes = self.token().start - start;
        tree.functions.push(function);
        Ok(())
    }

    /// What stands between a parameter list and a body.
    fn function_directives(&mut self, function: &mut Function<'a>) -> Result<(), PtxError> {
        while let TokenKind::Dotted(word) = self.kind() {
            let line = self.line();
            self.at += 1;
            match word {
                "reqnctapercluster" => function.reqnctapercluster = Some(self.shape()?),
                "maxclusterrank" => {
                    function.maxclusterrank = Some(self.small_integer("a number of blocks")?);
                }
                "explicitcluster" => function.explicitcluster = true,
                "reqntid" => function.reqntid = Some(self.shape()?),
                "maxntid" => function.maxntid = Some(self.shape()?),
                "minnctapersm" => function.minnctapersm = Some(self.small_integer("a number")?),
                "maxnreg" => function.maxnreg = Some(self.small_integer("a number")?),
                "maxnctapersm" => {
                    self.integer("a number")?;
                }
                "noreturn" => {}
                "pragma" => self.skip_statement()?,
                _ => {
                    let way_out = "launch without it; of the launch bounds .reqntid, .maxntid, .reqnctapercluster, .maxclusterrank and .explicitcluster are known";
                    return Err(PtxError::unsupported(line, format!(".{word}"), way_out));
                }
            }
        }
        Ok(())
    }

    /// `x[, y[, z]]` of a block shape; what is not written is 1.
    fn shape(&mut self) -> Result<[u32; 3], PtxError> {
        let mut shape = [1; 3];
        shape[0] = self.small_integer("a block extent")?;
        for extent in &mut shape[1..] {
            if !self.accept(',') {
                break;
            }
            *extent = self.small_integer("a block extent")?;
        }
        Ok(shape)
    }
}
