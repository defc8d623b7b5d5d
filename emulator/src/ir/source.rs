//! Where an instruction comes from: its PTX line, its source line, and the lines that line was inlined at.

use super::Kernel;

/// Sources whose names begin so belong to the standard library: `core/src/num/f32.rs`.
const LIBRARY: &str = "core/";

/// Origin of one instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// One-based PTX line.
    pub line: u32,
    /// Source line, as an index into [`Kernel::source_lines`]; `None` when no `.loc` told.
    pub source: Option<u32>,
}

/// A line of the program that PTX was compiled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// Index into [`Kernel::source_files`].
    pub file: u32,
    /// One-based line.
    pub line: u32,
    /// The line whose call was inlined here, as an index into [`Kernel::source_lines`].
    pub caller: Option<u32>,
}

impl Kernel {
    /// The PTX line of an instruction, and the file and line that its author wrote, when the text says them.
    pub(crate) fn place(&self, pc: u32) -> (u32, Option<(String, u32)>) {
        let location = self.locations.get(pc as usize).copied().unwrap_or_default();
        let source = self.source_line(location);
        (
            location.line,
            source.map(|(file, line)| (file.to_owned(), line)),
        )
    }

    /// File and one-based line of an origin, then those of the calls that were inlined there, outwards.
    pub(crate) fn source_chain(&self, location: Location) -> impl Iterator<Item = (&str, u32)> {
        let line = |index: u32| self.source_lines.get(index as usize);
        let innermost = location.source.and_then(line);
        let chain = std::iter::successors(innermost, move |inner| inner.caller.and_then(line));
        chain.map(|line| (self.source_files[line.file as usize].as_str(), line.line))
    }

    /// The line of an origin that its author wrote: the innermost one outside of the standard library, when there is
    /// one.
    pub(crate) fn source_line(&self, location: Location) -> Option<(&str, u32)> {
        let own = |&(file, _): &(&str, u32)| !file.starts_with(LIBRARY);
        let innermost = || self.source_chain(location).next();
        self.source_chain(location).find(own).or_else(innermost)
    }
}

#[cfg(test)]
mod tests {
    use crate::ir::Op;
    use crate::module::Module;

    #[test]
    fn an_inlined_line_knows_its_callers_through_device_functions_too() {
        let text = r#".version 7.2
.target sm_80
.func deep()
{
.loc 1 5 1
.loc 3 992 9, function_name $L__name, inlined_at 1 5 1
trap;
ret;
}
.entry k()
{
.loc 2 70 2
.loc 2 80 3, function_name $L__name+4, inlined_at 2 70 2
call.uni deep;
membar.gl;
ret;
}
.section .debug_str { $L__name: .b8 107, 0 }
.file 1 "k/src/deep.rs"
.file 2 "k/src/lib.rs"
.file 3 "core/src/num/f32.rs"
"#;
        let module = Module::parse(text).unwrap();
        let kernel = module.kernel("k").unwrap();
        let chain_of = |wanted: fn(&Op) -> bool| {
            let pc = kernel.program.iter().position(|line| wanted(&line.op));
            let location = kernel.locations[pc.unwrap()];
            kernel.source_chain(location).collect::<Vec<_>>()
        };
        let entry = [("k/src/lib.rs", 80), ("k/src/lib.rs", 70)];
        let deep = [("core/src/num/f32.rs", 992), ("k/src/deep.rs", 5)];
        assert_eq!(chain_of(|op| *op == Op::Trap), [deep, entry].concat());
        assert_eq!(chain_of(|op| matches!(op, Op::Fence { .. })), entry);
    }
}
