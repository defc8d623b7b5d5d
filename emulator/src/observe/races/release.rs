//! Release and acquire patterns (PTX ISA, "Release and Acquire Patterns"): a fence and then a strong
//! write hand on what a lane knows; a strong read that observes it and then a fence take it up.
//!
//! The decoder has split `.release` and `.acquire` accesses into the access and one half of a fence,
//! which counts for that access's location only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ir::Scope;
use crate::machine::registers::{LANES, ballot, lanes_of};

use super::clocks::{Clocks, Snapshot};
use super::reach::Reach;

/// Where a strong access reads or writes: the allocation, none for shared memory, and the offset, or rank and offset.
pub(super) type Location = (Option<usize>, u64);

/// Bytes of the largest scalar that a strong access reads or writes.
const MAX_SCALAR: u64 = 8;

/// A release pattern that a location's value is the end of.
#[derive(Clone)]
struct Release {
    /// The lane; its warp is that of the snapshot.
    lane: u32,
    /// Who can take it up.
    reach: Reach,
    snapshot: Arc<Snapshot>,
}

/// All of them, while the value lasts. Read-modify-writes add to them, other writes begin anew.
#[derive(Clone)]
struct Head {
    /// Which of those beginnings.
    beginning: u64,
    /// Size of the value.
    bytes: u32,
    releases: Vec<Release>,
}

/// What the locations of one memory hand on.
#[derive(Default)]
pub(super) struct Heads {
    heads: BTreeMap<Location, Arc<Head>>,
    beginnings: u64,
}

impl Heads {
    pub fn clear(&mut self) {
        self.heads.clear();
    }

    /// Some bytes are overwritten: who reads them from now on learns nothing of earlier releases.
    pub fn overwrite(&mut self, (memory, offset): Location, bytes: u32) {
        if self.heads.is_empty() {
            return;
        }
        let first = offset.saturating_sub(MAX_SCALAR - 1);
        let range = (memory, first)..(memory, offset + u64::from(bytes));
        let gone = self.heads.range(range);
        let gone = gone.filter(|((_, start), head)| start + u64::from(head.bytes) > offset);
        let gone: Vec<Location> = gone.map(|(location, _)| *location).collect();
        for location in gone {
            self.heads.remove(&location);
        }
    }

    fn begin(&mut self, location: Location, bytes: u32, releases: Vec<Release>) {
        self.beginnings += 1;
        let head = Head {
            beginning: self.beginnings,
            bytes,
            releases,
        };
        self.heads.insert(location, Arc::new(head));
    }

    fn join(&mut self, location: Location, bytes: u32, releases: Vec<Release>) {
        let Some(head) = self.heads.get_mut(&location) else {
            return self.begin(location, bytes, releases);
        };
        let head = Arc::make_mut(head);
        for new in releases {
            // The same lane's later release says more than its earlier one.
            head.releases.retain(|old| {
                let stays = old.reach > new.reach;
                stays || old.lane != new.lane || !new.snapshot.is_at_least(&old.snapshot)
            });
            head.releases.push(new);
        }
    }
}

/// Lanes whose last fence this is.
struct Fence {
    lanes: u32,
    reach: Reach,
    snapshot: Arc<Snapshot>,
}

/// What a lane's `.release` accesses of one location hand on: by reach, the last one since the last of a
/// farther reach.
type Bound = [Option<Arc<Snapshot>>; Reach::ALL.len()];

/// What lanes have read that a fence may let them take up.
struct Observation {
    lanes: u32,
    location: Location,
    head: Arc<Head>,
}

/// The unfinished patterns of the lanes of one warp.
#[derive(Default)]
struct Unfinished {
    fences: Vec<Fence>,
    /// Halves of `.release` accesses whose access comes next.
    halves: Vec<Fence>,
    /// By lane and location: the halves of earlier `.release` accesses, which hold for later strong
    /// writes to the same location too.
    bound: HashMap<(u32, Location), Bound>,
    observations: Vec<Observation>,
    /// The location of each lane's last strong read.
    last_read: [Option<Location>; LANES],
}

impl Unfinished {
    fn release(&mut self, fence: Fence, is_half: bool) {
        if is_half {
            self.halves.push(fence);
            return;
        }
        for old in &mut self.fences {
            if fence.reach >= old.reach {
                old.lanes &= !fence.lanes;
            }
        }
        self.fences.retain(|old| old.lanes != 0);
        self.fences.push(fence);
    }

    fn acquire(&mut self, clocks: &mut Clocks, warp: u32, fence: &Fencing) {
        let last_read = &self.last_read;
        self.observations.retain_mut(|observation| {
            let mut lanes = observation.lanes & fence.lanes;
            if fence.is_half() {
                let location = Some(observation.location);
                lanes &= ballot(|lane| last_read[lane] == location);
            }
            if lanes == 0 {
                return true;
            }
            let mut is_done = true;
            for release in &observation.head.releases {
                let distance = clocks.distance(warp, release.snapshot.warp());
                if distance <= release.reach.min(fence.reach()) {
                    clocks.learn(warp, lanes, &release.snapshot, release.lane);
                } else {
                    // A fence of a farther reach may still take it up.
                    is_done &= distance > release.reach;
                }
            }
            if is_done {
                observation.lanes &= !lanes;
            }
            observation.lanes != 0
        });
    }

    fn observe(&mut self, lane: u32, location: Location, head: &Arc<Head>) {
        for old in &mut self.observations {
            // What the lane has seen there before is part of what it sees now.
            if old.location == location && old.head.beginning == head.beginning {
                old.lanes &= !(1 << lane);
            }
        }
        self.observations.retain(|old| old.lanes != 0);
        let mut same = self.observations.iter_mut();
        match same.find(|old| Arc::ptr_eq(&old.head, head)) {
            Some(old) => old.lanes |= 1 << lane,
            None => self.observations.push(Observation {
                lanes: 1 << lane,
                location,
                head: head.clone(),
            }),
        }
    }

    /// The release patterns that a strong write of `lane` to `location` ends.
    fn releases(&mut self, lane: u32, location: Location) -> Vec<Release> {
        for half in self
            .halves
            .iter_mut()
            .filter(|half| half.lanes >> lane & 1 != 0)
        {
            half.lanes &= !(1 << lane);
            let bound = self.bound.entry((lane, location)).or_default();
            bound[..half.reach as usize].fill(None);
            bound[half.reach as usize] = Some(half.snapshot.clone());
        }
        self.halves.retain(|half| half.lanes != 0);
        let fences = self
            .fences
            .iter()
            .filter(|fence| fence.lanes >> lane & 1 != 0);
        let fences = fences.map(|fence| (fence.reach, fence.snapshot.clone()));
        let bound = self.bound.get(&(lane, location)).into_iter();
        let bound = bound.flat_map(|bound| {
            let snapshots = Reach::ALL.into_iter().zip(bound);
            snapshots.filter_map(|(reach, snapshot)| Some((reach, snapshot.clone()?)))
        });
        let release = |(reach, snapshot)| Release {
            lane,
            reach,
            snapshot,
        };
        fences.chain(bound).map(release).collect()
    }
}

/// A fence by some lanes of a warp.
pub(super) struct Fencing {
    pub lanes: u32,
    pub scope: Scope,
    pub acquire: bool,
    pub release: bool,
}

impl Fencing {
    fn reach(&self) -> Reach {
        Reach::of(self.scope)
    }

    /// True for what the decoder makes of `.acquire` and `.release`.
    fn is_half(&self) -> bool {
        self.acquire != self.release
    }
}

/// What a strong access does with the value that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strong {
    Load,
    Store,
    /// Reads it, and writes one made from it.
    Atom,
    /// The same, but nobody learns what was read: never part of an acquire pattern.
    Red,
}

/// The unfinished patterns of one cluster, by the numbers of its warps.
pub(super) struct Patterns(Vec<Unfinished>);

impl Patterns {
    pub fn new(num_warps: u32) -> Self {
        Self((0..num_warps).map(|_| Unfinished::default()).collect())
    }

    pub fn clear(&mut self) {
        self.0.fill_with(Unfinished::default);
    }

    /// Lanes execute a fence. What `.sc` promises beyond `.acq_rel`, an order of all such fences,
    /// is not used.
    pub fn fence(&mut self, clocks: &mut Clocks, warp: u32, fence: &Fencing) {
        let unfinished = &mut self.0[warp as usize];
        if fence.acquire {
            unfinished.acquire(clocks, warp, fence);
        }
        if fence.release {
            let release = Fence {
                lanes: fence.lanes,
                reach: fence.reach(),
                snapshot: clocks.snapshot(warp),
            };
            unfinished.release(release, fence.is_half());
        }
    }

    /// A warp arrives at the barrier of its cluster without releasing: what its lanes knew at their last fences
    /// goes with it.
    pub fn hand_to_cluster(&self, clocks: &mut Clocks, warp: u32) {
        let fences = self.0[warp as usize].fences.iter();
        for fence in fences.filter(|fence| fence.reach >= Reach::Cluster) {
            lanes_of(fence.lanes).for_each(|lane| clocks.gather(&fence.snapshot, lane as u32));
        }
    }

    /// A lane makes a strong access to a scalar of `bytes` bytes.
    pub fn access(
        &mut self,
        heads: &mut Heads,
        (warp, lane): (u32, u32),
        strong: Strong,
        (location, bytes): (Location, u32),
    ) {
        let unfinished = &mut self.0[warp as usize];
        if matches!(strong, Strong::Load | Strong::Atom) {
            unfinished.last_read[lane as usize & 31] = Some(location);
            if let Some(head) = heads.heads.get(&location) {
                unfinished.observe(lane, location, head);
            }
        }
        if strong == Strong::Load {
            return;
        }
        let releases = unfinished.releases(lane, location);
        if strong == Strong::Store {
            heads.overwrite(location, bytes);
        }
        if !releases.is_empty() {
            heads.join(location, bytes, releases);
        }
    }
}
