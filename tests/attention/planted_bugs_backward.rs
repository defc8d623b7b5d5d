//! As `planted_bugs`, for the main backward kernels: two whose warps own 16 keys each, and one whose warps share them in
//! pairs. The kernels before and after the main one are unchanged, so that dQ can be judged as well.

use crate::common::Case;
use crate::planted_bugs::edit::replace_nth;
use crate::planted_bugs::gradients::{self, Problem};
use crate::planted_bugs::{Caught, sanitized};
use abi::KernelVariant;
use flash_attention::{Dtype, f16};
use ptx_emulator::{Fault, FaultKind, Module, Options, Sanitizers, for_each_seed};

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

/// Ragged tiles cut by the diagonal, in a block each; whole tiles before ragged ones, and key tiles that no query sees, in
/// one block.
fn problems(head_dim: u32) -> [Problem<f16>; 3] {
    let case = |seqlen_q, seqlen_k| {
        Case::new(Dtype::F16, seqlen_q, seqlen_k, head_dim as usize).heads(1, 1)
    };
    [
        Problem::new(case(200, 140).causal(true), 0, None),
        Problem::new(case(200, 140), 0, Some(1)),
        Problem::new(case(40, 300).causal(true).top_left(), 0, Some(1)),
    ]
}

/// A main kernel, and the problems that it is run on.
struct Victim {
    main: gradients::Victim,
    problems: [Problem<f16>; 3],
}

impl Victim {
    fn all() -> [Victim; 3] {
        VICTIMS.map(|entry| {
            let main = gradients::Victim::new::<f16>(entry);
            let KernelVariant::Backward(variant) = main.kernel.variant else {
                panic!("{entry} is a backward kernel")
            };
            Victim {
                main,
                problems: problems(variant.head_dim),
            }
        })
    }

    fn entry(&self) -> &'static str {
        self.main.kernel.spec.entry
    }

    fn ptx(&self) -> &'static str {
        self.main.kernel.ptx
    }

    /// Runs a text in the place of the main kernel on every problem until one tells.
    fn run(&self, ptx: &str, options: &Options) -> Option<Caught> {
        let module = Module::parse(ptx).unwrap();
        let mut problems = self.problems.iter();
        problems.find_map(|problem| self.main.run(&module, problem, options).err())
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
        let places = self.ptx().matches(from).count();
        assert!(places > 0, "{} has no {from}", self.entry());
        (0..places).map(move |nth| replace_nth(self.ptx(), from, to, nth).unwrap())
    }
}

#[test]
fn the_unchanged_kernels_are_not_accused() {
    for victim in Victim::all() {
        let entry = victim.entry();
        let caught = victim.run(victim.ptx(), &sanitized());
        assert!(caught.is_none(), "{entry}: {caught:?}");
        let caught = victim.run_by_seeds(victim.ptx(), Sanitizers::ALL);
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
        assert_eq!(victim.entry(), entry);
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
        let entry = victim.entry();
        assert!(victim.ptx().contains(from), "{entry} has no {from}");
        let caught = victim.run(&victim.ptx().replace(from, to), &Options::default());
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
        let ptx = (victim.ptx()).replace("setp.lt.u32", "setp.le.u32");
        let caught = victim.run(&ptx, &Options::default());
        assert!(
            matches!(&caught, Some(Caught::ByFault(fault)) if matches!(fault.kind, FaultKind::OutOfBounds { .. })),
            "{}: {caught:?}",
            victim.entry()
        );
    }
}
