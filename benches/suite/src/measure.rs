//! What is measured, part by part.

mod backward;
mod compilation;
mod forward;
#[cfg(feature = "peers")]
mod gemm;
mod growth;
mod inputs;
mod nvcc;
mod sanitizers;
mod traffic;

use std::process::Command;

use clap::ValueEnum;
use flash_attention::Arch;

pub use nvcc::CandleFlashAttn;

use crate::machine::Machine;
use crate::results::{Comparison, Results, SCHEMA};
use crate::{SuiteError, blessed, child, date, repository, say};

/// A part of the suite, in the order of a run: first what is likeliest to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A build of the library with all kernels, from nothing.
    Compilation,
    /// A matrix product written in PTX, by the emulator and by ptoxide.
    Gemm,
    /// Forward attention, by the emulator and by candle-nn.
    Forward,
    /// Its gradients.
    Backward,
    /// Forward attention under each sanitizer.
    Sanitizers,
    /// Times and traffic as the sequence grows.
    Growth,
    /// Counted traffic, and the tables that tests compare with.
    Counted,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What, in any order.
    pub parts: Vec<Part>,
    /// Whether the numbers are to mean nothing.
    pub is_quick: bool,
    /// Rounds of every comparison.
    pub rounds: usize,
    /// Rows and columns of the matrix product, a multiple of 16.
    pub gemm_size: usize,
    /// Length of queries and keys.
    pub seqlen: usize,
    /// Heads of queries and keys.
    pub heads: usize,
    /// Elements per head.
    pub head_dims: Vec<usize>,
    /// Elements per head where traffic is counted.
    pub counted_head_dims: Vec<usize>,
    /// Lengths between which growth is seen.
    pub growth_seqlens: Vec<usize>,
    /// What is compiled by nvcc for comparison.
    pub candle_flash_attn: Option<CandleFlashAttn>,
}

impl Plan {
    /// Everything: minutes on a quiet machine.
    pub fn whole() -> Plan {
        Plan {
            parts: Part::value_variants().to_vec(),
            is_quick: false,
            rounds: 7,
            gemm_size: 256,
            seqlen: 1024,
            heads: 8,
            head_dims: vec![64, 128],
            counted_head_dims: vec![64, 96, 128, 192, 256],
            growth_seqlens: vec![256, 512, 1024, 2048, 4096],
            candle_flash_attn: None,
        }
    }

    /// Seconds: shows that the suite works. Without a build from nothing.
    pub fn quick() -> Plan {
        let mut plan = Plan {
            is_quick: true,
            rounds: 1,
            gemm_size: 32,
            seqlen: 128,
            heads: 2,
            head_dims: vec![64],
            counted_head_dims: vec![64],
            growth_seqlens: vec![128, 256, 512],
            ..Plan::whole()
        };
        plan.parts.retain(|part| *part != Part::Compilation);
        plan
    }

    /// `[batch, seqlen, heads, head_dim]`.
    fn shape(&self, head_dim: usize) -> [usize; 4] {
        [1, self.seqlen, self.heads, head_dim]
    }
}

/// Measures what `plan` says, and prints each part as it begins.
///
/// # Errors
///
/// The first of any part; nothing is kept then.
pub fn run(plan: &Plan) -> Result<Results, SuiteError> {
    let mut results = Results {
        schema: SCHEMA,
        date: date::today(),
        commit: commit(),
        machine: Machine::here(),
        is_quick: plan.is_quick,
        comparisons: Vec::new(),
        compilation: None,
        traffic: Vec::new(),
        kernels: Vec::new(),
        growth: None,
        notes: Vec::new(),
    };
    for part in Part::value_variants() {
        if plan.parts.contains(part) {
            say(format_args!("measuring: {part:?}"));
            measure(*part, plan, &mut results)?;
        } else {
            results
                .notes
                .push(format!("{part:?} was not measured in this run."));
        }
    }
    Ok(results)
}

fn measure(part: Part, plan: &Plan, results: &mut Results) -> Result<(), SuiteError> {
    let each_head_dim = |compare: fn(&Plan, usize) -> Result<Comparison, SuiteError>| {
        let head_dims = plan.head_dims.iter();
        head_dims
            .map(|&head_dim| compare(plan, head_dim))
            .collect::<Result<Vec<_>, _>>()
    };
    match part {
        Part::Gemm => compare_gemm(plan, results)?,
        Part::Forward => results.comparisons.extend(each_head_dim(forward::compare)?),
        Part::Backward => results
            .comparisons
            .extend(each_head_dim(backward::compare)?),
        Part::Sanitizers => {
            for &arch in Arch::ALL {
                results.comparisons.push(sanitizers::compare(plan, arch)?);
            }
        }
        Part::Growth => results.growth = Some(growth::measure(plan)?),
        Part::Counted => {
            results.traffic = traffic::count(plan)?;
            results.kernels = blessed::read(&repository())?;
        }
        Part::Compilation => {
            let (compilation, note) = compilation::measure(plan)?;
            results.compilation = Some(compilation);
            results.notes.extend(note);
        }
    }
    Ok(())
}

#[cfg(feature = "peers")]
fn compare_gemm(plan: &Plan, results: &mut Results) -> Result<(), SuiteError> {
    results.comparisons.push(gemm::compare(plan)?);
    Ok(())
}

#[cfg(not(feature = "peers"))]
fn compare_gemm(_: &Plan, results: &mut Results) -> Result<(), SuiteError> {
    let note = "ptoxide and candle-nn were left out of this build of the suite (feature `peers`).";
    results.notes.push(note.to_owned());
    Ok(())
}

/// The commit that is checked out, and whether files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        child::first_line(command.args(arguments).current_dir(repository()))
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(_) => format!("{commit} and changes"),
        None => commit,
    }
}
