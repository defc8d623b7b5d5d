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
    AGENT | rank << 20 | offset / 8
}

/// The agent that reads for a warp of the cluster.
pub(super) fn reader(warp: u32) -> u32 {
    AGENT | READER | warp
}

/// Whether the number of a cluster is that of an agent.
pub(super) fn is_agent(cluster: u32) -> bool {
    cluster & AGENT != 0
}

/// What the running phase of an mbarrier has gathered, and what the phases before have.
struct Phases {
    running: Gathered,
    complete: Option<Gathered>,
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
            running: clocks.gathered(),
            complete: None,
        })
    }

    /// Lanes of a warp arrive and release, as one when they are all that are left of it.
    pub fn arrive(&mut self, clocks: &mut Clocks, warp: u32, lanes: u32, barrier: u32) {
        let phases = self.of(clocks, barrier);
        clocks.gather(&mut phases.running, warp, lanes);
    }

    /// The running phase is complete: it and the ones before are one release sequence.
    pub fn flip(&mut self, clocks: &mut Clocks, barrier: u32) {
        let before = clocks.next_landing();
        let phases = self.of(clocks, barrier);
        let written = Span {
            lanes: u32::MAX,
            before,
        };
        phases.running.know((barrier, 0), written);
        phases.complete = Some(phases.running.clone());
    }

    /// Lanes of a warp have found the phase before the running one complete, and acquire.
    pub fn wait(&mut self, clocks: &mut Clocks, warp: u32, lanes: u32, barrier: u32) {
        if let Some(complete) = self
            .0
            .get(&barrier)
            .and_then(|phases| phases.complete.as_ref())
        {
            clocks.take_up(complete, warp, lanes);
        }
    }
}

/// The warp by which an agent is known.
pub(super) fn writer_of(cluster: u32) -> WarpId {
    (cluster, 0)
}
