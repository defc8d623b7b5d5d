//! Why there are no results.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use flash_attention::{BackendError, TensorError};
use thiserror::Error;

use crate::results::SCHEMA;

/// Why the suite stopped.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file has no results in it.
    #[error("{path} has no results of this suite: {source}; `cargo xtask bench` writes some")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Results of another version of this suite.
    #[error(
        "{path} has schema {found}, and this version reads schema {SCHEMA}: measure again, or render with the version \
         that measured"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// A row of a table under `tests/blessed/` is not understood.
    #[error("{file}, line {line}: `{text}` is no row of this table; `cargo xtask bless` writes it")]
    Blessed {
        /// Name of the table.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// The row.
        text: String,
    },
    /// Our kernels or the emulated device failed.
    #[error(transparent)]
    Attention(Box<flash_attention::Error>),
    /// The program of somebody else failed.
    #[error("{name}: {message}")]
    Peer {
        /// The program.
        name: &'static str,
        /// What it says.
        message: String,
    },
    /// Two contenders compute different things, so their times say nothing.
    #[error("{work}: {name} is off by {difference:.1e}, and {limit:.1e} is what rounding explains")]
    Differ {
        /// What they computed.
        work: String,
        /// The one that was compared with the first.
        name: String,
        /// Largest difference.
        difference: f32,
        /// What is allowed.
        limit: f32,
    },
    /// A program is not there or cannot be started.
    #[error("cannot start `{program}`: {source}")]
    NotStarted {
        /// Its name.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program reported failure; what was wrong is in its own output.
    #[error("`{program}` failed ({status}); its output is above")]
    Failed {
        /// Its name.
        program: String,
        /// What it ended with.
        status: ExitStatus,
    },
    /// A picture could not be drawn.
    #[error("cannot draw {path}: {message}")]
    Plot {
        /// Its file.
        path: PathBuf,
        /// What the drawing library says.
        message: String,
    },
    /// The place of the tables is not marked.
    #[error("{path} has no line `{mark}`: put it where the measured tables belong")]
    Mark {
        /// The file.
        path: PathBuf,
        /// What is missing.
        mark: &'static str,
    },
    /// A plot over the length needs two of them.
    #[error("{path} has no growth between two lengths to draw: measure with at least two")]
    NoGrowth {
        /// The picture that was asked for.
        path: PathBuf,
    },
}

impl SuiteError {
    /// For `map_err`: a [`File`](SuiteError::File) error that names the file.
    pub(crate) fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> SuiteError {
        let path = path.as_ref().to_owned();
        move |source| SuiteError::File { path, source }
    }
}

impl From<flash_attention::Error> for SuiteError {
    fn from(error: flash_attention::Error) -> SuiteError {
        SuiteError::Attention(Box::new(error))
    }
}

impl From<TensorError> for SuiteError {
    fn from(error: TensorError) -> SuiteError {
        flash_attention::Error::from(error).into()
    }
}

impl From<BackendError> for SuiteError {
    fn from(error: BackendError) -> SuiteError {
        flash_attention::Error::from(error).into()
    }
}
