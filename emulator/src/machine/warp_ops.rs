//! Instructions that exchange values between the lanes of a warp: shfl, vote, match, redux, elect (PTX
//! ISA, "Data Movement: shfl.sync", "Parallel Synchronization: vote, match, redux, elect, activemask,
//! bar.warp.sync").
//!
//! The scheduler brings the lanes of a member mask together; they may stand at different program
//! counters as long as they execute the same operation. So each instruction has three steps: every
//! lane's operands are gathered, the results of all lanes are computed, every lane stores its own.

use crate::ir::{Op, Pred, R32, ReduxOp, ShflMode, VoteMode};

use super::plan::{LaneOrder, Plan};
use super::registers::{LANES, Lanes, Mask, Registers, ballot, each_lane, lanes_of};

/// What lanes must agree on to meet: the operation without its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    Shfl(ShflMode),
    Vote(VoteMode),
    Ballot,
    MatchAny32,
    MatchAny64,
    MatchAll32,
    MatchAll64,
    Redux(ReduxOp),
    Elect,
    WarpSync,
}

/// Operands of all lanes.
pub(crate) struct Inputs {
    a: Lanes<u64>,
    b: Lanes<u32>,
    c: Lanes<u32>,
    /// Which lane `elect` names, which is up to the schedule: the last instead of the first.
    elects_last: bool,
}

/// Results of all lanes.
pub(crate) struct Results {
    d: Lanes<u32>,
    p: u32,
}

/// The operation and its member-mask register, when `op` is a warp-wide exchange.
#[inline(always)]
pub(crate) fn meeting(op: &Op) -> Option<(Meeting, R32)> {
    Some(match *op {
        Op::Shfl { mode, mask, .. } => (Meeting::Shfl(mode), mask),
        Op::Vote { mode, mask, .. } => (Meeting::Vote(mode), mask),
        Op::Ballot { mask, .. } => (Meeting::Ballot, mask),
        Op::MatchAny32 { mask, .. } => (Meeting::MatchAny32, mask),
        Op::MatchAny64 { mask, .. } => (Meeting::MatchAny64, mask),
        Op::MatchAll32 { mask, .. } => (Meeting::MatchAll32, mask),
        Op::MatchAll64 { mask, .. } => (Meeting::MatchAll64, mask),
        Op::Redux { op, mask, .. } => (Meeting::Redux(op), mask),
        Op::Elect { mask, .. } => (Meeting::Elect, mask),
        Op::WarpSync { mask } => (Meeting::WarpSync, mask),
        _ => return None,
    })
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            a: [0; LANES],
            b: [0; LANES],
            c: [0; LANES],
            elects_last: false,
        }
    }
}

impl Inputs {
    /// No operands yet, under a plan.
    pub fn under(plan: &Plan) -> Self {
        Self {
            elects_last: plan.lanes == LaneOrder::HighestFirst,
            ..Self::default()
        }
    }

    /// Adds the operands of `lanes`, which stand at `op`.
    pub fn gather(&mut self, regs: &Registers, op: &Op, lanes: u32) {
        let pred = |a: Pred| {
            let bits = regs.get_pred(a);
            each_lane(|i| u64::from(bits >> i & 1))
        };
        let (a, b, c): (Lanes<u64>, _, _) = match *op {
            Op::Shfl { a, b, c, .. } => {
                (regs.get32(a).map(u64::from), *regs.get32(b), *regs.get32(c))
            }
            Op::MatchAny32 { a, .. } | Op::MatchAll32 { a, .. } | Op::Redux { a, .. } => {
                (regs.get32(a).map(u64::from), self.b, self.c)
            }
            Op::MatchAny64 { a, .. } | Op::MatchAll64 { a, .. } => (*regs.get64(a), self.b, self.c),
            Op::Vote { a, .. } | Op::Ballot { a, .. } => (pred(a), self.b, self.c),
            _ => return,
        };
        for lane in lanes_of(lanes) {
            (self.a[lane], self.b[lane], self.c[lane]) = (a[lane], b[lane], c[lane]);
        }
    }
}

/// Stores the results of the lanes of `mask`, which stand at `op`.
pub(crate) fn scatter(regs: &mut Registers, op: &Op, mask: Mask, results: &Results) {
    match *op {
        Op::Shfl { d, p, .. }
        | Op::MatchAll32 { d, p, .. }
        | Op::MatchAll64 { d, p, .. }
        | Op::Elect { d, p, .. } => {
            regs.set32(mask, d, &results.d);
            regs.set_pred(mask, p, results.p);
        }
        Op::Ballot { d, .. }
        | Op::MatchAny32 { d, .. }
        | Op::MatchAny64 { d, .. }
        | Op::Redux { d, .. } => regs.set32(mask, d, &results.d),
        Op::Vote { d, .. } => regs.set_pred(mask, d, results.p),
        _ => {}
    }
}

/// The results of `lanes`, all of which take part.
pub(crate) fn exchange(meeting: Meeting, inputs: &Inputs, lanes: u32) -> Results {
    let truths = || ballot(|i| inputs.a[i] != 0) & lanes;
    let everyone = |value: u32| Results {
        d: [value; LANES],
        p: 0,
    };
    match meeting {
        Meeting::Shfl(mode) => shuffle(mode, inputs, lanes),
        Meeting::Ballot => everyone(truths()),
        Meeting::Vote(mode) => {
            let truths = truths();
            let holds = match mode {
                VoteMode::All => truths == lanes,
                VoteMode::Any => truths != 0,
                VoteMode::Uni => truths == lanes || truths == 0,
            };
            Results {
                d: [0; LANES],
                p: if holds { u32::MAX } else { 0 },
            }
        }
        Meeting::MatchAny32 | Meeting::MatchAny64 => {
            let equal = |i: usize| ballot(|j| inputs.a[j] == inputs.a[i]) & lanes;
            Results {
                d: each_lane(equal),
                p: 0,
            }
        }
        Meeting::MatchAll32 | Meeting::MatchAll64 => {
            let first = inputs.a[lanes.trailing_zeros() as usize & (LANES - 1)];
            let all = ballot(|i| inputs.a[i] == first) & lanes == lanes;
            let value = if all { lanes } else { 0 };
            Results {
                d: [value; LANES],
                p: if all { u32::MAX } else { 0 },
            }
        }
        Meeting::Redux(op) => everyone(reduce(op, inputs, lanes)),
        Meeting::Elect => {
            let leader = if inputs.elects_last {
                31 - lanes.leading_zeros()
            } else {
                lanes.trailing_zeros()
            };
            Results {
                d: [leader; LANES],
                p: 1 << leader,
            }
        }
        Meeting::WarpSync => everyone(0),
    }
}

fn reduce(op: ReduxOp, inputs: &Inputs, lanes: u32) -> u32 {
    let combine = |x: u32, y: u32| match op {
        ReduxOp::Add => x.wrapping_add(y),
        ReduxOp::MinU => x.min(y),
        ReduxOp::MinS => (x as i32).min(y as i32) as u32,
        ReduxOp::MaxU => x.max(y),
        ReduxOp::MaxS => (x as i32).max(y as i32) as u32,
        ReduxOp::And => x & y,
        ReduxOp::Or => x | y,
        ReduxOp::Xor => x ^ y,
    };
    lanes_of(lanes)
        .map(|lane| inputs.a[lane] as u32)
        .reduce(combine)
        .unwrap_or(0)
}

/// The lane that `lane` reads from, and whether that lies inside its segment.
#[inline(always)]
pub(crate) fn shuffle_source(mode: ShflMode, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let offset = (b & 31) as i32;
    let segment = c >> 8 & 31;
    let first = lane & segment;
    let limit = (first | c & 31 & !segment) as i32;
    let signed_lane = lane as i32;
    let (source, valid) = match mode {
        ShflMode::Up => (signed_lane - offset, signed_lane - offset >= limit),
        ShflMode::Down => (signed_lane + offset, signed_lane + offset <= limit),
        ShflMode::Bfly => (signed_lane ^ offset, signed_lane ^ offset <= limit),
        ShflMode::Idx => {
            let source = (first | b & 31 & !segment) as i32;
            (source, source <= limit)
        }
    };
    if valid {
        (source as u32, true)
    } else {
        (lane, false)
    }
}

/// A value from a lane that does not take part is undefined; it shows up as this NaN.
const UNDEFINED: u32 = 0x7fff_ffff;

#[inline(always)]
fn shuffle(mode: ShflMode, inputs: &Inputs, lanes: u32) -> Results {
    let mut results = Results {
        d: [0; LANES],
        p: 0,
    };
    for lane in 0..LANES {
        let (source, valid) = shuffle_source(mode, lane as u32, inputs.b[lane], inputs.c[lane]);
        let takes_part = lanes >> source & 1 != 0;
        let value = inputs.a[source as usize & (LANES - 1)] as u32;
        results.d[lane] = if takes_part { value } else { UNDEFINED };
        results.p |= u32::from(valid) << lane;
    }
    results
}

/// A butterfly or any other shuffle of a whole converged warp: the common case without gathering.
#[inline(always)]
pub(crate) fn shuffle_whole(
    regs: &mut Registers,
    mode: ShflMode,
    d: R32,
    p: Pred,
    [a, b, c]: [R32; 3],
) {
    let (a, b, c) = (*regs.get32(a), regs.get32(b), regs.get32(c));
    let (mut out, mut valid) = ([0; LANES], 0);
    for lane in 0..LANES {
        let (source, inside) = shuffle_source(mode, lane as u32, b[lane], c[lane]);
        out[lane] = a[source as usize & (LANES - 1)];
        valid |= u32::from(inside) << lane;
    }
    let everyone = Mask {
        lanes: u32::MAX,
        whole: true,
    };
    regs.set32(everyone, d, &out);
    regs.set_pred(everyone, p, valid);
}
