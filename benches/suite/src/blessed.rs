//! The tables under `tests/blessed/`, which tests keep true: counts of every kernel on one small problem, and figures of
//! the hottest loop of its machine code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::SuiteError;

const COUNTERS: &str = "tests/blessed/counters.txt";
const LOOPS: &str = "tests/blessed/loops.txt";

/// What is known of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelFigures {
    /// Its PTX symbol.
    pub entry: String,
    /// Counts of one launch, by the names of the table's columns.
    pub counters: BTreeMap<String, u64>,
    /// Its hottest loop; `None` for kernels that have none with tensor cores.
    pub hottest_loop: Option<LoopFigures>,
}

/// The hottest loop of a kernel's machine code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopFigures {
    /// Warp instructions outside the tensor cores per MFLOP on them.
    pub instructions_per_mflop: f64,
    /// Cycles of issue stall of one trip.
    pub stall_cycles: u32,
    /// Instructions of one trip by class, where the table has them.
    pub classes: BTreeMap<String, u32>,
}

/// Counts by the names of their columns.
type Counts = BTreeMap<String, u64>;

/// Reads both tables of a repository: the figures of every kernel in either, by name.
///
/// # Errors
///
/// [`SuiteError::File`] when a table is not there, [`SuiteError::Blessed`] with the line that is not understood.
pub fn read(repository: &Path) -> Result<Vec<KernelFigures>, SuiteError> {
    let text = |file: &str| {
        let path = repository.join(file);
        fs::read_to_string(&path).map_err(SuiteError::file(&path))
    };
    let mut kernels: BTreeMap<String, KernelFigures> = BTreeMap::new();
    for (entry, counters) in counters(&text(COUNTERS)?)? {
        kernels.entry(entry).or_default().counters = counters;
    }
    for (entry, figures) in loops(&text(LOOPS)?)? {
        kernels.entry(entry).or_default().hottest_loop = Some(figures);
    }
    let named = kernels.into_iter();
    Ok(named
        .map(|(entry, figures)| KernelFigures { entry, ..figures })
        .collect())
}

/// Rows of words under a row of names, which begins with `kernel`; `compiler` and what follows it is not a row.
fn counters(text: &str) -> Result<Vec<(String, Counts)>, SuiteError> {
    let mut names: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for (index, line) in rows_of(text) {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = rest.split(' ');
        match first {
            "compiler" => {}
            "kernel" => names = words.collect(),
            entry => {
                let counts: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
                let counts = counts
                    .filter(|counts| counts.len() == names.len())
                    .ok_or_else(|| no_row(COUNTERS, index, line))?;
                let named = names.iter().map(|name| (*name).to_owned());
                rows.push((entry.to_owned(), named.zip(counts).collect()));
            }
        }
    }
    Ok(rows)
}

/// Rows `ENTRY INSTRUCTIONS STALLS [CLASS=NUMBER ..]`.
fn loops(text: &str) -> Result<Vec<(String, LoopFigures)>, SuiteError> {
    let figures = rows_of(text)
        .map(|(index, line)| loop_figures(line).ok_or_else(|| no_row(LOOPS, index, line)));
    figures.collect()
}

fn loop_figures(line: &str) -> Option<(String, LoopFigures)> {
    let mut words = line.split(' ');
    let entry = words.next()?.to_owned();
    let instructions_per_mflop = words.next()?.parse().ok()?;
    let stall_cycles = words.next()?.parse().ok()?;
    let class = |word: &str| {
        let (name, count) = word.split_once('=')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let figures = LoopFigures {
        instructions_per_mflop,
        stall_cycles,
        classes: words.map(class).collect::<Option<_>>()?,
    };
    Some((entry, figures))
}

/// Lines that are no comments, with their numbers.
fn rows_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.starts_with('#'))
        .map(|(index, line)| (index + 1, line))
}

fn no_row(file: &'static str, line: usize, text: &str) -> SuiteError {
    SuiteError::Blessed {
        file,
        line,
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_names_of_their_columns() {
        let text = "# a comment\ncompiler rustc 1.95.0\nkernel reads conflicts\na 10 0\nb 20 1\n";
        let rows = counters(text).unwrap();
        assert_eq!(rows[1].0, "b");
        assert_eq!((rows[1].1["reads"], rows[1].1["conflicts"]), (20, 1));
    }

    #[test]
    fn loops_have_figures_and_maybe_classes() {
        let rows = loops("# a comment\na 911.7 1326\nb 407.2 943 tensor=16 mufu=66\n").unwrap();
        assert_eq!(rows[0].1.instructions_per_mflop, 911.7);
        assert!(rows[0].1.classes.is_empty());
        assert_eq!(
            (rows[1].1.stall_cycles, rows[1].1.classes["mufu"]),
            (943, 66)
        );
    }

    #[test]
    fn a_row_that_is_none_is_named_with_its_line() {
        let error = counters("kernel reads conflicts\na 10 0\nb 20\n").unwrap_err();
        assert!(
            error.to_string().contains("counters.txt, line 3: `b 20`"),
            "{error}"
        );
        let error = loops("a 911.7 many\n").unwrap_err();
        assert!(error.to_string().contains("loops.txt, line 1"), "{error}");
    }

    #[test]
    fn every_kernel_of_the_library_is_in_the_tables() {
        let blessed = read(&crate::repository()).unwrap();
        let entries: Vec<&str> = blessed.iter().map(|kernel| kernel.entry.as_str()).collect();
        let mut compiled: Vec<&str> = flash_attention::kernels()
            .map(|kernel| kernel.spec.entry)
            .collect();
        compiled.sort_unstable();
        assert_eq!(entries, compiled);
    }
}
