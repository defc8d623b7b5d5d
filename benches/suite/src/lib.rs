//! Every measurement of this project that needs no GPU: one run, one file of results, and all tables and plots from
//! that file alone.
//!
//! | module | question it answers |
//! |---|---|
//! | [`measure`] | what is measured, and how? |
//! | [`timing`] | how do times of a busy machine become comparable? |
//! | [`results`] | what is in `results.json`? |
//! | [`machine`] | where was that? |
//! | [`blessed`] | what do the tables say that tests compare with? |
//! | [`render`] | how do results become tables, plots and the README's section? |
//!
//! `cargo xtask bench` runs it. The feature `peers` adds the programs of others that the emulator is compared with.

pub mod blessed;
mod child;
mod date;
mod error;
pub mod machine;
pub mod measure;
pub mod render;
pub mod results;
pub mod timing;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use error::SuiteError;

/// The root folder of this repository.
pub fn repository() -> PathBuf {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR"));
    suite.ancestors().nth(2).unwrap_or(suite).to_owned()
}

/// Prints a line. A reader who has left, as of `cargo xtask bench | head -1`, does not end a run whose files count.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
