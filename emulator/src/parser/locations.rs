//! `.loc` directives: source lines, each with the line it was inlined at (PTX ISA, "Debugging Directives").

use std::collections::HashMap;

use super::Parser;
use crate::error::PtxError;
use crate::syntax::SourceLine;

/// Calls that are inlined into each other, at most; every walk along them is short then.
const MAX_INLINE_DEPTH: u32 = 256;

/// File, line and column of a `.loc`.
type Position = [u32; 3];

/// The source lines of a module while its text is read.
#[derive(Default)]
pub(super) struct Locations {
    lines: Vec<SourceLine>,
    /// Callers of each line.
    depths: Vec<u32>,
    index: HashMap<SourceLine, u32>,
    /// What the latest `.loc` with a position stands for: `inlined_at` names a caller by its position.
    latest: HashMap<Position, Option<u32>>,
    current: Option<u32>,
}

impl Locations {
    /// Line of the next instruction, as an index into what [`Locations::into_lines`] gives.
    pub fn current(&self) -> Option<u32> {
        self.current
    }

    /// No line holds beyond its function.
    pub fn begin_function(&mut self) {
        self.current = None;
    }

    /// Every line once, callers first.
    pub fn into_lines(self) -> Vec<SourceLine> {
        self.lines
    }

    fn set(&mut self, position: Position, caller: Option<u32>) {
        let [file, line, _] = position;
        // Line 0 marks code that belongs to no line of its function; where that was inlined is still known.
        self.current = match line {
            0 => caller,
            _ => Some(self.intern(SourceLine { file, line, caller })),
        };
        self.latest.insert(position, self.current);
    }

    fn depth(&self, line: Option<u32>) -> u32 {
        line.map_or(0, |line| self.depths[line as usize])
    }

    fn intern(&mut self, line: SourceLine) -> u32 {
        let depth = 1 + self.depth(line.caller);
        *self.index.entry(line).or_insert_with(|| {
            self.depths.push(depth);
            self.lines.push(line);
            self.lines.len() as u32 - 1
        })
    }
}

impl Parser<'_> {
    /// `file line column[, function_name label[+n], inlined_at file line column]`, after `.loc`.
    pub(super) fn location(&mut self) -> Result<(), PtxError> {
        let position = self.position()?;
        let mut caller = None;
        if self.accept(',') {
            self.word("function_name")?;
            self.word("a label")?;
            self.offset()?;
            self.expect(',')?;
            self.word("inlined_at")?;
            let ptx_line = self.line();
            let at = self.position()?;
            caller = *self.locations.latest.get(&at).ok_or_else(|| {
                let [file, line, column] = at;
                let got = format!("{file} {line} {column}");
                PtxError::syntax(
                    ptx_line,
                    "the place of an earlier .loc after inlined_at",
                    got,
                )
            })?;
            let depth = self.locations.depth(caller);
            if depth >= MAX_INLINE_DEPTH {
                let (value, limit) = (u64::from(depth) + 1, u64::from(MAX_INLINE_DEPTH));
                return Err(PtxError::limit(
                    ptx_line,
                    "the depth of inlined_at",
                    value,
                    limit,
                ));
            }
        }
        self.locations.set(position, caller);
        Ok(())
    }

    fn position(&mut self) -> Result<Position, PtxError> {
        Ok([
            self.small_integer("a file number")?,
            self.small_integer("a line number")?,
            self.small_integer("a column number")?,
        ])
    }
}
