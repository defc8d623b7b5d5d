//! What the compiler made of the kernels: properties of the embedded PTX here and, where `ptxas` and `nvdisasm` are
//! installed, of the machine code. They hold for every row of the manifest or the build is not fit to use.

mod blessed;
mod machine_code;

use flash_attention::{CopyKind, FwdVariant, Kernel, kernels};

/// Barriers that a forward kernel is written with: two in the step of the main loop, which is compiled once with and
/// once without the mask, and one in the epilogue.
const FORWARD_BARRIERS: usize = 5;

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
    assert_eq!(kernels().count(), abi::FWD_VARIANTS.len());
    for Kernel { variant, ptx, .. } in kernels() {
        let entries: Vec<&str> = ptx
            .lines()
            .filter(|line| line.contains(".entry "))
            .collect();
        assert_eq!(entries, [format!(".visible .entry {}(", variant.entry)]);
        assert!(
            ptx.contains(&format!(".target {}\n", variant.arch.name())),
            "{}",
            variant.entry
        );
    }
}

#[test]
fn launch_bounds_are_those_of_the_manifest() {
    for Kernel { variant, ptx, .. } in kernels() {
        let (threads, blocks) = (variant.threads(), variant.blocks_per_sm);
        let bounds = format!(")\n.reqntid {threads}, 1, 1\n.minnctapersm {blocks}\n{{");
        assert!(ptx.contains(&bounds), "{}", variant.entry);
    }
}

#[test]
fn source_lines_are_known_and_name_no_folder_of_the_build_machine() {
    for Kernel { variant, ptx, .. } in kernels() {
        assert!(ptx.contains("\t.loc\t"), "{}", variant.entry);
        let files = ptx.lines().filter(|line| line.starts_with(".file"));
        let names: Vec<&str> = files.filter_map(|file| file.split('"').nth(1)).collect();
        assert!(names.contains(&"kernels-gpu/src/softmax.rs"), "{names:?}");
        let is_ours = |name: &&str| {
            ["kernels-gpu/src/", "abi/src/", "core/src/"]
                .iter()
                .any(|folder| name.starts_with(folder))
        };
        let foreign: Vec<&&str> = names.iter().filter(|name| !is_ours(name)).collect();
        assert!(foreign.is_empty(), "{}: {foreign:?}", variant.entry);
    }
}

#[test]
fn fragments_live_in_registers() {
    for Kernel { variant, ptx, .. } in kernels() {
        let local = ptx.lines().find(|line| line.contains(".local"));
        assert_eq!(local, None, "{}: local memory", variant.entry);
    }
}

#[test]
fn no_kernel_can_trap_or_call() {
    for kernel in kernels() {
        for opcode in ["trap", "brkpt", "call"] {
            assert_eq!(
                count(&kernel, opcode),
                0,
                "{}: {opcode}",
                kernel.variant.entry
            );
        }
        assert!(
            !kernel.ptx.contains(".func"),
            "{}: device function",
            kernel.variant.entry
        );
        assert!(
            !kernel.ptx.contains("panic"),
            "{}: panic path",
            kernel.variant.entry
        );
    }
}

#[test]
fn every_barrier_is_compiled_exactly_once() {
    for kernel in kernels() {
        let barriers = count(&kernel, "bar.") + count(&kernel, "barrier.");
        assert_eq!(barriers, FORWARD_BARRIERS, "{}", kernel.variant.entry);
    }
}

#[test]
fn loops_over_fragments_are_unrolled_and_loops_over_key_tiles_are_not() {
    for kernel in kernels() {
        let FwdVariant {
            entry,
            head_dim,
            block_m,
            block_n,
            warps,
            ..
        } = *kernel.variant;
        // One m16n8k16 product is 16 rows, 8 columns and 16 deep; Q·Kᵀ and P·V take equally many.
        let strips = block_m / (16 * warps);
        let step = 2 * strips * (block_n / 8) * (head_dim / 16);
        let masked_and_unmasked = 2 * step as usize;
        assert_eq!(
            count(&kernel, "mma.sync.aligned.m16n8k16"),
            masked_and_unmasked,
            "{entry}"
        );
    }
}

#[test]
fn only_vector_copies_are_asynchronous() {
    for kernel in kernels() {
        let is_asynchronous = count(&kernel, "cp.async.cg.shared.global") > 0;
        assert_eq!(
            is_asynchronous,
            kernel.variant.copy == CopyKind::Vector,
            "{}",
            kernel.variant.entry
        );
    }
}
