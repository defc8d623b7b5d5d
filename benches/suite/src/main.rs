//! Runs the suite, or renders its results again. `cargo xtask bench` is how it is meant to be started.

use std::path::PathBuf;
use std::process::ExitCode;

use bench_suite::measure::{self, CandleFlashAttn, Part, Plan};
use bench_suite::results::Results;
use bench_suite::{SuiteError, render, repository, say};
use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask bench --",
    about = "Measures everything that needs no GPU"
)]
struct Arguments {
    /// Few rounds of short sequences: shows that the suite works, and the numbers mean nothing
    #[arg(long)]
    quick: bool,
    /// Measure these parts alone
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,..")]
    only: Vec<Part>,
    /// Folder for the results [default: benches/results/DATE-cpu, for a part of the suite target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Source of candle-flash-attn, of which nvcc compiles three files for comparison
    #[arg(long, value_name = "DIR", requires = "cutlass")]
    candle_flash_attn: Option<PathBuf>,
    /// Headers of CUTLASS for it
    #[arg(long, value_name = "DIR", requires = "candle_flash_attn")]
    cutlass: Option<PathBuf>,
    /// Measure nothing: write tables and plots of DIR/results.json again
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "only", "out", "candle_flash_attn", "cutlass"])]
    render: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), SuiteError> {
    let folder = match arguments.render {
        Some(folder) => folder,
        None => measured(arguments)?,
    };
    for path in render::write(&folder, &repository())? {
        say(format_args!("written: {}", path.display()));
    }
    Ok(())
}

/// Measures, and returns where the results are.
fn measured(arguments: Arguments) -> Result<PathBuf, SuiteError> {
    // What cannot be used shows now, not after minutes.
    if let Some(folder) = &arguments.out {
        Results::check_folder(folder)?;
    }
    let candle_flash_attn = arguments.candle_flash_attn.zip(arguments.cutlass);
    let candle_flash_attn =
        candle_flash_attn.map(|(source, cutlass)| CandleFlashAttn { source, cutlass });
    if let Some(folders) = &candle_flash_attn {
        folders.check()?;
    }
    let is_part = arguments.quick || !arguments.only.is_empty();
    let mut plan = if arguments.quick {
        Plan::quick()
    } else {
        Plan::whole()
    };
    plan.candle_flash_attn = candle_flash_attn;
    if !arguments.only.is_empty() {
        plan.parts = arguments.only;
    }
    let results = measure::run(&plan)?;
    let folder = arguments.out.unwrap_or_else(|| match is_part {
        true => repository().join("target/bench"),
        false => repository().join(format!("benches/results/{}-cpu", results.date)),
    });
    results.write(&folder)?;
    if results.is_quick {
        say("\na quick run: it shows that the suite works, and its numbers mean nothing");
    }
    let section = render::section(&results, &folder, &repository());
    say(format_args!("\n{section}"));
    Ok(folder)
}
