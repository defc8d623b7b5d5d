//! Time: who knows of which accesses in the cluster that is running (Lamport's happens-before by vector
//! clocks, one clock per warp and what single lanes know on top).

mod gathered;
mod snapshot;

use super::knowledge::{Knowledge, Span, WarpId};
use super::reach::Reach;
use super::shown::Shown;

use gathered::ClusterGathered;
pub(super) use gathered::Gathered;
pub(super) use snapshot::Snapshot;

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
    /// What of all this is visible to the asynchronous proxy; not followed where nobody reads through it.
    shown: Shown,
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
    cluster_barrier: ClusterGathered,
    /// The row of one who knows of nothing.
    nothing: Row,
    /// Whether somebody reads through the asynchronous proxy.
    has_proxy: bool,
    /// Time of copies that tell mbarriers: goes up whenever a phase is complete.
    landing: u32,
    /// Its value when the cluster began.
    first_landing: u32,
}

impl Clocks {
    /// Clocks for clusters of so many blocks, of so many warps each.
    pub fn new(num_blocks: u32, warps_per_block: u32, has_proxy: bool) -> Self {
        let num_warps = (num_blocks * warps_per_block) as usize;
        let nothing: Row = vec![0; num_warps].into();
        let fresh = WarpClock {
            epoch: 1,
            row: nothing.clone(),
            more: Knowledge::default(),
            shown: Shown::new(&nothing),
        };
        let gathered = Gathered::new(&nothing);
        Self {
            cluster: 0,
            warps_per_block,
            warps: vec![fresh; num_warps],
            barriers: (0..num_blocks)
                .map(|_| std::array::from_fn(|_| gathered.clone()))
                .collect(),
            cluster_barrier: ClusterGathered::new(gathered),
            nothing,
            has_proxy,
            landing: 1,
            first_landing: 1,
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
        let is_late = |epoch: u32| epoch >= LAST_EPOCH;
        let restart = is_late(self.landing) || self.warps.iter().any(|warp| is_late(warp.epoch));
        let mut row = self.nothing.clone();
        for (known, warp) in row.iter_mut().zip(&mut self.warps) {
            warp.epoch = if restart { 1 } else { warp.epoch + 1 };
            *known = warp.epoch;
        }
        for warp in &mut self.warps {
            warp.row.copy_from_slice(&row);
            warp.more.clear();
            warp.shown.start(&row, warp.epoch);
        }
        self.barriers.iter_mut().flatten().for_each(Gathered::clear);
        self.landing = if restart { 1 } else { self.landing + 1 };
        self.first_landing = self.landing;
        self.cluster_barrier.clear();
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

    /// As [`known`](Clocks::known) to each of `lanes`, what can be told of all of them at once.
    pub fn known_to_all(&self, warp: usize, lanes: u32, of: WarpId, epoch: u32) -> u32 {
        self.warps[warp].more.known_to_all(lanes, of, epoch)
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
        if self.has_proxy {
            clock.shown.share((self.cluster, warp), lanes);
        }
    }

    /// `fence.proxy.async` by lanes of a warp, all of them when `u32::MAX`.
    pub fn fence_proxy(&mut self, warp: u32, lanes: u32) {
        let clock = &mut self.warps[warp as usize];
        clock.epoch += 1;
        if self.has_proxy {
            let known = (&clock.row[..], &clock.more);
            clock.shown.fence(self.cluster, lanes, known, clock.epoch);
        }
    }

    /// The lanes of a warp of the cluster whose accesses in `epoch` are visible to what any of `lanes` of `warp` does
    /// through the asynchronous proxy.
    pub fn shown(&self, warp: u32, lanes: u32, of: WarpId, epoch: u32) -> u32 {
        let by = (self.cluster, warp);
        self.warps[warp as usize].shown.lanes(lanes, by, of, epoch)
    }

    /// Lanes of a warp have waited for what an agent has read until now.
    pub fn reads_done(&mut self, warp: u32, lanes: u32, agent: u32) {
        let span = Span {
            lanes: u32::MAX,
            before: self.next_landing(),
        };
        let clock = &mut self.warps[warp as usize];
        clock.more.learn((agent, 0), span, lanes);
    }

    /// The time of a copy that completes now.
    pub fn landing(&self) -> u32 {
        self.landing
    }

    /// A phase is complete: what lands from now on is later.
    pub fn next_landing(&mut self) -> u32 {
        self.landing += 1;
        self.landing
    }

    /// Whether a copy that landed at a time did so in an earlier cluster, which everybody knows of.
    pub fn is_long_landed(&self, time: u32) -> bool {
        time < self.first_landing
    }
}

/// Entry by entry, the later epoch.
fn raise(row: &mut [u32], other: &[u32]) {
    for (mine, theirs) in row.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}
