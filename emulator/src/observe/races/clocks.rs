//! Time: who knows of which accesses in the cluster that is running (Lamport's happens-before by vector
//! clocks, one clock per warp and what single lanes know on top).

use std::sync::Arc;

use super::knowledge::{Knowledge, Span, WarpId};
use super::reach::Reach;

/// For each warp of the cluster, an epoch: all accesses of the warp in earlier epochs have happened
/// before what the owner of the row does now.
pub(super) type Row = Box<[u32]>;

/// Epochs from which on a cluster starts again at 1, with shadow memory cleared. A cluster itself cannot
/// use up the rest: it would take 2^31 instructions that synchronise.
const LAST_EPOCH: u32 = 1 << 31;

/// Barriers of a block.
const BARRIERS: usize = 16;

/// The clock of one warp.
#[derive(Clone)]
struct WarpClock {
    /// Goes up by one whenever others may learn of what the warp has done.
    epoch: u32,
    /// What all lanes know. The warp's own entry says up to when its lanes know of each other.
    row: Row,
    /// What some lanes know, or know of other clusters.
    more: Knowledge,
}

/// What the warps that have arrived at a barrier know and have done.
#[derive(Clone)]
struct Gathered {
    row: Row,
    more: Knowledge,
}

impl Gathered {
    /// Nobody has arrived.
    fn clear(&mut self) {
        self.row.fill(0);
        self.more.clear();
    }
}

/// What a lane of a warp knew and had done at a fence.
pub(super) struct Snapshot {
    warp: WarpId,
    row: Row,
    more: Knowledge,
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
    pub fn each(&self, lane: u32, mut tell: impl FnMut(WarpId, Span)) {
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

/// The clocks of one cluster at a time.
pub(super) struct Clocks {
    /// The low 32 bits of the cluster's number in the grid.
    pub cluster: u32,
    /// Of each of its blocks.
    warps_per_block: u32,
    warps: Vec<WarpClock>,
    /// Those of each block, by its rank.
    barriers: Vec<[Gathered; BARRIERS]>,
    /// The row of one who knows of nothing.
    nothing: Row,
}

impl Clocks {
    /// Clocks for clusters of so many blocks, of so many warps each.
    pub fn new(num_blocks: u32, warps_per_block: u32) -> Self {
        let num_warps = (num_blocks * warps_per_block) as usize;
        let nothing: Row = vec![0; num_warps].into();
        let fresh = WarpClock {
            epoch: 1,
            row: nothing.clone(),
            more: Knowledge::default(),
        };
        let gathered = Gathered {
            row: nothing.clone(),
            more: Knowledge::default(),
        };
        Self {
            cluster: 0,
            warps_per_block,
            warps: vec![fresh; num_warps],
            barriers: (0..num_blocks)
                .map(|_| std::array::from_fn(|_| gathered.clone()))
                .collect(),
            nothing,
        }
    }

    /// The row of one who knows of nothing.
    pub fn nothing(&self) -> &Row {
        &self.nothing
    }

    /// A cluster begins: all its warps know everything that earlier clusters have done in the shared
    /// memory that it takes over. True when epochs start again, and shadow memory has to.
    pub fn start_cluster(&mut self, number: u64) -> bool {
        self.cluster = number as u32;
        let restart = self.warps.iter().any(|warp| warp.epoch >= LAST_EPOCH);
        let mut row = self.nothing.clone();
        for (known, warp) in row.iter_mut().zip(&mut self.warps) {
            warp.epoch = if restart { 1 } else { warp.epoch + 1 };
            *known = warp.epoch;
        }
        for warp in &mut self.warps {
            warp.row.copy_from_slice(&row);
            warp.more.clear();
        }
        self.barriers.iter_mut().flatten().for_each(Gathered::clear);
        restart
    }

    /// The least reach that includes a warp of the cluster and another one, which may be of any.
    pub fn distance(&self, warp: u32, other: WarpId) -> Reach {
        if other.0 != self.cluster {
            Reach::Grid
        } else if other.1 / self.warps_per_block != warp / self.warps_per_block {
            Reach::Cluster
        } else {
            Reach::Block
        }
    }

    #[inline(always)]
    pub fn epoch(&self, warp: u32) -> u32 {
        self.warps[warp as usize].epoch
    }

    #[inline(always)]
    pub fn row(&self, warp: u32) -> &Row {
        &self.warps[warp as usize].row
    }

    /// The lanes of warp `of` whose accesses in `epoch` are known to `lane` of `warp`, beyond what
    /// the row says.
    pub fn known(&self, warp: usize, lane: usize, of: WarpId, epoch: u32) -> u32 {
        self.warps[warp].more.lanes(lane, of, epoch)
    }

    /// A warp arrives at a barrier. One that waits goes on in a new epoch when the barrier is
    /// complete, one that does not goes on in it now.
    pub fn arrive(&mut self, warp: u32, barrier: u32, waits: bool) {
        let clock = &mut self.warps[warp as usize];
        // A number past the last is a fault of its own.
        let rank = (warp / self.warps_per_block) as usize;
        let Some(gathered) = self.barriers[rank].get_mut(barrier as usize) else {
            return;
        };
        raise(&mut gathered.row, &clock.row);
        gathered.row[warp as usize] = clock.epoch + 1;
        gathered.more.absorb(&clock.more);
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
            let clock = &mut self.warps[first + warp];
            raise(&mut clock.row, &gathered.row);
            clock.more.absorb(&gathered.more);
            clock.more.settle(self.cluster, &mut clock.row);
            clock.epoch += 1;
        }
        gathered.clear();
    }

    /// `bar.warp.sync` among `lanes`, which may be all that are left of the warp.
    pub fn sync_lanes(&mut self, warp: u32, lanes: u32, is_whole: bool) {
        let clock = &mut self.warps[warp as usize];
        clock.epoch += 1;
        let before = clock.epoch;
        if is_whole {
            clock.row[warp as usize] = before;
            clock.more.share(u32::MAX);
        } else {
            clock.more.share(lanes);
            let span = Span { lanes, before };
            clock.more.learn((self.cluster, warp), span, lanes);
        }
        clock.more.settle(self.cluster, &mut clock.row);
    }

    /// What each lane of a warp knows and has done up to now. What it does from now on is another
    /// epoch.
    pub fn snapshot(&mut self, warp: u32) -> Arc<Snapshot> {
        let clock = &mut self.warps[warp as usize];
        clock.epoch += 1;
        Arc::new(Snapshot {
            warp: (self.cluster, warp),
            row: clock.row.clone(),
            more: clock.more.clone(),
            before: clock.epoch,
        })
    }

    /// Lanes `by` of a warp learn what `lane` of another, or of the same, knew at `snapshot`.
    pub fn learn(&mut self, warp: u32, by: u32, snapshot: &Snapshot, lane: u32) {
        let cluster = self.cluster;
        let WarpClock { row, more, .. } = &mut self.warps[warp as usize];
        snapshot.each(lane, |of, span| {
            if of.0 != cluster || span.before > row[of.1 as usize] {
                more.learn(of, span, by);
            }
        });
        more.settle(cluster, row);
    }
}

/// Entry by entry, the later epoch.
fn raise(row: &mut [u32], other: &[u32]) {
    for (mine, theirs) in row.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}
