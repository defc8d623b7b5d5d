//! Bulk copies, and other operations of the asynchronous proxy.
//!
//! When such an operation is issued, it must be ordered after all accesses that it conflicts with, and what it reads must
//! be visible to its proxy. Until it is complete, or waited for, the machine refuses the accesses that it forbids. From
//! then on its accesses are those of an agent that is known to whoever has waited: that of the mbarrier which a copy was
//! told of, or that of the warp which has waited itself.
//!
//! What a copy does to device memory counts as done by its thread when it is issued.

use crate::fault::{FaultKind, Outcome, lane_fault};
use crate::ir::{Scope, Space};
use crate::machine::bulk::{End, Flight, Issuer};
use crate::machine::context::Context;
use crate::machine::mbarrier::MBARRIER_BYTES;
use crate::machine::warp::Warp;
use crate::observe::{AsyncRead, Region, Waited};

use super::actor::Actor;
use super::cell::Cell;
use super::phases::{agent, reader};
use super::record::{Place, Record};
use super::report::{Lack, Reporter};
use super::shadow::Hit;
use super::{Races, actor, shared_location};

/// What an operation is going to do with some bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Read or write shared memory, later.
    Ahead,
    /// Read or write device memory, as if now.
    Now,
    /// Look at an mbarrier, now and through the generic proxy.
    Look,
}

impl Doing {
    /// An earlier access to a cell that the actor's races with, or that its proxy does not see.
    fn visit(self, cell: &mut Cell, actor: &Actor) -> Option<(Record, Lack)> {
        let hidden = match self {
            Doing::Look => None,
            Doing::Ahead | Doing::Now => cell.hidden(actor),
        };
        let racing = match self {
            Doing::Ahead => cell.conflict(actor),
            Doing::Now | Doing::Look => cell.access(actor),
        };
        let racing = racing.map(|record| (record, Lack::Order));
        racing.or(hidden.map(|record| (record, Lack::Fence)))
    }
}

impl Races {
    /// An operation of the asynchronous proxy that will read shared memory is issued.
    pub fn async_read(&mut self, warp: &Warp, context: &Context, read: &AsyncRead) -> Outcome {
        let place = Place::new(read.pc, warp.number, false);
        for range in read.ranges {
            self.ahead(context, (place, read.lanes), read.rank, *range)?;
        }
        Ok(())
    }

    /// It has been waited for.
    pub fn async_read_done(&mut self, warp: u32, read: &AsyncRead) {
        let place = Place::new(read.pc, warp, false);
        let record = Record {
            cluster: reader(warp),
            epoch: self.clocks.landing(),
            lanes: 1 << read.lanes.trailing_zeros(),
            place,
        };
        self.clocks.reads_done(warp, read.lanes, reader(warp));
        let shadow = &mut self.shadows[read.rank as usize];
        for &(start, bytes) in read.ranges {
            shadow.each_cell(start.into(), bytes.into(), |cell, _| cell.note(record));
        }
    }

    /// A bulk copy is issued.
    pub fn bulk_issued(&mut self, context: &Context, flight: &Flight) -> Outcome {
        let Issuer {
            number, lane, pc, ..
        } = flight.issuer;
        let by = |writes| (Place::new(pc, number, writes), 1 << lane);
        if let End::Shared { rank, start } = flight.from {
            self.ahead(context, by(false), rank, (start, flight.bytes))?;
        }
        if let End::Shared { rank, start } = flight.to {
            self.ahead(context, by(true), rank, (start, flight.bytes))?;
        }
        for run in &flight.runs {
            if let Some(global) = run.global {
                let writes = flight.to == End::Global;
                self.device(context, by(writes), (global, run.bytes))?;
            }
        }
        Ok(())
    }

    /// Checks what will happen to shared memory of the block of a rank.
    fn ahead(
        &mut self,
        context: &Context,
        by: (Place, u32),
        rank: u32,
        range: (u32, u32),
    ) -> Outcome {
        self.shared(context, Doing::Ahead, by, (rank, range))
    }

    /// Checks, and remembers if it happens now, what is done to shared memory of the block of a rank.
    fn shared(
        &mut self,
        context: &Context,
        doing: Doing,
        (place, lanes): (Place, u32),
        (rank, (start, bytes)): (u32, (u32, u32)),
    ) -> Outcome {
        let mut actor = actor(&self.grid, &self.clocks, Region::Shared(rank), place);
        actor.record.lanes = lanes;
        let mut found = None;
        // What one copy has written looks the same in all cells, and a look changes none: one answer for all of them.
        let mut answered: Vec<Record> = Vec::new();
        let shadow = &mut self.shadows[rank as usize];
        shadow.each_cell(start.into(), bytes.into(), |cell, offset| {
            let is_answered = doing == Doing::Ahead && answered == cell.records();
            if found.is_none() && !is_answered {
                answered.clear();
                answered.extend_from_slice(cell.records());
                let lack = doing.visit(cell, &actor);
                found = lack.map(|(earlier, lack)| (Hit { earlier, offset }, lack));
            }
        });
        let base = context.blocks[rank as usize].shared.base();
        self.judge(context, &actor, found, (Space::Shared, base))
    }

    /// Checks and remembers what happens to device memory.
    fn device(
        &self,
        context: &Context,
        (place, lanes): (Place, u32),
        (address, bytes): (u64, u32),
    ) -> Outcome {
        let mut found = None;
        let shadow = &self.grid.shadow;
        let Some((index, base)) = shadow.holding(address) else {
            return Ok(());
        };
        let mut actor = actor(&self.grid, &self.clocks, Region::Global(index), place);
        actor.record.lanes = lanes;
        shadow.each_cell(index, address - base, bytes.into(), |cell, offset| {
            if found.is_none() {
                let lack = Doing::Now.visit(cell, &actor);
                found = lack.map(|(earlier, lack)| (Hit { earlier, offset }, lack));
            }
        });
        self.judge(context, &actor, found, (Space::Global, base))
    }

    fn judge(
        &self,
        context: &Context,
        actor: &Actor,
        found: Option<(Hit, Lack)>,
        (space, base): (Space, u64),
    ) -> Outcome {
        let Some((hit, lack)) = found else {
            return Ok(());
        };
        let reporter = Reporter {
            kernel: context.kernel,
            grid: &self.grid,
            space,
            base,
        };
        let (lane, kind): (u32, FaultKind) = reporter.fault(actor, &hit, lack);
        lane_fault(lane, kind)
    }

    /// A bulk copy is complete.
    pub fn bulk_landed(&mut self, flight: &Flight) {
        let (Some(signal), End::Shared { rank, start }) = (flight.signal, flight.to) else {
            return;
        };
        let issuer = flight.issuer;
        let write = Record {
            cluster: agent(signal.rank, signal.barrier),
            epoch: self.clocks.landing(),
            lanes: 1 << issuer.lane,
            place: Place::new(issuer.pc, issuer.number, true),
        };
        let shadow = &mut self.shadows[rank as usize];
        shadow.each_cell(start.into(), flight.bytes.into(), |cell, _| {
            cell.restart(write);
        });
        let location = (None, shared_location(rank, start));
        self.heads.overwrite(location, flight.bytes);
        // Who waits for the mbarrier knows of the read of a copy between blocks as well.
        if let End::Shared { rank, start } = flight.from {
            let read = Record {
                place: Place::new(issuer.pc, issuer.number, false),
                ..write
            };
            let shadow = &mut self.shadows[rank as usize];
            shadow.each_cell(start.into(), flight.bytes.into(), |cell, _| cell.note(read));
        }
    }

    /// The thread of a bulk copy has waited until its source was read.
    pub fn bulk_awaited(&mut self, flight: &Flight) {
        if let End::Shared { rank, start } = flight.from {
            let read = AsyncRead {
                pc: flight.issuer.pc,
                lanes: 1 << flight.issuer.lane,
                rank,
                ranges: &[(start, flight.bytes)],
            };
            self.async_read_done(flight.issuer.number, &read);
        }
    }

    /// Lanes of a warp arrive at an mbarrier and release. What a release of block scope hands on, no other block can take
    /// up.
    pub fn mbarrier_arrive(
        &mut self,
        warp: &Warp,
        lanes: u32,
        (rank, offset): (u32, u32),
        scope: Scope,
    ) {
        let is_own = warp.number / self.grid.warps_per_block == rank;
        if is_own || scope != Scope::Cta {
            let by = (warp.number, whole(warp, lanes));
            let barrier = agent(rank, offset);
            self.phases.arrive(&mut self.clocks, by, barrier, is_own);
        }
    }

    /// An mbarrier has completed a phase.
    pub fn flipped(&mut self, rank: u32, offset: u32) {
        self.phases.flip(&mut self.clocks, agent(rank, offset));
    }

    /// Lanes of a warp have found a phase complete. That alone does not order them behind the initialisation of the
    /// mbarrier: before it there may have been anything there.
    pub fn waited(&mut self, warp: &Warp, context: &Context, pc: u32, waited: &Waited) -> Outcome {
        let by = (Place::new(pc, warp.number, false), waited.lanes);
        let range = (waited.offset, MBARRIER_BYTES);
        self.shared(context, Doing::Look, by, (waited.rank, range))?;
        if let Some(scope) = waited.acquire {
            let by = (warp.number, whole(warp, waited.lanes));
            let barrier = agent(waited.rank, waited.offset);
            let is_wide = scope != Scope::Cta;
            self.phases.wait(&mut self.clocks, by, barrier, is_wide);
        }
        Ok(())
    }

    /// Lanes of a warp execute `fence.proxy.async`.
    pub fn fence_proxy(&mut self, warp: &Warp, lanes: u32) {
        self.clocks.fence_proxy(warp.number, whole(warp, lanes));
    }
}

/// All lanes, when those that are left of a warp are meant.
fn whole(warp: &Warp, lanes: u32) -> u32 {
    if lanes == warp.live { u32::MAX } else { lanes }
}
