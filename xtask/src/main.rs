//! Project tasks, run as `cargo xtask TASK`. Every task prints the commands it runs, so each step can be repeated by hand.
//!
//! A task is one file. None of them links the library, so all start before any kernel is compiled.

/// Prints a line. A reader who has left, as of `cargo xtask setup | head -1`, does not keep a task from its work.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

mod assemble;
mod bench;
mod bless;
mod check;
mod command;
mod cuda_tools;
mod demo;
mod fuzz;
mod gpu_bundle;
mod kernel_compiler;
mod nvcc;
mod package;
mod python;
mod setup;
mod system;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Project tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what kernels and tests need; does nothing when all is there
    Setup,
    /// Compute attention on real activations with the project's kernels, on the emulated device, and check it
    Demo,
    /// Run everything that proves the project
    Test {
        /// Run the whole test grid instead of lengths up to 1024
        #[arg(long)]
        full: bool,
        /// Arguments for `cargo test`, after `--`: for example `-- --test codegen`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Formatting, lints and documentation with warnings as errors, then all tests
    Check,
    /// Take over what kernels do and cost now, as the tables that tests compare with
    Bless,
    /// Measure everything that needs no GPU, the emulator beside its peers among it; write tables and plots
    Bench {
        /// Leave out ptoxide and candle-nn, which take minutes to compile
        #[arg(long)]
        no_peers: bool,
        /// Compile three files of candle-flash-attn too: brings nvcc from the Python registry, and takes a quarter of
        /// an hour
        #[arg(long)]
        nvcc: bool,
        /// Arguments for the suite, after `--`: for example `-- --quick`; `-- --help` lists them
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Feed the emulator texts that are almost PTX until one makes it panic or hang
    Fuzz {
        /// Arguments for libFuzzer, after `--`: for example `-- -runs=1000000`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Put tests and benchmarks into one folder that runs on a machine with a GPU and without Rust
    GpuBundle,
    /// Make the packages of all crates, the library's with compiled kernels, and build each from its package alone
    Package,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Demo => demo::run(),
        Task::Test { full, arguments } => test::run(full, &arguments),
        Task::Check => check::run(),
        Task::Bless => bless::run(),
        Task::Bench {
            no_peers,
            nvcc,
            arguments,
        } => bench::run(!no_peers, nvcc, &arguments),
        Task::Fuzz { arguments } => fuzz::run(&arguments),
        Task::GpuBundle => gpu_bundle::run(),
        Task::Package => package::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
