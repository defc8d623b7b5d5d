//! What the compiler made of the kernels: properties of the embedded PTX here and, where `ptxas` and `nvdisasm` are
//! installed, of the machine code. They hold for every row of the manifest or the build is not fit to use.

mod blessed;
mod hopper;
mod limits;
mod machine_code;

use flash_attention::{
    BaselineStep, BwdStep, CopyKind, HopperScores, Kernel, KernelVariant, ScoreKind, kernels,
};

/// How often the step of the main loop of a kernel is compiled: with and without the mask, or once where the mask is
/// one of many things that a branch can skip.
fn compiled_steps(scores: ScoreKind) -> usize {
    match scores {
        ScoreKind::Plain => 2,
        ScoreKind::Any => 1,
    }
}

/// Barriers that a kernel is written with.
fn barriers(variant: &KernelVariant) -> usize {
    match variant {
        // Two in the step of the main loop and one in the epilogue.
        KernelVariant::Forward(v) => 2 * compiled_steps(v.scores) + 1,
        KernelVariant::Backward(v) => match v.step {
            // Two warps share 16 keys: three in the step of the main loop, and three around the staging of dK and dV.
            BwdStep::Main if v.block_n < 16 * v.warps => 3 * compiled_steps(v.scores) + 3,
            // Two in the step of the main loop; K and V loaded, V taken into registers; three as above.
            BwdStep::Main => 2 * compiled_steps(v.scores) + 5,
            // Around the loads of a head.
            BwdStep::Bias => 2,
            BwdStep::Delta | BwdStep::ConvertDq => 0,
        },
        KernelVariant::Baseline(v) => match v.step {
            BaselineStep::Scores => 1,
            BaselineStep::Softmax => 0,
            // Around the product of a step, and in the epilogue.
            BaselineStep::Output => 3,
            // After the initialisation, and in the step: Q loaded, maxima, sums and parts exchanged, O updated.
            BaselineStep::Flash1 => 5,
        },
        KernelVariant::HopperForward(v) => {
            // Turns at the tensor cores: taken and passed on in the step, begun and finished around all of them.
            let turns = 2 * compiled_hopper_steps() + 2;
            // The sign of the scale has moved into Q, which takes a plain kernel.
            let sign = usize::from(v.scores == HopperScores::Plain);
            // After the initialisation; V cleared beyond the last key; before and after O is staged, and after threads
            // have stored it.
            turns + sign + 5
        }
        KernelVariant::HopperBackward(_) => {
            // dS is written in the step. After the initialisation; K and V, Q and dO cleared beyond the last row; of a
            // warp around the staging of each gradient.
            compiled_hopper_steps() + 3 + 2 * 2
        }
    }
}

/// As [`compiled_steps`], with any scores.
fn compiled_hopper_steps() -> usize {
    2
}

/// Tensor-core products of a kernel whose loops over fragments are unrolled and whose loops over tiles are not.
///
/// One m16n8k16 product is 16 rows, 8 columns and 16 deep.
fn products(variant: &KernelVariant) -> u32 {
    match variant {
        KernelVariant::Forward(v) => {
            let strips = v.block_m / (16 * v.warps);
            // Q·Kᵀ and P·V take equally many.
            2 * compiled_steps(v.scores) as u32 * strips * (v.block_n / 8) * (v.head_dim / 16)
        }
        KernelVariant::Backward(v) => {
            let product = (v.block_m / 16) * (v.block_n / 8) * (v.head_dim / 16) / v.warps;
            match v.step {
                BwdStep::Main => 5 * compiled_steps(v.scores) as u32 * product,
                // Q·Kᵀ and dO·Vᵀ.
                BwdStep::Bias => 2 * product,
                BwdStep::Delta | BwdStep::ConvertDq => 0,
            }
        }
        KernelVariant::Baseline(v) => {
            let product = (v.block_m / 16) * (v.block_n / 8) * (v.head_dim / 16) / v.warps;
            match v.step {
                BaselineStep::Softmax => 0,
                BaselineStep::Scores | BaselineStep::Output => product,
                BaselineStep::Flash1 => 2 * product,
            }
        }
        // Theirs are products of warpgroups.
        KernelVariant::HopperForward(_) | KernelVariant::HopperBackward(_) => 0,
    }
}

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
            names
                .iter()
                .any(|name| name.starts_with("kernels-gpu/src/")),
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
            KernelVariant::Backward(variant) => {
                variant.step == BwdStep::Main && variant.copy == CopyKind::Vector
            }
            KernelVariant::Baseline(variant) => variant.step != BaselineStep::Softmax,
            KernelVariant::HopperForward(_) | KernelVariant::HopperBackward(_) => false,
        };
        assert_eq!(is_asynchronous, has_vector_copies, "{}", kernel.spec.entry);
    }
}
