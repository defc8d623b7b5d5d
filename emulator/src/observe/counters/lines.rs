//! Which line of the text, and of the source, each instruction belongs to.

use crate::ir::{Kernel, Location};

/// Where an instruction was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// One-based PTX line.
    pub line: u32,
    /// Source file and one-based line, when the text carries `.loc` directives.
    pub source: Option<(String, u32)>,
}

/// The place of every instruction of `kernel`.
pub(super) fn places(kernel: &Kernel) -> Vec<Place> {
    let place = |location: &Location| Place {
        line: location.line,
        source: kernel
            .source_line(*location)
            .map(|(file, line)| (file.to_owned(), line)),
    };
    kernel.locations.iter().map(place).collect()
}
