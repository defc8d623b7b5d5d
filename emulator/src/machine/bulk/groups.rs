//! Bulk groups: how a thread waits for copies that tell no mbarrier.

use crate::fault::{BulkRule, FaultKind, Outcome, lane_fault};

use super::super::context::Context;
use super::super::registers::{LANES, Mask};
use super::super::warp::Warp;
use super::flights::force;

/// The bulk groups of the lanes of one warp.
pub(crate) struct BulkGroups {
    /// Groups that each lane has committed.
    committed: [u32; LANES],
}

impl BulkGroups {
    pub fn new() -> Self {
        Self {
            committed: [0; LANES],
        }
    }

    /// `cp.async.bulk.commit_group`.
    pub fn commit(&mut self, mask: Mask) {
        for lane in mask.iter() {
            self.committed[lane] += 1;
        }
    }

    /// The group that a lane's next copy belongs to.
    pub fn open(&self, lane: u32) -> u32 {
        self.committed[lane as usize]
    }
}

/// `cp.async.bulk.wait_group[.read] pending`.
pub(crate) fn wait_group(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    (pending, read): (u32, bool),
) -> Outcome {
    context.synchronised();
    for lane in mask.iter() {
        let committed = warp.bulk.committed[lane];
        // Group g is followed by committed - g - 1 younger ones.
        let due = |group: u32| group < committed && committed - group > pending;
        force(context, (warp.number, lane as u32), !read, due)?;
    }
    Ok(())
}

/// The lanes of the mask end. Synccheck: none has a copy that may still read shared memory.
pub(crate) fn check_exit(warp: &Warp, context: &mut Context, mask: Mask) -> Outcome {
    for lane in mask.iter() {
        let is_his = |number: u32, by: u32| (number, by) == (warp.number, lane as u32);
        let flights = context.flights.iter();
        let reading = flights.filter(|flight| {
            let issuer = flight.issuer;
            is_his(issuer.number, issuer.lane) && flight.signal.is_none() && !flight.read_awaited
        });
        let lines: Vec<u32> = reading.map(|flight| flight.issuer.pc).collect();
        let Some(first) = lines.first() else { continue };
        if context.sanitizers.synccheck {
            let rule = BulkRule::ReadsPending {
                copies: lines.len() as u32,
                line: context.kernel.place(*first).0,
            };
            return lane_fault(lane as u32, FaultKind::Bulk(rule));
        }
        force(context, (warp.number, lane as u32), false, |_| true)?;
    }
    Ok(())
}
