//! The choices that the ISA leaves open, as a plan says.

use super::plan::{BlockOrder, CopyTiming, LaneOrder, PeerOrder, Plan, Turns, WarpOrder};
use super::registers::lanes_of;

/// In which order things happen that the ISA does not order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Blocks and warps in index order; each warp runs until it must wait; asynchronous copies
    /// happen when they are waited for.
    #[default]
    InOrder,
    /// By the [`Plan`] of a seed, see [`Schedule::plan`]. The same seed gives the same execution of
    /// every block, on any number of threads of the host.
    Seeded(u64),
}

/// Instructions that a warp runs before others get a turn, so that a spinning warp cannot starve the
/// one it waits for.
const LONG_TURN: u32 = 1 << 16;
/// Instructions of the others for which a warp or a block is starved at a stretch, because they may be
/// waiting for it in a loop.
const PATIENCE: u64 = 1 << 14;
/// One turn in so many is taken by the lanes that a plan puts last, for the same reason.
const LANES_PATIENCE: u64 = 64;

/// Streams of numbers of a seed beside those of the clusters, which have their number.
pub(super) const PLAN_STREAM: u64 = u64::MAX;
const ORDER_STREAM: u64 = u64::MAX - 1;

/// Random numbers (splitmix64).
pub(crate) struct Generator {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Generator {
    /// One of the streams of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            state: mix(seed.wrapping_add(GOLDEN)) ^ stream.wrapping_mul(GOLDEN),
        }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    /// One of `values`.
    pub fn pick<T: Copy, const N: usize>(&mut self, values: [T; N]) -> T {
        values[self.below(N as u64) as usize]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The choices for one cluster.
pub(crate) struct Chance {
    pub plan: Plan,
    generator: Generator,
    /// By ranks: which blocks of the cluster run first.
    peers: Preference,
    /// By their numbers: which warps of each block run first.
    warps: Vec<Preference>,
}

/// Those of some blocks or warps, as bits, that the plan puts before the others.
#[derive(Clone, Copy)]
struct Preference {
    preferred: u32,
    all: u32,
    /// Instructions that preferred ones have executed since another one ran.
    waited: u64,
    /// The one that ran last: of the others, of the preferred ones. Each kind takes its turns by itself, so that
    /// none is passed over for ever.
    last: [u32; 2],
}

impl Preference {
    fn new(preferred: u32, count: u32) -> Self {
        let all = u32::MAX >> (32 - count);
        Self {
            preferred: preferred & all,
            all,
            waited: 0,
            last: [31; 2],
        }
    }

    /// Those of `ready` of which one runs next.
    fn first(&self, ready: u32) -> u32 {
        let others = ready & !self.preferred;
        match ready & self.preferred {
            0 => others,
            _ if others != 0 && self.waited >= PATIENCE => others,
            preferred => preferred,
        }
    }

    /// The next one of `among`, which are all preferred or all others, upwards or downwards.
    fn next(&self, among: u32, downwards: bool) -> u32 {
        let last = self.last[usize::from(among & self.preferred != 0)];
        if downwards {
            below(among, last)
        } else {
            above(among, last)
        }
    }

    /// One of them has executed `instructions`.
    fn ran(&mut self, which: u32, instructions: u64) {
        let is_preferred = self.preferred >> which & 1 != 0;
        self.last[usize::from(is_preferred)] = which;
        if self.preferred != self.all && is_preferred {
            self.waited += instructions;
        } else {
            self.waited = 0;
        }
    }
}

/// When a bulk copy moves its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyMoment {
    /// When somebody waits for it.
    Awaited,
    /// When it is issued.
    AtOnce,
    /// Piece by piece in between, in any order.
    InPieces,
}

impl Chance {
    /// Choices for cluster number `cluster` of the grid, whose `num_blocks` blocks have `num_warps` warps
    /// each.
    pub fn new(schedule: Schedule, cluster: u64, num_warps: u32, num_blocks: u32) -> Self {
        let seed = match schedule {
            Schedule::InOrder => 0,
            Schedule::Seeded(seed) => seed,
        };
        let plan = schedule.plan();
        let warps = Preference::new(preferred_warps(plan.warps, num_warps), num_warps);
        Self {
            plan,
            generator: Generator::new(seed, cluster),
            peers: Preference::new(preferred_peers(plan.peers, num_blocks), num_blocks),
            warps: vec![warps; num_blocks as usize],
        }
    }

    /// Lanes whose copy, which is being issued, happens now.
    pub fn copies_at_once(&mut self) -> u32 {
        match self.plan.copies {
            CopyTiming::AtWait => 0,
            CopyTiming::AtIssue => u32::MAX,
            CopyTiming::DrawnPerInstruction => self.generator.pick([0, u32::MAX]),
            CopyTiming::DrawnPerLane => self.generator.draw() as u32,
        }
    }

    /// When a bulk copy, which is being issued, moves.
    pub fn bulk_moment(&mut self) -> CopyMoment {
        match self.plan.copies {
            CopyTiming::AtWait => CopyMoment::Awaited,
            CopyTiming::AtIssue => CopyMoment::AtOnce,
            CopyTiming::DrawnPerInstruction => self.generator.pick([
                CopyMoment::Awaited,
                CopyMoment::AtOnce,
                CopyMoment::InPieces,
            ]),
            CopyTiming::DrawnPerLane => CopyMoment::InPieces,
        }
    }

    /// Whether a piece of a bulk copy moves between the turns of two warps.
    pub fn copies_drift(&mut self) -> bool {
        match self.plan.copies {
            CopyTiming::AtWait | CopyTiming::AtIssue => false,
            CopyTiming::DrawnPerInstruction | CopyTiming::DrawnPerLane => {
                self.generator.below(4) == 0
            }
        }
    }

    /// Whether a wait for an mbarrier returns without success: before the phase is complete, or, when it does not
    /// sleep, although it is.
    pub fn wait_fails(&mut self) -> bool {
        match self.plan.copies {
            CopyTiming::AtWait | CopyTiming::AtIssue => false,
            CopyTiming::DrawnPerInstruction | CopyTiming::DrawnPerLane => {
                self.generator.below(4) == 0
            }
        }
    }

    /// How often an mbarrier is looked at in vain before the copy that it waits for moves.
    pub fn wait_patience(&mut self) -> u32 {
        match self.plan.copies {
            CopyTiming::AtWait | CopyTiming::AtIssue => 4,
            _ => 1 + self.generator.below(8) as u32,
        }
    }

    /// One of some copies: the oldest, or a drawn one.
    pub fn one_of(&mut self, copies: &[usize]) -> Option<usize> {
        match self.plan.copies {
            _ if copies.is_empty() => None,
            CopyTiming::AtWait | CopyTiming::AtIssue => copies.first().copied(),
            _ => {
                let nth = self.generator.below(copies.len() as u64);
                copies.get(nth as usize).copied()
            }
        }
    }

    /// A number from 1 to `most`, or 0 when that is 0.
    pub fn up_to(&mut self, most: usize) -> usize {
        match most {
            0 => 0,
            _ => 1 + self.generator.below(most as u64) as usize,
        }
    }

    /// Brings `items` into a drawn order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.generator.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }

    /// Instructions until the running warp gives way.
    pub fn turn(&mut self) -> u32 {
        match self.plan.turns {
            Turns::Unbroken | Turns::Synchronisation => LONG_TURN,
            Turns::Drawn(longest) => 1 + self.generator.below(longest.into()) as u32,
            Turns::Single => 1,
        }
    }

    /// Which of the cluster's `ready` blocks runs next.
    #[inline]
    pub fn next_block(&mut self, ready: u32) -> u32 {
        if ready & (ready - 1) == 0 {
            return ready.trailing_zeros();
        }
        let first = self.peers.first(ready);
        match self.plan.peers {
            PeerOrder::Drawn => self.drawn(first),
            order => self.peers.next(first, order == PeerOrder::Reverse),
        }
    }

    /// Which of the `ready` warps of the block of this rank runs next.
    pub fn next_warp(&mut self, rank: u32, ready: u32) -> u32 {
        let warps = &self.warps[rank as usize];
        let first = warps.first(ready);
        match self.plan.warps {
            WarpOrder::Drawn => self.drawn(first),
            order => warps.next(first, order == WarpOrder::Reverse),
        }
    }

    fn drawn(&mut self, among: u32) -> u32 {
        let nth = self.generator.below(among.count_ones().into());
        lanes_of(among).nth(nth as usize).unwrap_or_default() as u32
    }

    /// A warp of the block of this rank has executed `instructions` in its turn.
    pub fn ran(&mut self, rank: u32, warp: u32, instructions: u64) {
        self.warps[rank as usize].ran(warp, instructions);
        self.peers.ran(rank, instructions);
        if let PeerOrder::Late(_) = self.plan.peers
            && self.peers.preferred >> rank & 1 == 0
        {
            // It has started.
            self.peers.preferred = self.peers.all;
        }
    }

    /// Whether the highest group of lanes runs first in the next turn of a warp that has used up one
    /// of `turn` instructions; `now` says so for the turn that ends.
    pub fn highest_first(&mut self, turn: u32, now: bool) -> bool {
        if turn == LONG_TURN {
            return !now;
        }
        let planned = self.plan.lanes == LaneOrder::HighestFirst;
        planned != (self.generator.below(LANES_PATIENCE) == 0)
    }
}

/// The next one of `among` after `last`, upwards and around.
fn above(among: u32, last: u32) -> u32 {
    let after = among & (u32::MAX << last << 1);
    if last < 31 && after != 0 {
        after
    } else {
        among
    }
    .trailing_zeros()
}

/// The next one of `among` after `last`, downwards and around.
fn below(among: u32, last: u32) -> u32 {
    let before = among & ((1 << last) - 1);
    31 - if before != 0 { before } else { among }.leading_zeros()
}

/// Blocks of a cluster that run before the others; all of them when the plan names none.
fn preferred_peers(order: PeerOrder, num_blocks: u32) -> u32 {
    match order {
        PeerOrder::RoundRobin | PeerOrder::Reverse | PeerOrder::Drawn => u32::MAX,
        PeerOrder::Late(rank) | PeerOrder::Starved(rank) => !(1 << (rank % num_blocks)),
        PeerOrder::Favoured(rank) => 1 << (rank % num_blocks),
    }
}

/// Warps that run before the others; all of them when the plan names none.
fn preferred_warps(order: WarpOrder, num_warps: u32) -> u32 {
    match order {
        WarpOrder::RoundRobin | WarpOrder::Reverse | WarpOrder::Drawn => u32::MAX,
        WarpOrder::Starved(warp) => !(1 << (warp % num_warps)),
        WarpOrder::StarvedWarpgroup(group) => !(0xf << (4 * (group % num_warps.div_ceil(4)))),
        WarpOrder::Favoured(warp) => 1 << (warp % num_warps),
    }
}

/// Maps the position in the launch order to the number of a block (of a cluster, where there are any): the
/// identity, or a permutation drawn from the seed.
pub(crate) fn block_order(schedule: Schedule, blocks: u64) -> impl Fn(u64) -> u64 {
    let (mut stride, start) = match (schedule, schedule.plan().blocks) {
        (Schedule::Seeded(seed), BlockOrder::Permuted) => {
            let mut generator = Generator::new(seed, ORDER_STREAM);
            (generator.below(blocks) | 1, generator.below(blocks))
        }
        _ => (1, 0),
    };
    while greatest_common_divisor(stride, blocks) != 1 {
        stride += 2;
    }
    move |position| {
        ((u128::from(position) * u128::from(stride) + u128::from(start)) % u128::from(blocks))
            as u64
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_runs_once_in_any_order() {
        for schedule in [Schedule::InOrder, Schedule::Seeded(1), Schedule::Seeded(77)] {
            for blocks in [1, 2, 6, 64, 105, 1000] {
                let order = block_order(schedule, blocks);
                let mut seen: Vec<u64> = (0..blocks).map(order).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..blocks).collect::<Vec<_>>());
            }
        }
    }

    fn with_order(warps: WarpOrder, num_warps: u32) -> Chance {
        let mut chance = Chance::new(Schedule::Seeded(5), 0, num_warps, 1);
        chance.plan.warps = warps;
        chance.warps[0] = Preference::new(preferred_warps(warps, num_warps), num_warps);
        chance
    }

    #[test]
    fn only_ready_warps_are_chosen_and_rounds_go_up_or_down() {
        let after = |chance: &mut Chance, last: u32, ready: u32| {
            chance.ran(0, last, 1);
            chance.next_warp(0, ready)
        };
        let mut up = with_order(WarpOrder::RoundRobin, 32);
        assert_eq!(up.next_warp(0, 0b1010), 1);
        assert_eq!(after(&mut up, 1, 0b1011), 3);
        assert_eq!(after(&mut up, 3, 0b1011), 0);
        assert_eq!(after(&mut up, 31, 1 << 31), 31);
        let mut down = with_order(WarpOrder::Reverse, 32);
        assert_eq!(down.next_warp(0, 0b1011), 3);
        assert_eq!(after(&mut down, 1, 0b1011), 0);
        assert_eq!(after(&mut down, 0, 0b1011), 3);
        let mut drawn = with_order(WarpOrder::Drawn, 4);
        let chosen: Vec<u32> = (0..100).map(|_| drawn.next_warp(0, 0b1011)).collect();
        assert!([0, 1, 3].iter().all(|w| chosen.contains(w)));
        assert!(chosen.iter().all(|w| 0b1011 >> w & 1 == 1));
    }

    #[test]
    fn a_starved_warp_runs_when_no_other_can_and_when_patience_ends() {
        let mut starved = with_order(WarpOrder::Starved(9), 8);
        assert!((0..100).all(|_| starved.next_warp(0, 0b11) == 0));
        assert_eq!(starved.next_warp(0, 0b10), 1);
        starved.ran(0, 0, PATIENCE);
        assert_eq!(starved.next_warp(0, 0b11), 1);
        starved.ran(0, 1, 1);
        assert_eq!(starved.next_warp(0, 0b11), 0);
        let mut group = with_order(WarpOrder::StarvedWarpgroup(3), 8);
        assert_eq!(group.next_warp(0, 0xff), 0);
        let mut alone = with_order(WarpOrder::StarvedWarpgroup(3), 4);
        assert_eq!(alone.next_warp(0, 0b1111), 0);
        let mut favoured = with_order(WarpOrder::Favoured(2), 4);
        assert_eq!(favoured.next_warp(0, 0b1111), 2);
        assert_eq!(favoured.next_warp(0, 0b1011), 0);
    }

    #[test]
    fn whoever_spins_nobody_is_passed_over_for_ever() {
        for order in [WarpOrder::Starved(1), WarpOrder::Favoured(1)] {
            let mut chance = with_order(order, 4);
            let mut ran = [0; 4];
            for _ in 0..32 {
                let warp = chance.next_warp(0, 0b1111);
                ran[warp as usize] += 1;
                chance.ran(0, warp, PATIENCE);
            }
            assert!(ran.iter().all(|turns| *turns >= 5), "{order:?}: {ran:?}");
        }
    }

    fn with_peers(peers: PeerOrder) -> Chance {
        let mut chance = Chance::new(Schedule::Seeded(5), 0, 4, 4);
        chance.plan.peers = peers;
        chance.peers = Preference::new(preferred_peers(peers, 4), 4);
        chance
    }

    #[test]
    fn a_late_block_starts_when_no_other_can_run_or_patience_ends_and_takes_its_turn_then() {
        let mut late = with_peers(PeerOrder::Late(5));
        assert_eq!(late.next_block(0b1111), 0);
        late.ran(0, 0, 1);
        assert_eq!(late.next_block(0b1111), 2);
        late.ran(2, 0, PATIENCE);
        assert_eq!(late.next_block(0b1111), 1);
        late.ran(1, 0, 1);
        late.ran(0, 0, 1);
        assert_eq!(late.next_block(0b1111), 1);
        let mut starved = with_peers(PeerOrder::Starved(1));
        assert_eq!(starved.next_block(0b0010), 1);
        starved.ran(1, 0, 1);
        assert_eq!(starved.next_block(0b0111), 0);
        let mut favoured = with_peers(PeerOrder::Favoured(3));
        assert_eq!(favoured.next_block(0b1111), 3);
        assert_eq!(favoured.next_block(0b0111), 0);
        let mut down = with_peers(PeerOrder::Reverse);
        assert_eq!(down.next_block(0b1011), 3);
        down.ran(3, 0, 1);
        assert_eq!(down.next_block(0b1011), 1);
    }

    #[test]
    fn seeds_make_use_of_every_kind_of_plan() {
        let plans: Vec<Plan> = (0..64).map(|seed| Schedule::Seeded(seed).plan()).collect();
        let kinds = |kind: &dyn Fn(&Plan) -> String| {
            let mut kinds: Vec<String> = plans.iter().map(kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.len()
        };
        assert_eq!(
            kinds(&|plan| format!("{:?}", plan.warps)
                .split('(')
                .next()
                .unwrap()
                .into()),
            6
        );
        assert_eq!(
            kinds(&|plan| format!("{:?}", plan.peers)
                .split('(')
                .next()
                .unwrap()
                .into()),
            6
        );
        assert_eq!(kinds(&|plan| format!("{:?}", plan.turns)), 6);
        assert_eq!(kinds(&|plan| format!("{:?}", plan.lanes)), 2);
        assert_eq!(kinds(&|plan| format!("{:?}", plan.copies)), 4);
        assert_eq!(kinds(&|plan| format!("{:?}", plan.fill)), 4);
        assert_eq!(kinds(&|plan| plan.shared_step.to_string()), 8);
    }
}
