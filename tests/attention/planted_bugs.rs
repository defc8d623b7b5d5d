//! Each classic mistake of a tiled kernel, planted into the PTX of a good one, is caught: the emulator reports a fault,
//! or the result breaks the rule.

use crate::common::Case;
use abi::{Flash1Params, FwdParams, KernelVariant, RowValues, ScoreParams, Sequences, Strided};
use flash_attention::{Dtype, Kernel, f16, kernels, rule};
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
    let kernel = module.kernel(victim.spec.entry).unwrap();
    let memory = GlobalMemory::new();
    let problem = upload(&memory, case, victim.variant);
    let launch_of = Launch {
        grid: [problem.m_blocks, 1, 1],
        block: [victim.spec.threads, 1, 1],
        cluster: None,
        dynamic_shared_bytes: victim.spec.shared_bytes,
        params: &params(&memory, case, victim.variant, problem),
    };
    match launch(kernel, &memory, &launch_of, options) {
        Err(fault) => Err(Caught::ByFault(Box::new(fault))),
        Ok(_) if !holds_the_rule(&memory, case, &problem) => Err(Caught::ByRule),
        Ok(_) => Ok(()),
    }
}

/// Puts the inputs of `case`, one batch entry and one head, on the device, with room for the results.
pub fn upload(memory: &GlobalMemory, case: &Case, variant: KernelVariant) -> FwdParams {
    let [q, k, v] = case.inputs::<f16>().map(|data| {
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        let ptr = memory.alloc(bytes.len()).unwrap();
        memory.write(ptr, &bytes).unwrap();
        ptr
    });
    let row_stride = case.head_dim as i64;
    let strided = |ptr| Strided {
        ptr,
        batch_stride: 0,
        row_stride,
        head_stride: 0,
    };
    FwdParams {
        q: strided(q),
        k: strided(k),
        v: strided(v),
        out: strided(memory.alloc(case.seqlen_q * case.head_dim * 2).unwrap()),
        lse: RowValues {
            ptr: memory.alloc(case.seqlen_q * 4).unwrap(),
            batch_stride: 0,
            head_stride: 0,
        },
        sequences: Sequences {
            cu_seqlens_q: 0,
            cu_seqlens_k: 0,
            seqused_q: 0,
            seqused_k: 0,
        },
        scores: ScoreParams {
            alibi_slopes: 0,
            alibi_batch_stride: 0,
            bias: strided(0),
            dropout_seed: 0,
            dropout_offset: 0,
            dropout_threshold: abi::dropout::RANGE,
            dropout_scale: 1.0,
            softcap: 0.0,
            bias_is_f32: 0,
        },
        softmax_scale: case
            .softmax_scale
            .unwrap_or(1.0 / (case.head_dim as f32).sqrt()),
        seqlen_q: case.seqlen_q as u32,
        seqlen_k: case.seqlen_k as u32,
        head_dim: case.head_dim as u32,
        num_heads: 1,
        heads_per_group: 1,
        m_blocks: match variant {
            KernelVariant::Forward(v) => (case.seqlen_q as u32).div_ceil(v.block_m),
            KernelVariant::Backward(v) => (case.seqlen_q as u32).div_ceil(v.block_m),
            // FlashAttention-1 computes a head per block.
            KernelVariant::Baseline(_) => 1,
            KernelVariant::HopperForward(v) => (case.seqlen_q as u32).div_ceil(v.block_m),
            KernelVariant::HopperBackward(v) => (case.seqlen_q as u32).div_ceil(v.block_m),
        },
        window_left: u32::MAX,
        window_right: if case.is_causal { 0 } else { u32::MAX },
        is_top_left: u32::from(case.is_top_left),
    }
}

/// The parameter of a kernel for `problem`.
fn params(
    memory: &GlobalMemory,
    case: &Case,
    variant: KernelVariant,
    problem: FwdParams,
) -> Vec<u8> {
    match variant {
        KernelVariant::Forward(_) | KernelVariant::Backward(_) => problem.as_bytes().to_vec(),
        KernelVariant::HopperForward(_) | KernelVariant::HopperBackward(_) => {
            panic!("{} needs tensor maps", variant.spec().entry)
        }
        KernelVariant::Baseline(_) => {
            let floats = |count| memory.alloc(4 * count).unwrap();
            let params = Flash1Params {
                problem,
                out: floats(case.seqlen_q * case.head_dim),
                row_sum: floats(case.seqlen_q),
                row_max: floats(case.seqlen_q),
            };
            params.as_bytes().to_vec()
        }
    }
}

fn holds_the_rule(memory: &GlobalMemory, case: &Case, params: &FwdParams) -> bool {
    let mut out = vec![0; case.seqlen_q * case.head_dim * 2];
    let mut lse = vec![0; case.seqlen_q * 4];
    memory.read(params.out.ptr, &mut out).unwrap();
    memory.read(params.lse.ptr, &mut lse).unwrap();
    let out: Vec<f16> = out
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f16::from_le_bytes(bytes))
        .collect();
    let lse: Vec<f32> = lse
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    let [q, k, v] = case.inputs::<f16>();
    rule::check(&case.spec(), [&q, &k, &v], &out, &lse)
        .unwrap()
        .passed()
}

/// The text with its `nth` occurrence of `from` replaced; `None` when there are fewer.
pub fn replace_nth(text: &str, from: &str, to: &str, nth: usize) -> Option<String> {
    let (at, _) = text.match_indices(from).nth(nth)?;
    Some(format!("{}{to}{}", &text[..at], &text[at + from.len()..]))
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
    let options = Options {
        sanitizers: Sanitizers::ALL,
        ..Options::default()
    };
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
