//! PTX text to tokens (PTX ISA chapter 4, "Syntax"). Every token knows its line and its place in the text.
//!
//! Comments and white space are dropped. Words keep their spelling: what a name means is the parser's business.

use crate::error::PtxError;

/// One token of the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub kind: TokenKind<'a>,
    /// Line it starts on, from 1.
    pub line: u32,
    /// Byte offset of its first character.
    pub start: usize,
    /// Byte offset just after its last character.
    pub end: usize,
}

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TokenKind<'a> {
    /// Identifier or opcode: `ld`, `%r1`, `$L__BB0_1`, `_`.
    Word(&'a str),
    /// A word after a dot, without the dot: directive, type or qualifier (`reg`, `b32`, `L2::128B`).
    Dotted(&'a str),
    /// Integer constant; all are 64 bits wide.
    Integer(u64),
    /// Decimal floating-point constant.
    Double(f64),
    /// `0f3F800000`: the bits of an f32.
    SingleBits(u32),
    /// `0d3FF0000000000000`: the bits of an f64.
    DoubleBits(u64),
    /// Quoted text without the quotes.
    Text(&'a str),
    /// Any other single character.
    Punct(char),
    /// End of the text.
    End,
}

/// Cuts `text` into tokens; the last one is always [`TokenKind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::with_capacity(text.len() / 6 + 1);
    loop {
        lexer.skip_blank()?;
        let token = lexer.token()?;
        tokens.push(token);
        if token.kind == TokenKind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn expected(&self, expected: &str, found: impl Into<String>) -> PtxError {
        PtxError::syntax(self.line, expected, found)
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blank(&mut self) -> Result<(), PtxError> {
        loop {
            match self.peek(0) {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'/' if self.peek(1) == b'/' => {
                    self.take_while(|byte| byte != b'\n');
                }
                b'/' if self.peek(1) == b'*' => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), PtxError> {
        let Some(length) = self.text[self.at..].find("*/") else {
            return Err(self.expected("`*/` after `/*`", "the end of the text"));
        };
        let comment = &self.bytes[self.at..self.at + length];
        self.line += comment.iter().filter(|&&byte| byte == b'\n').count() as u32;
        self.at += length + 2;
        Ok(())
    }

    /// Advances over every byte that `keep` accepts and returns them. `keep` must accept either all or none of the
    /// bytes above 127, so that the slice ends between characters.
    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.at < self.bytes.len() && keep(self.bytes[self.at]) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn token(&mut self) -> Result<Token<'a>, PtxError> {
        let (start, line) = (self.at, self.line);
        let kind = match self.peek(0) {
            _ if self.at == self.bytes.len() => TokenKind::End,
            b'.' if is_word_start(self.peek(1)) || self.peek(1).is_ascii_digit() => {
                self.at += 1;
                TokenKind::Dotted(self.dotted())
            }
            b'"' => self.quoted()?,
            byte if byte.is_ascii_digit() => self.number()?,
            byte if is_word_start(byte) => {
                self.at += 1;
                self.take_while(is_word);
                TokenKind::Word(&self.text[start..self.at])
            }
            byte if byte.is_ascii_punctuation() => {
                self.at += 1;
                TokenKind::Punct(char::from(byte))
            }
            _ => {
                let character = self.text[start..].chars().next().unwrap_or('\0');
                return Err(self.expected("PTX", character));
            }
        };
        Ok(Token {
            kind,
            line,
            start,
            end: self.at,
        })
    }

    /// Word after a dot; `::` joins parts of one qualifier (`shared::cta`).
    fn dotted(&mut self) -> &'a str {
        let start = self.at;
        self.take_while(is_word);
        while self.peek(0) == b':' && self.peek(1) == b':' && is_word(self.peek(2)) {
            self.at += 2;
            self.take_while(is_word);
        }
        &self.text[start..self.at]
    }

    fn quoted(&mut self) -> Result<TokenKind<'a>, PtxError> {
        self.at += 1;
        let text = self.take_while(|byte| byte != b'"' && byte != b'\n');
        if self.peek(0) != b'"' {
            return Err(self.expected("a closing quote", "the end of the line"));
        }
        self.at += 1;
        Ok(TokenKind::Text(text))
    }

    fn number(&mut self) -> Result<TokenKind<'a>, PtxError> {
        let digits = self.take_while(|byte| byte.is_ascii_alphanumeric());
        let lower = digits.to_ascii_lowercase();
        let bad = || self.expected("a constant of at most 64 bits", digits);
        if let Some(hex) = lower.strip_prefix("0f").filter(|hex| hex.len() == 8) {
            return u32::from_str_radix(hex, 16)
                .map(TokenKind::SingleBits)
                .map_err(|_| bad());
        }
        if let Some(hex) = lower.strip_prefix("0d").filter(|hex| hex.len() == 16) {
            return u64::from_str_radix(hex, 16)
                .map(TokenKind::DoubleBits)
                .map_err(|_| bad());
        }
        if let Some(value) = integer(lower.strip_suffix('u').unwrap_or(&lower)) {
            if self.peek(0) != b'.' || !self.peek(1).is_ascii_digit() {
                return Ok(TokenKind::Integer(value));
            }
        } else if !lower.contains('e') {
            return Err(bad());
        }
        self.decimal(self.at - digits.len())
    }

    /// The rest of a decimal constant that starts at byte `start`: fraction and signed exponent.
    fn decimal(&mut self, start: usize) -> Result<TokenKind<'a>, PtxError> {
        if self.peek(0) == b'.' {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_alphanumeric());
        }
        let ends_in_exponent = matches!(self.bytes[self.at - 1], b'e' | b'E');
        if ends_in_exponent && matches!(self.peek(0), b'+' | b'-') {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        let text = &self.text[start..self.at];
        text.parse()
            .map(TokenKind::Double)
            .map_err(|_| self.expected("a floating-point constant", text))
    }
}

/// Value of an integer constant in lower case without its suffix `u`; `None` when it is none or wider than 64 bits.
fn integer(digits: &str) -> Option<u64> {
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x', ..] => (&digits[2..], 16),
        [b'0', b'b', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'%')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind<'_>> {
        let mut kinds: Vec<_> = tokens(text)
            .unwrap()
            .iter()
            .map(|token| token.kind)
            .collect();
        assert_eq!(kinds.pop(), Some(TokenKind::End));
        kinds
    }

    #[test]
    fn constants_of_every_radix_have_their_value() {
        use TokenKind::{Double, DoubleBits, Integer, SingleBits};
        assert_eq!(
            kinds("12 0x1F 017 0b101 0x123U 0 1.5 2e-3 0f3F800000 0d3FF0000000000000"),
            [
                Integer(12),
                Integer(31),
                Integer(15),
                Integer(5),
                Integer(0x123),
                Integer(0),
                Double(1.5),
                Double(2e-3),
                SingleBits(0x3f80_0000),
                DoubleBits(0x3ff0_0000_0000_0000),
            ]
        );
        for text in ["0xg", "12ab", "0f3F8", "99999999999999999999", "09"] {
            assert!(tokens(text).is_err(), "{text} is no constant");
        }
    }

    #[test]
    fn qualifiers_keep_their_double_colons_and_labels_lose_theirs() {
        use TokenKind::{Dotted, Punct, Word};
        assert_eq!(
            kinds("$L__BB0_1: ld.shared::cta.L2::128B %tid.x"),
            [
                Word("$L__BB0_1"),
                Punct(':'),
                Word("ld"),
                Dotted("shared::cta"),
                Dotted("L2::128B"),
                Word("%tid"),
                Dotted("x"),
            ]
        );
    }

    #[test]
    fn comments_count_lines_and_vanish() {
        let tokens = tokens("a // b\n/* c\n d */ e").unwrap();
        let lines: Vec<_> = tokens
            .iter()
            .map(|token| (token.kind, token.line))
            .collect();
        assert_eq!(
            lines,
            [
                (TokenKind::Word("a"), 1),
                (TokenKind::Word("e"), 3),
                (TokenKind::End, 3)
            ]
        );
    }

    #[test]
    fn foreign_characters_and_open_ends_are_refused_with_their_line() {
        for text in ["\n\u{e9}", "\n/* no end", "\n\"no end"] {
            let error = tokens(text).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
        }
    }
}
