//! Figures of the hottest loops that somebody has looked at and found right, kept in tests/blessed/loops.txt.
//!
//! They hold for one kernel compiler and one ptxas, which the file names; other ones give other code and are not
//! compared.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use flash_attention::{Arch, KERNEL_COMPILER, kernels};
use kernel_builder::sass::ptxas_version;

use crate::machine_code::say_skipped;

/// With this variable set the figures of this run are written down instead of compared.
const BLESS: &str = "FLASH_ATTENTION_BLESS";
/// What a figure may move by, as a fraction: less is noise of the compiler's choices.
const TOLERANCE: f64 = 0.02;

/// Figures of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    /// The kernel.
    pub entry: String,
    /// Instructions outside the tensor cores per million operations on them.
    pub instructions_per_mflop: f64,
    /// Sum of the issue stalls of one trip.
    pub stall_cycles: u32,
    /// Instructions of one trip by class; empty where they are not kept.
    pub classes: Vec<(String, u32)>,
}

/// Compares the kernels for an architecture with the file, or writes them to it.
pub(crate) fn check(arch: Arch, found: &[Figures]) {
    let header = format!(
        "# kernel compiler: {KERNEL_COMPILER}\n# ptxas: {}\n",
        ptxas_version().expect("ptxas has just assembled the kernels")
    );
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        return bless(arch, &header, found);
    }
    let text = std::fs::read_to_string(path()).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask bless` writes it",
            path().display()
        )
    });
    match text.strip_prefix(&header) {
        Some(figures) => {
            let mut blessed = from_text(figures);
            blessed.retain(|figures| is_for(arch, &figures.entry));
            assert_unchanged(&blessed, found);
        }
        None => say_skipped(&format!(
            "the hottest loops were not compared: tests/blessed/loops.txt is of other compilers than\n{header}\
             `cargo xtask bless` writes it anew"
        )),
    }
}

/// Writes `found` in the place of all other figures of the architecture, and of those of other compilers.
fn bless(arch: Arch, header: &str, found: &[Figures]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let old = std::fs::read_to_string(path()).unwrap_or_default();
    let mut figures = old.strip_prefix(header).map_or_else(Vec::new, from_text);
    figures.retain(|figures| !is_for(arch, &figures.entry));
    figures.extend_from_slice(found);
    figures.sort_by(|a, b| a.entry.cmp(&b.entry));
    let text = header.to_owned() + &to_text(&figures);
    std::fs::write(path(), text).expect("the source folder is writable");
}

/// Whether a kernel is for an architecture; one that does not exist is for all.
fn is_for(arch: Arch, entry: &str) -> bool {
    let kernel = kernels().find(|kernel| kernel.spec.entry == entry);
    kernel.is_none_or(|kernel| kernel.spec.arch == arch)
}

fn assert_unchanged(blessed: &[Figures], found: &[Figures]) {
    let changes = changes(blessed, found);
    assert!(
        changes.is_empty(),
        "the hottest loops have changed:\n{}\nif that is right, `cargo xtask bless` writes them down",
        changes.join("\n")
    );
}

/// One line for each kernel that came, went or moved by more than [`TOLERANCE`].
fn changes(blessed: &[Figures], found: &[Figures]) -> Vec<String> {
    let find =
        |list: &'_ [Figures], entry: &str| list.iter().position(|figures| figures.entry == entry);
    let mut changes = Vec::new();
    for new in found {
        let Some(index) = find(blessed, &new.entry) else {
            changes.push(format!("{}: not blessed yet", new.entry));
            continue;
        };
        let old = &blessed[index];
        let mut compare = |what: &str, old: f64, new_value: f64| {
            if (new_value - old).abs() > TOLERANCE * old {
                let percent = 100.0 * (new_value / old - 1.0);
                changes.push(format!(
                    "{}: {what} {old} -> {new_value} ({percent:+.1} %)",
                    new.entry
                ));
            }
        };
        compare(
            "instructions per MFLOP",
            old.instructions_per_mflop,
            round(new.instructions_per_mflop),
        );
        compare(
            "stall cycles",
            old.stall_cycles.into(),
            new.stall_cycles.into(),
        );
        changes.extend(change_of_mix(old, new));
    }
    let gone = blessed
        .iter()
        .filter(|old| find(found, &old.entry).is_none());
    changes.extend(gone.map(|old| format!("{}: blessed, but no kernel", old.entry)));
    changes
}

/// One line when a class gained or lost more than [`TOLERANCE`] of all instructions.
fn change_of_mix(old: &Figures, new: &Figures) -> Option<String> {
    let count = |figures: &Figures, name: &str| {
        let named = figures.classes.iter().find(|(class, _)| class == name);
        named.map_or(0, |(_, n)| *n)
    };
    let all: u32 = old.classes.iter().map(|(_, n)| n).sum();
    let is_changed = |name: &str| {
        f64::from(count(old, name).abs_diff(count(new, name))) > TOLERANCE * f64::from(all)
    };
    let mut names = old.classes.iter().chain(&new.classes).map(|(name, _)| name);
    let is_any_changed = names.any(|name| is_changed(name));
    is_any_changed.then(|| {
        let (before, after) = (classes_to_text(old), classes_to_text(new));
        format!("{}: instructions{before} ->{after}", new.entry)
    })
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blessed/loops.txt")
}

/// As written to the file.
fn round(figure: f64) -> f64 {
    (10.0 * figure).round() / 10.0
}

fn to_text(figures: &[Figures]) -> String {
    let mut text = "# hottest loop: instructions outside the tensor cores per MFLOP on them, cycles of issue stall;\n\
                    # kernels for sm_80 on sm_80, kernels for sm_90a there, with the instructions of a trip by class\n"
        .to_owned();
    for each in figures {
        let Figures {
            entry,
            instructions_per_mflop,
            stall_cycles,
            ..
        } = each;
        let classes = classes_to_text(each);
        writeln!(
            text,
            "{entry} {instructions_per_mflop:.1} {stall_cycles}{classes}"
        )
        .expect("a String takes every write");
    }
    text
}

/// ` tensor=16 mufu=66`
fn classes_to_text(figures: &Figures) -> String {
    let classes = figures.classes.iter();
    classes.map(|(name, n)| format!(" {name}={n}")).collect()
}

fn from_text(text: &str) -> Vec<Figures> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let figures = lines.map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [entry, instructions, stalls, ref classes @ ..] => Some(Figures {
            entry: entry.to_owned(),
            instructions_per_mflop: instructions.parse().ok()?,
            stall_cycles: stalls.parse().ok()?,
            classes: classes
                .iter()
                .map(|class| class_from_text(class))
                .collect::<Option<_>>()?,
        }),
        _ => None,
    });
    figures
        .map(|figures| {
            figures.expect(
                "a line of tests/blessed/loops.txt is `ENTRY NUMBER NUMBER [CLASS=NUMBER ...]`",
            )
        })
        .collect()
}

fn class_from_text(text: &str) -> Option<(String, u32)> {
    let (name, count) = text.split_once('=')?;
    Some((name.to_owned(), count.parse().ok()?))
}

#[test]
fn only_figures_that_moved_by_more_than_two_percent_are_changes() {
    let figures = |entry: &str, instructions_per_mflop, stall_cycles| Figures {
        entry: entry.to_owned(),
        instructions_per_mflop,
        stall_cycles,
        classes: Vec::new(),
    };
    let blessed = from_text(&to_text(&[
        figures("a", 500.04, 1000),
        figures("b", 300.0, 2000),
    ]));
    assert_eq!(blessed[0], figures("a", 500.0, 1000));
    let same = [figures("a", 509.9, 981), figures("b", 294.2, 2040)];
    assert_eq!(changes(&blessed, &same), Vec::<String>::new());
    let moved = [
        figures("a", 511.0, 1000),
        figures("b", 300.0, 1900),
        figures("new", 1.0, 1),
    ];
    assert_eq!(
        changes(&blessed, &moved),
        [
            "a: instructions per MFLOP 500 -> 511 (+2.2 %)",
            "b: stall cycles 2000 -> 1900 (-5.0 %)",
            "new: not blessed yet",
        ]
    );
    assert_eq!(changes(&blessed, &same[..1]), ["b: blessed, but no kernel"]);
}

#[test]
fn a_mix_that_moved_by_more_than_two_percent_is_a_change() {
    let figures = |mufu, float| Figures {
        entry: "a".to_owned(),
        instructions_per_mflop: 400.0,
        stall_cycles: 1000,
        classes: vec![("mufu".to_owned(), mufu), ("float".to_owned(), float)],
    };
    let blessed = from_text(&to_text(&[figures(100, 300)]));
    assert_eq!(blessed[0], figures(100, 300));
    assert_eq!(
        changes(&blessed, &[figures(108, 292)]),
        Vec::<String>::new()
    );
    assert_eq!(
        changes(&blessed, &[figures(109, 291)]),
        ["a: instructions mufu=100 float=300 -> mufu=109 float=291"]
    );
}
