//! The choices that the ISA leaves open, made in order or by a seed.

/// In which order things happen that the ISA does not order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Blocks and warps in index order; each warp runs until it must wait; asynchronous copies
    /// happen when they are waited for.
    #[default]
    InOrder,
    /// Blocks and warps in an order drawn from the seed; warps are interrupted at drawn
    /// instructions; each asynchronous copy happens at its issue or at its wait. The same seed gives
    /// the same choices for every block.
    Seeded(u64),
}

/// Instructions that a warp runs before others get a turn, so that a spinning warp cannot starve the
/// one it waits for.
const LONG_TURN: u32 = 1 << 16;
/// Longest drawn turn.
const SHORT_TURN: u32 = 400;

/// The choices for one block.
pub(crate) struct Chance {
    schedule: Schedule,
    state: u64,
}

impl Chance {
    /// Choices for block number `block` of the grid.
    pub fn new(schedule: Schedule, block: u64) -> Self {
        let seed = match schedule {
            Schedule::InOrder => 0,
            Schedule::Seeded(seed) => seed,
        };
        Self {
            schedule,
            state: seed ^ block.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// The next number (splitmix64).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn is_seeded(&self) -> bool {
        matches!(self.schedule, Schedule::Seeded(_))
    }

    /// Whether a copy that is being issued happens now.
    pub fn copies_at_once(&mut self) -> bool {
        self.is_seeded() && self.draw() & 1 == 0
    }

    /// Instructions until the running warp gives way.
    pub fn turn(&mut self) -> u32 {
        if self.is_seeded() {
            1 + (self.draw() % u64::from(SHORT_TURN)) as u32
        } else {
            LONG_TURN
        }
    }

    /// Which of `ready` warps runs next, given the one that ran last.
    pub fn next_warp(&mut self, ready: u32, last: u32) -> u32 {
        if !self.is_seeded() {
            let after = ready & (u32::MAX << last << 1);
            return if last < 31 && after != 0 {
                after
            } else {
                ready
            }
            .trailing_zeros();
        }
        let skip = self.draw() % u64::from(ready.count_ones().max(1));
        let mut rest = ready;
        for _ in 0..skip {
            rest &= rest - 1;
        }
        rest.trailing_zeros()
    }
}

/// Maps the position in the launch order to a block number: the identity, or a permutation drawn
/// from the seed.
pub(crate) fn block_order(schedule: Schedule, blocks: u64) -> impl Fn(u64) -> u64 {
    let mut chance = Chance::new(schedule, u64::MAX);
    let (mut stride, start) = if chance.is_seeded() {
        ((chance.draw() % blocks) | 1, chance.draw() % blocks)
    } else {
        (1, 0)
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

    #[test]
    fn only_ready_warps_are_chosen_and_in_order_goes_round() {
        let mut in_order = Chance::new(Schedule::InOrder, 0);
        assert_eq!(in_order.next_warp(0b1011, 1), 3);
        assert_eq!(in_order.next_warp(0b1011, 3), 0);
        assert_eq!(in_order.next_warp(1 << 31, 31), 31);
        let mut seeded = Chance::new(Schedule::Seeded(5), 0);
        let chosen: Vec<u32> = (0..100).map(|_| seeded.next_warp(0b1011, 0)).collect();
        assert!([0, 1, 3].iter().all(|w| chosen.contains(w)));
        assert!(chosen.iter().all(|w| 0b1011 >> w & 1 == 1));
    }
}
