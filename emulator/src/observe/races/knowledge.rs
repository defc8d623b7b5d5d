//! What some lanes of a warp know beyond what all of them know.
//!
//! Barriers tell everybody everything, so that these lists are empty in most kernels. They fill where
//! lanes synchronise without the rest of their warp, and with what clusters learn of each other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A warp: number of its cluster in the grid, number in the cluster.
pub(super) type WarpId = (u32, u32);

/// The accesses of `lanes` of a warp in epochs below `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub lanes: u32,
    pub before: u32,
}

impl Span {
    fn includes(&self, other: &Span) -> bool {
        other.lanes & !self.lanes == 0 && other.before <= self.before
    }
}

/// A span that happens before what lanes `by` do.
#[derive(Clone, Copy, Debug)]
struct Known {
    span: Span,
    by: u32,
}

/// What each lane of one warp knows, by the warp it is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge(HashMap<WarpId, Vec<Known>, BuildHasherDefault<WarpHasher>>);

/// Mixes the two numbers of a warp. Every access to what copies have written asks for one: the standard hasher, made for
/// keys that somebody chooses, takes most of the time of a launch then.
#[derive(Clone, Debug, Default)]
struct WarpHasher(u64);

impl Hasher for WarpHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        let mixed =
            (self.0.rotate_left(32) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 29;
    }
}

impl Knowledge {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The lanes of `warp` whose accesses in `epoch` are known to `lane`.
    pub fn lanes(&self, lane: usize, warp: WarpId, epoch: u32) -> u32 {
        self.collect(warp, epoch, |by| by >> lane & 1 != 0)
    }

    /// The lanes of `warp` whose accesses in `epoch` are known to lanes that `is_asked` accepts.
    fn collect(&self, warp: WarpId, epoch: u32, is_asked: impl Fn(u32) -> bool) -> u32 {
        let known = self.0.get(&warp).into_iter().flatten();
        known
            .filter(|known| is_asked(known.by) && epoch < known.span.before)
            .fold(0, |lanes, known| lanes | known.span.lanes)
    }

    /// The lanes of `warp` whose accesses in `epoch` are known to all of `lanes`, by one account each; more may be by
    /// several.
    pub fn known_to_all(&self, lanes: u32, warp: WarpId, epoch: u32) -> u32 {
        self.collect(warp, epoch, |by| lanes & !by == 0)
    }

    /// The lanes of `warp` whose accesses in `epoch` are known to any of `lanes`.
    pub fn known_to_any(&self, lanes: u32, warp: WarpId, epoch: u32) -> u32 {
        self.collect(warp, epoch, |by| lanes & by != 0)
    }

    /// From now on lanes `by` know of `span`.
    pub fn learn(&mut self, warp: WarpId, span: Span, mut by: u32) {
        let list = self.0.entry(warp).or_default();
        for known in list.iter() {
            if known.span.includes(&span) {
                by &= !known.by;
            }
        }
        if by == 0 {
            return;
        }
        list.retain_mut(|known| {
            if span.includes(&known.span) && known.span != span {
                known.by &= !by;
            }
            known.by != 0
        });
        match list.iter_mut().find(|known| known.span == span) {
            Some(known) => known.by |= by,
            None => list.push(Known { span, by }),
        }
    }

    /// Lanes of the warp tell each other what they know.
    pub fn share(&mut self, lanes: u32) {
        for (warp, list) in std::mem::take(&mut self.0) {
            for known in list {
                let shared = if known.by & lanes != 0 { lanes } else { 0 };
                self.learn(warp, known.span, known.by | shared);
            }
        }
    }

    /// Lanes `by` learn what they know by another account.
    pub fn take_over(&mut self, other: &Knowledge, by: u32) {
        for (warp, list) in &other.0 {
            for known in list.iter().filter(|known| known.by & by != 0) {
                self.learn(*warp, known.span, known.by & by);
            }
        }
    }

    /// All learn what any of `lanes` of another warp knows.
    pub fn gather(&mut self, other: &Knowledge, lanes: u32) {
        for (warp, list) in &other.0 {
            for known in list.iter().filter(|known| known.by & lanes != 0) {
                self.learn(*warp, known.span, u32::MAX);
            }
        }
    }

    /// Lanes `by` learn all that others know.
    pub fn spread(&mut self, other: &Knowledge, by: u32) {
        for (warp, list) in &other.0 {
            for known in list {
                self.learn(*warp, known.span, by);
            }
        }
    }

    /// All lanes learn what any lane of another warp knows.
    pub fn absorb(&mut self, other: &Knowledge) {
        for (warp, list) in &other.0 {
            for known in list {
                self.learn(*warp, known.span, u32::MAX);
            }
        }
    }

    /// Calls `tell` for everything that `lane` knows.
    pub fn each(&self, lane: u32, mut tell: impl FnMut(WarpId, Span)) {
        for (warp, list) in &self.0 {
            for known in list.iter().filter(|known| known.by >> lane & 1 != 0) {
                tell(*warp, known.span);
            }
        }
    }

    /// Moves what all lanes know of all lanes of the warps of `cluster` into `row`, and drops what
    /// `row` says already.
    pub fn settle(&mut self, cluster: u32, row: &mut [u32]) {
        self.0.retain(|warp, list| {
            if warp.0 == cluster {
                let entry = &mut row[warp.1 as usize];
                for known in list.iter() {
                    if known.by == u32::MAX && known.span.lanes == u32::MAX {
                        *entry = known.span.before.max(*entry);
                    }
                }
                list.retain(|known| known.span.before > *entry);
            }
            !list.is_empty()
        });
    }
}
