//! As `planted_bugs`, for the main backward kernels: two whose warps own 16 keys each, and one whose warps share them in
//! pairs. The kernels before and after the main one are unchanged, so that dQ can be judged as well.

use crate::common::Case;
use crate::planted_bugs::{Caught, kernel, replace_nth, upload};
use abi::{BwdParams, BwdVariant, KernelVariant, RowValues, Strided};
use flash_attention::reference::{self, Gradients};
use flash_attention::rule::{GradientSlices, compare_gradients};
use flash_attention::{Dtype, Kernel, f16};
use ptx_emulator::{
    Fault, FaultKind, GlobalMemory, Launch, Module, Options, Sanitizers, for_each_seed, launch,
};

const VICTIMS: [&str; 3] = [
    "flash_bwd_sm80_f16_hdim64",
    "flash_bwd_sm80_f16_hdim96",
    "flash_bwd_sm80_f16_hdim192",
];
const BARRIER: &str = "bar.sync \t0;";
const WAIT: &str = "cp.async.wait_all;";

/// Barriers that these kernels would be right without, by their number in the text.
///
/// Number 0 ends a key tile: threads that still read its staged dK and dV are apart from those that copy the next K and V
/// to their place. They are the same ones, chunk by chunk, as `store_as` and `load_as` share chunks out alike. It stands
/// because `store_staged` promises free shared memory, whoever uses it next.
///
/// Number 2 of head_dim 64 is the one after V has been taken into registers. What is written to its place before the
/// next barrier are the stages of Q and dO; here dS is as large as V, and so they lie beyond it. In the same code for
/// head_dim 96 they do not.
const REDUNDANT_BARRIERS: [(&str, &[usize]); 3] = [
    (VICTIMS[0], &[0, 2]),
    (VICTIMS[1], &[0]),
    (VICTIMS[2], &[0]),
];

/// Waits that these kernels would be right without, by their number in the text.
///
/// The last one is for key tiles that no query sees, before gradients take the place of K and V. Where V goes to
/// registers, both have been waited for by then.
const REDUNDANT_WAITS: [(&str, &[usize]); 3] =
    [(VICTIMS[0], &[3]), (VICTIMS[1], &[3]), (VICTIMS[2], &[])];

/// A case, what the forward pass left of it, and its gradients.
struct Problem {
    case: Case,
    /// Blocks that share the key tiles; `None` for one block per tile.
    n_stride: Option<u32>,
    out: Vec<u8>,
    lse: Vec<u8>,
    exact: Gradients,
    low: Gradients,
}

impl Problem {
    fn new(case: Case, n_stride: Option<u32>) -> Problem {
        let [q, k, v] = case.inputs::<f16>();
        let (spec, d_out) = (case.spec(), case.d_out::<f16>());
        let forward = reference::forward(&spec, &q, &k, &v).unwrap();
        let out = forward.out.into_iter().map(f16::from_f64);
        let lse = forward.lse.into_iter().map(|lse| lse as f32);
        Problem {
            case,
            n_stride,
            out: out.flat_map(f16::to_le_bytes).collect(),
            lse: lse.flat_map(f32::to_le_bytes).collect(),
            exact: reference::backward(&spec, &q, &k, &v, &d_out, None).unwrap(),
            low: reference::backward_low_precision(&spec, &q, &k, &v, &d_out, None).unwrap(),
        }
    }

    /// Ragged tiles cut by the diagonal, in a block each; whole tiles before ragged ones, and key tiles that no query
    /// sees, in one block.
    fn all(victim: &'static BwdVariant) -> [Problem; 3] {
        let case = |seqlen_q, seqlen_k| {
            Case::new(Dtype::F16, seqlen_q, seqlen_k, victim.head_dim as usize).heads(1, 1)
        };
        [
            Problem::new(case(200, 140).causal(true), None),
            Problem::new(case(200, 140), Some(1)),
            Problem::new(case(40, 300).causal(true).top_left(), Some(1)),
        ]
    }

    /// What the kernels are told.
    fn params(&self, memory: &GlobalMemory, victim: &'static BwdVariant) -> BwdParams {
        let case = &self.case;
        let forward = upload(memory, case, KernelVariant::Backward(victim));
        memory.write(forward.out.ptr, &self.out).unwrap();
        memory.write(forward.lse.ptr, &self.lse).unwrap();
        let matrix = |seqlen| Strided {
            ptr: memory.alloc(seqlen * case.head_dim * 2).unwrap(),
            ..forward.q
        };
        let d_out = matrix(case.seqlen_q);
        let bytes: Vec<u8> = case
            .d_out::<f16>()
            .into_iter()
            .flat_map(f16::to_le_bytes)
            .collect();
        memory.write(d_out.ptr, &bytes).unwrap();
        let d_q = matrix(case.seqlen_q);
        let n_blocks = forward.seqlen_k.div_ceil(victim.block_n);
        let rows = (forward.m_blocks * victim.block_m) as usize;
        BwdParams {
            forward,
            d_out,
            d_q,
            d_k: matrix(case.seqlen_k),
            d_v: matrix(case.seqlen_k),
            d_bias: d_q,
            d_lse: RowValues {
                ptr: 0,
                ..forward.lse
            },
            row_statistics: memory.alloc(12 * rows).unwrap(),
            dq_accum: memory.alloc(4 * rows * victim.head_dim as usize).unwrap(),
            dq_slice_stride: 0,
            scratch_tiles: forward.m_blocks,
            tile_rows: victim.block_m,
            tile_cols: victim.head_dim,
            n_blocks,
            n_stride: self.n_stride.unwrap_or(n_blocks),
            dq_slices: 1,
            dq_lane_stride: 1,
            dq_element_stride: 32,
            batch: 1,
            bias_n_blocks: 0,
            bias_m_blocks: 0,
            bias_heads: 0,
            bias_batch: 0,
            num_heads_k: 1,
        }
    }

    fn holds_the_rule(&self, memory: &GlobalMemory, params: &BwdParams) -> bool {
        let read = |matrix: &Strided, seqlen: usize| -> Vec<f16> {
            let mut bytes = vec![0; seqlen * self.case.head_dim * 2];
            memory.read(matrix.ptr, &mut bytes).unwrap();
            let elements = bytes.as_chunks().0.iter();
            elements.map(|&bytes| f16::from_le_bytes(bytes)).collect()
        };
        let got = GradientSlices {
            d_q: &read(&params.d_q, self.case.seqlen_q),
            d_k: &read(&params.d_k, self.case.seqlen_k),
            d_v: &read(&params.d_v, self.case.seqlen_k),
            d_bias: None,
        };
        compare_gradients(&self.case.spec(), &got, &self.exact, &self.low)
            .unwrap()
            .passed()
    }
}

/// A main kernel, the problems that it is run on, and the kernels around it.
struct Victim {
    kernel: Kernel,
    variant: &'static BwdVariant,
    problems: [Problem; 3],
    around: [(Kernel, Module); 2],
}

impl Victim {
    fn all() -> [Victim; 3] {
        VICTIMS.map(|entry| {
            let victim = kernel(entry);
            let KernelVariant::Backward(variant) = victim.variant else {
                panic!("{entry} is a backward kernel")
            };
            let around = ["flash_bwd_delta_sm80_f16", "flash_bwd_dq_sm80_f16"].map(kernel);
            Victim {
                kernel: victim,
                variant,
                problems: Problem::all(variant),
                around: around.map(|kernel| (kernel, Module::parse(kernel.ptx).unwrap())),
            }
        })
    }

    /// Runs `module` in the place of the main kernel on one problem.
    fn run_on(&self, module: &Module, problem: &Problem, options: &Options) -> Result<(), Caught> {
        let memory = GlobalMemory::new();
        let params = problem.params(&memory, self.variant);
        let [(delta, delta_module), (dq, dq_module)] = &self.around;
        let query_tiles = params.forward.m_blocks;
        for (kernel, module, blocks) in [
            (delta, delta_module, query_tiles),
            (&self.kernel, module, params.n_stride),
            (dq, dq_module, query_tiles),
        ] {
            let launch_of = Launch {
                grid: [blocks, 1, 1],
                block: [kernel.spec.threads, 1, 1],
                cluster: None,
                dynamic_shared_bytes: kernel.spec.shared_bytes,
                params: params.as_bytes(),
            };
            let kernel = module.kernel(kernel.spec.entry).unwrap();
            launch(kernel, &memory, &launch_of, options)
                .map_err(|fault| Caught::ByFault(Box::new(fault)))?;
        }
        match problem.holds_the_rule(&memory, &params) {
            true => Ok(()),
            false => Err(Caught::ByRule),
        }
    }

    /// Runs a text in the place of the main kernel on every problem until one tells.
    fn run(&self, ptx: &str, options: &Options) -> Option<Caught> {
        let module = Module::parse(ptx).unwrap();
        let mut problems = self.problems.iter();
        problems.find_map(|problem| self.run_on(&module, problem, options).err())
    }

    /// The same under a few schedules.
    fn run_by_seeds(&self, ptx: &str, sanitizers: Sanitizers) -> Option<Caught> {
        let run = |schedule| {
            let options = Options {
                schedule,
                sanitizers,
                ..Options::default()
            };
            self.run(ptx, &options).map_or(Ok(()), Err)
        };
        for_each_seed(0..8, run).err().map(|failure| failure.error)
    }

    /// The text with `from` replaced at one place, for every place.
    fn plant<'a>(&'a self, from: &'a str, to: &'a str) -> impl Iterator<Item = String> + 'a {
        let places = self.kernel.ptx.matches(from).count();
        assert!(places > 0, "{} has no {from}", self.kernel.spec.entry);
        (0..places).map(move |nth| replace_nth(self.kernel.ptx, from, to, nth).unwrap())
    }
}

/// Every sanitizer, blocks and warps in order.
fn sanitized() -> Options<'static> {
    Options {
        sanitizers: Sanitizers::ALL,
        ..Options::default()
    }
}

#[test]
fn the_unchanged_kernels_are_not_accused() {
    for victim in Victim::all() {
        let entry = victim.kernel.spec.entry;
        let caught = victim.run(victim.kernel.ptx, &sanitized());
        assert!(caught.is_none(), "{entry}: {caught:?}");
        let caught = victim.run_by_seeds(victim.kernel.ptx, Sanitizers::ALL);
        assert!(caught.is_none(), "{entry}: {caught:?}");
    }
}

/// Removes `what` at one place after the other. Each time, the first run in order under all sanitizers ends in a fault
/// that `is_expected`; where `what` is said to be redundant, nothing is found under any schedule.
fn assert_needed(
    what: &str,
    redundant: [(&str, &[usize]); 3],
    is_expected: impl Fn(&Fault) -> bool,
) {
    for (victim, (entry, redundant)) in Victim::all().iter().zip(redundant) {
        assert_eq!(victim.kernel.spec.entry, entry);
        for (nth, ptx) in victim.plant(what, "").enumerate() {
            let found = victim.run(&ptx, &sanitized());
            if redundant.contains(&nth) {
                let found = found.or_else(|| victim.run_by_seeds(&ptx, Sanitizers::ALL));
                assert!(found.is_none(), "{entry}, {what} {nth}: {found:?}");
                continue;
            }
            assert!(
                matches!(&found, Some(Caught::ByFault(fault)) if is_expected(fault)),
                "{entry}, {what} {nth}: {found:?}"
            );
        }
    }
}

#[test]
fn racecheck_names_a_missing_barrier_in_the_first_run_in_order() {
    assert_needed(BARRIER, REDUNDANT_BARRIERS, |fault| {
        matches!(fault.kind, FaultKind::Race(_))
    });
}

#[test]
fn a_missing_wait_for_an_asynchronous_copy_is_named_in_the_first_run_in_order() {
    assert_needed(WAIT, REDUNDANT_WAITS, |fault| {
        matches!(
            fault.kind,
            FaultKind::AsyncReadEarly { .. } | FaultKind::AsyncOverlap { .. }
        )
    });
}

/// Replaces `from` everywhere; nothing but results tells.
fn assert_breaks_the_rule(from: &str, to: &str) {
    for victim in Victim::all() {
        let entry = victim.kernel.spec.entry;
        assert!(victim.kernel.ptx.contains(from), "{entry} has no {from}");
        let caught = victim.run(&victim.kernel.ptx.replace(from, to), &Options::default());
        assert!(
            matches!(caught, Some(Caught::ByRule)),
            "{entry}: {caught:?}"
        );
    }
}

#[test]
fn a_store_in_the_place_of_an_addition_to_dq_breaks_the_rule() {
    assert_breaks_the_rule("red.global.add.f32", "st.global.f32");
}

#[test]
fn a_mask_that_gives_hidden_keys_weight_one_breaks_the_rule() {
    assert_breaks_the_rule("0fFF800000", "0f00000000");
}

#[test]
fn a_tile_that_reaches_out_of_bounds_is_caught_as_such() {
    for victim in Victim::all() {
        let ptx = (victim.kernel.ptx).replace("setp.lt.u32", "setp.le.u32");
        let caught = victim.run(&ptx, &Options::default());
        assert!(
            matches!(&caught, Some(Caught::ByFault(fault)) if matches!(fault.kind, FaultKind::OutOfBounds { .. })),
            "{}: {caught:?}",
            victim.kernel.spec.entry
        );
    }
}
