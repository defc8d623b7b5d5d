//! Tables and plots from results alone: what is shown was in `results.json` before.

mod bars;
mod format;
mod lines;
mod readme;
#[cfg(test)]
pub(crate) mod sample;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

pub use readme::{MARKS, newest, section};
pub use table::page;

use crate::SuiteError;
use crate::results::Results;

/// Name of the page with all tables, and of the plots beside it.
const PAGE: &str = "table.md";
const PEERS: &str = "peers.svg";
const HBM: &str = "growth-hbm.svg";
const TIME: &str = "growth-time.svg";

/// Writes tables and plots beside the results of a folder, and the README's section when they are the newest that are
/// committed in `repository`. Returns what was written.
///
/// # Errors
///
/// As [`Results::read`]; [`SuiteError::File`], [`SuiteError::Plot`]; [`SuiteError::Mark`] when the README has no place
/// for its section.
pub fn write(folder: &Path, repository: &Path) -> Result<Vec<PathBuf>, SuiteError> {
    let results = Results::read(folder)?;
    let mut written = Vec::new();
    if !results.comparisons.is_empty() {
        let path = folder.join(PEERS);
        bars::draw(&results.comparisons, &path)?;
        written.push(path);
    }
    if let Some(growth) = &results.growth {
        for (name, quantity) in [(HBM, lines::HBM), (TIME, lines::TIME)] {
            let path = folder.join(name);
            lines::draw(growth, quantity, &path)?;
            written.push(path);
        }
    }
    let path = folder.join(PAGE);
    fs::write(&path, page(&results)).map_err(SuiteError::file(&path))?;
    written.push(path);
    if let Some(newest) = newest(repository)
        && is_same(&newest, folder)
    {
        written.push(readme::write(&newest, &results, repository)?);
    }
    Ok(written)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().ok();
    canonical(one).is_some_and(|one| Some(one) == canonical(other))
}
