//! JSON lines for the table maker, and a line per shape for the reader.
//!
//! A shape is `{"name", "group", "shape": {batch, seqlen_q, seqlen_k, num_heads, num_heads_k, head_dim}, "dtype",
//! "causal", "pass", "sampled", "implementation": "ours", "kernels", "ms": {median, min, max}, "rounds", "calls",
//! "first_ms", "host_ms", "tflops", "gb_s", "failure"}`; times are null and `failure` says why when it could not be
//! measured. The rate of memory counts each input and output once.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::Error;
use crate::shapes::Case;
use crate::work::Measured;

/// Above the lines that are printed.
pub const HEADER: &str = "        ms    TFLOP/s       GB/s  shape";

/// The file that is being written.
pub struct Report(File);

impl Report {
    /// A new file; folders above it are made.
    pub fn create(path: &Path) -> Result<Report, Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::create(path)?;
        Report::append(path)
    }

    /// More lines for a file that is there.
    pub fn append(path: &Path) -> Result<Report, Error> {
        Ok(Report(File::options().append(true).open(path)?))
    }

    /// The first line.
    pub fn device(&mut self, name: &str) -> Result<(), Error> {
        self.line(&json!({"device": name, "implementation": "ours"}))
    }

    /// A shape that ran.
    pub fn measured(&mut self, case: &Case, measured: &Measured) -> Result<(), Error> {
        let [min, median, max] = measured.ms;
        let (tflops, gb_s) = (case.flops() / median / 1e9, case.bytes() / median / 1e6);
        say!(
            "{median:>10.4} {tflops:>10.3} {gb_s:>10.2}  {}",
            case.name()
        );
        let mut line = describe(case);
        line["kernels"] = json!(measured.kernels);
        line["ms"] = json!({"median": median, "min": min, "max": max});
        line["rounds"] = json!(measured.rounds);
        line["calls"] = json!(measured.calls);
        line["first_ms"] = json!(measured.first_ms);
        line["host_ms"] = json!(measured.host_ms);
        line["tflops"] = json!(tflops);
        line["gb_s"] = json!(gb_s);
        self.line(&line)
    }

    /// A shape that did not.
    pub fn failed(&mut self, case: &Case, failure: &str) -> Result<(), Error> {
        say!("{:>32}  {}: {failure}", "-", case.name());
        let mut line = describe(case);
        line["failure"] = json!(failure);
        self.line(&line)
    }

    /// The driver's time for a kernel.
    #[cfg(feature = "cuda")]
    pub fn compiled(&mut self, entry: &str, milliseconds: f64) -> Result<(), Error> {
        say!("{milliseconds:>10.1} ms to compile {entry}");
        self.line(&json!({"jit": entry, "ms": milliseconds}))
    }

    /// Written at once and whole, so that a run that is cut off leaves what it had.
    fn line(&mut self, value: &Value) -> Result<(), Error> {
        Ok(self.0.write_all(format!("{value}\n").as_bytes())?)
    }
}

/// What a file of lines has.
pub struct Written {
    pub has_device: bool,
    /// Shapes, measured or not.
    pub shapes: usize,
    /// Those that were.
    pub measured: usize,
}

/// Counts the lines of a file.
pub fn read(path: &Path) -> Result<Written, Error> {
    let mut written = Written {
        has_device: false,
        shapes: 0,
        measured: 0,
    };
    for line in std::fs::read_to_string(path)?.lines() {
        let value: Value = serde_json::from_str(line)?;
        written.has_device |= value.get("device").is_some();
        written.shapes += usize::from(value.get("shape").is_some());
        written.measured += usize::from(value.get("ms").is_some_and(Value::is_object));
    }
    Ok(written)
}

fn describe(case: &Case) -> Value {
    json!({
        "name": case.name(),
        "group": case.group,
        "shape": {
            "batch": case.batch,
            "seqlen_q": case.seqlen_q,
            "seqlen_k": case.seqlen_k,
            "num_heads": case.num_heads,
            "num_heads_k": case.num_heads_k,
            "head_dim": case.head_dim,
        },
        "dtype": case.dtype.name(),
        "causal": case.is_causal,
        "pass": case.pass.name(),
        "sampled": case.is_sampled,
        "implementation": "ours",
        "kernels": null,
        "ms": null,
        "rounds": null,
        "calls": null,
        "first_ms": null,
        "host_ms": null,
        "tflops": null,
        "gb_s": null,
        "failure": null,
    })
}
