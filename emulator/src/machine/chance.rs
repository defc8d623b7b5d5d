//! The choices that the ISA leaves open, as a plan says.

mod copies;
mod preference;

pub(crate) use copies::CopyMoment;

use super::plan::{BlockOrder, CopyTiming, LaneOrder, PeerOrder, Plan, Turns, WarpOrder};
use super::registers::lanes_of;
use preference::Preference;

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

impl Chance {
    /// Choices for cluster number `cluster` of the grid, whose `num_blocks` blocks have `num_warps` warps
    /// each.
    pub fn new(schedule: Schedule, cluster: u64, num_warps: u32, num_blocks: u32) -> Self {
        let seed = match schedule {
            Schedule::InOrder => 0,
            Schedule::Seeded(seed) => seed,
        };
        let plan = schedule.plan();
        let warps = Preference::of_warps(plan.warps, num_warps);
        Self {
            plan,
            generator: Generator::new(seed, cluster),
            peers: Preference::of_blocks(plan.peers, num_blocks),
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
        if let PeerOrder::Late(_) = self.plan.peers {
            self.peers.join(rank);
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
    use super::preference::PATIENCE;
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
        chance.warps[0] = Preference::of_warps(warps, num_warps);
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
        chance.peers = Preference::of_blocks(peers, 4);
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
