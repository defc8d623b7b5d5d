//! Time: who knows of which accesses in the cluster that is running (Lamport's happens-before by vector
//! clocks, one clock per warp and what single lanes know on top).

use std::sync::Arc;

use super::knowledge::{Knowledge, Span, WarpId};
use super::reach::Reach;
use super::shown::Shown;

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

/// What the warps that have arrived at a barrier know and have done.
#[derive(Clone)]
pub(super) struct Gathered {
    row: Row,
    more: Knowledge,
    shown: Shown,
}

impl Gathered {
    /// Nobody has arrived.
    fn clear(&mut self) {
        self.row.fill(0);
        self.more.clear();
        self.shown.clear();
    }

    /// Something more is known here.
    pub fn know(&mut self, warp: WarpId, span: Span) {
        self.more.learn(warp, span, u32::MAX);
    }
}

/// What goes through the barrier of the cluster: a warp may wait for a phase when others have long arrived for
/// the next one.
struct ClusterGathered {
    arriving: Gathered,
    complete: Gathered,
}

/// What a lane of a warp knew and had done at a fence.
pub(super) struct Snapshot {
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
        let gathered = Gathered {
            row: nothing.clone(),
            more: Knowledge::default(),
            shown: Shown::new(&nothing),
        };
        Self {
            cluster: 0,
            warps_per_block,
            warps: vec![fresh; num_warps],
            barriers: (0..num_blocks)
                .map(|_| std::array::from_fn(|_| gathered.clone()))
                .collect(),
            cluster_barrier: ClusterGathered {
                arriving: gathered.clone(),
                complete: gathered,
            },
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
        self.cluster_barrier.arriving.clear();
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
        if self.has_proxy {
            let of = (self.cluster, warp);
            gathered.shown.absorb(&clock.shown, of, u32::MAX);
        }
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
            if self.has_proxy {
                let within = (self.cluster, self.cluster);
                clock.shown.learn(&gathered.shown, within, u32::MAX);
            }
            clock.epoch += 1;
        }
        gathered.clear();
    }

    /// A warp arrives at the barrier of the cluster, and goes on in a new epoch.
    pub fn arrive_at_cluster(&mut self, warp: u32) {
        let clock = &mut self.warps[warp as usize];
        let gathered = &mut self.cluster_barrier.arriving;
        raise(&mut gathered.row, &clock.row);
        clock.epoch += 1;
        gathered.row[warp as usize] = clock.epoch;
        gathered.more.absorb(&clock.more);
        if self.has_proxy {
            let of = (self.cluster, warp);
            gathered.shown.absorb(&clock.shown, of, u32::MAX);
        }
    }

    /// A warp, the last of its block to exit, knows all that the warps of the block know and have done.
    pub fn join_block(&mut self, warp: u32) {
        let first = (warp / self.warps_per_block * self.warps_per_block) as usize;
        let own = first..first + self.warps_per_block as usize;
        let mut last = self.warps[warp as usize].clone();
        for (number, clock) in self.warps[own.clone()].iter().enumerate() {
            raise(&mut last.row, &clock.row);
            last.row[first + number] = clock.epoch + 1;
            last.more.absorb(&clock.more);
        }
        last.more.settle(self.cluster, &mut last.row);
        self.warps[warp as usize] = last;
    }

    /// What `lane` knew at `snapshot` is known to all that wait for this phase of the cluster's barrier.
    pub fn gather(&mut self, snapshot: &Snapshot, lane: u32) {
        let Gathered { more, shown, .. } = &mut self.cluster_barrier.arriving;
        snapshot.each(lane, |of, span| more.learn(of, span, u32::MAX));
        if self.has_proxy {
            shown.absorb(&snapshot.shown, snapshot.warp, 1 << lane);
        }
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
        let clock = &mut self.warps[warp as usize];
        raise(&mut clock.row, &complete.row);
        clock.more.absorb(&complete.more);
        clock.more.settle(self.cluster, &mut clock.row);
        if self.has_proxy {
            let within = (self.cluster, self.cluster);
            clock.shown.learn(&complete.shown, within, u32::MAX);
        }
        clock.epoch += 1;
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

    /// A place to gather what warps know.
    pub fn gathered(&self) -> Gathered {
        Gathered {
            row: self.nothing.clone(),
            more: Knowledge::default(),
            shown: Shown::new(&self.nothing),
        }
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
