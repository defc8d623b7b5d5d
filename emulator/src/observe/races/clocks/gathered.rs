//! What warps leave behind where they meet, for those that pass: barriers of blocks, of the cluster, mbarriers.

use super::{Clocks, Row, Shown, WarpClock, raise};
use crate::observe::races::knowledge::{Knowledge, Span, WarpId};

/// What the warps that have arrived at a barrier know and have done.
#[derive(Clone)]
pub(in super::super) struct Gathered {
    row: Row,
    more: Knowledge,
    pub(super) shown: Shown,
}

impl Gathered {
    /// A place where nobody has arrived, given the row of one who knows of nothing.
    pub(super) fn new(nothing: &Row) -> Self {
        Self {
            row: nothing.clone(),
            more: Knowledge::default(),
            shown: Shown::new(nothing),
        }
    }

    /// Nobody has arrived.
    pub(super) fn clear(&mut self) {
        self.row.fill(0);
        self.more.clear();
        self.shown.clear();
    }

    /// Something more is known here.
    pub fn know(&mut self, warp: WarpId, span: Span) {
        self.more.learn(warp, span, u32::MAX);
    }

    /// A warp leaves what it knows and has done in this epoch.
    fn take_in(&mut self, of: WarpId, clock: &WarpClock, has_proxy: bool) {
        raise(&mut self.row, &clock.row);
        self.row[of.1 as usize] = clock.epoch + 1;
        self.more.absorb(&clock.more);
        if has_proxy {
            self.shown.absorb(&clock.shown, of, u32::MAX);
        }
    }
}

impl WarpClock {
    /// The warp, of this cluster, learns what was gathered and goes on in a new epoch.
    fn pass(&mut self, gathered: &Gathered, cluster: u32, has_proxy: bool) {
        raise(&mut self.row, &gathered.row);
        self.more.absorb(&gathered.more);
        self.more.settle(cluster, &mut self.row);
        if has_proxy {
            let within = (cluster, cluster);
            self.shown.learn(&gathered.shown, within, u32::MAX);
        }
        self.epoch += 1;
    }
}

/// What goes through the barrier of the cluster: a warp may wait for a phase when others have long arrived for
/// the next one.
pub(super) struct ClusterGathered {
    pub(super) arriving: Gathered,
    complete: Gathered,
}

impl ClusterGathered {
    /// `nothing` has been gathered.
    pub(super) fn new(nothing: Gathered) -> Self {
        Self {
            arriving: nothing.clone(),
            complete: nothing,
        }
    }

    /// Nobody has arrived. Nobody waits either, so what is complete does not matter.
    pub(super) fn clear(&mut self) {
        self.arriving.clear();
    }
}

impl Clocks {
    /// A warp arrives at a barrier. One that waits goes on in a new epoch when the barrier is
    /// complete, one that does not goes on in it now.
    pub fn arrive(&mut self, warp: u32, barrier: u32, waits: bool) {
        let clock = &mut self.warps[warp as usize];
        // A number past the last is a fault of its own.
        let rank = (warp / self.warps_per_block) as usize;
        let Some(gathered) = self.barriers[rank].get_mut(barrier as usize) else {
            return;
        };
        gathered.take_in((self.cluster, warp), clock, self.has_proxy);
        if !waits {
            clock.epoch += 1;
        }
    }

    /// A barrier of the block of this rank is complete: its warps that waited know what all that arrived
    /// knew and had done.
    pub fn complete(&mut self, rank: u32, barrier: u32, waiting: impl Iterator<Item = usize>) {
        let Some(gathered) = self.barriers[rank as usize].get_mut(barrier as usize) else {
            return;
        };
        let first = (rank * self.warps_per_block) as usize;
        for warp in waiting {
            self.warps[first + warp].pass(gathered, self.cluster, self.has_proxy);
        }
        gathered.clear();
    }

    /// A warp arrives at the barrier of the cluster, and goes on in a new epoch.
    pub fn arrive_at_cluster(&mut self, warp: u32) {
        let clock = &mut self.warps[warp as usize];
        let gathered = &mut self.cluster_barrier.arriving;
        gathered.take_in((self.cluster, warp), clock, self.has_proxy);
        clock.epoch += 1;
    }

    /// A warp, the last of its block to exit, knows all that the warps of the block know and have done.
    pub fn join_block(&mut self, warp: u32) {
        let first = (warp / self.warps_per_block * self.warps_per_block) as usize;
        let count = self.warps_per_block as usize;
        let mut last = self.warps[warp as usize].clone();
        for (number, clock) in self.warps.iter().enumerate().skip(first).take(count) {
            raise(&mut last.row, &clock.row);
            last.row[number] = clock.epoch + 1;
            last.more.absorb(&clock.more);
        }
        last.more.settle(self.cluster, &mut last.row);
        self.warps[warp as usize] = last;
    }

    /// The phase of the cluster's barrier is over.
    pub fn complete_cluster(&mut self) {
        let ClusterGathered { arriving, complete } = &mut self.cluster_barrier;
        std::mem::swap(arriving, complete);
        arriving.clear();
    }

    /// A warp that has waited for the phase knows what all that arrived knew and had done.
    pub fn pass_cluster(&mut self, warp: u32) {
        let complete = &self.cluster_barrier.complete;
        self.warps[warp as usize].pass(complete, self.cluster, self.has_proxy);
    }

    /// A place to gather what warps know.
    pub fn gathered(&self) -> Gathered {
        Gathered::new(&self.nothing)
    }

    /// Lanes of a warp release: what they know and have done is gathered, and they go on in a new epoch.
    pub fn release(&mut self, gathered: &mut Gathered, warp: u32, lanes: u32) {
        let clock = &mut self.warps[warp as usize];
        clock.epoch += 1;
        let of = (self.cluster, warp);
        raise(&mut gathered.row, &clock.row);
        gathered.more.gather(&clock.more, lanes);
        let before = clock.epoch;
        gathered.more.learn(of, Span { lanes, before }, u32::MAX);
        gathered.more.settle(self.cluster, &mut gathered.row);
        if self.has_proxy {
            gathered.shown.absorb(&clock.shown, of, lanes);
        }
    }

    /// Lanes `by` of a warp acquire what was gathered.
    pub fn take_up(&mut self, gathered: &Gathered, warp: u32, by: u32) {
        let cluster = self.cluster;
        let clock = &mut self.warps[warp as usize];
        if by == u32::MAX {
            raise(&mut clock.row, &gathered.row);
        } else {
            for (of, &before) in gathered.row.iter().enumerate() {
                if before > clock.row[of] {
                    let span = Span {
                        lanes: u32::MAX,
                        before,
                    };
                    clock.more.learn((cluster, of as u32), span, by);
                }
            }
        }
        clock.more.spread(&gathered.more, by);
        clock.more.settle(cluster, &mut clock.row);
        if self.has_proxy {
            clock.shown.learn(&gathered.shown, (cluster, cluster), by);
        }
    }
}
