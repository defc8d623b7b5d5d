//! What watches a kernel while it runs: sanitizers and counters.
//!
//! The machine knows one type, [`Observers`]; it calls it where something happens and carries on when
//! nobody watches. An observer sees an instruction before it takes effect, with the registers that the
//! instruction is about to read.
//!
//! ```text
//! access.rs        the memory accesses of an instruction, addresses resolved
//! definedness/     initcheck: values that come from memory or registers nobody has written
//! races/           racecheck: accesses that nothing orders
//! counters/        what the profile is made of
//! ```
//! memcheck and synccheck are part of the machine itself, because it cannot go on after what they find;
//! only the findings of [`Sanitizers::synccheck`] that legal programs survive are optional.

mod access;
mod counters;
mod definedness;
mod races;

use std::sync::Arc;

use crate::fault::Outcome;
use crate::ir::{Instruction, Kernel, Op, Scope};
use crate::machine::address::GlobalView;
use crate::machine::bulk::Flight;
use crate::machine::context::Context;
use crate::machine::warp::Warp;
use crate::machine::{Launch, Options};

pub(crate) use access::{Access, Action, Region, accesses};
pub use counters::{
    AllocationCounters, BankCounts, CounterOptions, Counters, Counts, Executed, GlobalCounts,
    HbmCounts, InstructionClass, L2Cache, L2CacheError, LineCounters, LocalCounts, Operations,
    SECTOR_BYTES, SectorCounts, SharedCounts,
};
use counters::{CounterSink, SharedCounters};
use definedness::{Definedness, Effects};
use races::{RaceGrid, Races};

/// Checks beyond those that every launch makes (memcheck, and the barrier rules of synccheck).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sanitizers {
    /// Reports values from registers and memory that were never written, when they reach a store, a
    /// branch or an address. Device memory counts as written after a launch without this check,
    /// which does not note what it writes.
    pub initcheck: bool,
    /// Reports accesses to shared and global memory that conflict and that nothing orders.
    pub racecheck: bool,
    /// Reports what the ISA leaves undefined around warps and asynchronous copies: values shuffled
    /// from lanes that do not take part, barriers that lanes of the warp have missed by exiting,
    /// copies that nobody waited for.
    pub synccheck: bool,
}

impl Sanitizers {
    /// None of them.
    pub const NONE: Sanitizers = Sanitizers {
        initcheck: false,
        racecheck: false,
        synccheck: false,
    };
    /// All of them.
    pub const ALL: Sanitizers = Sanitizers {
        initcheck: true,
        racecheck: true,
        synccheck: true,
    };
}

/// An instruction that a group of lanes is about to execute.
pub(crate) struct Step<'a> {
    pub pc: u32,
    pub instruction: &'a Instruction,
    /// Lanes at this program counter.
    pub group: u32,
    /// Those of them that the guard lets execute; may be empty.
    pub lanes: u32,
    /// False when the instruction only begins to wait for other lanes; it is told again, or by
    /// [`Observers::exchange`] or [`Observers::arrive`], when it happens.
    pub executes: bool,
}

/// A warp-wide exchange whose lanes have met.
pub(crate) struct Exchange<'a> {
    pub op: &'a Op,
    pub pc: u32,
    /// Lanes that stand at `pc`; results are stored for these.
    pub part: u32,
    /// All lanes that take part, at whatever program counter.
    pub lanes: u32,
}

/// How much there is to watch in a cluster.
pub(crate) struct ClusterSize {
    pub blocks: u32,
    /// Warps of a block.
    pub warps: u32,
    /// Shared memory of a block.
    pub shared_bytes: u32,
}

impl ClusterSize {
    /// Warps of all its blocks.
    fn all_warps(&self) -> u32 {
        self.blocks * self.warps
    }
}

/// A warp's arrival at a block barrier.
pub(crate) struct Arrival {
    pub id: u32,
    /// False for `bar.arrive`.
    pub waits: bool,
}

/// One lane's `cp.async` that its wait has just landed.
pub(crate) struct Landing {
    /// The warp's number in the cluster, whose block it copies into.
    pub warp: u32,
    pub lane: u8,
    /// First byte in shared memory.
    pub dst: u32,
    /// Bytes of the destination, and how many of them came from `src`.
    pub bytes: u8,
    pub source_bytes: u8,
    /// Global address.
    pub src: u64,
}

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

/// What one launch is watched with: the part that its blocks share.
pub(crate) struct Watch {
    effects: Option<Arc<Effects>>,
    grid: Option<Arc<RaceGrid>>,
    counters: Option<Arc<SharedCounters>>,
}

impl Watch {
    /// The observers that `options` asks for, for clusters of this shape.
    pub fn new(
        kernel: &Kernel,
        (launch, cluster): (&Launch, [u32; 3]),
        options: &Options,
        memory: &GlobalView,
    ) -> Self {
        let Sanitizers {
            initcheck,
            racecheck,
            synccheck,
        } = options.sanitizers;
        Self {
            effects: (initcheck || synccheck).then(|| Arc::new(Effects::new(kernel, options))),
            grid: racecheck.then(|| Arc::new(RaceGrid::new(kernel, (launch, cluster), memory))),
            counters: options
                .counters
                .map(|options| Arc::new(SharedCounters::new(kernel, memory, options))),
        }
    }

    /// True when the order of blocks must be that of one thread: counters go through one model of L2,
    /// and edges between blocks are found in the order in which atomics take effect.
    pub fn needs_one_thread(&self) -> bool {
        self.counters.is_some() || self.grid.as_ref().is_some_and(|grid| grid.has_edges())
    }

    /// Observers for the clusters of one thread of the host; none when nobody watches.
    pub fn observers(&self, size: &ClusterSize) -> Option<Box<Observers>> {
        let observers = Observers {
            definedness: self
                .effects
                .clone()
                .map(|effects| Definedness::new(effects, size)),
            races: self.grid.clone().map(|grid| Races::new(grid, size)),
            counters: self.counters.clone().map(CounterSink::new),
            blocks: size.blocks,
        };
        let watched = observers.definedness.is_some()
            || observers.races.is_some()
            || observers.counters.is_some();
        watched.then(|| Box::new(observers))
    }

    /// What was counted, once all observers are gone.
    pub fn counters(self) -> Option<Counters> {
        self.counters.map(|counters| counters.total())
    }
}

/// Everything that watches one cluster at a time, on one thread of the host.
pub(crate) struct Observers {
    pub definedness: Option<Definedness>,
    pub races: Option<Races>,
    pub counters: Option<CounterSink>,
    /// Blocks of a cluster.
    blocks: u32,
}

impl Observers {
    /// A cluster begins; `number` is its place in the grid.
    pub fn cluster_start(&mut self, number: u64) {
        if let Some(counters) = &mut self.counters {
            counters.cluster_start(self.blocks);
        }
        if let Some(definedness) = &mut self.definedness {
            definedness.cluster_start();
        }
        if let Some(races) = &mut self.races {
            races.cluster_start(number);
        }
    }

    /// An instruction is about to execute, or to wait.
    pub fn before(&mut self, warp: &Warp, context: &mut Context, step: &Step) -> Outcome {
        if let Some(definedness) = &mut self.definedness {
            definedness.before(warp, step)?;
        }
        if !step.executes {
            return Ok(());
        }
        if let Some(counters) = &mut self.counters {
            counters.before(warp, context.kernel, step);
        }
        if step.lanes == 0 {
            return Ok(());
        }
        if let Some(races) = &mut self.races {
            races.before(warp, step);
        }
        let op = &step.instruction.op;
        accesses(warp, context, step.lanes, op, &mut |context, access| {
            // The bytes of an mbarrier are no data; only their order matters.
            let is_data = !matches!(op, Op::Mbarrier(_));
            if let Some(definedness) = self.definedness.as_mut().filter(|_| is_data) {
                definedness.access(warp, context, step, access)?;
            }
            if let Some(races) = &mut self.races {
                races.access(warp, context, step, access)?;
            }
            if let Some(counters) = self.counters.as_mut().filter(|_| is_data) {
                counters.access(step, access, context.rank);
            }
            Ok(())
        })
    }

    /// An exchange is about to store its results for `exchange.part`.
    pub fn exchange(&mut self, warp: &Warp, exchange: &Exchange) -> Outcome {
        if let Some(counters) = &mut self.counters {
            counters.exchange(exchange);
        }
        if let Some(definedness) = &mut self.definedness {
            definedness.exchange(warp, exchange)?;
        }
        if let Some(races) = &mut self.races {
            races.exchange(warp, exchange);
        }
        Ok(())
    }

    /// All live lanes of a warp arrive at a barrier, standing at the program counters of its groups.
    pub fn arrive(&mut self, warp: &Warp, context: &Context, arrival: &Arrival) -> Outcome {
        if let Some(counters) = &mut self.counters {
            counters.arrive(warp);
        }
        if let Some(definedness) = &mut self.definedness {
            definedness.arrive(warp, context)?;
        }
        if let Some(races) = &mut self.races {
            races.arrive(warp.number, arrival);
        }
        Ok(())
    }

    /// A barrier of the block of this rank is complete; its warps of `waiting` go on.
    pub fn complete(&mut self, rank: u32, id: u32, waiting: u32) {
        if let Some(races) = &mut self.races {
            races.complete(rank, id, waiting);
        }
    }

    /// All live lanes of a warp arrive at the barrier of the cluster.
    pub fn cluster_arrive(&mut self, warp: &Warp, context: &Context, release: bool) -> Outcome {
        if let Some(counters) = &mut self.counters {
            counters.arrive(warp);
        }
        if let Some(definedness) = &mut self.definedness {
            definedness.arrive(warp, context)?;
        }
        if let Some(races) = &mut self.races {
            races.cluster_arrive(warp.number, release);
        }
        Ok(())
    }

    /// All live lanes of a warp stand at a wait for the barrier of the cluster.
    pub fn cluster_wait(&mut self, warp: &Warp) {
        if let Some(counters) = &mut self.counters {
            counters.stand(warp);
        }
    }

    /// The last warp of a block that has peers exits, and the shared memory of the block with it.
    pub fn block_exited(&mut self, warp: &Warp, context: &Context) -> Outcome {
        match &mut self.races {
            Some(races) => races.block_exited(warp, context),
            None => Ok(()),
        }
    }

    /// The phase is over: all warps of the cluster have arrived or exited.
    pub fn cluster_complete(&mut self) {
        if let Some(races) = &mut self.races {
            races.cluster_complete();
        }
    }

    /// A warp, by its number in the cluster, has waited for the phase that is over.
    pub fn cluster_pass(&mut self, warp: u32) {
        if let Some(races) = &mut self.races {
            races.cluster_pass(warp);
        }
    }

    /// A copy's bytes are in shared memory and its thread has waited for them.
    pub fn landed(&mut self, landing: &Landing) {
        if let Some(races) = &mut self.races {
            races.landed(landing);
        }
    }

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
    pub fn waited(&mut self, warp: &Warp, (pc, counted): (u32, u32), seen: &[Waited]) -> Outcome {
        if let Some(counters) = self.counters.as_mut().filter(|_| counted != 0) {
            counters.waited(pc, counted);
        }
        if let Some(definedness) = &mut self.definedness {
            definedness.waited(warp, pc, counted);
        }
        if let Some(races) = &mut self.races {
            for waited in seen {
                races.waited(warp, waited);
            }
        }
        Ok(())
    }
}
