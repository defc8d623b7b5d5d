//! What the phases of mbarriers hand on: who arrives releases what he knows, copies bring what they have written, and
//! who finds a phase complete takes all of it up.

use std::collections::HashMap;

use super::clocks::{Clocks, Gathered};
use super::knowledge::{Span, WarpId};

/// Marks the number of an agent, in the place of that of a cluster: an mbarrier, for what copies that it is told of have
/// written, or a warp, for what its asynchronous operations have read.
const AGENT: u32 = 1 << 31;
const READER: u32 = 1 << 30;

/// The agent that is the mbarrier at an offset in the shared memory of the block of a rank.
pub(super) fn agent(rank: u32, offset: u32) -> u32 {
    AGENT | rank << 20 | (offset / 8)
}

/// The agent that reads for a warp of the cluster.
pub(super) fn reader(warp: u32) -> u32 {
    AGENT | READER | warp
}

/// Whether the number of a cluster is that of an agent.
pub(super) fn is_agent(cluster: u32) -> bool {
    cluster & AGENT != 0
}

/// What arrivals at an mbarrier hand on: those of its own block, and those of other blocks, which only a wait of cluster
/// scope takes up. Phases are one release sequence: who finds one complete takes up the ones before as well.
#[derive(Clone)]
struct Phases {
    own: Handed,
    peers: Option<Handed>,
}

/// What the running phase has gathered, all phases before it included, and what it had when it began.
#[derive(Clone)]
struct Handed {
    running: Gathered,
    complete: Option<Gathered>,
}

impl Handed {
    fn new(clocks: &Clocks) -> Self {
        Self {
            running: clocks.gathered(),
            complete: None,
        }
    }
}

/// The mbarriers of a cluster.
#[derive(Default)]
pub(super) struct AllPhases(HashMap<u32, Phases>);

impl AllPhases {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn of(&mut self, clocks: &Clocks, barrier: u32) -> &mut Phases {
        self.0.entry(barrier).or_insert_with(|| Phases {
            own: Handed::new(clocks),
            peers: None,
        })
    }

    /// Lanes of a warp arrive and release, `is_own` when the mbarrier is of their block.
    pub fn arrive(
        &mut self,
        clocks: &mut Clocks,
        (warp, lanes): (u32, u32),
        barrier: u32,
        is_own: bool,
    ) {
        let phases = self.of(clocks, barrier);
        let handed = match is_own {
            true => &mut phases.own,
            false => phases.peers.get_or_insert_with(|| Handed::new(clocks)),
        };
        clocks.release(&mut handed.running, warp, lanes);
    }

    /// The running phase is complete.
    pub fn flip(&mut self, clocks: &mut Clocks, barrier: u32) {
        let before = clocks.next_landing();
        let phases = self.of(clocks, barrier);
        let written = Span {
            lanes: u32::MAX,
            before,
        };
        phases.own.running.know((barrier, 0), written);
        for handed in [Some(&mut phases.own), phases.peers.as_mut()]
            .into_iter()
            .flatten()
        {
            handed.complete = Some(handed.running.clone());
        }
    }

    /// Lanes of a warp have found the phase before the running one complete, and acquire: from their own block, and from
    /// others when the scope is `wide`.
    pub fn wait(&self, clocks: &mut Clocks, (warp, lanes): (u32, u32), barrier: u32, wide: bool) {
        let Some(phases) = self.0.get(&barrier) else {
            return;
        };
        let peers = phases.peers.as_ref().filter(|_| wide);
        for handed in [Some(&phases.own), peers].into_iter().flatten() {
            if let Some(complete) = &handed.complete {
                clocks.take_up(complete, warp, lanes);
            }
        }
    }
}

/// The warp by which an agent is known.
pub(super) fn writer_of(cluster: u32) -> WarpId {
    (cluster, 0)
}
