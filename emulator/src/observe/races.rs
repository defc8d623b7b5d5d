//! racecheck: two accesses to the same bytes, at least one of them a write, that nothing orders.
//!
//! The order is that of the memory consistency model of the PTX ISA, followed by vector clocks as in
//! FastTrack (Flanagan and Freund, PLDI 2009): an access leaves a record in shadow memory, and a later
//! access must know of all that it conflicts with, or be morally strong with them. Shared and global
//! memory, byte by byte, within a warp, across warps, across blocks.
//!
//! Lanes run in lockstep here, yet are ordered only by `bar.warp.sync`, barriers, and release and
//! acquire patterns; not by shfl, vote, match, redux, ldmatrix or mma. A warp has one clock, and what
//! single lanes know is kept beside it. The read of a `cp.async` lasts until its thread waits, its
//! write happens then. `ld.global.nc` allows no write to its bytes in the whole launch, ordered or not.
//!
//! What differs from the model, or is not seen:
//! - Only what the launch executes is judged: where values decide, other schedules may do otherwise.
//! - Lanes that have exited count as arriving with their warp at its later barriers.
//! - `fence.sc` orders no more than `fence.acq_rel`; an `atom.cas` that fails counts as a write.
//! - Clusters are told apart by the low 32 bits of their number. A block is one of a cluster, if only of its own.
//!
//! ```text
//! clocks.rs      what the warps of a cluster know of each other; knowledge.rs: what single lanes know
//! clocks/        gathered.rs: what goes through barriers; snapshot.rs: what goes with a fence
//! record.rs      what is remembered of an access; cell.rs: of all accesses to some bytes
//! shadow.rs      cells for all memory
//! actor.rs       does this access race with that record?
//! reach.rs       which blocks a scope includes
//! release.rs     fences, and the strong accesses that hand knowledge on
//! copies.rs      cp.async in flight
//! asynchronous.rs   bulk copies; phases.rs: mbarriers; shown.rs: proxies
//! report.rs      the fault
//! ```

mod actor;
mod asynchronous;
mod cell;
mod clocks;
mod copies;
mod knowledge;
mod phases;
mod reach;
mod record;
mod release;
mod report;
mod shadow;
mod shown;

use std::sync::{Arc, Mutex, PoisonError};

use super::{Access, Action, Arrival, ClusterSize, Exchange, Region, Step};
use crate::fault::{Outcome, Trouble, lane_fault};
use crate::ir::{Consistency, Kernel, Op, Space};
use crate::machine::Launch;
use crate::machine::address::GlobalView;
use crate::machine::context::Context;
use crate::machine::registers::lanes_of;
use crate::machine::warp::Warp;

use actor::Actor;
use clocks::Clocks;
use copies::Copies;
use phases::AllPhases;
use record::{Place, Record, Strength, Strengths, is_async};
use release::{Fencing, Heads, Patterns, Strong};
use report::{Lack, Reporter};
use shadow::{GlobalShadow, SharedShadow, Visit};

/// What the blocks of a launch share.
pub(crate) struct RaceGrid {
    /// Blocks along x, y, z of the grid and of a cluster.
    grid: [u32; 3],
    cluster: [u32; 3],
    warps_per_block: u32,
    strengths: Strengths,
    has_fences: bool,
    /// Whether somebody reads shared memory through the asynchronous proxy.
    has_proxy: bool,
    has_edges: bool,
    shadow: GlobalShadow,
    /// What global locations hand on.
    heads: Mutex<Heads>,
}

impl RaceGrid {
    pub fn new(
        kernel: &Kernel,
        (launch, cluster): (&Launch, [u32; 3]),
        memory: &GlobalView,
    ) -> Self {
        let has = |test: fn(&Op) -> bool| kernel.program.iter().any(|i| test(&i.op));
        let has_fences = has(|op| matches!(op, Op::Fence { .. }));
        Self {
            grid: launch.grid,
            cluster,
            warps_per_block: launch.block.iter().product::<u32>().div_ceil(32),
            strengths: Strengths::new(&kernel.program),
            has_fences,
            has_proxy: has(is_async),
            has_edges: has_fences && has(is_strong_and_global),
            shadow: GlobalShadow::new(memory),
            heads: Mutex::default(),
        }
    }

    /// Whether blocks of this kernel can synchronise with each other: it takes a fence, and a strong
    /// access to global memory. Such accesses have to be seen in the order in which they take effect.
    pub fn has_edges(&self) -> bool {
        self.has_edges
    }
}

fn is_strong_and_global(op: &Op) -> bool {
    if let Op::AtomicVector(_) = op {
        return true;
    }
    let (Op::Load { space, .. }
    | Op::Store { space, .. }
    | Op::Atom { space, .. }
    | Op::Red { space, .. }) = op
    else {
        return false;
    };
    matches!(space, Space::Global | Space::Generic)
        && matches!(Strength::of(op), Strength::Strong { .. })
}

/// Who knows of which accesses in the cluster that runs on this thread of the host.
pub(crate) struct Races {
    grid: Arc<RaceGrid>,
    clocks: Clocks,
    /// By the block's rank.
    shadows: Vec<SharedShadow>,
    copies: Copies,
    patterns: Patterns,
    phases: AllPhases,
    /// What locations in shared memory hand on.
    heads: Heads,
}

impl Races {
    pub fn new(grid: Arc<RaceGrid>, size: &ClusterSize) -> Self {
        let num_warps = size.all_warps();
        Self {
            clocks: Clocks::new(size.blocks, size.warps, grid.has_proxy),
            shadows: (0..size.blocks)
                .map(|_| SharedShadow::new(size.shared_bytes))
                .collect(),
            copies: Copies::new(num_warps),
            patterns: Patterns::new(num_warps),
            phases: AllPhases::default(),
            heads: Heads::default(),
            grid,
        }
    }

    pub fn cluster_start(&mut self, number: u64) {
        let epochs_restart = self.clocks.start_cluster(number);
        for shadow in &mut self.shadows {
            shadow.start_block(epochs_restart);
        }
        self.copies.clear();
        self.patterns.clear();
        self.phases.clear();
        self.heads.clear();
    }

    /// Fences.
    pub fn before(&mut self, warp: &Warp, step: &Step) {
        if step.instruction.op == Op::ProxyFence {
            self.fence_proxy(warp, step.lanes);
        }
        if let Op::Fence {
            scope,
            acquire,
            release,
        } = step.instruction.op
        {
            let is_whole = step.lanes == warp.live;
            let fence = Fencing {
                lanes: if is_whole { u32::MAX } else { step.lanes },
                scope,
                acquire,
                release,
            };
            self.patterns.fence(&mut self.clocks, warp.number, &fence);
        }
    }

    /// Checks and remembers an access of the instruction that [`Self::before`] was told of last.
    pub fn access(
        &mut self,
        warp: &Warp,
        context: &mut Context,
        step: &Step,
        access: &Access,
    ) -> Outcome {
        let place = Place::new(step.pc, warp.number, access.action.writes());
        let mut actor = actor(&self.grid, &self.clocks, access.region, place);
        let visit = match access.action {
            Action::CopyDestination => Visit::Ahead,
            _ => Visit::Access,
        };
        let (hit, base) = match access.region {
            Region::Shared(rank) => {
                let shadow = &mut self.shadows[rank as usize];
                let base = context.blocks[rank as usize].shared.base();
                (shadow.visit(&mut actor, access, visit), base)
            }
            Region::Global(index) => {
                let shadow = &self.grid.shadow;
                (shadow.visit(index, &mut actor, access), shadow.base(index))
            }
            Region::Local | Region::ReadOnly => return Ok(()),
        };
        if let Some(hit) = hit {
            let reporter = Reporter {
                kernel: context.kernel,
                grid: &self.grid,
                space: access.space,
                base,
            };
            let (lane, kind) = reporter.fault(&actor, &hit, Lack::Order);
            return lane_fault(lane, kind);
        }
        if access.action == Action::CopyDestination {
            self.issue(warp, step, access);
        }
        if access.space == Space::Global && access.action.writes() && !self.copies.is_empty() {
            self.check_sources(base, access)?;
        }
        if self.grid.has_fences {
            self.follow_patterns(warp, step, access);
        }
        Ok(())
    }

    /// Strong accesses take part in release and acquire patterns, weak writes put an end to them.
    #[cold]
    fn follow_patterns(&mut self, warp: &Warp, step: &Step, access: &Access) {
        let strong = match (access.action, &step.instruction.op) {
            (Action::Load(Consistency::Strong(_)), _) => Some(Strong::Load),
            (Action::Store(Consistency::Strong(_)), _) => Some(Strong::Store),
            (Action::Atomic(_), Op::AtomicVector(atomic)) if atomic.d.is_empty() => {
                Some(Strong::Red)
            }
            (Action::Atomic(_), Op::Red { .. }) => Some(Strong::Red),
            (Action::Atomic(_), _) => Some(Strong::Atom),
            (Action::Store(_) | Action::StoreMatrixRow { .. }, _) => None,
            _ => return,
        };
        let grid = &self.grid;
        let mut global;
        let (memory, heads) = match access.region {
            Region::Global(index) => {
                global = grid.heads.lock().unwrap_or_else(PoisonError::into_inner);
                (Some(index), &mut *global)
            }
            _ => (None, &mut self.heads),
        };
        let first = match access.region {
            Region::Shared(rank) => shared_location(rank, 0),
            _ => 0,
        };
        let bytes = match grid.strengths.at(step.pc) {
            Strength::Strong { bytes, .. } => u32::from(bytes),
            _ => access.bytes,
        };
        for lane in lanes_of(access.lanes) {
            for part in (0..access.bytes).step_by(bytes as usize) {
                let location = (memory, first + access.offsets[lane] + u64::from(part));
                match strong {
                    Some(strong) => {
                        let agent = (warp.number, lane as u32);
                        self.patterns
                            .access(heads, agent, strong, (location, bytes));
                    }
                    None => heads.overwrite(location, bytes),
                }
            }
        }
    }

    /// `bar.warp.sync` orders memory; the other exchanges do not.
    pub fn exchange(&mut self, warp: &Warp, exchange: &Exchange) {
        // Lanes that meet at several program counters are told of one by one.
        let is_first = exchange.part & exchange.lanes & exchange.lanes.wrapping_neg() != 0;
        if is_first && matches!(exchange.op, Op::WarpSync { .. }) {
            let is_whole = exchange.lanes == warp.born;
            self.clocks
                .sync_lanes(warp.number, exchange.lanes, is_whole);
        }
    }

    pub fn arrive(&mut self, warp: u32, arrival: &Arrival) {
        self.clocks.arrive(warp, arrival.id, arrival.waits);
    }

    pub fn complete(&mut self, rank: u32, id: u32, waiting: u32) {
        self.clocks.complete(rank, id, lanes_of(waiting));
    }

    /// A warp arrives at the barrier of the cluster. A relaxed arrival hands on what its fences have made
    /// ready.
    pub fn cluster_arrive(&mut self, warp: u32, release: bool) {
        if release {
            self.clocks.arrive_at_cluster(warp);
        } else {
            self.patterns.hand_to_cluster(&mut self.clocks, warp);
        }
    }

    /// A block exits: whatever its peers have done to its shared memory must have happened before.
    pub fn block_exited(&mut self, warp: &Warp, context: &Context) -> Outcome {
        self.clocks.join_block(warp.number);
        let place = Place::new(warp.exit_pc, warp.number, true);
        let mut actor = actor(
            &self.grid,
            &self.clocks,
            Region::Shared(context.rank),
            place,
        );
        actor.record.lanes = 1;
        let Some(hit) = self.shadows[context.rank as usize].unordered(&actor) else {
            return Ok(());
        };
        let reporter = Reporter {
            kernel: context.kernel,
            grid: &self.grid,
            space: Space::Shared,
            base: context.block().shared.base(),
        };
        let (_, kind) = reporter.fault(&actor, &hit, Lack::Order);
        Err(Box::new(Trouble {
            kind,
            lane: None,
            pc: warp.exit_pc,
        }))
    }

    pub fn cluster_complete(&mut self) {
        self.clocks.complete_cluster();
    }

    pub fn cluster_pass(&mut self, warp: u32) {
        self.clocks.pass_cluster(warp);
    }
}

/// Where strong accesses to shared memory meet: the block's rank and the offset in one number.
fn shared_location(rank: u32, offset: u32) -> u64 {
    u64::from(rank) << 32 | u64::from(offset)
}

/// The lanes of a warp, still to be named, that access memory in `region`.
fn actor<'a>(grid: &'a RaceGrid, clocks: &'a Clocks, region: Region, place: Place) -> Actor<'a> {
    let warp = place.warp() as u32;
    let strength = grid.strengths.at(place.pc());
    // What is non-coherent is in nobody's past, and nothing is in its past.
    let (epoch, row) = match strength {
        Strength::NonCoherent => (Record::NEVER, clocks.nothing()),
        _ => (clocks.epoch(warp), clocks.row(warp)),
    };
    let first = (warp - warp % grid.warps_per_block) as usize;
    Actor {
        record: Record {
            cluster: match region {
                Region::Shared(_) => 0,
                _ => clocks.cluster,
            },
            epoch,
            lanes: 0,
            place,
        },
        strength,
        strengths: &grid.strengths,
        clocks,
        row,
        block: first..first + grid.warps_per_block as usize,
        // The agents of asynchronous copies are ordered with everybody.
        clusters_meet: grid.has_edges || matches!(region, Region::Shared(_)),
    }
}
