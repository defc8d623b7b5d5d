//! The source with what each line did beside it, hot lines coloured.

use std::collections::BTreeMap;
use std::fmt::Write;

use flash_attention::profile::{Counts, LaunchProfile};

use super::escape;
use crate::profile::format::{count, share};
use crate::profile::source::{Sources, hot_lines};

/// Lines shown before and after one that executes.
const CONTEXT: u32 = 2;

/// Every file that executes, the hottest first.
pub fn listing(launch: &LaunchProfile, sources: &mut Sources) -> String {
    let mut files: BTreeMap<String, BTreeMap<u32, Counts>> = BTreeMap::new();
    for (place, counts) in hot_lines(std::slice::from_ref(launch)) {
        files
            .entry(place.file)
            .or_default()
            .insert(place.line, counts);
    }
    let all = launch.counters.total.executed().warp;
    let warps = |lines: &BTreeMap<u32, Counts>| -> u64 {
        lines.values().map(|counts| counts.executed().warp).sum()
    };
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_by_key(|(_, lines)| std::cmp::Reverse(warps(lines)));
    let hottest = files.iter().flat_map(|(_, lines)| lines.values());
    let hottest = hottest
        .map(|counts| counts.executed().warp)
        .max()
        .unwrap_or(0);
    let mut html = String::new();
    for (index, (file, lines)) in files.iter().enumerate() {
        let warps = warps(lines);
        let open = if index == 0 { " open" } else { "" };
        let _ = writeln!(
            html,
            "<details{open}>\n<summary>{}: {} warp instructions, {}</summary>\n<div class=\"scroll\">\n<table \
             class=\"source\">\n<tr><th>line</th><th>warp</th><th>share</th><th>sectors</th><th>conflicts</th>\
             <th></th></tr>",
            escape(file),
            count(warps),
            share(warps, all)
        );
        let rows = Rows {
            lines,
            hottest,
            all,
        };
        rows.write(&mut html, sources.lines(file));
        html.push_str("</table>\n</div>\n</details>\n");
    }
    html
}

/// The lines of one file.
struct Rows<'a> {
    lines: &'a BTreeMap<u32, Counts>,
    /// Warp instructions of the hottest line, and of all lines.
    hottest: u64,
    all: u64,
}

impl Rows<'_> {
    /// Writes the lines that execute, with those around them when the text is known.
    fn write(&self, html: &mut String, texts: Option<&[String]>) {
        let mut previous = None;
        for number in self.shown(texts.map_or(0, |texts| texts.len() as u32)) {
            if previous.is_some_and(|line| line + 1 != number) {
                html.push_str("<tr class=\"gap\"><td colspan=\"6\">⋯</td></tr>\n");
            }
            previous = Some(number);
            let text = texts.and_then(|texts| texts.get(number as usize - 1));
            let text = escape(text.map_or("", |text| text));
            match self.lines.get(&number) {
                Some(counts) => self.hot(html, number, counts, &text),
                None => {
                    let _ = writeln!(
                        html,
                        "<tr><td>{number}</td><td></td><td></td><td></td><td></td><td><pre>{text}</pre></td></tr>"
                    );
                }
            }
        }
    }

    /// Numbers of the lines to show in a file of `len` lines; all that execute, whatever `len` says.
    fn shown(&self, len: u32) -> Vec<u32> {
        let around = |line: &u32| {
            let first = line.saturating_sub(CONTEXT).max(1);
            first..=line.saturating_add(CONTEXT)
        };
        let mut shown: Vec<u32> = self.lines.keys().flat_map(around).collect();
        shown.retain(|line| *line <= len || self.lines.contains_key(line));
        // Line 0 is what compilers write for code without a line.
        shown.retain(|line| *line > 0);
        shown.sort_unstable();
        shown.dedup();
        shown
    }

    fn hot(&self, html: &mut String, number: u32, counts: &Counts, text: &str) {
        let warp = counts.executed().warp;
        let number_or_nothing = |n: u64| if n > 0 { count(n) } else { String::new() };
        let _ = writeln!(
            html,
            "<tr style=\"--heat:{:.3}\"><td>{number}</td><td>{}</td><td>{}</td><td>{}</td><td{}>{}</td>\
             <td><pre>{text}</pre></td></tr>",
            warp as f64 / self.hottest.max(1) as f64,
            count(warp),
            share(warp, self.all),
            number_or_nothing(counts.global.sum().sectors),
            if counts.shared.sum().conflicts() > 0 {
                " class=\"bad\""
            } else {
                ""
            },
            number_or_nothing(counts.shared.sum().conflicts())
        );
    }
}
