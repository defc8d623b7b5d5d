//! What changed between two profiles.

use std::collections::BTreeMap;
use std::io::{Result, Write};

use flash_attention::profile::InstructionClass;

use super::document::Document;
use super::format::{count, percent};
use super::source::{Place, hot_lines};
use super::table::{global_parts, problem, shared_parts};

/// Lines of the source that are printed, at most.
const MAX_LINES: usize = 20;

/// A number that is not the same in both.
#[derive(Clone, Debug, PartialEq)]
struct Change {
    name: String,
    old: u64,
    new: u64,
}

impl Change {
    /// New against old; infinite for what is new.
    fn ratio(&self) -> f64 {
        match (self.old, self.new) {
            (0, 0) => 0.0,
            (0, _) => f64::INFINITY,
            (old, new) => new as f64 / old as f64 - 1.0,
        }
    }

    fn percent(&self) -> String {
        match self.ratio() {
            ratio if ratio.is_infinite() => "new".to_owned(),
            ratio if ratio > 0.0 => format!("+{}", percent(ratio)),
            ratio => percent(ratio),
        }
    }
}

pub fn print(old: &Document, new: &Document, out: &mut impl Write) -> Result<()> {
    writeln!(out, "\nchanged since the profile of {}", problem(old))?;
    let totals = changes(&metrics(old), &metrics(new));
    if totals.is_empty() {
        return writeln!(out, "  nothing");
    }
    writeln!(
        out,
        "  {:44} {:>17} {:>17} {:>10}",
        "in total", "old", "new", ""
    )?;
    for change in &totals {
        let (old, new) = (count(change.old), count(change.new));
        writeln!(
            out,
            "  {:44} {old:>17} {new:>17} {:>10}",
            change.name,
            change.percent()
        )?;
    }
    let lines = changes(&heat(old), &heat(new));
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "  {:7} {:>17} {:>17} {:>10}  warp instructions of a line",
        "", "old", "new", ""
    )?;
    for change in lines.iter().take(MAX_LINES) {
        let mark = if change.new > change.old {
            "hotter"
        } else {
            ""
        };
        let (old, new) = (count(change.old), count(change.new));
        writeln!(
            out,
            "  {mark:7} {old:>17} {new:>17} {:>10}  {}",
            change.percent(),
            change.name
        )?;
    }
    if lines.len() > MAX_LINES {
        writeln!(out, "  and {} lines more", lines.len() - MAX_LINES)?;
    }
    Ok(())
}

/// What differs, the largest relative changes first.
fn changes(old: &BTreeMap<String, u64>, new: &BTreeMap<String, u64>) -> Vec<Change> {
    let only_old = old.keys().filter(|name| !new.contains_key(*name));
    let mut changes: Vec<Change> = new
        .keys()
        .chain(only_old)
        .map(|name| Change {
            name: name.clone(),
            old: old.get(name).copied().unwrap_or(0),
            new: new.get(name).copied().unwrap_or(0),
        })
        .filter(|change| change.old != change.new)
        .collect();
    changes.sort_by(|a, b| {
        let by_size = b.ratio().abs().total_cmp(&a.ratio().abs());
        by_size.then_with(|| a.name.cmp(&b.name))
    });
    changes
}

/// Every number of a profile, summed over its launches, with its name.
fn metrics(document: &Document) -> BTreeMap<String, u64> {
    let counters = document.profile.total();
    let total = &counters.total;
    let mut metrics = BTreeMap::new();
    let mut add = |name: &str, value: u64| {
        *metrics.entry(name.to_owned()).or_default() += value;
    };
    for code in &document.machine_code {
        add("registers of a thread (sm_80)", code.registers.into());
        add("spills, bytes (sm_80)", code.spill_bytes.into());
        if let Some(hottest) = &code.hottest_loop {
            let instructions: u32 = hottest.instructions.values().sum();
            add("hottest loop, machine instructions", instructions.into());
            add("hottest loop, stall cycles", hottest.stall_cycles.into());
            let per_gflop = 1e3 * hottest.other_instructions_per_mflop;
            add(
                "hottest loop, others per GFLOP of products",
                per_gflop.round() as u64,
            );
        }
    }
    add("launches", counters.launches);
    add("blocks", counters.blocks);
    add("warp instructions", total.executed().warp);
    add("thread instructions", total.executed().thread);
    for class in InstructionClass::ALL {
        add(
            &format!("warp instructions, {}", class.name()),
            total.class(*class).warp,
        );
    }
    add("tensor core FLOPs", total.operations.tensor_flops);
    add("f32 FLOPs", total.operations.f32_flops);
    add("f64 FLOPs", total.operations.f64_flops);
    add("f16, bf16 FLOPs", total.operations.half_flops);
    add("multi-function values", total.operations.mufu);
    add("branches", total.branches);
    add("divergent branches", total.divergent_branches);
    add("arrivals at barriers", total.barrier_arrivals);
    add("local memory requests", total.local.requests);
    for (name, counts) in global_parts(total) {
        add(&format!("global memory requests, {name}"), counts.requests);
        add(&format!("global memory sectors, {name}"), counts.sectors);
        add(&format!("global memory bytes, {name}"), counts.bytes);
    }
    for (name, counts) in shared_parts(total) {
        add(&format!("shared memory requests, {name}"), counts.requests);
        add(
            &format!("shared memory wavefronts, {name}"),
            counts.wavefronts,
        );
        add(
            &format!("shared memory conflicts, {name}"),
            counts.conflicts(),
        );
    }
    add("device memory read, bytes", counters.hbm.read_bytes);
    add("device memory written, bytes", counters.hbm.write_bytes);
    add(
        "device memory read at least, bytes",
        counters.hbm.min_read_bytes,
    );
    add(
        "device memory written at least, bytes",
        counters.hbm.min_write_bytes,
    );
    for allocation in &counters.allocations {
        let name = document.profile.tensor_at(allocation.address);
        let name = name.unwrap_or("unnamed");
        add(&format!("bytes read of {name}"), allocation.hbm.read_bytes);
        add(
            &format!("bytes written of {name}"),
            allocation.hbm.write_bytes,
        );
    }
    metrics
}

/// Warp instructions of each line.
///
/// A line is known by its text, and among equal ones by their order, so that it stays the same line when others are
/// inserted before it; without text it is known by its number.
fn heat(document: &Document) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut heat = BTreeMap::new();
    for (place, counts) in hot_lines(&document.profile.launches) {
        let Place { file, line } = place.clone();
        let name = match document.text(&place) {
            Some(text) => {
                let nth = seen.entry((file.clone(), text.to_owned())).or_default();
                *nth += 1;
                match nth {
                    1 => format!("{file}: {text}"),
                    _ => format!("{file}: {text} (number {nth})"),
                }
            }
            None => format!("{file}:{line}"),
        };
        heat.insert(name, counts.executed().warp);
    }
    heat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_relative_change_comes_first_and_the_new_before_it() {
        let of = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs.iter().map(|(k, v)| (k.to_string(), *v)).collect()
        };
        let old = of(&[
            ("same", 5),
            ("up", 100),
            ("down", 100),
            ("gone", 3),
            ("zero", 0),
        ]);
        let new = of(&[
            ("same", 5),
            ("up", 110),
            ("down", 50),
            ("new", 1),
            ("zero", 0),
        ]);
        let changes = changes(&old, &new);
        let shown: Vec<_> = changes.iter().map(|c| (&c.name[..], c.percent())).collect();
        assert_eq!(
            shown,
            [
                ("new", "new".to_owned()),
                ("gone", "-100.0 %".to_owned()),
                ("down", "-50.0 %".to_owned()),
                ("up", "+10.0 %".to_owned()),
            ]
        );
    }
}
