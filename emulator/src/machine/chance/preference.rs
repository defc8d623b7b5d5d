//! Whose turn it is among blocks or warps of which a plan puts some before the others.

use crate::machine::plan::{PeerOrder, WarpOrder};

/// Instructions of the others for which a warp or a block is starved at a stretch, because they may be
/// waiting for it in a loop.
pub(super) const PATIENCE: u64 = 1 << 14;

/// Those of some blocks or warps, as bits, that the plan puts before the others.
#[derive(Clone, Copy)]
pub(super) struct Preference {
    preferred: u32,
    all: u32,
    /// Instructions that preferred ones have executed since another one ran.
    waited: u64,
    /// The one that ran last: of the others, of the preferred ones. Each kind takes its turns by itself, so that
    /// none is passed over for ever.
    last: [u32; 2],
}

impl Preference {
    /// Among the blocks of a cluster.
    pub fn of_blocks(order: PeerOrder, count: u32) -> Self {
        Self::new(preferred_blocks(order, count), count)
    }

    /// Among the warps of a block.
    pub fn of_warps(order: WarpOrder, count: u32) -> Self {
        Self::new(preferred_warps(order, count), count)
    }

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
    pub fn first(&self, ready: u32) -> u32 {
        let others = ready & !self.preferred;
        match ready & self.preferred {
            0 => others,
            _ if others != 0 && self.waited >= PATIENCE => others,
            preferred => preferred,
        }
    }

    /// The next one of `among`, which are all preferred or all others, upwards or downwards.
    pub fn next(&self, among: u32, downwards: bool) -> u32 {
        let last = self.last[usize::from(among & self.preferred != 0)];
        if downwards {
            below(among, last)
        } else {
            above(among, last)
        }
    }

    fn prefers(&self, which: u32) -> bool {
        self.preferred >> which & 1 != 0
    }

    /// One that the others were put before has started: it is one of them now.
    pub fn join(&mut self, which: u32) {
        if !self.prefers(which) {
            self.preferred = self.all;
        }
    }

    /// One of them has executed `instructions`.
    pub fn ran(&mut self, which: u32, instructions: u64) {
        let is_preferred = self.prefers(which);
        self.last[usize::from(is_preferred)] = which;
        if self.preferred != self.all && is_preferred {
            self.waited += instructions;
        } else {
            self.waited = 0;
        }
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
fn preferred_blocks(order: PeerOrder, num_blocks: u32) -> u32 {
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
