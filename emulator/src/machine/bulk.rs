//! Bulk and tensor copies (PTX ISA, "cp.async.bulk", "cp.async.bulk.tensor", and their reductions).
//!
//! ```text
//! ends.rs       operands to runs of bytes, checked
//! flight.rs     one copy on its way: reading its source, writing its destination
//! flights.rs    the copies of a cluster, and when they move, as the plan says
//! groups.rs     bulk groups of a thread, and its end
//! ```
//! A copy may read its source and write its destination at any time between its issue and the moment that a wait
//! needs it, in pieces and in any order. Nobody may touch its destination before it is complete, nor change its
//! source before that has been waited for: while the copy is on its way that is a fault here, later a race.

mod ends;
mod flight;
mod flights;
mod groups;

use crate::fault::{BulkRule, FaultKind, MbarrierRule, Outcome, lane_fault};
use crate::ir::{BulkCopy, BulkEnd};

use super::address::effective;
use super::context::Context;
use super::mbarriers::locate_barrier;
use super::registers::{Lanes, Mask};
use super::warp::Warp;

pub(crate) use flight::{End, Flight, Issuer, Signal};
pub(crate) use flights::{Flights, explain, finish_all, step};
pub(crate) use groups::{BulkGroups, check_exit, wait_group};

/// The lanes of the mask issue a copy each.
#[inline(never)]
pub(crate) fn issue(
    warp: &mut Warp,
    context: &mut Context,
    (pc, mask): (u32, Mask),
    copy: &BulkCopy,
) -> Outcome {
    for lane in mask.iter() {
        let issuer = Issuer {
            rank: context.rank,
            warp: warp.index,
            number: warp.number,
            lane: lane as u32,
            pc,
        };
        let flights = match prepare(warp, context, issuer, copy) {
            Ok(flights) => flights,
            Err(kind) => return lane_fault(lane as u32, kind),
        };
        for flight in flights {
            flights::launch(context, flight)?;
        }
    }
    Ok(())
}

/// The value of an optional operand in a lane.
fn value(regs: &Lanes<u32>, lane: u32) -> u32 {
    regs[lane as usize]
}

/// The copies that one lane's instruction makes: one, or one for each block of a multicast.
fn prepare(
    warp: &Warp,
    context: &mut Context,
    issuer: Issuer,
    copy: &BulkCopy,
) -> Result<Vec<Flight>, FaultKind> {
    let mut transfer = ends::transfer(warp, context, issuer, copy)?;
    let Some(place) = copy.mbarrier else {
        let group = warp.bulk.open(issuer.lane);
        return Ok(vec![transfer.into_flight(issuer, None, group)]);
    };
    let lanes = Mask {
        lanes: 1 << issuer.lane,
        whole: false,
    };
    let address = effective(&warp.regs, lanes, place.address)[issuer.lane as usize];
    let (rank, barrier) = locate_barrier(context, place.space, address)?;
    let End::Shared { rank: home, .. } = transfer.to else {
        // The decoder lets only copies into shared memory name an mbarrier.
        return Err(FaultKind::NotExecuted);
    };
    if rank != home {
        let rule = BulkRule::OtherBlock {
            mbarrier: rank,
            destination: home,
        };
        return Err(FaultKind::Bulk(rule));
    }
    let ranks = match copy.multicast {
        None => 1 << rank,
        Some(mask) => value(warp.regs.get32(mask), issuer.lane) & 0xffff,
    };
    let blocks = context.blocks.len() as u32;
    if u64::from(ranks) >> blocks != 0 {
        let rule = BulkRule::MulticastMask {
            mask: ranks,
            blocks,
        };
        return Err(FaultKind::Bulk(rule));
    }
    let mut flights = Vec::new();
    for rank in (0..blocks).filter(|rank| ranks >> rank & 1 != 0) {
        context.reach(rank.into())?;
        let signal = signal(context, rank, barrier)?;
        transfer.aim(rank);
        let mut flight = transfer.clone().into_flight(issuer, Some(signal), 0);
        flight.is_repeated = !flights.is_empty();
        flights.push(flight);
    }
    Ok(flights)
}

/// What a copy will tell an mbarrier.
fn signal(context: &Context, rank: u32, barrier: u32) -> Result<Signal, FaultKind> {
    let mbarriers = &context.blocks[rank as usize].mbarriers;
    let live = mbarriers.live(barrier)?;
    if context.sanitizers.racecheck && !live.is_fenced {
        return Err(mbarriers.broken(barrier, MbarrierRule::NotFenced));
    }
    Ok(Signal {
        rank,
        barrier,
        phase: live.state.phase,
    })
}

/// Whether a copy reads device memory.
fn is_load(copy: &BulkCopy) -> bool {
    !matches!(copy.from, BulkEnd::Shared(_))
}
