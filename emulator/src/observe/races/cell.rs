//! The accesses to a few bytes that a later access may still race with.

use super::actor::Actor;
use super::record::Record;

/// Bytes that have been accessed together so far.
///
/// An access leaves the list when another one takes its place: whatever races with the first would
/// also race with the second. So a list holds about one write and one read per warp; where clusters
/// can be ordered, one read per warp of every cluster that has read the bytes since the last write.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Room without a detour for the most common case; unused records are empty.
    Few([Record; 2]),
    Many(Vec<Record>),
}

impl Cell {
    pub const UNTOUCHED: Cell = Cell::Few([Record::EMPTY; 2]);

    /// Empty ones are among them. Cells with equal records answer alike.
    #[inline(always)]
    pub fn records(&self) -> &[Record] {
        match self {
            Cell::Few(records) => records,
            Cell::Many(records) => records,
        }
    }

    #[inline(always)]
    fn records_mut(&mut self) -> &mut [Record] {
        match self {
            Cell::Few(records) => records,
            Cell::Many(records) => records,
        }
    }

    /// Remembers the actor's access, or returns an earlier one that it races with.
    #[inline(always)]
    pub fn access(&mut self, actor: &Actor) -> Option<Record> {
        if !actor.settles() {
            return self.add(actor);
        }
        let racing = self.conflict(actor);
        if racing.is_none() {
            self.restart(actor.record);
        }
        racing
    }

    /// An earlier access that the actor's races with.
    #[inline(always)]
    pub fn conflict(&self, actor: &Actor) -> Option<Record> {
        let mut records = self.records().iter();
        records.find(|record| actor.races(record)).copied()
    }

    /// An earlier write that is not visible to what the actor does through the asynchronous proxy.
    pub fn hidden(&self, actor: &Actor) -> Option<Record> {
        let mut records = self.records().iter();
        records
            .find(|record| actor.hidden_lanes(record).is_some())
            .copied()
    }

    /// Remembers the access of an agent, in place of its last one.
    pub fn note(&mut self, new: Record) {
        let mut free = None;
        for (index, old) in self.records_mut().iter_mut().enumerate() {
            if old.is_empty() {
                free = Some(index);
            } else if (old.cluster, old.place.writes()) == (new.cluster, new.place.writes()) {
                *old = new;
                return;
            }
        }
        self.put(free, new);
    }

    /// Adds a record, in the free place if there is one.
    #[inline(always)]
    fn put(&mut self, free: Option<usize>, new: Record) {
        match (free, self) {
            (Some(index), cell) => cell.records_mut()[index] = new,
            (None, Cell::Many(records)) => records.push(new),
            (None, cell @ Cell::Few(_)) => {
                let mut records = cell.records().to_vec();
                records.push(new);
                *cell = Cell::Many(records);
            }
        }
    }

    /// A weak write that races with nothing is ordered after everything.
    #[inline(always)]
    pub fn restart(&mut self, write: Record) {
        match self {
            Cell::Few(records) => *records = [write, Record::EMPTY],
            Cell::Many(records) => {
                records.clear();
                records.push(write);
            }
        }
    }

    fn add(&mut self, actor: &Actor) -> Option<Record> {
        let new = actor.record;
        let (mut merged, mut strangers, mut free) = (false, false, None);
        for (index, old) in self.records_mut().iter_mut().enumerate() {
            if actor.races(old) {
                return Some(*old);
            }
            if old.is_moment_of(&new) {
                old.lanes |= new.lanes;
                merged = true;
                continue;
            }
            // Every write conflicts with the read through the non-coherent path that is there.
            merged |= old.is_non_coherent() && new.is_non_coherent();
            actor.retire(old);
            if old.is_empty() {
                free = Some(index);
            } else {
                strangers |= old.cluster != new.cluster;
            }
        }
        if merged || (strangers && !actor.clusters_meet && self.is_enough(actor)) {
            return None;
        }
        self.put(free, new);
        None
    }

    /// Where no two clusters are ordered, two accesses by different clusters are enough to remember:
    /// every cluster differs from one of them. True when the list has them, be it that the actor's
    /// has just become one of them.
    #[inline(never)]
    fn is_enough(&mut self, actor: &Actor) -> bool {
        let (new, strengths) = (actor.record, actor.strengths);
        let known = self.records().iter().filter(|old| !old.is_empty());
        let mut covering = known.clone().filter(|old| strengths.covers(old, &new));
        let Some(stranger) = covering.clone().find(|old| old.cluster != new.cluster) else {
            return false;
        };
        if covering.any(|old| old.cluster != stranger.cluster) {
            return true;
        }
        let needless = |old: &Record| {
            old == stranger || (strengths.covers(&new, old) && strengths.covers(stranger, old))
        };
        let both = known.clone().all(needless);
        if both {
            *self = Cell::Few([*stranger, new]);
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::super::clocks::Clocks;
    use super::super::record::{Place, Strength, Strengths};
    use super::*;
    use crate::ir::{Guard, Instruction, Op, Pred};

    /// What a weak access by lane 0 of a cluster does to a cell, where clusters are never ordered.
    fn access(cell: &mut Cell, cluster: u32, writes: bool) -> Option<Record> {
        let guard = Guard {
            pred: Pred::TRUE,
            negated: false,
        };
        let strengths = Strengths::new(&[Instruction {
            guard,
            op: Op::Nop,
            touches_products: false,
        }]);
        let clocks = Clocks::new(1, 1, false);
        let record = Record {
            cluster,
            epoch: clocks.epoch(0),
            lanes: 1,
            place: Place::new(0, 0, writes),
        };
        cell.access(&Actor {
            record,
            strength: Strength::Weak,
            strengths: &strengths,
            clocks: &clocks,
            row: clocks.row(0),
            block: 0..1,
            clusters_meet: false,
        })
    }

    #[test]
    fn two_readers_of_different_clusters_stand_for_all_others() {
        for readers in 2..6 {
            let mut cell = Cell::UNTOUCHED;
            for reader in 0..readers {
                assert_eq!(access(&mut cell, reader, false), None);
            }
            assert!(matches!(cell, Cell::Few(_)), "readers need no more room");
            for writer in 0..=readers {
                let racing = access(&mut cell.clone(), writer, true);
                assert!(racing.is_some_and(|record| record.cluster != writer));
            }
        }
    }

    #[test]
    fn a_cluster_is_in_order_with_itself_until_another_one_comes() {
        let mut cell = Cell::UNTOUCHED;
        for writes in [false, true, true, false, true] {
            assert_eq!(access(&mut cell, 7, writes), None);
        }
        assert!(access(&mut cell.clone(), 8, false).is_some());
        assert!(access(&mut cell, 8, true).is_some());
    }
}
