//! Each classic mistake of a tiled kernel, planted into the PTX of a good one, is caught: the emulator reports a fault,
//! or the result breaks the rule.

pub mod edit;
pub mod forward;
pub mod gradients;
mod maps;

use crate::common::Case;
use abi::KernelVariant;
use edit::replace_nth;
use flash_attention::{Dtype, Kernel, f16, kernels};
use ptx_emulator::{
    Fault, FaultKind, GlobalMemory, Launch, Module, Options, Sanitizers, Schedule, for_each_seed,
    launch,
};

/// How a mistake came to light.
#[derive(Debug)]
pub enum Caught {
    ByFault(Box<Fault>),
    ByRule,
}

/// The kernel `entry` of the manifest.
pub fn kernel(entry: &str) -> Kernel {
    kernels().find(|kernel| kernel.spec.entry == entry).unwrap()
}

/// Every sanitizer, blocks and warps in order.
pub fn sanitized() -> Options<'static> {
    Options {
        sanitizers: Sanitizers::ALL,
        ..Options::default()
    }
}

/// Runs a text in the place of a kernel, on `blocks` blocks. Returns how many instructions their warps have executed.
fn run_kernel(
    (kernel, module): (&Kernel, &Module),
    memory: &GlobalMemory,
    (blocks, params): (u32, &[u8]),
    options: &Options,
) -> Result<u64, Caught> {
    let launch_of = Launch {
        grid: [blocks, 1, 1],
        block: [kernel.spec.threads, 1, 1],
        cluster: None,
        dynamic_shared_bytes: kernel.spec.shared_bytes,
        params,
    };
    let program = module.kernel(kernel.spec.entry).unwrap();
    match launch(program, memory, &launch_of, options) {
        Ok(report) => Ok(report.warp_instructions),
        Err(fault) => Err(Caught::ByFault(Box::new(fault))),
    }
}

/// Ragged and whole tiles, with the sign flip of negative scales and without.
fn cases(variant: KernelVariant) -> [Case; 3] {
    let head_dim = match variant {
        KernelVariant::Forward(v) => v.head_dim,
        KernelVariant::Backward(v) => v.head_dim,
        KernelVariant::Baseline(v) => v.head_dim,
        KernelVariant::HopperForward(v) => v.head_dim,
        KernelVariant::HopperBackward(v) => v.head_dim,
    };
    let case = Case::new(Dtype::F16, 200, 301, head_dim as usize)
        .heads(1, 1)
        .causal(head_dim == 128);
    [
        case,
        case.scale(-0.1),
        Case {
            seqlen_k: 256,
            ..case
        },
    ]
}

/// Runs a text in the place of a kernel's own, on every case in several orders, and looks at faults of the machine and
/// at results only.
fn run(victim: &Kernel, ptx: &str) -> Option<Caught> {
    let module = Module::parse(ptx).unwrap();
    for case in cases(victim.variant) {
        let run = |schedule| {
            let options = Options {
                schedule,
                ..Options::default()
            };
            run_case(victim, &module, &case, &options)
        };
        let seeds = || for_each_seed(0..6, run).map_err(|failure| failure.error);
        if let Err(caught) = run(Schedule::InOrder).and_then(|()| seeds()) {
            return Some(caught);
        }
    }
    None
}

fn run_case(
    victim: &Kernel,
    module: &Module,
    case: &Case,
    options: &Options,
) -> Result<(), Caught> {
    forward::run::<f16>((victim, module), (case, 0), None, options).map(drop)
}

const VICTIMS: [&str; 3] = [
    "flash_fwd_sm80_f16_hdim64",
    "flash_fwd_sm80_f16_hdim128",
    "flash1_sm80_f16_hdim64",
];

/// Plants the same mistake at every place where `from` occurs, one place at a time.
fn assert_caught_everywhere(from: &str, to: &str) {
    for victim in VICTIMS.map(kernel) {
        let ptx = victim.ptx;
        let places = ptx.matches(from).count();
        assert!(places > 0, "{} has no {from}", victim.spec.entry);
        for nth in 0..places {
            let caught = run(&victim, &replace_nth(ptx, from, to, nth).unwrap());
            assert!(
                caught.is_some(),
                "{}: {from} number {nth} replaced by {to:?} went unnoticed",
                victim.spec.entry
            );
        }
    }
}

#[test]
fn the_unchanged_kernels_are_not_accused() {
    for victim in VICTIMS.map(kernel) {
        let ptx = victim.ptx;
        let caught = run(&victim, ptx);
        assert!(caught.is_none(), "{}: {caught:?}", victim.spec.entry);
    }
}

#[test]
fn a_missing_wait_for_an_asynchronous_copy_is_caught_at_every_place() {
    assert_caught_everywhere("cp.async.wait_all;", "");
}

#[test]
fn a_missing_barrier_is_caught_at_every_place() {
    assert_caught_everywhere("bar.sync \t0;", "");
}

#[test]
fn racecheck_names_a_missing_barrier_in_the_first_run_in_order() {
    let options = sanitized();
    for victim in VICTIMS.map(kernel) {
        let barrier = "bar.sync \t0;";
        for nth in 0..victim.ptx.matches(barrier).count() {
            let ptx = replace_nth(victim.ptx, barrier, "", nth).unwrap();
            let module = Module::parse(&ptx).unwrap();
            let found = cases(victim.variant)
                .iter()
                .find_map(|case| run_case(&victim, &module, case, &options).err());
            assert!(
                matches!(&found, Some(Caught::ByFault(fault)) if matches!(fault.kind, FaultKind::Race(_))),
                "{}, barrier {nth}: {found:?}",
                victim.spec.entry
            );
        }
    }
}

#[test]
fn a_wrong_swizzle_is_caught() {
    for victim in VICTIMS.map(kernel) {
        let ptx = victim.ptx;
        let first_copy = ptx.find("cp.async.cg").unwrap();
        let swizzle = ptx.find("xor.b32").unwrap();
        assert!(
            swizzle < first_copy,
            "{}: the first xor swizzles the destination of the first copy",
            victim.spec.entry
        );
        let caught = run(&victim, &replace_nth(ptx, "xor.b32", "or.b32", 0).unwrap());
        assert!(caught.is_some(), "{}", victim.spec.entry);
    }
}

#[test]
fn a_tile_that_reaches_out_of_bounds_is_caught_as_such() {
    for victim in VICTIMS.map(kernel) {
        let caught = run(&victim, &victim.ptx.replace("setp.lt.u32", "setp.le.u32"));
        assert!(
            matches!(&caught, Some(Caught::ByFault(fault)) if matches!(fault.kind, FaultKind::OutOfBounds { .. })),
            "{}: {caught:?}",
            victim.spec.entry
        );
    }
}

#[test]
fn a_barrier_that_half_the_warp_skips_is_caught_at_every_place() {
    let half = "{ .reg .pred %half; .reg .b32 %lane; mov.u32 %lane, %laneid; setp.lt.u32 %half, %lane, 16; \
                @%half bar.sync 0; }";
    assert_caught_everywhere("bar.sync \t0;", half);
    for victim in VICTIMS.map(kernel) {
        let ptx = victim.ptx;
        let caught = run(
            &victim,
            &replace_nth(ptx, "bar.sync \t0;", half, 0).unwrap(),
        );
        assert!(
            matches!(&caught, Some(Caught::ByFault(fault)) if matches!(fault.kind, FaultKind::AlignedDivergent { .. })),
            "{}: {caught:?}",
            victim.spec.entry
        );
    }
}
