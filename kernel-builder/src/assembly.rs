//! Cuts one assembly text into one PTX module per entry and adds launch bounds.
//!
//! A module has the directives that open the text (`.version`, `.target`, `.address_size`), the variables and device
//! functions that the entry uses, directly or through others, in their order, the entry, and the `.file` directives of
//! their source lines. So a driver that loads one kernel compiles one kernel, and a listing of one kernel is complete
//! and short.
//!
//! Rust has no attribute for launch bounds on `extern "ptx-kernel"` functions; they are written behind the parameter
//! list, where the PTX ISA puts performance-tuning directives.
//!
//! The text is split at the level of directives only; instructions are searched for names and otherwise not understood.

use std::collections::HashSet;

use crate::line_info::{file_number, files_used, is_file, is_section};
use crate::scan::{item_length, names, skip_blank};

/// What a kernel promises about its launches (PTX ISA, "Performance-Tuning Directives").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchBounds {
    /// Threads of every block, all along x (`.reqntid`).
    pub threads: u32,
    /// Blocks that must fit one multiprocessor together; limits the registers (`.minnctapersm`).
    pub blocks_per_sm: u32,
}

/// An assembly text that cannot be cut, or holds other kernels than asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A directive of the module level that is not known here.
    #[error(
        "assembly line {line}: cannot cut at `{found}`; teach kernel-builder/src/assembly.rs this directive"
    )]
    UnknownDirective {
        /// Line of the assembly, from 1.
        line: usize,
        /// How the item begins.
        found: String,
    },
    /// The text ends inside an item.
    #[error("assembly line {line}: item without an end")]
    Unfinished {
        /// Line where the item begins, from 1.
        line: usize,
    },
    /// A requested kernel was not compiled.
    #[error("no entry `{entry}` in the assembly; entries there: {}", there.join(", "))]
    MissingEntry {
        /// The name asked for.
        entry: String,
        /// Every entry of the text.
        there: Vec<String>,
    },
    /// A kernel was compiled that nobody asked for, so nobody gave it launch bounds.
    #[error(
        "entry `{entry}` was compiled but not requested; add it to the manifest or remove it from the kernels"
    )]
    UnexpectedEntry {
        /// Its name.
        entry: String,
    },
}

/// A compiled text, split at its module-level directives.
#[derive(Debug)]
pub struct Assembly<'a> {
    header: Vec<&'a str>,
    items: Vec<Item<'a>>,
    files: Vec<&'a str>,
    sections: Vec<&'a str>,
}

#[derive(Debug)]
struct Item<'a> {
    text: &'a str,
    name: &'a str,
    is_entry: bool,
}

impl<'a> Assembly<'a> {
    /// Splits `text`, the assembly of a whole crate.
    ///
    /// # Errors
    /// [`AssemblyError::UnknownDirective`] and [`AssemblyError::Unfinished`].
    pub fn split(text: &'a str) -> Result<Self, AssemblyError> {
        let mut assembly = Assembly {
            header: Vec::new(),
            items: Vec::new(),
            files: Vec::new(),
            sections: Vec::new(),
        };
        let mut at = skip_blank(text, 0);
        while at < text.len() {
            let rest = &text[at..];
            let line = 1 + text[..at].matches('\n').count();
            let length = if is_header(rest) || is_file(rest) {
                rest.find('\n').unwrap_or(rest.len())
            } else {
                item_length(rest).ok_or(AssemblyError::Unfinished { line })?
            };
            let item = rest[..length].trim_end();
            if is_header(rest) {
                assembly.header.push(item);
            } else if is_file(rest) {
                assembly.files.push(item);
            } else if is_section(rest) {
                assembly.sections.push(item);
            } else {
                assembly.items.push(Item::new(item).ok_or_else(|| {
                    AssemblyError::UnknownDirective {
                        line,
                        found: item.lines().next().unwrap_or("").to_owned(),
                    }
                })?);
            }
            at = skip_blank(text, at + length);
        }
        Ok(assembly)
    }

    /// Names of all entries, in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = &'a str> {
        self.items
            .iter()
            .filter(|item| item.is_entry)
            .map(|item| item.name)
    }

    /// The module of one entry, with its launch bounds and, if it is given, the alignment of its parameters.
    ///
    /// # Errors
    /// [`AssemblyError::MissingEntry`].
    pub fn module(
        &self,
        entry: &str,
        bounds: LaunchBounds,
        param_align: Option<u32>,
    ) -> Result<String, AssemblyError> {
        let kernel = self
            .items
            .iter()
            .find(|item| item.is_entry && item.name == entry);
        let kernel = kernel.ok_or_else(|| AssemblyError::MissingEntry {
            entry: entry.to_owned(),
            there: self.entries().map(str::to_owned).collect(),
        })?;
        let used = self.used_by(kernel);
        let mut module = self.header.join("\n") + "\n";
        for item in self.items.iter().filter(|item| used.contains(item.name)) {
            module += &format!("\n{}\n", item.text);
        }
        let text = with_bounds(kernel.text, bounds);
        module += &match param_align {
            Some(bytes) => format!("\n{}\n", with_aligned_params(&text, bytes)),
            None => format!("\n{text}\n"),
        };
        let counted = files_used(&module);
        let is_counted = |file: &&&str| file_number(file).is_some_and(|n| counted.contains(n));
        let files: Vec<&str> = self.files.iter().filter(is_counted).copied().collect();
        // Where the compiler puts them: behind the code.
        for directive in self.sections.iter().chain(&files) {
            module += &format!("{directive}\n");
        }
        Ok(module)
    }

    /// Refuses entries that are not in `requested`.
    ///
    /// # Errors
    /// [`AssemblyError::UnexpectedEntry`].
    pub fn expect_only(&self, requested: &[&str]) -> Result<(), AssemblyError> {
        match self.entries().find(|entry| !requested.contains(entry)) {
            Some(entry) => Err(AssemblyError::UnexpectedEntry {
                entry: entry.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Names of the variables and device functions that `kernel` reaches.
    fn used_by(&self, kernel: &Item<'a>) -> HashSet<&'a str> {
        let mut used = HashSet::new();
        let mut unread = vec![kernel.text];
        while let Some(text) = unread.pop() {
            let names: HashSet<&str> = names(text).collect();
            for item in self
                .items
                .iter()
                .filter(|item| !item.is_entry && names.contains(item.name))
            {
                if !used.contains(item.name) {
                    // A prototype and its definition share the name: both belong.
                    let same_name = self.items.iter().filter(|other| other.name == item.name);
                    unread.extend(same_name.map(|other| other.text));
                    used.insert(item.name);
                }
            }
        }
        used
    }
}

impl<'a> Item<'a> {
    /// `None` when the item is neither a function nor a variable.
    fn new(text: &'a str) -> Option<Self> {
        let head = &text[..text.find(['{', '=', ';']).unwrap_or(text.len())];
        let directives: Vec<&str> = head
            .split_whitespace()
            .take_while(|word| word.starts_with('.'))
            .collect();
        let is_entry = directives.contains(&".entry");
        let name = if is_entry || directives.contains(&".func") {
            function_name(head)?
        } else if STATE_SPACES.iter().any(|space| directives.contains(space)) {
            names(head).last()?
        } else {
            return None;
        };
        Some(Item {
            text,
            name,
            is_entry,
        })
    }
}

/// State spaces of module-scope variables (PTX ISA, "State Spaces").
const STATE_SPACES: [&str; 3] = [".global", ".const", ".shared"];

/// Directives that end with their line and open every module.
fn is_header(text: &str) -> bool {
    [".version", ".target", ".address_size"]
        .iter()
        .any(|directive| text.starts_with(directive))
}

/// The name behind `.entry` or `.func`; a function's return parameter, in parentheses, comes before its name.
fn function_name(head: &str) -> Option<&str> {
    let keyword = if head.contains(".entry") {
        ".entry"
    } else {
        ".func"
    };
    let mut rest = head[head.find(keyword)? + keyword.len()..].trim_start();
    if rest.starts_with('(') {
        rest = &rest[rest.find(')')? + 1..];
    }
    names(rest).next()
}

/// Writes the bounds between an entry's parameter list and its body.
fn with_bounds(entry: &str, bounds: LaunchBounds) -> String {
    let (head, body) = entry.split_at(entry.find('{').unwrap_or(entry.len()));
    let LaunchBounds {
        threads,
        blocks_per_sm,
    } = bounds;
    format!(
        "{}\n.reqntid {threads}, 1, 1\n.minnctapersm {blocks_per_sm}\n{body}",
        head.trim_end()
    )
}

/// Aligns the parameters that are arrays of bytes: structures passed by value. rustc aligns them to 16 bytes at most,
/// and the device wants tensor maps among them at multiples of 64.
fn with_aligned_params(entry: &str, bytes: u32) -> String {
    let (head, body) = entry.split_at(entry.find('{').unwrap_or(entry.len()));
    let aligned = head.lines().map(|line| {
        let Some((before, rest)) = line.split_once(".param .align ") else {
            return line.to_owned();
        };
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        format!("{before}.param .align {bytes}{}", &rest[digits..])
    });
    aligned.collect::<Vec<_>>().join("\n") + "\n" + body
}

#[cfg(test)]
mod tests;
