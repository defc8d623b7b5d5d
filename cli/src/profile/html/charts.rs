//! Bar charts as inline SVG.

use std::fmt::Write;

use flash_attention::profile::{Counters, Counts, HbmCounts, InstructionClass, LaunchProfile};

use super::escape;
use crate::profile::document::Document;
use crate::profile::format::{bytes, count, share};
use crate::profile::machine_code::HottestLoop;
use crate::profile::source::hot_lines;

/// Lines of the source in a chart, at most.
const MAX_LINES: usize = 12;
/// Layout in pixels.
const ROW: usize = 24;
const BAR: usize = 16;
const LEFT: usize = 210;
const EXTENT: f64 = 440.0;
const WIDTH: usize = 820;

/// One bar: what stands before it, its parts from left to right with their style, what stands behind it.
struct Bar {
    label: String,
    parts: Vec<(&'static str, u64)>,
    value: String,
}

/// Warp instructions of each class that occurs.
pub fn instructions(total: &Counts) -> String {
    let all = total.executed().warp;
    let bars: Vec<Bar> = InstructionClass::ALL
        .iter()
        .map(|class| (class, total.class(*class).warp))
        .filter(|(_, warp)| *warp > 0)
        .map(|(class, warp)| Bar {
            label: class.name().to_owned(),
            parts: vec![(style(*class), warp)],
            value: format!("{} ({})", count(warp), share(warp, all)),
        })
        .collect();
    let legend = [
        ("tensor", "tensor cores"),
        ("arithmetic", "arithmetic"),
        ("memory", "memory"),
        ("control", "synchronisation and control"),
    ];
    chart("Warp instructions by class", &bars, &legend)
}

/// Machine instructions of one trip through the hottest loop.
pub fn hottest_loop(hottest: &HottestLoop) -> String {
    let all: u32 = hottest.instructions.values().sum();
    let bars: Vec<Bar> = hottest
        .by_count()
        .map(|(class, n)| Bar {
            label: class.to_owned(),
            parts: vec![("arithmetic", n.into())],
            value: format!("{n} ({})", share(n.into(), all.into())),
        })
        .collect();
    chart("Machine instructions of the hottest loop", &bars, &[])
}

fn style(class: InstructionClass) -> &'static str {
    use InstructionClass as Class;
    match class {
        Class::Tensor => "tensor",
        Class::Shared | Class::Matrix | Class::Global | Class::AsyncCopy | Class::Atomic => {
            "memory"
        }
        Class::Local | Class::Constant => "memory",
        Class::Exchange | Class::Barrier | Class::Control | Class::Other => "control",
        _ => "arithmetic",
    }
}

/// Bytes of each tensor, above the least possible.
pub fn device_memory(document: &Document, counters: &Counters) -> String {
    let mut bars = Vec::new();
    for allocation in &counters.allocations {
        let name = document.profile.tensor_at(allocation.address);
        let name = name.unwrap_or("unnamed");
        let HbmCounts {
            read_bytes,
            write_bytes,
            min_read_bytes,
            min_write_bytes,
        } = allocation.hbm;
        bars.push(traffic(
            name.to_owned(),
            ["read", "written"],
            [read_bytes, write_bytes],
        ));
        let least = ["least read", "least written"];
        bars.push(traffic(
            "at least".to_owned(),
            least,
            [min_read_bytes, min_write_bytes],
        ));
    }
    let legend = [
        ("read", "read"),
        ("written", "written"),
        ("least read", "the least possible"),
    ];
    chart("Bytes between L2 and device memory", &bars, &legend)
}

fn traffic(label: String, styles: [&'static str; 2], [read, written]: [u64; 2]) -> Bar {
    let value = match (read, written) {
        (_, 0) => format!("{} read", bytes(read)),
        (0, _) => format!("{} written", bytes(written)),
        _ => format!("{} read, {} written", bytes(read), bytes(written)),
    };
    Bar {
        label,
        parts: vec![(styles[0], read), (styles[1], written)],
        value,
    }
}

/// Wavefronts that conflicts cost, the worst lines first.
pub fn conflicts(launch: &LaunchProfile) -> String {
    let shared = launch.counters.total.shared.sum();
    if shared.conflicts() == 0 {
        return format!(
            "<p>None in {} wavefronts of {} requests to shared memory.</p>\n",
            count(shared.wavefronts),
            count(shared.requests)
        );
    }
    let mut lines: Vec<_> = hot_lines(std::slice::from_ref(launch))
        .into_iter()
        .map(|(place, counts)| (place, counts.shared.sum()))
        .filter(|(_, shared)| shared.conflicts() > 0)
        .collect();
    lines.sort_by_key(|(_, shared)| std::cmp::Reverse(shared.conflicts()));
    let bar = |(place, shared): &(_, flash_attention::profile::BankCounts)| Bar {
        label: format!("{place}"),
        parts: vec![
            ("ideal", shared.ideal_wavefronts),
            ("conflict", shared.conflicts()),
        ],
        value: format!(
            "{} of {}",
            count(shared.conflicts()),
            count(shared.wavefronts)
        ),
    };
    let bars: Vec<Bar> = lines.iter().take(MAX_LINES).map(bar).collect();
    let legend = [
        ("ideal", "wavefronts without conflicts"),
        ("conflict", "conflicts"),
    ];
    chart("Bank conflicts by source line", &bars, &legend)
}

fn chart(title: &str, bars: &[Bar], legend: &[(&str, &str)]) -> String {
    let length = |bar: &Bar| bar.parts.iter().map(|(_, n)| n).sum::<u64>();
    let longest = bars.iter().map(length).max().unwrap_or(0).max(1);
    let height = ROW * (bars.len() + 1) + 8;
    let mut svg = format!(
        "<svg role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\">\n"
    );
    for (index, bar) in bars.iter().enumerate() {
        row(&mut svg, bar, ROW * index, longest);
    }
    let mut x = LEFT;
    let y = ROW * bars.len() + 8;
    for (style, text) in legend {
        let _ = writeln!(
            svg,
            "<rect class=\"{style}\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\"/>\
             <text class=\"legend\" x=\"{}\" y=\"{}\">{text}</text>",
            x + 18,
            y + 10
        );
        // A letter of the legend is about 7 pixels wide.
        x += 44 + 7 * text.len();
    }
    svg + "</svg>\n"
}

/// One bar, `y` pixels below the top of the chart. Writing to a String cannot fail: the results are dropped.
fn row(svg: &mut String, bar: &Bar, y: usize, longest: u64) {
    let baseline = y + BAR - 3;
    let _ = writeln!(
        svg,
        "<text class=\"label\" x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>",
        LEFT - 8,
        escape(&shortened(&bar.label))
    );
    let mut x = LEFT as f64;
    for (style, n) in &bar.parts {
        let width = EXTENT * *n as f64 / longest as f64;
        if *n > 0 {
            let _ = writeln!(
                svg,
                "<rect class=\"{style}\" x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\">\
                 <title>{}: {}</title></rect>",
                width.max(1.0),
                escape(&bar.label),
                count(*n)
            );
        }
        x += width;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{baseline}\">{}</text>",
        x + 6.0,
        escape(&bar.value)
    );
}

/// The end of a label that is too long for its place.
fn shortened(label: &str) -> String {
    let skip = label.chars().count().saturating_sub(28);
    match skip {
        0 => label.to_owned(),
        _ => format!("…{}", label.chars().skip(skip).collect::<String>()),
    }
}
