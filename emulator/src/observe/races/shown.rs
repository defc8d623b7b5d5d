//! What is visible to the asynchronous proxy: of everything that somebody knows, the part behind a proxy fence (PTX
//! ISA, "Proxies").
//!
//! A bulk store and a matrix product read shared memory through a proxy of their own. What generic accesses have
//! written is there for them once a `fence.proxy.async` follows it: in the thread that wrote, before it synchronises,
//! or, which is less than the manual promises and what this check accepts as well, anywhere on the way to the thread
//! that issues the operation.

use crate::machine::registers::lanes_of;

use super::clocks::Row;
use super::knowledge::{Knowledge, Span, WarpId};

/// What one warp, or those that have met somewhere, can show to the asynchronous proxy.
#[derive(Clone)]
pub(super) struct Shown {
    /// Accesses of each warp of the cluster in earlier epochs.
    row: Row,
    /// Beyond that.
    more: Knowledge,
    /// By lane: its own accesses in earlier epochs.
    own: [u32; 32],
}

impl Shown {
    pub fn new(nothing: &Row) -> Self {
        Self {
            row: nothing.clone(),
            more: Knowledge::default(),
            own: [0; 32],
        }
    }

    /// Everything before the epochs of `row` is visible, for a warp that is in `epoch`.
    pub fn start(&mut self, row: &[u32], epoch: u32) {
        self.row.copy_from_slice(row);
        self.more.clear();
        self.own = [epoch; 32];
    }

    /// Nobody has met here.
    pub fn clear(&mut self) {
        self.row.fill(0);
        self.more.clear();
        self.own = [0; 32];
    }

    /// A proxy fence of lanes of a warp that know `row` and `more`, and go on in `epoch`.
    pub fn fence(
        &mut self,
        cluster: u32,
        lanes: u32,
        (row, more): (&[u32], &Knowledge),
        epoch: u32,
    ) {
        for (lane, own) in self.own.iter_mut().enumerate() {
            if lanes >> lane & 1 != 0 {
                *own = epoch;
            }
        }
        for (warp, &before) in row.iter().enumerate() {
            if before > self.row[warp] {
                if lanes == u32::MAX {
                    self.row[warp] = before;
                } else {
                    let span = Span {
                        lanes: u32::MAX,
                        before,
                    };
                    self.more.learn((cluster, warp as u32), span, lanes);
                }
            }
        }
        self.more.take_over(more, lanes);
        self.more.settle(cluster, &mut self.row);
    }

    /// Those who have met here can show what lanes of `other`, which is of warp `of`, can.
    pub fn absorb(&mut self, other: &Shown, of: WarpId, lanes: u32) {
        for (mine, theirs) in self.row.iter_mut().zip(&other.row) {
            *mine = (*mine).max(*theirs);
        }
        self.more.gather(&other.more, lanes);
        self.learn_own(&other.own, of, lanes, u32::MAX);
        self.more.settle(of.0, &mut self.row);
    }

    /// Lanes `by` of a warp of one cluster can show what those of another, or of the same, who met at `other` can.
    pub fn learn(&mut self, other: &Shown, (cluster, from): (u32, u32), by: u32) {
        for (warp, &before) in other.row.iter().enumerate() {
            if before > self.row[warp] || from != cluster && before > 0 {
                if by == u32::MAX && from == cluster {
                    self.row[warp] = before;
                } else {
                    let span = Span {
                        lanes: u32::MAX,
                        before,
                    };
                    self.more.learn((from, warp as u32), span, by);
                }
            }
        }
        self.more.spread(&other.more, by);
        self.more.settle(cluster, &mut self.row);
    }

    /// Lanes of warp `of`, which this is, tell each other.
    pub fn share(&mut self, of: WarpId, lanes: u32) {
        self.more.share(lanes);
        let own = self.own;
        self.learn_own(&own, of, lanes, lanes);
        self.more.settle(of.0, &mut self.row);
    }

    /// Lanes `by` learn what each of `lanes` of warp `of` can show of its own accesses.
    fn learn_own(&mut self, own: &[u32; 32], of: WarpId, lanes: u32, by: u32) {
        let mut rest = lanes;
        while rest != 0 {
            let before = own[rest.trailing_zeros() as usize];
            let same = (0..32).filter(|lane| rest >> lane & 1 != 0 && own[*lane] == before);
            let same = same.fold(0, |same, lane| same | 1 << lane);
            if before > self.row[of.1 as usize] {
                self.more.learn(
                    of,
                    Span {
                        lanes: same,
                        before,
                    },
                    by,
                );
            }
            rest &= !same;
        }
    }

    /// The lanes of warp `of` whose accesses in `epoch` can be shown by any of `lanes` of warp `by`, which this is.
    pub fn lanes(&self, lanes: u32, by: WarpId, of: WarpId, epoch: u32) -> u32 {
        if of.0 == by.0 && epoch < self.row[of.1 as usize] {
            return u32::MAX;
        }
        let is_own = |lane: &usize| by == of && epoch < self.own[*lane];
        let own = lanes_of(lanes)
            .filter(is_own)
            .fold(0, |own, lane| own | 1 << lane);
        self.more.known_to_any(lanes, of, epoch) | own
    }
}
