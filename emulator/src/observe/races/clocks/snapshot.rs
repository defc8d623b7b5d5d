//! What a lane knew at one time, for others to learn later.

use std::sync::Arc;

use super::{Clocks, Row, Shown, WarpClock};
use crate::observe::races::knowledge::{Knowledge, Span, WarpId};

/// What a lane of a warp knew and had done at a fence.
pub(in super::super) struct Snapshot {
    warp: WarpId,
    row: Row,
    more: Knowledge,
    shown: Shown,
    /// The lane's own accesses before this epoch.
    before: u32,
}

impl Snapshot {
    /// Cluster and number of the warp.
    pub fn warp(&self) -> WarpId {
        self.warp
    }

    /// Whether it says at least what `other` says, an earlier or later one of the same lane.
    pub fn is_at_least(&self, other: &Snapshot) -> bool {
        self.warp == other.warp && self.before >= other.before
    }

    /// Calls `tell` for everything that `lane` knew and had done.
    fn each(&self, lane: u32, mut tell: impl FnMut(WarpId, Span)) {
        let (cluster, own) = self.warp;
        for (warp, before) in self
            .row
            .iter()
            .enumerate()
            .filter(|(_, before)| **before > 0)
        {
            let lanes = u32::MAX;
            let before = *before;
            tell((cluster, warp as u32), Span { lanes, before });
        }
        let (lanes, before) = (1 << lane, self.before);
        tell((cluster, own), Span { lanes, before });
        self.more.each(lane, tell);
    }
}

impl Clocks {
    /// What each lane of a warp knows and has done up to now. What it does from now on is another
    /// epoch.
    pub fn snapshot(&mut self, warp: u32) -> Arc<Snapshot> {
        let clock = &mut self.warps[warp as usize];
        clock.epoch += 1;
        Arc::new(Snapshot {
            warp: (self.cluster, warp),
            row: clock.row.clone(),
            more: clock.more.clone(),
            shown: clock.shown.clone(),
            before: clock.epoch,
        })
    }

    /// Lanes `by` of a warp learn what `lane` of another, or of the same, knew at `snapshot`.
    pub fn learn(&mut self, warp: u32, by: u32, snapshot: &Snapshot, lane: u32) {
        let cluster = self.cluster;
        let WarpClock {
            row, more, shown, ..
        } = &mut self.warps[warp as usize];
        if self.has_proxy {
            let mut told = Shown::new(&self.nothing);
            told.absorb(&snapshot.shown, snapshot.warp, 1 << lane);
            shown.learn(&told, (cluster, snapshot.warp.0), by);
        }
        snapshot.each(lane, |of, span| {
            if of.0 != cluster || span.before > row[of.1 as usize] {
                more.learn(of, span, by);
            }
        });
        more.settle(cluster, row);
    }

    /// What `lane` knew at `snapshot` is known to all that wait for this phase of the cluster's barrier.
    pub fn gather(&mut self, snapshot: &Snapshot, lane: u32) {
        let arriving = &mut self.cluster_barrier.arriving;
        snapshot.each(lane, |of, span| arriving.know(of, span));
        if self.has_proxy {
            let of = snapshot.warp;
            arriving.shown.absorb(&snapshot.shown, of, 1 << lane);
        }
    }
}
