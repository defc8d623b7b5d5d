//! All results as one page of Markdown. The README's section is made of some of its parts.

use super::format::{exponent, gibibytes, megabytes, ratio, seconds};
use super::{HBM, PEERS, TIME};
use crate::blessed::KernelFigures;
use crate::results::{Comparison, Compilation, Growth, Results, Traffic};
use crate::timing::Spread;

/// Everything that was measured.
pub fn page(results: &Results) -> String {
    let mut page = format!("# Measured on {}\n\n{}", results.date, place(results));
    let mut add = |title: &str, body: String| {
        if !body.is_empty() {
            page.push_str(&format!("\n## {title}\n\n{body}"));
        }
    };
    if !results.comparisons.is_empty() {
        let plot =
            format!("\n![medians, and lines from the fastest to the slowest round]({PEERS})\n");
        add("Times", comparisons(&results.comparisons) + &plot);
    }
    if let Some(compilation) = &results.compilation {
        add("A build from nothing", compilation_lines(compilation));
    }
    if let Some(growth) = &results.growth {
        add("Growth with the sequence", growth_tables(growth));
    }
    add(
        "Traffic with device memory, counted",
        traffic_table(&results.traffic),
    );
    add("Every kernel", kernels_table(&results.kernels));
    let notes = results.notes.iter().map(|note| format!("- {note}\n"));
    add("Not measured", notes.collect());
    page
}

/// What was measured, and where.
fn place(results: &Results) -> String {
    let machine = &results.machine;
    let load = match machine.load_average {
        Some(load) => format!("load average at the beginning {load:.2}"),
        None => "load average unknown".to_owned(),
    };
    let warning = match results.is_quick {
        true => "**A quick run: it shows that the suite works, and its numbers mean nothing.**\n\n",
        false => "",
    };
    format!(
        "{warning}- {}\n- {}, {load}\n- commit {}\n",
        machine.summary(),
        machine.rustc,
        results.commit
    )
}

/// A row for each contender. The ratio is to the first of its work.
pub(super) fn comparisons(comparisons: &[Comparison]) -> String {
    let header = [
        "work",
        "by",
        "median",
        "fastest to slowest",
        "times the first",
    ];
    let mut rows = Vec::new();
    for comparison in comparisons {
        let first = comparison
            .timings
            .first()
            .map_or(1.0, |first| first.seconds.median);
        for (index, timing) in comparison.timings.iter().enumerate() {
            rows.push(vec![
                if index == 0 {
                    work(comparison)
                } else {
                    String::new()
                },
                timing.name.clone(),
                seconds(timing.seconds.median),
                fastest_to_slowest(timing.seconds),
                if index == 0 {
                    String::new()
                } else {
                    ratio(timing.seconds.median / first)
                },
            ]);
        }
    }
    table(&header, &rows)
}

fn fastest_to_slowest(spread: Spread) -> String {
    let (min, max, rounds) = (seconds(spread.min), seconds(spread.max), spread.rounds);
    let plural = if rounds == 1 { "" } else { "s" };
    format!("{min} to {max}, {rounds} round{plural}")
}

/// The work, how far results agree, and how fast the first executed instructions.
fn work(comparison: &Comparison) -> String {
    let rate = comparison
        .thread_instructions
        .zip(comparison.timings.first());
    let rate = rate.map(|(instructions, first)| {
        let per_second = instructions as f64 / first.seconds.median / 1e9;
        format!("{per_second:.2} G thread instructions/s")
    });
    let parts = [
        Some(comparison.work.clone()),
        comparison.agreement.clone(),
        rate,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The build of the library, its kernels, and candle-flash-attn's files.
pub(super) fn compilation_lines(compilation: &Compilation) -> String {
    let mut lines = format!(
        "- `{}` into an empty folder: {}{}\n",
        compilation.command,
        seconds(compilation.seconds),
        on_processors(compilation.cpu_seconds, compilation.peak_bytes)
    );
    for build in &compilation.kernels {
        let (time, kernels, arch) = (seconds(build.seconds), build.kernels, &build.arch);
        lines += &format!(
            "  - of it the {kernels} kernels for {arch}, with `core`: {time} ({})\n",
            build.compiler
        );
    }
    for build in &compilation.nvcc {
        lines += &format!(
            "- candle-flash-attn's `{}` alone, by nvcc: {}{} ({})\n",
            build.file,
            seconds(build.seconds),
            on_processors(build.cpu_seconds, build.peak_bytes),
            build.compiler
        );
    }
    lines
}

/// What a build took besides wall time, as far as the system tells.
fn on_processors(cpu_seconds: Option<f64>, peak_bytes: Option<u64>) -> String {
    let time = cpu_seconds.map(|time| format!(", {} of processors", seconds(time)));
    let peak = peak_bytes.map(|bytes| format!(", largest process {}", gibibytes(bytes)));
    time.unwrap_or_default() + &peak.unwrap_or_default()
}

/// Exponents of all algorithms.
pub(super) fn growth_exponents(growth: &Growth) -> String {
    let header = [
        "",
        "HBM traffic, counted, grows as",
        "emulated time grows as",
    ];
    let power = |slope| match slope {
        Some(_) => format!("seqlen^{}", exponent(slope)),
        None => exponent(slope),
    };
    let rows: Vec<_> = growth
        .algorithms
        .iter()
        .map(|grown| {
            vec![
                grown.algorithm.clone(),
                power(grown.hbm_exponent),
                power(grown.time_exponent),
            ]
        })
        .collect();
    table(&header, &rows)
}

/// Shortest and longest sequence.
pub(super) fn lengths(growth: &Growth) -> String {
    let points = growth.algorithms.iter().flat_map(|grown| &grown.points);
    let lengths = || points.clone().map(|point| point.seqlen);
    match (lengths().min(), lengths().max()) {
        (Some(shortest), Some(longest)) => format!("seqlen {shortest} to {longest}"),
        _ => "no sequence".to_owned(),
    }
}

fn growth_tables(growth: &Growth) -> String {
    let mut header = vec!["seqlen".to_owned()];
    for grown in &growth.algorithms {
        header.push(grown.algorithm.clone());
    }
    let seqlens = growth.algorithms.first().map_or(Vec::new(), |first| {
        first.points.iter().map(|point| point.seqlen).collect()
    });
    let mut rows = Vec::new();
    for (index, seqlen) in seqlens.iter().enumerate() {
        let mut row = vec![seqlen.to_string()];
        for grown in &growth.algorithms {
            row.push(grown.points.get(index).map_or_else(String::new, |point| {
                format!(
                    "{}, {}",
                    megabytes(point.hbm_bytes),
                    seconds(point.seconds.median)
                )
            }));
        }
        rows.push(row);
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    format!(
        "{}. HBM traffic is counted, times are medians.\n\n{}\n{}\n![HBM traffic]({HBM})\n![time]({TIME})\n",
        growth.work,
        table(&header, &rows),
        growth_exponents(growth)
    )
}

fn traffic_table(traffic: &[Traffic]) -> String {
    if traffic.is_empty() {
        return String::new();
    }
    let header = [
        "pass",
        "kernels for",
        "HBM",
        "inputs and outputs once",
        "ratio",
        "bank conflicts",
    ];
    let rows: Vec<_> = traffic
        .iter()
        .map(|pass| {
            vec![
                pass.work.clone(),
                pass.arch.clone(),
                megabytes(pass.hbm_bytes),
                megabytes(pass.compulsory_bytes),
                ratio(pass.hbm_bytes as f64 / pass.compulsory_bytes as f64),
                pass.bank_conflicts.to_string(),
            ]
        })
        .collect();
    table(&header, &rows)
}

fn kernels_table(kernels: &[KernelFigures]) -> String {
    if kernels.is_empty() {
        return String::new();
    }
    let header = [
        "kernel",
        "HBM read, bytes",
        "written",
        "bank conflicts",
        "instructions per MFLOP",
        "stall cycles a trip",
    ];
    let rows: Vec<_> = kernels
        .iter()
        .map(|kernel| {
            let count = |name: &str| match kernel.counters.get(name) {
                Some(count) => count.to_string(),
                None => "-".to_owned(),
            };
            let hottest = kernel.hottest_loop.as_ref();
            let dash = || "-".to_owned();
            vec![
                kernel.entry.clone(),
                count("hbm_read_bytes"),
                count("hbm_write_bytes"),
                count("bank_conflicts"),
                hottest.map_or_else(dash, |h| format!("{:.1}", h.instructions_per_mflop)),
                hottest.map_or_else(dash, |h| h.stall_cycles.to_string()),
            ]
        })
        .collect();
    format!(
        "Counts of one launch on a small problem, and figures of the hottest loop of the machine code: the tables that \
         tests compare with (`tests/blessed/`).\n\n{}",
        table(&header, &rows)
    )
}

/// Markdown of a table.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(header) + &format!("|{}\n", "---|".repeat(header.len()));
    for row in rows {
        text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn every_part_is_on_the_page() {
        let page = page(&sample::results());
        for text in [
            "# Measured on 2026-11-21",
            "- commit 0123456789ab",
            "| a product; results equal; 2.00 G thread instructions/s | ours | 0.500 s | 0.400 s to 0.600 s, 3 rounds |  |",
            "|  | theirs | 5.00 s | 4.00 s to 6.00 s, 3 rounds | 10.0 x |",
            "`cargo check` into an empty folder: 60.0 s, 90.0 s of processors, largest process 1.50 GiB",
            "of it the 2 kernels for sm_80, with `core`: 33.2 s (rustc 1.95.0)",
            "candle-flash-attn's `a.cu` alone, by nvcc: 100 s, largest process 3.00 GiB (Cuda compilation tools, release 13.5, V13.5.37)",
            "| 512 | 4.00 MB, 0.800 s | 2.00 MB, 0.400 s |",
            "| standard attention | seqlen^2.00 | seqlen^2.00 |",
            "| forward, b1 h2 s128 d64, bf16 | sm_90a | 3.00 MB | 1.50 MB | 2.00 x | 7 |",
            "| a_kernel | 10 | 20 | 0 | 911.7 | 1326 |",
            "| another | - | - | - | - | - |",
            "- Something was left out.",
        ] {
            assert!(page.contains(text), "`{text}` is missing from\n{page}");
        }
        assert!(!page.contains("quick"));
    }

    #[test]
    fn what_was_not_measured_has_no_heading() {
        let results = Results {
            comparisons: Vec::new(),
            compilation: None,
            growth: None,
            traffic: Vec::new(),
            kernels: Vec::new(),
            is_quick: true,
            ..sample::results()
        };
        let page = page(&results);
        let headings: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(headings, ["## Not measured"]);
        assert!(page.contains("A quick run"));
    }
}
