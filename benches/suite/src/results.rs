//! What a run of the suite found: the content of `results.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::SuiteError;
use crate::blessed::KernelFigures;
use crate::machine::Machine;
use crate::timing::{Spread, Timing};

/// Version of this format. Another meaning or another set of fields is another number.
pub const SCHEMA: u32 = 2;

/// Name of the file in its folder.
pub const FILE: &str = "results.json";

/// All of a run. Parts that were not measured are empty; [`notes`](Results::notes) says why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// [`SCHEMA`] of the suite that wrote it.
    pub schema: u32,
    /// When, in UTC: `YYYY-MM-DD`.
    pub date: String,
    /// What was measured: a commit, with ` and changes` when files differed from it.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// Whether this was a short run, of which the numbers mean nothing.
    pub is_quick: bool,
    /// Works that several programs did.
    pub comparisons: Vec<Comparison>,
    /// What it takes to build the library with all kernels.
    pub compilation: Option<Compilation>,
    /// Counted traffic of passes beside the least possible.
    pub traffic: Vec<Traffic>,
    /// Counts and loop figures of every kernel.
    pub kernels: Vec<KernelFigures>,
    /// How attention grows with the sequence.
    pub growth: Option<Growth>,
    /// What was not measured and why, a sentence each.
    pub notes: Vec<String>,
}

/// One work that several contenders did, in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What was done.
    pub work: String,
    /// Who did it; the others are compared with the first.
    pub timings: Vec<Timing>,
    /// How far their results agree.
    pub agreement: Option<String>,
    /// What the first executed for it, by the emulator's count.
    pub thread_instructions: Option<u64>,
}

/// A build of the library from nothing, kernels included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compilation {
    /// What was run.
    pub command: String,
    /// Wall time of it.
    pub seconds: f64,
    /// Time on processors, of all its processes.
    pub cpu_seconds: Option<f64>,
    /// Most memory that one of its processes held.
    pub peak_bytes: Option<u64>,
    /// The kernels alone.
    pub kernels: Vec<KernelBuild>,
    /// Kernels of others in C++.
    pub nvcc: Vec<NvccBuild>,
}

/// The kernels of one architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelBuild {
    /// As in `sm_80`.
    pub arch: String,
    /// How many kernels it has.
    pub kernels: usize,
    /// Version line of the compiler.
    pub compiler: String,
    /// Wall time, `core` included.
    pub seconds: f64,
}

/// One file of candle-flash-attn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvccBuild {
    /// Its name.
    pub file: String,
    /// Version line of the compiler.
    pub compiler: String,
    /// Wall time.
    pub seconds: f64,
    /// Time on processors, of all its processes.
    pub cpu_seconds: Option<f64>,
    /// Most memory that one process held.
    pub peak_bytes: Option<u64>,
}

/// What one pass did on the emulated device, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// What was computed.
    pub work: String,
    /// Architecture of the kernels, as in `sm_80`.
    pub arch: String,
    /// PTX symbols of the kernels that ran, in order.
    pub kernels: Vec<String>,
    /// Bytes between L2 and device memory.
    pub hbm_bytes: u64,
    /// Bytes of the inputs and outputs of the pass, each once.
    pub compulsory_bytes: u64,
    /// Turns that accesses to shared memory took beyond the least possible.
    pub bank_conflicts: u64,
}

/// How the algorithms grow with the sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// What was computed at each length.
    pub work: String,
    /// Oldest first.
    pub algorithms: Vec<Growing>,
}

/// How one algorithm grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growing {
    /// Its name.
    pub algorithm: String,
    /// Shortest sequence first.
    pub points: Vec<GrowthPoint>,
    /// Slope of log(bytes) over log(length); `None` without two lengths.
    pub hbm_exponent: Option<f64>,
    /// Slope of log(median seconds) over log(length).
    pub time_exponent: Option<f64>,
}

/// One algorithm at one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrowthPoint {
    /// Length of queries and keys.
    pub seqlen: usize,
    /// Bytes between L2 and device memory, counted.
    pub hbm_bytes: u64,
    /// Time of the emulated pass.
    pub seconds: Spread,
}

impl Results {
    /// Reads [`FILE`] of a folder.
    ///
    /// # Errors
    ///
    /// [`SuiteError::File`] when it is not there, [`SuiteError::Schema`] when another version of the suite wrote it,
    /// [`SuiteError::Json`] when it is something else.
    pub fn read(folder: &Path) -> Result<Results, SuiteError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).map_err(SuiteError::file(&path))?;
        let json = |source| SuiteError::Json {
            path: path.clone(),
            source,
        };
        let found = serde_json::from_str::<Version>(&text).map_err(json)?.schema;
        if found != SCHEMA {
            return Err(SuiteError::Schema { path, found });
        }
        serde_json::from_str(&text).map_err(json)
    }

    /// Makes the folder for results if it is not there, and checks that files can be written into it.
    ///
    /// # Errors
    ///
    /// [`SuiteError::File`].
    pub fn check_folder(folder: &Path) -> Result<(), SuiteError> {
        fs::create_dir_all(folder).map_err(SuiteError::file(folder))?;
        // It is removed at once.
        tempfile::tempfile_in(folder).map_err(SuiteError::file(folder))?;
        Ok(())
    }

    /// Writes [`FILE`] into a folder, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// [`SuiteError::File`].
    pub fn write(&self, folder: &Path) -> Result<(), SuiteError> {
        fs::create_dir_all(folder).map_err(SuiteError::file(folder))?;
        let path = folder.join(FILE);
        let json = serde_json::to_string_pretty(self);
        let mut text = json.map_err(|source| SuiteError::Json {
            path: path.clone(),
            source,
        })?;
        text.push('\n');
        fs::write(&path, text).map_err(SuiteError::file(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let results = sample::results();
        results.write(folder.path()).unwrap();
        assert_eq!(Results::read(folder.path()).unwrap(), results);
    }

    #[test]
    fn other_versions_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join(FILE), text).unwrap();
            Results::read(folder.path()).unwrap_err()
        };
        assert!(matches!(
            read(r#"{"schema": 99, "more": 1}"#),
            SuiteError::Schema { found: 99, .. }
        ));
        assert!(matches!(
            read(r#"{"schema": 2, "more": 1}"#),
            SuiteError::Json { .. }
        ));
        assert!(matches!(read("[]"), SuiteError::Json { .. }));
    }
}
