//! What is counted, against numbers worked out by hand.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod common;
mod global;
mod hbm;
mod instructions;
mod shared;

use common::{kernel, run_with};
use ptx_emulator::{CounterOptions, Counters, Counts, L2Cache, Options};

/// Counters of one block of `threads` threads that executes `body` once.
fn count(body: &str, threads: u32) -> Counters {
    count_with("", body, threads, CounterOptions::default())
}

/// The same with declarations and options.
fn count_with(declarations: &str, body: &str, threads: u32, options: CounterOptions) -> Counters {
    let options = Options {
        counters: Some(options),
        ..Options::default()
    };
    let run = run_with(&kernel(declarations, body), 1, threads, &options);
    let report = run.result.unwrap_or_else(|fault| panic!("{body}: {fault}"));
    report.counters.expect("counters were asked for")
}

/// What one line did: `line` alone on its line, after `before`, in a kernel with 16 KiB of
/// shared memory at offset 0.
fn of_line(before: &str, line: &str, threads: u32) -> Counts {
    let declarations = ".shared .align 1024 .b8 buffer[16384];";
    let body = format!("{before}\n{line}\nadd.u32 %r9, %r9, %r0;");
    let counters = count_with(declarations, &body, threads, CounterOptions::default());
    let text = kernel(declarations, &body);
    let number = 1 + text.lines().position(|l| l == line).expect("the line") as u32;
    let found = counters.lines.iter().find(|l| l.line == number);
    let found = found.unwrap_or_else(|| panic!("{line} did not execute"));
    found.counts.clone()
}

/// An L2 without bounds, so that everything is read and written once.
const UNBOUNDED: CounterOptions = CounterOptions {
    l2: L2Cache::Unbounded,
};
