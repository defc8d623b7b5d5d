//! Source lines of the program: those of the text, continued outwards through the calls that the decoder inlines.

use std::collections::HashMap;

use super::symbols::Symbols;
use crate::ir::SourceLine;

/// The source lines of one entry while it is decoded.
#[derive(Default)]
pub(super) struct Sources {
    /// Every line once.
    pub lines: Vec<SourceLine>,
    index: HashMap<SourceLine, u32>,
}

impl Sources {
    /// Index into `lines` of line `source` of the tree, in a function that was inlined at `call`, an index into
    /// `lines` too. A line of a file without a `.file` stands for nothing.
    pub fn place(
        &mut self,
        symbols: &Symbols<'_, '_>,
        source: Option<u32>,
        call: Option<u32>,
    ) -> Option<u32> {
        let Some(source) = source else {
            return call;
        };
        let parsed = symbols.source_lines[source as usize];
        let caller = self.place(symbols, parsed.caller, call);
        let Some(&file) = symbols.files.get(&parsed.file) else {
            return caller;
        };
        let line = SourceLine {
            file,
            line: parsed.line,
            caller,
        };
        let place = *self.index.entry(line).or_insert_with(|| {
            self.lines.push(line);
            self.lines.len() as u32 - 1
        });
        Some(place)
    }
}
