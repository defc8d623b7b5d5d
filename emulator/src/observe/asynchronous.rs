//! What observers are told of mbarriers, bulk copies and other operations of the asynchronous proxy.

use crate::fault::Outcome;
use crate::ir::Scope;
use crate::machine::bulk::Flight;
use crate::machine::context::Context;
use crate::machine::warp::Warp;

use super::Observers;

/// Lanes that have found a phase of an mbarrier complete.
pub(crate) struct Waited {
    pub lanes: u32,
    /// Rank of the mbarrier's block, and its offset in shared memory.
    pub rank: u32,
    pub offset: u32,
    /// Scope of the acquire, unless the wait is relaxed.
    pub acquire: Option<Scope>,
}

/// Bytes of shared memory that an operation of the asynchronous proxy reads.
pub(crate) struct AsyncRead<'a> {
    /// Where it was issued, and by which lanes.
    pub pc: u32,
    pub lanes: u32,
    /// Rank of the block in whose shared memory the bytes lie.
    pub rank: u32,
    /// Offset and size of each range.
    pub ranges: &'a [(u32, u32)],
}

impl Observers {
    /// An operation of the asynchronous proxy is issued that will read shared memory, some time before `warp` waits for
    /// it: a bulk store, a matrix product of `wgmma`. Its bytes must have been written, be ordered before this
    /// instruction, and visible to the proxy. The machine, with [`SharedMemory::begin_read`], sees to it that nobody
    /// writes them until the wait; [`Self::async_read_done`] tells of that.
    ///
    /// [`SharedMemory::begin_read`]: crate::machine::shared::SharedMemory::begin_read
    pub fn async_read(&mut self, warp: &Warp, context: &mut Context, read: &AsyncRead) -> Outcome {
        if let Some(definedness) = &self.definedness {
            let by = (read.pc, read.lanes.trailing_zeros());
            definedness.async_read(context, by, read.rank, read.ranges)?;
        }
        match &mut self.races {
            Some(races) => races.async_read(warp, context, read),
            None => Ok(()),
        }
    }

    /// The lanes have waited for an operation of [`Self::async_read`]: whoever writes the bytes from now on must be
    /// ordered after this.
    pub fn async_read_done(&mut self, warp: &Warp, read: &AsyncRead) {
        if let Some(races) = &mut self.races {
            races.async_read_done(warp.number, read);
        }
    }

    /// A bulk copy is being issued.
    pub fn bulk_issued(&mut self, context: &mut Context, flight: &Flight) -> Outcome {
        if let Some(definedness) = &mut self.definedness {
            definedness.bulk_issued(context, flight)?;
        }
        if let Some(counters) = &mut self.counters {
            counters.bulk_issued(context, flight);
        }
        match &mut self.races {
            Some(races) => races.bulk_issued(context, flight),
            None => Ok(()),
        }
    }

    /// A bulk copy is complete.
    pub fn bulk_landed(&mut self, flight: &Flight) {
        if let Some(races) = &mut self.races {
            races.bulk_landed(flight);
        }
    }

    /// The thread of a bulk copy has waited until its source was read.
    pub fn bulk_awaited(&mut self, flight: &Flight) {
        if let Some(races) = &mut self.races {
            races.bulk_awaited(flight);
        }
    }

    /// Lanes of a warp arrive at an mbarrier and release what they know.
    pub fn mbarrier_arrive(&mut self, warp: &Warp, lanes: u32, place: (u32, u32), scope: Scope) {
        if let Some(races) = &mut self.races {
            races.mbarrier_arrive(warp, lanes, place, scope);
        }
    }

    /// An mbarrier has completed a phase.
    pub fn flipped(&mut self, rank: u32, offset: u32) {
        if let Some(races) = &mut self.races {
            races.flipped(rank, offset);
        }
    }

    /// Lanes of a warp have executed a wait for mbarriers, `counted` of them one that lets them sleep; those of `seen`
    /// have found their phases complete.
    pub fn waited(
        &mut self,
        warp: &Warp,
        context: &Context,
        (pc, counted): (u32, u32),
        seen: &[Waited],
    ) -> Outcome {
        if let Some(counters) = self.counters.as_mut().filter(|_| counted != 0) {
            counters.waited(pc, counted);
        }
        if let Some(definedness) = &mut self.definedness {
            definedness.waited(warp, pc, counted);
        }
        if let Some(races) = &mut self.races {
            for waited in seen {
                races.waited(warp, context, pc, waited)?;
            }
        }
        Ok(())
    }
}
