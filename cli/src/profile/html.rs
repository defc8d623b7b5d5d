//! The profile as one page that needs nothing else: charts are SVG, style and text are inside.

mod charts;
mod listing;

use flash_attention::profile::{Counters, LaunchProfile};

use super::document::Document;
use super::format::{bytes, count, percent};
use super::machine_code::MachineCode;
use super::source::Sources;
use super::table::{geometry, l2, occupancies, overhead, problem};

const STYLE: &str = include_str!("html/style.css");

/// The whole page.
pub fn page(document: &Document, sources: &mut Sources) -> String {
    let mut launches = String::new();
    if document.profile.launches.is_empty() {
        launches.push_str("<p>Nothing was launched: the output is empty.</p>\n");
    }
    for launch in &document.profile.launches {
        launches += &section(document, launch, sources);
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>flash-attention profile</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>flash-attention profile</h1>\n<p>{}</p>\n<p class=\"note\">L2: {}. Counted on the emulated device, one \
         block after the other; no L1 cache is modelled, and nothing here is a time.</p>\n{launches}</body>\n</html>\n",
        escape(&problem(document)),
        l2(document.l2)
    )
}

fn section(document: &Document, launch: &LaunchProfile, sources: &mut Sources) -> String {
    let counters = &launch.counters;
    let code = document.machine_code_of(&launch.entry);
    format!(
        "<section>\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n{}\
         <h3>Warp instructions by class</h3>\n{}\
         <h3>Bytes between L2 and device memory, and the least possible</h3>\n{}\
         <h3>Bank conflicts by source line</h3>\n{}\
         {}<h3>Source</h3>\n{}</section>\n",
        escape(&geometry(launch)),
        escape(&format!("Occupancy: {}", occupancies(launch, code))),
        cards(counters, code),
        charts::instructions(&counters.total),
        charts::device_memory(document, counters),
        charts::conflicts(launch),
        code.and_then(|code| code.hottest_loop.as_ref())
            .map_or(String::new(), |hottest| format!(
                "<h3>Machine instructions of the hottest loop (sm_80)</h3>\n{}",
                charts::hottest_loop(hottest)
            )),
        listing::listing(launch, sources)
    )
}

/// The numbers to look at first.
fn cards(counters: &Counters, code: Option<&MachineCode>) -> String {
    let total = &counters.total;
    let (hbm, shared, global) = (counters.hbm, total.shared.sum(), total.global.sum());
    let some = |value: Option<f64>| value.map_or("none".to_owned(), percent);
    let cards = [
        ("warp instructions", count(total.executed().warp)),
        (
            "PTX instructions outside the tensor cores per MFLOP inside",
            overhead(total).map_or("none".to_owned(), |n| format!("{n:.0}")),
        ),
        ("lanes in use", some(total.executed().lane_use())),
        ("device memory traffic", bytes(hbm.bytes())),
        (
            "of the least possible",
            some((hbm.min_bytes() > 0).then(|| hbm.bytes() as f64 / hbm.min_bytes() as f64)),
        ),
        ("L1 to L2", bytes(global.sector_bytes())),
        ("sector efficiency", some(global.efficiency())),
        ("bank conflicts", count(shared.conflicts())),
    ];
    let machine_code = code.map_or(Vec::new(), machine_cards);
    let card = |(name, value): (&str, String)| {
        format!("<div class=\"card\"><b>{value}</b><span>{name}</span></div>\n")
    };
    format!(
        "<div class=\"cards\">\n{}</div>\n",
        cards
            .into_iter()
            .chain(machine_code)
            .map(card)
            .collect::<String>()
    )
}

fn machine_cards(code: &MachineCode) -> Vec<(&'static str, String)> {
    let mut cards = vec![
        ("registers of a thread on sm_80", code.registers.to_string()),
        ("bytes of spills", code.spill_bytes.to_string()),
    ];
    if let Some(hottest) = &code.hottest_loop {
        let per_mflop = format!("{:.1}", hottest.other_instructions_per_mflop);
        cards.push((
            "machine instructions outside the tensor cores per MFLOP inside, hottest loop",
            per_mflop,
        ));
        cards.push((
            "stall cycles of the hottest loop",
            hottest.stall_cycles.to_string(),
        ));
    }
    cards
}

/// Text as it may stand between tags and in attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flash_attention::profile::{BankCounts, Counts, LineCounters, SharedCounts};

    /// A launch whose lines 10 and 20 of `file` have 7 and 9 conflicts.
    fn launch(file: &str) -> LaunchProfile {
        let line = |line: u32, conflicts: u64| LineCounters {
            line,
            source: Some((file.to_owned(), line)),
            counts: Counts {
                shared: SharedCounts {
                    loads: BankCounts {
                        requests: 1,
                        wavefronts: 1 + conflicts,
                        ideal_wavefronts: 1,
                        ..BankCounts::default()
                    },
                    ..SharedCounts::default()
                },
                ..Counts::default()
            },
        };
        let lines = vec![line(10, 7), line(20, 9)];
        let mut total = Counts::default();
        lines.iter().for_each(|line| total += &line.counts);
        LaunchProfile {
            entry: "kernel".to_owned(),
            grid: [1; 3],
            block: [32, 1, 1],
            shared_bytes: 0,
            counters: Counters {
                total,
                lines,
                ..Counters::default()
            },
        }
    }

    #[test]
    fn the_line_with_most_conflicts_comes_first() {
        let chart = charts::conflicts(&launch("a<b>.rs"));
        let at = |text: &str| {
            chart
                .find(text)
                .unwrap_or_else(|| panic!("{text} in {chart}"))
        };
        assert!(at("a&lt;b&gt;.rs:20") < at("a&lt;b&gt;.rs:10"), "{chart}");
        assert!(at(">9 of 10<") < at(">7 of 8<"), "{chart}");
        assert!(!chart.contains("a<b>"), "{chart}");
    }

    #[test]
    fn a_listing_shows_rust_where_the_source_tree_has_it() {
        let mut sources = Sources::find();
        let rust = listing::listing(&launch("cli/src/profile/html.rs"), &mut sources);
        let tenth = include_str!("html.rs").lines().nth(9).unwrap();
        let row = format!("<pre>{}</pre>", escape(tenth));
        assert!(rust.contains(&row), "{row} is not in {rust}");
        assert!(rust.contains("<td class=\"bad\">9</td>"), "{rust}");
        // Lines 8 to 12 and 18 to 22, and a gap between them.
        assert_eq!(rust.matches("<pre>").count(), 10, "{rust}");
        assert_eq!(rust.matches("class=\"gap\"").count(), 1, "{rust}");
        let unknown = listing::listing(&launch("elsewhere.rs"), &mut sources);
        assert_eq!(unknown.matches("<pre>").count(), 2, "{unknown}");
    }
}
