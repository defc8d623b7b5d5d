//! What the compiler made of the kernels: properties of the embedded PTX and, where `ptxas` is installed, of the
//! machine code. They hold for every row of the manifest or the build is not fit to use.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flash_attention::{BaselineStep, CopyKind, Kernel, KernelVariant, kernels};

/// Barriers that a kernel is written with.
fn barriers(variant: &KernelVariant) -> usize {
    match variant {
        // Two in the step of the main loop, which is compiled once with and once without the mask, and one in the
        // epilogue.
        KernelVariant::Forward(_) => 5,
        KernelVariant::Baseline(v) => match v.step {
            BaselineStep::Scores => 1,
            BaselineStep::Softmax => 0,
            // Around the product of a step, and in the epilogue.
            BaselineStep::Output => 3,
            // After the initialisation, and in the step: Q loaded, maxima, sums and parts exchanged, O updated.
            BaselineStep::Flash1 => 5,
        },
    }
}

/// Tensor-core products of a kernel whose loops over fragments are unrolled and whose loops over tiles are not.
///
/// One m16n8k16 product is 16 rows, 8 columns and 16 deep.
fn products(variant: &KernelVariant) -> u32 {
    match variant {
        KernelVariant::Forward(v) => {
            let strips = v.block_m / (16 * v.warps);
            // Q·Kᵀ and P·V take equally many; the step is compiled with and without the mask.
            2 * 2 * strips * (v.block_n / 8) * (v.head_dim / 16)
        }
        KernelVariant::Baseline(v) => {
            let product = (v.block_m / 16) * (v.block_n / 8) * (v.head_dim / 16) / v.warps;
            match v.step {
                BaselineStep::Softmax => 0,
                BaselineStep::Scores | BaselineStep::Output => product,
                BaselineStep::Flash1 => 2 * product,
            }
        }
    }
}

/// GPUs whose machine code is examined: the oldest that runs the kernels, the consumer line of the same generation,
/// and a later generation.
const MACHINES: [&str; 3] = ["sm_80", "sm_86", "sm_90"];

/// The opcodes of a module, each with its modifiers: `bar.sync`, `ld.param.b64`.
fn opcodes(ptx: &str) -> impl Iterator<Item = &str> {
    let body = ptx.lines().skip_while(|line| !line.starts_with('{'));
    body.filter_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        // The guard of a predicated instruction comes before its opcode.
        let opcode = if first.starts_with('@') {
            words.next()?
        } else {
            first
        };
        Some(opcode.trim_end_matches(';'))
    })
}

fn count(kernel: &Kernel, opcode: &str) -> usize {
    opcodes(kernel.ptx)
        .filter(|found| found.starts_with(opcode))
        .count()
}

#[test]
fn every_row_of_the_manifest_is_one_module_with_one_entry() {
    assert_eq!(kernels().count(), KernelVariant::all().count());
    for Kernel { spec, ptx, .. } in kernels() {
        let entries: Vec<&str> = ptx
            .lines()
            .filter(|line| line.contains(".entry "))
            .collect();
        assert_eq!(entries, [format!(".visible .entry {}(", spec.entry)]);
        assert!(
            ptx.contains(&format!(".target {}\n", spec.arch.name())),
            "{}",
            spec.entry
        );
    }
}

#[test]
fn launch_bounds_are_those_of_the_manifest() {
    for Kernel { spec, ptx, .. } in kernels() {
        let (threads, blocks) = (spec.threads, spec.blocks_per_sm);
        let bounds = format!(")\n.reqntid {threads}, 1, 1\n.minnctapersm {blocks}\n{{");
        assert!(ptx.contains(&bounds), "{}", spec.entry);
    }
}

#[test]
fn source_lines_are_known_and_name_no_folder_of_the_build_machine() {
    for Kernel { spec, ptx, .. } in kernels() {
        assert!(ptx.contains("\t.loc\t"), "{}", spec.entry);
        let files = ptx.lines().filter(|line| line.starts_with(".file"));
        let names: Vec<&str> = files.filter_map(|file| file.split('"').nth(1)).collect();
        assert!(
            names.iter().any(|name| name.starts_with("kernels-gpu/src/")),
            "{}: {names:?}",
            spec.entry
        );
        let is_ours = |name: &&str| {
            ["kernels-gpu/src/", "abi/src/", "core/src/"]
                .iter()
                .any(|folder| name.starts_with(folder))
        };
        let foreign: Vec<&&str> = names.iter().filter(|name| !is_ours(name)).collect();
        assert!(foreign.is_empty(), "{}: {foreign:?}", spec.entry);
    }
}

#[test]
fn fragments_live_in_registers() {
    for Kernel { spec, ptx, .. } in kernels() {
        let local = ptx.lines().find(|line| line.contains(".local"));
        assert_eq!(local, None, "{}: local memory", spec.entry);
    }
}

#[test]
fn no_kernel_can_trap_or_call() {
    for kernel in kernels() {
        for opcode in ["trap", "brkpt", "call"] {
            assert_eq!(count(&kernel, opcode), 0, "{}: {opcode}", kernel.spec.entry);
        }
        assert!(
            !kernel.ptx.contains(".func"),
            "{}: device function",
            kernel.spec.entry
        );
        assert!(
            !kernel.ptx.contains("panic"),
            "{}: panic path",
            kernel.spec.entry
        );
    }
}

#[test]
fn every_barrier_is_compiled_exactly_once() {
    for kernel in kernels() {
        let compiled = count(&kernel, "bar.") + count(&kernel, "barrier.");
        assert_eq!(compiled, barriers(&kernel.variant), "{}", kernel.spec.entry);
    }
}

#[test]
fn loops_over_fragments_are_unrolled_and_loops_over_tiles_are_not() {
    for kernel in kernels() {
        let compiled = count(&kernel, "mma.sync.aligned.m16n8k16");
        assert_eq!(
            compiled,
            products(&kernel.variant) as usize,
            "{}",
            kernel.spec.entry
        );
    }
}

#[test]
fn only_vector_copies_are_asynchronous() {
    for kernel in kernels() {
        let is_asynchronous = count(&kernel, "cp.async.cg.shared.global") > 0;
        let has_vector_copies = match kernel.variant {
            KernelVariant::Forward(variant) => variant.copy == CopyKind::Vector,
            KernelVariant::Baseline(variant) => variant.step != BaselineStep::Softmax,
        };
        assert_eq!(is_asynchronous, has_vector_copies, "{}", kernel.spec.entry);
    }
}

/// What ptxas says about one kernel.
struct Usage {
    entry: &'static str,
    machine: &'static str,
    registers: u32,
    budget: u32,
    stack_bytes: u32,
    spill_bytes: u32,
}

#[test]
fn machine_code_has_no_stack_no_spills_and_keeps_the_register_budget() {
    let Some(ptxas) = kernel_builder::tools::find("ptxas") else {
        // Past the capture of the test harness: a skipped proof must be seen.
        let advice = "SKIPPED: no ptxas, so registers and spills were not checked; `cargo xtask setup` installs it";
        writeln!(std::io::stderr(), "{advice}").expect("stderr is open");
        return;
    };
    let usages = assemble_all(&ptxas);
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codegen-report.md");
    std::fs::write(&report, table(&usages.iter().collect::<Vec<_>>()))
        .expect("the target directory is writable");

    let is_bad = |usage: &&Usage| {
        usage.stack_bytes + usage.spill_bytes > 0 || usage.registers > usage.budget
    };
    let bad: Vec<&Usage> = usages.iter().filter(is_bad).collect();
    assert!(bad.is_empty(), "{}", table(&bad));
}

/// Every kernel on every machine, on all cores.
fn assemble_all(ptxas: &Path) -> Vec<Usage> {
    let jobs: Vec<(Kernel, &str)> = kernels()
        .flat_map(|kernel| MACHINES.map(|machine| (kernel, machine)))
        .collect();
    let (next, usages) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((kernel, machine)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let usage = assemble(ptxas, kernel, machine);
                    usages
                        .lock()
                        .expect("no thread panicked before")
                        .push(usage);
                }
            });
        }
    });
    let mut usages = usages.into_inner().expect("no thread panicked");
    usages.sort_by_key(|usage| (usage.entry, usage.machine));
    usages
}

fn assemble(ptxas: &Path, kernel: &Kernel, machine: &'static str) -> Usage {
    let entry = kernel.spec.entry;
    let stem = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{entry}-{machine}"));
    let (source, cubin) = (stem.with_extension("ptx"), stem.with_extension("cubin"));
    std::fs::write(&source, kernel.ptx).expect("the target directory is writable");
    let mut command = Command::new(ptxas);
    command
        .arg(format!("-arch={machine}"))
        .arg("-v")
        .arg(&source)
        .arg("-o")
        .arg(&cubin);
    let output = command.output().expect("ptxas starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{entry} on {machine}: {log}");
    let number = |before, after| {
        number_between(&log, before, after).unwrap_or_else(|| panic!("{entry}: {log}"))
    };
    Usage {
        entry,
        machine,
        registers: number("Used ", " registers"),
        budget: kernel.spec.register_budget(),
        stack_bytes: number("", " bytes stack frame"),
        spill_bytes: number(", ", " bytes spill stores") + number(", ", " bytes spill loads"),
    }
}

/// The number between `before` and `after`.
fn number_between(text: &str, before: &str, after: &str) -> Option<u32> {
    let head = &text[..text.find(after)?];
    let digits = head.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    head.ends_with(&format!("{before}{digits}"))
        .then(|| digits.parse().ok())?
}

fn table(usages: &[&Usage]) -> String {
    let mut text =
        "| kernel | machine | registers | budget | stack, bytes | spills, bytes |\n".to_owned();
    text += "|---|---|---:|---:|---:|---:|\n";
    for usage in usages {
        let Usage {
            entry,
            machine,
            registers,
            budget,
            stack_bytes,
            spill_bytes,
        } = usage;
        writeln!(
            text,
            "| {entry} | {machine} | {registers} | {budget} | {stack_bytes} | {spill_bytes} |"
        )
        .expect("a String takes every write");
    }
    text
}
