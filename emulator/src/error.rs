//! Errors of PTX text and of host memory requests.
//!
//! Both are values for the caller: nothing in this crate panics on bad input. What goes wrong while
//! a kernel runs is a [`Fault`](crate::Fault), which also says where in the grid it happened.

/// PTX text that is wrong, or right but outside what this emulator executes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {kind}")]
pub struct PtxError {
    /// One-based line of the PTX text; 0 when no single line is to blame.
    pub line: u32,
    /// The broken rule.
    pub kind: PtxErrorKind,
}

impl PtxError {
    /// An error at `line`.
    pub fn new(line: u32, kind: PtxErrorKind) -> Self {
        Self { line, kind }
    }

    /// Something else stands where the grammar wants `expected`.
    pub(crate) fn syntax(line: u32, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let (expected, found) = (expected.into(), found.into());
        Self::new(line, PtxErrorKind::Syntax { expected, found })
    }

    /// `what` is larger than this emulator allows.
    pub(crate) fn limit(line: u32, what: impl Into<String>, value: u64, limit: u64) -> Self {
        let what = what.into();
        Self::new(line, PtxErrorKind::Limit { what, value, limit })
    }

    /// `what` is legal and not executed here; `way_out` says what to write instead.
    pub(crate) fn unsupported(
        line: u32,
        what: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Self {
        let (what, way_out) = (what.into(), way_out.into());
        Self::new(line, PtxErrorKind::Unsupported { what, way_out })
    }
}

/// The rule that a [`PtxError`] reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PtxErrorKind {
    /// The text is not PTX.
    #[error("expected {}, found `{}`", excerpt(expected), excerpt(found))]
    Syntax {
        /// What the grammar allows here.
        expected: String,
        /// The token that stands here.
        found: String,
    },
    /// Legal PTX that this emulator does not execute.
    #[error(
        "`{}` is not supported by this emulator: {}",
        excerpt(what),
        excerpt(way_out)
    )]
    Unsupported {
        /// The opcode, qualifier or directive.
        what: String,
        /// What to use instead.
        way_out: String,
    },
    /// An operand does not fit its instruction.
    #[error("in `{}`: {}", excerpt(statement), excerpt(rule))]
    Operand {
        /// The offending statement.
        statement: String,
        /// The rule it breaks.
        rule: String,
    },
    /// A name is used and never declared.
    #[error("`{}` is not declared; declare it before this line", excerpt(name))]
    Undefined {
        /// The name.
        name: String,
    },
    /// A name is declared twice in one scope.
    #[error(
        "`{}` is declared twice in one scope; rename one of them",
        excerpt(name)
    )]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The module's `.target` or `.version` is too old for an instruction.
    #[error(
        "`{}` needs {needs}, the module declares {declared}; raise .target or .version",
        excerpt(what)
    )]
    Target {
        /// The instruction.
        what: String,
        /// The least target and version it needs.
        needs: String,
        /// What the module says.
        declared: String,
    },
    /// `addc`, `subc` or `madc` without a `.cc` instruction before it.
    #[error(
        "the carry flag is read, and no .cc instruction in the straight-line code before has set it; put add.cc, sub.cc or mad.cc directly before"
    )]
    StaleCarry,
    /// A device function calls itself, directly or through others.
    #[error(
        "`{}` is recursive; device functions are inlined here, so write it as a loop",
        excerpt(function)
    )]
    Recursion {
        /// The function.
        function: String,
    },
    /// A kernel is larger than the decoded form can express, or decoding it would take too long.
    #[error(
        "{what} is {value}, the limit of this emulator is {limit}; make it smaller or split the kernel"
    )]
    Limit {
        /// The quantity.
        what: String,
        /// Its value.
        value: u64,
        /// The largest value possible.
        limit: u64,
    },
    /// The module has no such entry.
    #[error(
        "no entry `{}`; the module has: {}",
        excerpt(entry),
        excerpt(available)
    )]
    NoSuchEntry {
        /// The name asked for.
        entry: String,
        /// The names there are, comma separated.
        available: String,
    },
}

/// What a message quotes of a text: all of it, or its beginning when no reader wants more.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// A host request about device memory that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The range is not inside one live allocation.
    #[error(
        "device range {address:#x}..+{bytes} is not inside a live allocation; check the pointer and the length"
    )]
    OutOfBounds {
        /// First byte of the range.
        address: u64,
        /// Length in bytes.
        bytes: usize,
    },
    /// The pointer to free is not the start of a live allocation.
    #[error(
        "{address:#x} is not the start of a live allocation; free each pointer from `alloc` exactly once"
    )]
    NotAllocated {
        /// The pointer.
        address: u64,
    },
    /// The host could not supply the memory.
    #[error("the host has no room for a device allocation of {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
}
