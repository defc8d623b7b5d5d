//! The bulk copies of a cluster that somebody has still to wait for, and when their bytes move.

use crate::fault::{AccessKind, BulkRule, FaultKind, MbarrierRule, Outcome, Party, Trouble};

use super::super::chance::{Chance, CopyMoment};
use super::super::context::Context;
use super::flight::{End, Flight, Issuer};

/// Warp instructions after which a copy moves although somebody could run: he may be waiting for what it brings
/// without looking at its mbarrier.
const PATIENCE: u64 = 1 << 16;

/// The copies of a cluster, in the order of their issue.
#[derive(Default)]
pub(crate) struct Flights {
    list: Vec<Flight>,
    /// Those that have not written all of their destination.
    moving: usize,
    /// Value of [`Context::warp_instructions`] when a copy moved last.
    last: u64,
}

impl Flights {
    pub fn clear(&mut self) {
        self.list.clear();
        self.moving = 0;
    }

    /// True when a copy may have something to do.
    #[inline(always)]
    pub fn any_moving(&self) -> bool {
        self.moving != 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.list.iter()
    }

    /// Somebody looks at an mbarrier whose phase is not complete: the oldest copy that will tell it something
    /// moves once that has happened `patience` times.
    pub fn ask(&mut self, barrier: (u32, u32), patience: u32) {
        let tells = |flight: &&mut Flight| {
            let signal = flight.signal.map(|signal| (signal.rank, signal.barrier));
            signal == Some(barrier) && !flight.is_written()
        };
        if let Some(flight) = self.list.iter_mut().find(tells) {
            flight.asked += 1;
            flight.is_urgent |= flight.asked >= patience;
        }
    }

    /// The copy that writes, or else reads, the byte at an offset in the shared memory of a block.
    pub fn touching(&self, rank: u32, offset: u64, reads: bool) -> Option<&Flight> {
        let covers = |flight: &&Flight| {
            let place = match reads {
                true => flight.source(),
                false => flight.destination(),
            };
            place.is_some_and(|(at, start)| {
                at == rank && offset.wrapping_sub(start.into()) < flight.bytes.into()
            })
        };
        self.list.iter().find(covers)
    }

    fn take(&mut self, index: usize) -> Flight {
        let flight = self.list.remove(index);
        self.moving -= usize::from(!flight.is_written());
        flight
    }

    fn put(&mut self, index: usize, flight: Flight) {
        self.moving += usize::from(!flight.is_written());
        self.list.insert(index, flight);
    }

    fn unwritten(&self) -> impl Iterator<Item = usize> {
        let flights = self.list.iter().enumerate();
        flights
            .filter(|(_, flight)| !flight.is_written())
            .map(|(index, _)| index)
    }

    /// The copy that moves when no warp can run: one that tells an mbarrier, because nothing else helps them.
    fn awaited(&self, chance: &mut Chance) -> Option<usize> {
        let mut telling = self.unwritten();
        let tells = |index: &usize| self.list[*index].signal.is_some();
        let telling: Vec<usize> = telling.by_ref().filter(tells).collect();
        chance.one_of(&telling)
    }

    /// The copy that moves before the next warp runs, if any.
    fn due(&self, instructions: u64) -> Option<usize> {
        let urgent = |index: &usize| self.list[*index].is_urgent;
        if let Some(index) = self.unwritten().find(urgent) {
            return Some(index);
        }
        if instructions.wrapping_sub(self.last) > PATIENCE {
            return self.unwritten().next();
        }
        None
    }
}

/// A copy that broke a rule when it was complete, with who issued it.
pub(crate) type Failed = (Issuer, Box<Trouble>);

/// Marks what a copy that is being issued touches, and lets it move as the plan says.
pub(super) fn launch(context: &mut Context, mut flight: Flight) -> Outcome {
    let issuer = flight.issuer;
    mark(context, &flight).map_err(|kind| trouble(&issuer, kind))?;
    context.observe(|observers, context| observers.bulk_issued(context, &flight))?;
    context.flights.last = context.warp_instructions;
    let moment = context.chance.bulk_moment();
    if moment == CopyMoment::InPieces {
        context.chance.shuffle(&mut flight.runs);
    }
    if moment == CopyMoment::AtOnce {
        flight.read(context, usize::MAX);
    }
    let index = context.flights.list.len();
    context.flights.put(index, flight);
    match moment {
        CopyMoment::AtOnce => finish(context, index).map_err(|(_, trouble)| trouble),
        _ => Ok(()),
    }
}

/// Nobody may write the source or touch the destination from now on.
fn mark(context: &mut Context, flight: &Flight) -> Result<(), FaultKind> {
    let bytes = flight.bytes as usize;
    if let End::Shared { rank, start } = flight.to {
        let shared = &mut context.blocks[rank as usize].shared;
        shared.begin_copy(start as usize, bytes)?;
    }
    if let End::Shared { rank, start } = flight.from {
        let shared = &mut context.blocks[rank as usize].shared;
        shared.check_landed(start as usize, bytes)?;
        shared.begin_read(start, flight.bytes);
    }
    Ok(())
}

/// Moves what the plan wants to move before the next warp runs; `idle` when none can. True when that may let one run.
pub(crate) fn step(context: &mut Context, idle: bool) -> Result<bool, Failed> {
    let Context {
        flights, chance, ..
    } = context;
    let index = match idle {
        true => flights.awaited(chance),
        false => flights.due(context.warp_instructions),
    };
    match index {
        Some(index) => finish(context, index).map(|()| true),
        None if idle => Ok(false),
        None => drift(context).map(|()| false),
    }
}

/// Some pieces of some copy may move at any time.
fn drift(context: &mut Context) -> Result<(), Failed> {
    let Context {
        flights, chance, ..
    } = context;
    if !chance.copies_drift() {
        return Ok(());
    }
    let moving: Vec<usize> = flights.unwritten().collect();
    let Some(index) = chance.one_of(&moving) else {
        return Ok(());
    };
    let mut flight = context.flights.take(index);
    let (unread, unwritten) = flight.left();
    if unread > 0 && (unwritten == 0 || context.chance.copies_drift()) {
        let count = context.chance.up_to(unread);
        flight.read(context, count);
    } else {
        // The last piece moves when the copy is complete.
        let count = context.chance.up_to(unwritten);
        if unread > 0 || count < unwritten {
            flight.write(context, count);
        } else {
            context.flights.put(index, flight);
            return finish(context, index);
        }
    }
    context.flights.put(index, flight);
    Ok(())
}

/// Moves all that is left of a copy.
fn finish(context: &mut Context, index: usize) -> Result<(), Failed> {
    context.flights.last = context.warp_instructions;
    let mut flight = context.flights.take(index);
    flight.read(context, usize::MAX);
    flight.write(context, usize::MAX);
    let landed = land(context, &flight);
    if flight.signal.is_none() && !flight.read_awaited {
        context.flights.put(index, flight);
    }
    landed
}

/// A copy is complete.
fn land(context: &mut Context, flight: &Flight) -> Result<(), Failed> {
    let bytes = flight.bytes as usize;
    if let End::Shared { rank, start } = flight.to {
        let shared = &mut context.blocks[rank as usize].shared;
        shared.end_copy(start as usize, bytes);
    }
    let issuer = flight.issuer;
    let failed = |kind| (issuer, trouble(&issuer, kind));
    if let Some(observers) = &mut context.observers {
        observers.bulk_landed(flight);
    }
    let Some(signal) = flight.signal else {
        return Ok(());
    };
    // The source of a copy between blocks is free when the mbarrier knows of it.
    if let End::Shared { rank, start } = flight.from {
        let shared = &mut context.blocks[rank as usize].shared;
        shared.end_read(start, flight.bytes);
    }
    let block = &mut context.blocks[signal.rank as usize];
    let live = block.mbarriers.live_mut(signal.barrier).map_err(failed)?;
    let base = block.shared.base();
    let broken = |rule| FaultKind::Mbarrier {
        address: base + u64::from(signal.barrier),
        rule,
    };
    if live.state.phase != signal.phase {
        let rule = MbarrierRule::LateTransaction {
            issued: signal.phase,
            running: live.state.phase,
        };
        return Err(failed(broken(rule)));
    }
    if block.live == 0 && context.sanitizers.synccheck {
        let block = block.index;
        let rule = BulkRule::DestinationExited { block };
        return Err(failed(FaultKind::Bulk(rule)));
    }
    let complete = live.state.complete(flight.bytes);
    if complete.map_err(|rule| failed(broken(rule)))? {
        context.flipped(signal.rank, signal.barrier);
    }
    Ok(())
}

/// The copies of a lane that `due(group)` names have read their sources, and written their destinations when
/// `written` says so: their thread has waited.
pub(crate) fn force(
    context: &mut Context,
    (warp, lane): (u32, u32),
    written: bool,
    due: impl Fn(u32) -> bool,
) -> Outcome {
    let mut index = 0;
    while index < context.flights.list.len() {
        let flight = &context.flights.list[index];
        let is_his = (flight.issuer.number, flight.issuer.lane) == (warp, lane);
        if !is_his || flight.signal.is_some() || !due(flight.group) {
            index += 1;
            continue;
        }
        let mut flight = context.flights.take(index);
        flight.read(context, usize::MAX);
        if written {
            let was_written = flight.is_written();
            flight.write(context, usize::MAX);
            if !was_written {
                land(context, &flight).map_err(|(_, trouble)| trouble)?;
            }
        }
        if !flight.read_awaited {
            flight.read_awaited = true;
            if let Some((rank, start)) = flight.source() {
                let shared = &mut context.blocks[rank as usize].shared;
                shared.end_read(start, flight.bytes);
            }
            if let Some(observers) = &mut context.observers {
                observers.bulk_awaited(&flight);
            }
        }
        if !flight.is_written() {
            context.flights.put(index, flight);
            index += 1;
        }
    }
    Ok(())
}

/// Everything that a cluster has under way at its end is written.
pub(crate) fn finish_all(context: &mut Context) -> Result<(), Failed> {
    loop {
        let next = context.flights.unwritten().next();
        match next {
            Some(index) => finish(context, index)?,
            None => break,
        }
    }
    context.flights.clear();
    Ok(())
}

fn trouble(issuer: &Issuer, kind: FaultKind) -> Box<Trouble> {
    Box::new(Trouble {
        kind,
        lane: Some(issuer.lane),
        pc: issuer.pc,
    })
}

/// A fault of an access that an asynchronous operation forbids, with the copy that it is when it is one.
pub(crate) fn explain(context: &Context, kind: &mut FaultKind) {
    let party = |address: u64, reads: bool| -> Option<Box<Party>> {
        let mut blocks = (0..).zip(&context.blocks);
        let flight = blocks.find_map(|(rank, block)| {
            let offset = address.wrapping_sub(block.shared.base());
            context.flights.touching(rank, offset, reads)
        })?;
        let block = context.blocks[flight.issuer.rank as usize].index;
        let access = match reads {
            true => AccessKind::BulkRead,
            false => AccessKind::BulkWrite,
        };
        Some(Box::new(flight.party(context.kernel, block, access)))
    };
    match kind {
        FaultKind::AsyncReadEarly { address, .. } | FaultKind::AsyncOverlap { address, .. } => {
            let address = *address;
            if let Some(copy) = party(address, false) {
                let copy = Some(copy);
                *kind = FaultKind::Bulk(BulkRule::Early { address, copy });
            }
        }
        FaultKind::Bulk(BulkRule::SourceOverwritten { address, copy }) => {
            *copy = party(*address, true);
        }
        _ => {}
    }
}
