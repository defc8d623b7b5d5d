//! One block of a cluster: all that its own warps share, and what warps of its peers can reach.

use crate::fault::{AccessKind, BlockStanding, Party, WarpStanding};
use crate::ir::Kernel;

use super::mbarriers::Mbarriers;
use super::plan::Fill;
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
    pub mbarriers: Mbarriers,
    /// Warps that sleep until an mbarrier of the block completes a phase.
    pub asleep: u32,
    /// Warps that have not exited.
    pub live: u32,
    /// Those of them that can run.
    pub ready: u32,
    /// False until one of its warps has run.
    pub started: bool,
    /// Warp instructions that it has executed.
    pub instructions: u64,
    /// The warp that ran last.
    pub last_warp: u32,
}

impl Block {
    /// A block of `num_warps` warps; [`Self::start`] makes it ready.
    pub fn new(num_warps: u32, shared_bytes: u32) -> Self {
        Self {
            index: [0; 3],
            shared: SharedMemory::new(shared_bytes as usize),
            barriers: Barriers::new(num_warps),
            warpgroups: Warpgroups::new(num_warps),
            mbarriers: Mbarriers::default(),
            asleep: 0,
            live: 0,
            ready: 0,
            started: false,
            instructions: 0,
            last_warp: 31,
        }
    }

    /// Brings the block to the state before its first instruction.
    pub fn start(&mut self, place: &Place, fill: Fill) {
        self.index = place.block_index;
        self.shared.reset(fill);
        self.warpgroups.reset();
        self.barriers.reset();
        self.mbarriers.clear();
        self.asleep = 0;
        self.live = u32::MAX >> (32 - place.num_warps);
        self.ready = self.live;
        self.started = false;
        self.instructions = 0;
        self.last_warp = 31;
    }

    /// Where its `warps` stand, and what its barriers wait for.
    pub fn standing(&self, warps: &[Warp], kernel: &Kernel) -> BlockStanding {
        let warps = warps.iter().map(|warp| WarpStanding {
            warp: warp.index,
            barrier: self.barriers.waited_for_by(warp.index),
            places: warp.places(kernel),
        });
        BlockStanding {
            block: self.index,
            warps: warps.collect(),
            barriers: self.barriers.standing(self.live),
            mbarriers: Vec::new(),
        }
    }

    /// The copy in flight, of one of its `warps`, to a byte of its shared memory.
    pub fn copy_to(&self, address: u64, warps: &[Warp], kernel: &Kernel) -> Option<Party> {
        warps.iter().find_map(|warp| {
            let (lane, pc) = warp.copies.writing_to(address)?;
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
