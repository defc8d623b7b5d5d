//! The `flash-attention` command: attention and its gradients on safetensors files, profiles of them, the list of kernels,
//! and what this machine has.
//!
//! Exit codes: 0 done, 1 `--check` failed or `--sanitize` found something, 2 anything else, with one line on stderr.

mod attend;
mod computed;
mod device;
mod doctor;
mod exact;
mod grad;
mod growth;
mod input;
mod kernels;
mod on_device;
mod options;
mod output;
mod picture;
mod printer;
mod profile;
mod random;
mod support;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// Exact attention by FlashAttention kernels written in Rust.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compute attention of the tensors q, k and v in a safetensors file.
    #[command(after_help = input::TENSORS)]
    Attend(Box<attend::AttendArgs>),
    /// Compute attention and its gradients, from the gradient of the output in the same file: what training needs.
    #[command(after_help = grad::tensors())]
    Grad(Box<grad::GradArgs>),
    /// Count what attention does on the emulated device: instructions, memory traffic, bank conflicts, by source line.
    Profile(Box<profile::ProfileArgs>),
    /// Count what standard attention, FlashAttention-1 and FlashAttention-2 move and hold as sequences grow.
    Growth(growth::GrowthArgs),
    /// List the compiled kernels, and write their PTX.
    Kernels {
        /// Write ENTRY.ptx for each kernel into this folder, which is created when missing.
        #[arg(long, value_name = "DIR")]
        emit_ptx: Option<PathBuf>,
    },
    /// Try every feature on each device, compare with the f64 reference, and print a table of what is supported.
    Support(support::SupportArgs),
    /// Say which compilers, tools, drivers and devices were found, and what to do about what is missing.
    Doctor,
}

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    CheckFailed,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(&usage_line(&error)),
        Err(help) => help.exit(),
    };
    match run(&cli.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Err(error) => fail(&format!("error: {error:#}")),
    }
}

fn run(command: &Command) -> Result<Outcome> {
    let mut stdout = printer::Printer::new(io::stdout().lock());
    let outcome = match command {
        Command::Attend(args) => attend::run(args, attend::Passes::Forward, &mut stdout),
        Command::Grad(args) => grad::run(args, &mut stdout),
        Command::Profile(args) => profile::run(args, &mut stdout),
        Command::Growth(args) => growth::run(args, &mut stdout).map(|()| Outcome::Done),
        Command::Kernels { emit_ptx } => kernels::run(emit_ptx.as_deref(), &mut stdout),
        Command::Support(args) => support::run(args, &mut stdout),
        Command::Doctor => doctor::run(&mut stdout),
    }?;
    stdout.flush()?;
    Ok(outcome)
}

fn fail(message: &str) -> ExitCode {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // When stderr is gone too, the exit code is all that can be said.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(2)
}

/// The first paragraph of clap's message says what is wrong; usage and hints follow.
fn usage_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "error: name a command: attend, grad, profile, growth, kernels, support or doctor (see --help)"
            .to_owned();
    }
    let text = error.to_string();
    format!(
        "{} (see --help)",
        text.split("\n\n").next().unwrap_or(&text)
    )
}
