//! One block of a cluster: all that its own warps share, and what warps of its peers can reach.

use crate::fault::{AccessKind, Awaited, BlockStanding, MbarrierStanding, Party, WarpStanding};
use crate::ir::Kernel;

use super::cluster_barrier::ClusterArrivals;
use super::mbarriers::Mbarriers;
use super::plan::Fill;
use super::register_pool::RegisterPool;
use super::registers::lanes_of;
use super::shared::SharedMemory;
use super::sync::Barriers;
use super::warp::{Place, Warp};
use super::warpgroup::Warpgroups;

/// Everything of a block but its warps.
pub(crate) struct Block {
    /// `%ctaid`.
    pub index: [u32; 3],
    pub shared: SharedMemory,
    pub barriers: Barriers,
    pub warpgroups: Warpgroups,
    /// What `setmaxnreg` gives back and takes.
    pub registers: RegisterPool,
    pub mbarriers: Mbarriers,
    /// Warps that sleep until an mbarrier of the block completes a phase.
    pub asleep: u32,
    pub cluster: ClusterArrivals,
    /// Warps that have not exited.
    pub live: u32,
    /// Those of them that can run.
    pub ready: u32,
    /// False until one of its warps has run.
    pub started: bool,
    /// Warp instructions that it has executed.
    pub instructions: u64,
}

impl Block {
    /// A block of `num_warps` warps with shared memory at an address; [`Self::start`] makes it ready.
    pub fn new(num_warps: u32, shared_base: u32, shared_bytes: u32) -> Self {
        Self {
            index: [0; 3],
            shared: SharedMemory::new(shared_base, shared_bytes as usize),
            barriers: Barriers::new(num_warps),
            warpgroups: Warpgroups::new(num_warps),
            registers: RegisterPool::default(),
            mbarriers: Mbarriers::default(),
            asleep: 0,
            cluster: ClusterArrivals::default(),
            live: 0,
            ready: 0,
            started: false,
            instructions: 0,
        }
    }

    /// Brings the block to the state before its first instruction.
    pub fn start(&mut self, kernel: &Kernel, place: &Place, fill: Fill) {
        self.index = place.block_index;
        self.shared.reset(fill);
        self.warpgroups.reset();
        self.registers.reset(kernel, place.num_warps);
        self.barriers.reset();
        self.mbarriers.reset(self.shared.base());
        self.asleep = 0;
        self.cluster = ClusterArrivals::default();
        self.live = u32::MAX >> (32 - place.num_warps);
        self.ready = self.live;
        self.started = false;
        self.instructions = 0;
    }

    /// Where its `warps` stand, and what its barriers and `mbarriers` wait for.
    pub fn standing(
        &self,
        warps: &[Warp],
        kernel: &Kernel,
        mbarriers: Vec<MbarrierStanding>,
    ) -> BlockStanding {
        let warps = warps.iter().map(|warp| WarpStanding {
            warp: warp.index,
            awaits: self.awaited_by(warp.index),
            places: warp.places(kernel),
        });
        BlockStanding {
            block: self.index,
            warps: warps.collect(),
            barriers: self.barriers.standing(self.live),
            mbarriers,
            registers: self.registers.standing(),
            cluster_awaits: lanes_of(self.cluster.awaited(self.live))
                .map(|warp| warp as u32)
                .collect(),
        }
    }

    /// What a warp of it waits at.
    fn awaited_by(&self, warp: u32) -> Option<Awaited> {
        if self.cluster.waits(warp) {
            return Some(Awaited::ClusterBarrier);
        }
        self.barriers.waited_for_by(warp).map(Awaited::Barrier)
    }

    /// The copy in flight, of one of its `warps`, to a byte of its shared memory.
    pub fn copy_to(&self, address: u64, warps: &[Warp], kernel: &Kernel) -> Option<Party> {
        warps.iter().find_map(|warp| {
            let offset = address.wrapping_sub(self.shared.base());
            let (lane, pc) = warp.copies.writing_to(offset)?;
            let (line, source) = kernel.place(pc);
            Some(Party {
                access: AccessKind::CopyWrite,
                block: self.index,
                warp: warp.index,
                lane: lane.into(),
                line,
                source,
            })
        })
    }
}
