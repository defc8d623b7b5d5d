//! Who is accessing memory, and what it knows of earlier accesses.

use std::ops::Range;

use crate::machine::registers::lanes_of;

use super::clocks::{Clocks, Row};
use super::phases::{is_agent, writer_of};
use super::reach::Reach;
use super::record::{Record, Strength, Strengths};

/// Lanes of a warp that are about to make one access.
pub(super) struct Actor<'a> {
    /// The access.
    pub record: Record,
    pub strength: Strength,
    pub strengths: &'a Strengths,
    pub clocks: &'a Clocks,
    /// What all lanes of the warp know of the cluster's warps.
    pub row: &'a Row,
    /// The warps of its block, by their numbers in the cluster.
    pub block: Range<usize>,
    /// Whether clusters of this launch can be ordered.
    pub clusters_meet: bool,
}

impl Actor<'_> {
    /// Whether `old` conflicts with the access and nothing orders them.
    #[inline(always)]
    pub fn races(&self, old: &Record) -> bool {
        let conflicts = old.place.writes() | self.record.place.writes();
        conflicts && !old.is_empty() && !self.follows(old) && self.races_by_lane(old)
    }

    /// Whether every lane of the warp knows of `old`. False may also mean that some do.
    #[inline(always)]
    fn follows(&self, old: &Record) -> bool {
        old.cluster == self.record.cluster && old.epoch < self.row[old.place.warp()]
    }

    #[cold]
    #[inline(never)]
    fn races_by_lane(&self, old: &Record) -> bool {
        self.is_non_coherent_with(old)
            || !self.is_morally_strong_with(old) && self.unordered_lanes(old).is_some()
    }

    /// Whether one of the two is through the non-coherent path, to which order means nothing.
    pub fn is_non_coherent_with(&self, old: &Record) -> bool {
        self.record.is_non_coherent() || old.is_non_coherent()
    }

    /// Both strong, each in the other's scope, and of the same bytes.
    fn is_morally_strong_with(&self, old: &Record) -> bool {
        match (self.strength, self.strengths.at(old.place.pc())) {
            (
                Strength::Strong { bytes, reach },
                Strength::Strong {
                    bytes: old_bytes,
                    reach: old_reach,
                },
            ) => bytes == old_bytes && self.distance(old) <= reach.min(old_reach),
            _ => false,
        }
    }

    /// The least reach that includes the actor and the warp of `old`.
    #[inline(always)]
    pub fn distance(&self, old: &Record) -> Reach {
        if old.cluster != self.record.cluster {
            return Reach::Grid;
        }
        if self.block.contains(&old.place.warp()) {
            Reach::Block
        } else {
            Reach::Cluster
        }
    }

    /// A lane of the actor and one of `old` whose accesses nothing orders.
    pub fn unordered_lanes(&self, old: &Record) -> Option<(u32, u32)> {
        if self.follows(old) {
            return None;
        }
        let is_agent = is_agent(old.cluster);
        if is_agent && self.clocks.is_long_landed(old.epoch) {
            return None;
        }
        let is_here = old.cluster == self.record.cluster;
        let is_own_warp = is_here && old.place.warp() == self.record.place.warp();
        let cluster = if is_here {
            self.clocks.cluster
        } else {
            old.cluster
        };
        let from = match is_agent {
            true => writer_of(cluster),
            false => (cluster, old.place.warp() as u32),
        };
        let (warp, lanes) = (self.record.place.warp(), self.record.lanes);
        if old.lanes & !self.clocks.known_to_all(warp, lanes, from, old.epoch) == 0 {
            return None;
        }
        lanes_of(lanes).find_map(|lane| {
            // A lane's own accesses are in program order.
            let itself = if is_own_warp { 1 << lane } else { 0 };
            let known = self.clocks.known(warp, lane, from, old.epoch);
            let unknown = old.lanes & !itself & !known;
            (unknown != 0).then(|| (lane as u32, unknown.trailing_zeros()))
        })
    }

    /// Whether `old` is a generic write that is not visible to what the actor does through the asynchronous proxy: a lane
    /// of the actor, and one of `old`.
    pub fn hidden_lanes(&self, old: &Record) -> Option<(u32, u32)> {
        let is_generic =
            |old: &Record| !is_agent(old.cluster) && !self.strengths.is_async(old.place.pc());
        if old.is_empty() || !old.place.writes() || !is_generic(old) {
            return None;
        }
        let cluster = match old.cluster == self.record.cluster {
            true => self.clocks.cluster,
            false => old.cluster,
        };
        let (warp, of) = (self.record.place.warp() as u32, old.place.warp() as u32);
        let lanes = self.record.lanes;
        let hidden = old.lanes & !self.clocks.shown(warp, lanes, (cluster, of), old.epoch);
        (hidden != 0).then(|| (lanes.trailing_zeros(), hidden.trailing_zeros()))
    }

    /// True for a weak write: what it does not race with is ordered before it, and whatever races
    /// with that also races with the write.
    #[inline(always)]
    pub fn settles(&self) -> bool {
        self.record.place.writes() && self.strength == Strength::Weak
    }

    /// Takes from `old`, which the access does not race with, the lanes whose place it takes: those
    /// that it is ordered after, when whatever races with them will race with the access too.
    #[inline(always)]
    pub fn retire(&self, old: &mut Record) {
        let follows = old.epoch < self.row[old.place.warp()];
        let is_own_warp = old.place.warp() == self.record.place.warp();
        // What is morally strong with the access need not be so with that of another block.
        let takes_place = || self.covers(old) && self.distance(old) == Reach::Block;
        if (follows || is_own_warp) && takes_place() {
            old.lanes &= if follows { 0 } else { !self.record.lanes };
            if old.lanes == 0 {
                *old = Record::EMPTY;
            }
        }
    }

    /// Whether whatever conflicts with `old`, and is not morally strong with it, is so with the access.
    #[inline(always)]
    fn covers(&self, old: &Record) -> bool {
        if self.strength == Strength::Weak {
            return self.record.place.writes() >= old.place.writes() && !old.is_non_coherent();
        }
        self.strengths.covers(&self.record, old)
    }
}
