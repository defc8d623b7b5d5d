//! The fault that a race is reported as.

use crate::fault::{AccessKind, Conflict, FaultKind, Party, space_name};
use crate::ir::{Consistency, Kernel, Op, Space};
use crate::machine::launch::block_index;

use super::RaceGrid;
use super::actor::Actor;
use super::phases::is_agent;
use super::reach::Reach;
use super::record::{Record, Strength};
use super::shadow::Hit;

/// What is missing between two accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Anything that orders them.
    Order,
    /// A fence that makes the first visible to the proxy of the second.
    Fence,
}

/// What a report takes from the launch.
pub(super) struct Reporter<'a> {
    pub kernel: &'a Kernel,
    pub grid: &'a RaceGrid,
    /// The space of the accesses, and the address of offset 0 in it.
    pub space: Space,
    pub base: u64,
}

impl Reporter<'_> {
    /// The fault of `hit`, and the lane that commits it.
    pub fn fault(&self, actor: &Actor, hit: &Hit, lack: Lack) -> (u32, FaultKind) {
        let (earlier, later) = (&hit.earlier, &actor.record);
        let lanes = match lack {
            Lack::Order => actor.unordered_lanes(earlier),
            Lack::Fence => actor.hidden_lanes(earlier),
        };
        let (later_lane, earlier_lane) =
            lanes.unwrap_or((first(later.lanes), first(earlier.lanes)));
        let cluster = |record: &Record| {
            let is_here = record.cluster == later.cluster || is_agent(record.cluster);
            if is_here {
                actor.clocks.cluster
            } else {
                record.cluster
            }
        };
        let conflict = Box::new(Conflict {
            space: space_name(self.space),
            address: self.base + hit.offset,
            first: self.party(earlier, cluster(earlier), earlier_lane),
            second: self.party(later, cluster(later), later_lane),
            missing: match lack {
                Lack::Order => missing(actor, earlier),
                Lack::Fence => "no fence.proxy.async behind the write",
            },
        });
        let kind = if lack == Lack::Fence {
            FaultKind::Proxy(conflict)
        } else if actor.is_non_coherent_with(earlier) {
            FaultKind::NonCoherentWrite(conflict)
        } else {
            FaultKind::Race(conflict)
        };
        (later_lane, kind)
    }

    fn party(&self, record: &Record, cluster: u32, lane: u32) -> Party {
        let pc = record.place.pc();
        let (line, source) = self.kernel.place(pc);
        let RaceGrid {
            grid,
            cluster: shape,
            warps_per_block,
            ..
        } = *self.grid;
        let warp = record.place.warp() as u32;
        let rank = warp / warps_per_block;
        Party {
            access: self.access_kind(pc, record.place.writes()),
            block: block_index(grid, shape, cluster.into(), rank),
            warp: warp % warps_per_block,
            lane,
            line,
            source,
        }
    }

    fn access_kind(&self, pc: u32, writes: bool) -> AccessKind {
        match &self.kernel.program[pc as usize].op {
            Op::Load {
                consistency: Consistency::NonCoherent,
                ..
            } => AccessKind::NonCoherentRead,
            Op::Exit => AccessKind::Exit,
            Op::Store { .. } | Op::StMatrix { .. } => AccessKind::Write,
            Op::Atom { .. } | Op::Red { .. } | Op::AtomicVector(_) => AccessKind::Atomic,
            Op::CpAsync(_) if self.space == Space::Shared => AccessKind::CopyWrite,
            Op::CpAsync(_) => AccessKind::CopyRead,
            Op::BulkCopy(_) if writes => AccessKind::BulkWrite,
            Op::BulkCopy(_) => AccessKind::BulkRead,
            Op::Mbarrier(_) | Op::MbarrierWait(_) => AccessKind::Mbarrier,
            Op::Wgmma(_) => AccessKind::MatrixRead,
            _ => AccessKind::Read,
        }
    }
}

fn first(lanes: u32) -> u32 {
    lanes.trailing_zeros()
}

/// What would have ordered the two accesses.
fn missing(actor: &Actor, earlier: &Record) -> &'static str {
    let later = &actor.record;
    if actor.is_non_coherent_with(earlier) {
        return "the non-coherent path needs memory that the kernel does not write";
    }
    if let Strength::Strong { bytes, reach } = actor.strength
        && let Strength::Strong {
            bytes: earlier_bytes,
            reach: earlier_reach,
        } = actor.strengths.at(earlier.place.pc())
    {
        return if bytes != earlier_bytes {
            "strong accesses of different sizes are not ordered with each other"
        } else if reach.min(earlier_reach) == Reach::Block {
            "the .cta scope of one of them does not include the other block"
        } else {
            "the .cluster scope of one of them does not include the other block"
        };
    }
    if is_agent(earlier.cluster) {
        return match earlier.place.writes() {
            true => "no wait for the mbarrier that the copy was told of",
            false => "nothing orders the second behind the wait for the first",
        };
    }
    if actor.distance(earlier) == Reach::Cluster {
        return "no barrier.cluster or release and acquire between the two blocks";
    }
    if actor.distance(earlier) == Reach::Grid {
        return if actor.clusters_meet {
            "no release and acquire between the two blocks"
        } else {
            "different blocks are ordered by nothing here"
        };
    }
    if earlier.is_moment_of(later) {
        return "the lanes of one instruction have no order";
    }
    if earlier.place.warp() == later.place.warp() {
        return "lanes of one warp need bar.warp.sync between them";
    }
    "no barrier between them"
}
