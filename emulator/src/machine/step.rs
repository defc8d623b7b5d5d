//! The instruction loop of a warp.
//!
//! The loop is compiled once per vector extension; the best one that the processor has is chosen
//! when a launch starts. All of them compute the same bits, but for `mma` with bf16 products outside
//! f32's range.

use crate::fault::Outcome;
use crate::ir::{Instruction, Op};
use crate::observe::Step;

use super::context::Context;
use super::control_flow::{Flow, control, leave, waits};
use super::execute::compute;
use super::lane_op;
use super::reconverge::{Resolution, resolve};
use super::registers::{Mask, Scratch};
use super::warp::{Group, Warp};
use super::wgmma::touch;

/// Why a warp gave way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// All its lanes stand at a block barrier.
    Barrier,
    /// All its lanes wait, some of them for an mbarrier.
    Asleep,
    /// It stands at a `setmaxnreg` that there are not enough registers for.
    Starved,
    /// All its lanes have exited.
    Exited,
    /// Its turn is over.
    Turn,
}

/// The compiled form of the loop to use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processor(Extension);

#[derive(Clone, Copy, Debug)]
enum Extension {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Processor {
    /// The best form for this processor.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! has {
                ($($feature:tt),*) => { $(is_x86_feature_detected!($feature))&&* };
            }
            if has!("avx2", "fma", "bmi1", "bmi2", "lzcnt", "popcnt") {
                if has!("avx512f", "avx512bw", "avx512vl", "avx512dq") {
                    return Self(Extension::Avx512);
                }
                return Self(Extension::Avx2);
            }
        }
        Self(Extension::Baseline)
    }

    /// Runs `warp` until its turn is over, see [`Context::turn_end`].
    #[inline]
    pub fn run(self, warp: &mut Warp, context: &mut Context) -> Outcome<Stop> {
        match self.0 {
            Extension::Baseline => run_warp::<false>(warp, context),
            // SAFETY: `detect` has found the features that the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Extension::Avx2 => unsafe { run_avx2(warp, context) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Extension::Avx512 => unsafe { run_avx512(warp, context) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn run_avx2(warp: &mut Warp, context: &mut Context) -> Outcome<Stop> {
    run_warp::<true>(warp, context)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512dq")]
fn run_avx512(warp: &mut Warp, context: &mut Context) -> Outcome<Stop> {
    run_warp::<true>(warp, context)
}

#[inline(always)]
fn run_warp<const FUSED: bool>(warp: &mut Warp, context: &mut Context) -> Outcome<Stop> {
    loop {
        match warp.take_ready() {
            Some(group) => run_group::<FUSED>(warp, context, group)?,
            None => match resolve(warp, context)? {
                Resolution::Ready => {}
                Resolution::Barrier => return Ok(Stop::Barrier),
                Resolution::Asleep => return Ok(Stop::Asleep),
                Resolution::Starved => return Ok(Stop::Starved),
                Resolution::Exited => return Ok(Stop::Exited),
            },
        }
        if context.turn_is_over() {
            return Ok(Stop::Turn);
        }
    }
}

/// Runs one group until it branches apart, meets another, must wait, ends, or the turn is over.
#[inline(always)]
fn run_group<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mut group: Group,
) -> Outcome {
    let kernel = context.kernel;
    let alone = warp.groups.is_empty();
    let mut scratch = Scratch::new();
    loop {
        if context.turn_is_over() || (!alone && warp.must_switch(group.pc)) {
            warp.put(group);
            return Ok(());
        }
        let Some(instruction) = kernel.program.get(group.pc as usize) else {
            let mask = Mask {
                lanes: group.lanes,
                whole: false,
            };
            return leave(warp, context, mask);
        };
        let guard = instruction.guard;
        let excluded = if guard.negated { u32::MAX } else { 0 };
        let lanes = group.lanes & (warp.regs.get_pred(guard.pred) ^ excluded);
        context.warp_instructions += 1;
        context.thread_instructions += u64::from(lanes.count_ones());
        if context.observers.is_some() || instruction.touches_products {
            watch(warp, context, &group, lanes, instruction)?;
        }
        if lanes == 0 {
            group.pc += 1;
            continue;
        }
        let mask = Mask {
            lanes,
            whole: lanes == warp.live,
        };
        let flow = match &instruction.op {
            Op::Lane(op) => {
                lane_op::compute(&mut warp.regs, mask, op, &mut scratch).map(|()| Flow::Next)
            }
            op => match control(warp, context, &mut group, mask, op) {
                Ok(Flow::Compute) => compute::<FUSED>(warp, context, mask, op).map(|()| Flow::Next),
                flow => flow,
            },
        };
        match flow {
            Ok(Flow::Jumped) => {}
            Ok(Flow::Gone) => return Ok(()),
            Ok(Flow::Next | Flow::Compute) => group.pc += 1,
            Err(mut trouble) => {
                trouble.pc = group.pc;
                return Err(trouble);
            }
        }
    }
}

/// Checks registers of products, and tells the observers what `lanes` of a group are about to do.
#[inline(never)]
fn watch(
    warp: &mut Warp,
    context: &mut Context,
    group: &Group,
    lanes: u32,
    instruction: &Instruction,
) -> Outcome {
    let step = Step {
        pc: group.pc,
        instruction,
        group: group.lanes,
        lanes,
        executes: lanes == 0 || !waits(&instruction.op, lanes),
    };
    if instruction.touches_products && lanes != 0 {
        touch(warp, context, group.pc).map_err(|mut trouble| {
            trouble.pc = group.pc;
            trouble
        })?;
    }
    context
        .observe(|observers, context| observers.before(warp, context, &step))
        .map_err(|mut trouble| {
            trouble.pc = group.pc;
            trouble
        })
}
