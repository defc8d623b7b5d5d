//! What `ptxas` makes of the kernels for several GPUs: registers, stack, spills, and the figures of the hottest loop.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flash_attention::{Arch, BwdStep, Kernel, KernelVariant, kernels};
use kernel_builder::sass::model::Trip;
use kernel_builder::sass::{Class, LoopFigures, SassError, Usage, assemble, hottest_loop};
use kernel_builder::tools::find;

use crate::blessed::{self, Figures};
use crate::{hopper, limits};

/// GPUs whose machine code is examined, first the one whose loop figures must not change unnoticed. Kernels for sm_80:
/// the oldest that runs them, the consumer line of the same generation, and a later generation. Kernels for sm_90a run on
/// nothing else.
fn machines(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::Sm80 => &["sm_80", "sm_86", "sm_90"],
        Arch::Sm90a => &["sm_90a"],
    }
}

/// What ptxas made of one kernel.
struct Assembled {
    entry: &'static str,
    machine: &'static str,
    budget: u32,
    usage: Usage,
    /// None when it has no loop with products.
    hottest: Option<LoopFigures>,
    notes: Vec<String>,
    /// The main loop of a kernel for Hopper with plain scores.
    plain_trip: Option<Trip>,
    /// What is wrong with a kernel for Hopper.
    faults: Vec<String>,
}

#[test]
fn machine_code_of_kernels_for_sm_80_keeps_its_registers_and_its_hottest_loops() {
    keeps_its_registers_and_its_hottest_loops(Arch::Sm80);
}

#[test]
fn machine_code_of_kernels_for_sm_90a_keeps_its_registers_and_its_hottest_loops() {
    keeps_its_registers_and_its_hottest_loops(Arch::Sm90a);
}

fn keeps_its_registers_and_its_hottest_loops(arch: Arch) {
    if let Some(tool) = ["ptxas", "nvdisasm"]
        .iter()
        .find(|tool| find(tool).is_none())
    {
        say_skipped(&format!(
            "no {tool}, so registers, spills and loops were not checked; `cargo xtask setup` installs it"
        ));
        return;
    }
    let all = assemble_all(arch);
    let report = format!("codegen-report-{}.md", arch.name());
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(report);
    std::fs::write(&report, table(&all)).expect("the target directory is writable");

    let is_bad = |code: &&Assembled| {
        let usage = &code.usage;
        let spilled = usage.stack_bytes + usage.spill_store_bytes + usage.spill_load_bytes > 0;
        spilled
            || usage.registers > code.budget
            || !code.notes.is_empty()
            || !code.faults.is_empty()
    };
    let mut bad: Vec<String> = all.iter().filter(is_bad).map(complaint).collect();
    let plain_trips = || all.iter().filter_map(|code| code.plain_trip.as_ref());
    bad.extend(limits::excess_of_best(plain_trips()));
    assert!(bad.is_empty(), "{}", bad.join("\n"));

    let figures = |code: &Assembled| {
        let hottest = code.hottest.as_ref()?;
        Some(Figures {
            entry: code.entry.to_owned(),
            instructions_per_mflop: hottest.other_instructions_per_mflop(),
            stall_cycles: hottest.stall_cycles,
            classes: match arch {
                Arch::Sm80 => Vec::new(),
                Arch::Sm90a => classes(hottest),
            },
        })
    };
    let blessed_machine = all.iter().filter(|code| code.machine == machines(arch)[0]);
    blessed::check(
        arch,
        &blessed_machine.filter_map(figures).collect::<Vec<_>>(),
    );
}

/// Classes that occur in a loop with the number of their instructions.
fn classes(figures: &LoopFigures) -> Vec<(String, u32)> {
    let count = |class: &Class| (class.name().replace(' ', "_"), figures.count(*class));
    let counts = Class::ALL.iter().map(count);
    counts.filter(|(_, n)| *n > 0).collect()
}

/// Past the capture of the test harness: a skipped proof must be seen.
pub(crate) fn say_skipped(reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {reason}").expect("stderr is open");
}

/// Every kernel for an architecture on every machine, on all cores.
fn assemble_all(arch: Arch) -> Vec<Assembled> {
    let jobs: Vec<(Kernel, &str)> = kernels()
        .filter(|kernel| kernel.spec.arch == arch)
        .flat_map(|kernel| {
            machines(kernel.spec.arch)
                .iter()
                .map(move |it| (kernel, *it))
        })
        .collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((kernel, machine)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let code = assemble_one(kernel, machine).unwrap_or_else(|error| {
                        panic!("{} on {machine}: {error}", kernel.spec.entry)
                    });
                    all.lock().expect("no thread panicked before").push(code);
                }
            });
        }
    });
    let mut all = all.into_inner().expect("no thread panicked");
    all.sort_by_key(|code| (code.entry, code.machine));
    all
}

fn assemble_one(kernel: &Kernel, machine: &'static str) -> Result<Assembled, SassError> {
    let entry = kernel.spec.entry;
    let mut code = assemble(kernel.ptx, machine)?;
    let only = code.kernels.pop().expect("a module has one entry");
    let hottest = hottest_loop(&only.function)?;
    let has_main_loop = match kernel.variant {
        KernelVariant::Forward(_) => true,
        KernelVariant::Backward(variant) => variant.step == BwdStep::Main,
        KernelVariant::Baseline(_) => false,
        KernelVariant::HopperForward(_) | KernelVariant::HopperBackward(_) => true,
    };
    assert!(
        hottest.is_some() || !has_main_loop,
        "{entry} on {machine}: no loop with products"
    );
    let (trip, mut faults) = hopper::examine(kernel, &only.function)?;
    let plain_trip = trip.filter(|_| hopper::is_plain(&kernel.variant));
    faults.extend(plain_trip.as_ref().and_then(limits::excess));
    Ok(Assembled {
        entry,
        machine,
        plain_trip,
        faults,
        budget: kernel.spec.register_budget(),
        usage: only.usage,
        hottest,
        notes: code.notes,
    })
}

fn complaint(code: &Assembled) -> String {
    let Assembled {
        entry,
        machine,
        budget,
        usage,
        notes,
        faults,
        ..
    } = code;
    format!("{entry} on {machine}, register budget {budget}: {usage:?} {notes:?} {faults:?}")
}

/// Resources, and one trip of the hottest loop of one warp: all instructions, those of the larger classes, cycles of
/// issue stall, and instructions outside the tensor cores per million operations on them.
fn table(all: &[Assembled]) -> String {
    let loops = || all.iter().filter_map(|code| code.hottest.as_ref());
    let occurs = |class: &&Class| loops().any(|figures| figures.count(**class) > 0);
    let classes: Vec<Class> = Class::ALL.iter().filter(occurs).copied().collect();
    let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
    let mut text = format!(
        "| kernel | machine | registers | budget | stack, bytes | spills, bytes | loop | {} | stall | per MFLOP |\n",
        names.join(" | ")
    );
    text += &format!("|---|---|{}\n", "---:|".repeat(7 + classes.len()));
    for code in all {
        let usage = &code.usage;
        let figures = match &code.hottest {
            Some(figures) => loop_columns(figures, &classes),
            None => vec!["-".to_owned(); classes.len() + 3],
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            code.entry,
            code.machine,
            usage.registers,
            code.budget,
            usage.stack_bytes,
            usage.spill_store_bytes + usage.spill_load_bytes,
            figures.join(" | ")
        )
        .expect("a String takes every write");
    }
    text
}

fn loop_columns(figures: &LoopFigures, classes: &[Class]) -> Vec<String> {
    let counts = classes
        .iter()
        .map(|&class| figures.count(class).to_string());
    std::iter::once(figures.instructions().to_string())
        .chain(counts)
        .chain([
            figures.stall_cycles.to_string(),
            format!("{:.1}", figures.other_instructions_per_mflop()),
        ])
        .collect()
}
