//! Kernels to plant mistakes in, and the problems that bring every instruction of theirs to light.

use std::ops::Range;
use std::rc::Rc;

use crate::common::Case;
use crate::planted_bugs::gradients::{self, Problem};
use crate::planted_bugs::{Caught, forward, kernel, sanitized};
use abi::{HopperBwdVariant, HopperFwdVariant, KernelVariant};
use flash_attention::{Dtype, Kernel, bf16};
use ptx_emulator::{Module, Options, Schedule, for_each_seed};

/// Schedules that each text runs under, after the one in order.
const SEEDS: Range<u64> = 0..4;

/// Rows of NaN behind the sequences, where a problem has any.
const SPARE: usize = 20;

/// Runs a module in the place of a kernel's own on one problem: one block, which has several tiles, so that every barrier is
/// used again. Returns how many instructions its warps have executed.
type Run = Box<dyn Fn(&Module, &Options) -> Result<u64, Caught>>;

/// A kernel, and what it is run on.
pub struct Victim {
    pub kernel: Kernel,
    runs: Vec<Run>,
}

impl Victim {
    /// The kernel `entry` of the manifest, which is for bf16 on Hopper.
    pub fn new(entry: &str) -> Victim {
        let kernel = kernel(entry);
        let runs = match kernel.variant {
            KernelVariant::HopperForward(v) => forward_runs(kernel, v),
            KernelVariant::HopperBackward(v) => backward_runs(kernel, v),
            other => panic!("{} is not for Hopper", other.entry()),
        };
        Victim { kernel, runs }
    }

    /// The most instructions that the kernel executes on one problem.
    ///
    /// # Panics
    /// If anything is found, under any schedule.
    pub fn instructions_of_clean_run(&self) -> u64 {
        let module = Module::parse(self.kernel.ptx).unwrap();
        let runs = self.runs.iter();
        let instructions = runs.map(|run| run(&module, &sanitized()).unwrap()).max();
        let found = self.find(self.kernel.ptx, None);
        assert!(found.is_none(), "{}: {found:?}", self.kernel.spec.entry);
        instructions.unwrap()
    }

    /// What is found in a text that runs in the place of the kernel's: in order, then under each seed, for at most `limit`
    /// instructions of a block.
    pub fn find(&self, ptx: &str, limit: Option<u64>) -> Option<Caught> {
        let module = Module::parse(ptx).unwrap();
        let run = |schedule| {
            let options = Options {
                schedule,
                instruction_limit: limit,
                ..sanitized()
            };
            let mut runs = self.runs.iter();
            runs.try_for_each(|run| run(&module, &options).map(drop))
        };
        let seeds = || for_each_seed(SEEDS, run).map_err(|failure| failure.error);
        run(Schedule::InOrder).and_then(|()| seeds()).err()
    }
}

fn case(seqlen_q: usize, seqlen_k: usize, head_dim: u32) -> Case {
    Case::new(Dtype::Bf16, seqlen_q, seqlen_k, head_dim as usize).heads(1, 1)
}

fn forward_runs(kernel: Kernel, v: &HopperFwdVariant) -> Vec<Run> {
    let (m, n) = (v.block_m as usize, v.block_n as usize);
    let case = |seqlen_q, seqlen_k| case(seqlen_q, seqlen_k, v.head_dim);
    let problems = [
        // Ragged ends of sequences inside of their matrices, and the sign of the scale in Q.
        (case(2 * m + 44, 2 * n + 16).causal(true).scale(-0.1), SPARE),
        // Steps without a mask follow on each other, and slots of K and V are used again within a tile.
        (case(m + 10, 5 * n), 0),
        // Steps with a mask follow on each other.
        (case(m, 3 * n - 60).window(Some(2 * n - 100), Some(0)), 0),
    ];
    let run = |(case, spare)| -> Run {
        Box::new(move |module, options| {
            forward::run::<bf16>((&kernel, module), (&case, spare), Some(1), options)
        })
    };
    problems.map(run).into()
}

fn backward_runs(kernel: Kernel, v: &HopperBwdVariant) -> Vec<Run> {
    let (m, n) = (v.block_m as usize, v.block_n as usize);
    let problem = |seqlen_q, seqlen_k, is_causal, spare| {
        let case = case(seqlen_q, seqlen_k, v.head_dim).causal(is_causal);
        Problem::<bf16>::new(case, spare, Some(1))
    };
    let problems = [
        // Ragged ends of sequences inside of their matrices.
        problem(2 * m + 44, n + 44, true, SPARE),
        // Steps without a mask.
        problem(3 * m, 2 * n, false, 0),
        // Keys end in a tile, queries do not.
        problem(m, n - 20, false, 0),
    ];
    let victim = Rc::new(gradients::Victim::new::<bf16>(kernel.spec.entry));
    let run = |problem| -> Run {
        let victim = Rc::clone(&victim);
        Box::new(move |module, options| victim.run(module, &problem, options))
    };
    problems.map(run).into()
}
