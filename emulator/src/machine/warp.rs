//! One warp: its registers, its local memory and where its lanes stand.

use super::async_copy::AsyncCopies;
use super::bulk::BulkGroups;
use super::plan::{LaneOrder, Plan};
use super::registers::{LANES, Lanes, Mask, Registers, ballot, each_lane};
use super::wgmma::Products;
use crate::fault::LanesAt;
use crate::ir::{Axis, Kernel, Preload, SharedPlace, Special};

/// Lanes that stand at one program counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub pc: u32,
    /// Bit i is lane i; not empty.
    pub lanes: u32,
    /// True when the instruction there needs lanes that are not here.
    pub waiting: bool,
}

/// What the special registers of a warp are made of.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// `%ctaid`.
    pub block_index: [u32; 3],
    pub warp: u32,
    pub num_warps: u32,
    /// Blocks along x, y, z of the cluster, and the block's place among them.
    pub cluster: [u32; 3],
    pub rank: u32,
    /// Whether the launch or the entry has asked for clusters.
    pub is_explicit_cluster: bool,
    /// Address of offset 0 of shared memory.
    pub shared_base: u32,
    /// Where the dynamic array of shared memory lies, and its size.
    pub dynamic_shared_offset: u32,
    pub dynamic_shared_bytes: u32,
    pub total_shared_bytes: u32,
}

impl Place {
    /// The block's place in its cluster along x, y, z.
    fn block_in_cluster(&self) -> [u32; 3] {
        let [nx, ny, _] = self.cluster;
        [self.rank % nx, self.rank / nx % ny, self.rank / nx / ny]
    }

    /// Address of a byte of the block's shared memory.
    fn shared_address(&self, from: SharedPlace, offset: i64) -> u64 {
        let start = match from {
            SharedPlace::Start => self.shared_base,
            SharedPlace::Dynamic => self.shared_base + self.dynamic_shared_offset,
        };
        i64::from(start).wrapping_add(offset) as u64
    }
}

pub(crate) struct Warp {
    /// Its number in the block.
    pub index: u32,
    /// Its number in the cluster: those of lower ranks come first.
    pub number: u32,
    pub regs: Registers,
    /// Local memory, one lane after the other.
    pub local: Vec<u8>,
    pub copies: AsyncCopies,
    pub bulk: BulkGroups,
    pub products: Products,
    /// Groups that are not running; they share no lane and no program counter.
    pub groups: Vec<Group>,
    /// Lanes that the block's size gives it.
    pub born: u32,
    /// Lanes that have not exited.
    pub live: u32,
    /// True when the highest group is to run next, so that lanes spinning at a lower program counter
    /// cannot starve the ones they wait for.
    pub favour_last: bool,
    /// Where lanes of it have exited last.
    pub exit_pc: u32,
}

impl Warp {
    /// A warp for blocks of `kernel`; [`Self::start`] makes it ready.
    pub fn new(kernel: &Kernel, index: u32, number: u32) -> Self {
        Self {
            index,
            number,
            regs: Registers::new(kernel.slots),
            local: vec![0; LANES * kernel.local_bytes as usize],
            copies: AsyncCopies::default(),
            bulk: BulkGroups::new(),
            products: Products::default(),
            groups: Vec::new(),
            born: 0,
            live: 0,
            favour_last: false,
            exit_pc: 0,
        }
    }

    /// Brings every lane to the first instruction of a fresh block.
    pub fn start(&mut self, kernel: &Kernel, place: &Place, plan: &Plan, globals: &[u64]) {
        let threads = place.block.iter().product::<u32>() - 32 * place.warp;
        self.born = if threads >= 32 {
            u32::MAX
        } else {
            (1 << threads) - 1
        };
        self.live = self.born;
        self.groups.clear();
        self.groups.push(Group {
            pc: 0,
            lanes: self.live,
            waiting: false,
        });
        self.favour_last = plan.lanes == LaneOrder::HighestFirst;
        self.copies.reset();
        self.bulk = BulkGroups::new();
        self.products.reset(kernel);
        self.local.fill(plan.fill.byte());
        self.regs.reset(plan.fill);
        for preload in &kernel.preloads {
            self.preload(*preload, place, globals);
        }
    }

    fn preload(&mut self, preload: Preload, place: &Place, globals: &[u64]) {
        match preload {
            Preload::Const32(d, value) => *self.regs.get32_mut(d) = [value; LANES],
            Preload::Const64(d, value) => *self.regs.get64_mut(d) = [value; LANES],
            Preload::ConstPred(d, value) => {
                let everyone = Mask {
                    lanes: u32::MAX,
                    whole: true,
                };
                self.regs
                    .set_pred(everyone, d, if value { u32::MAX } else { 0 });
            }
            Preload::Special(d, special) => *self.regs.get32_mut(d) = special_value(special, place),
            Preload::Special64(d, special) => {
                *self.regs.get64_mut(d) = special_value(special, place).map(u64::from);
            }
            Preload::SpecialPred(d, special) => {
                let everyone = Mask {
                    lanes: u32::MAX,
                    whole: true,
                };
                let values = special_value(special, place);
                let bits = ballot(|lane| values[lane] != 0);
                self.regs.set_pred(everyone, d, bits);
            }
            Preload::Shared32(d, from, offset) => {
                *self.regs.get32_mut(d) = [place.shared_address(from, offset) as u32; LANES];
            }
            Preload::Shared64(d, from, offset) => {
                *self.regs.get64_mut(d) = [place.shared_address(from, offset); LANES];
            }
            Preload::Global(d, variable, offset) => {
                let address = globals[variable as usize].wrapping_add_signed(offset);
                *self.regs.get64_mut(d) = [address; LANES];
            }
        }
    }

    /// Lanes that have exited.
    pub fn exited(&self) -> u32 {
        self.born & !self.live
    }

    /// Where its lanes stand, in the order of the text.
    pub fn places(&self, kernel: &Kernel) -> Vec<LanesAt> {
        let mut groups = self.groups.clone();
        groups.sort_unstable_by_key(|group| group.pc);
        let line = |pc: u32| kernel.locations.get(pc as usize).map_or(0, |at| at.line);
        groups
            .iter()
            .map(|group| LanesAt {
                lanes: group.lanes,
                line: line(group.pc),
            })
            .collect()
    }

    /// Adds a group, merging it with one at the same place. A merged group tries its instruction
    /// again.
    pub fn put(&mut self, group: Group) {
        match self.groups.iter_mut().find(|other| other.pc == group.pc) {
            Some(other) => {
                other.lanes |= group.lanes;
                other.waiting = false;
            }
            None => self.groups.push(group),
        }
    }

    /// Takes the group that runs next; none when all wait or the warp has exited.
    pub fn take_ready(&mut self) -> Option<Group> {
        let ready = self
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| !group.waiting);
        let chosen = if self.favour_last {
            ready.max_by_key(|(_, group)| group.pc)
        } else {
            ready.min_by_key(|(_, group)| group.pc)
        };
        let index = chosen?.0;
        Some(self.groups.swap_remove(index))
    }

    /// True when a group running at `pc` must stop: it meets another one, or one that is behind
    /// should run first.
    pub fn must_switch(&self, pc: u32) -> bool {
        self.groups
            .iter()
            .any(|other| other.pc == pc || (!self.favour_last && other.pc < pc && !other.waiting))
    }

    /// Lets every group go on behind its instruction, which has completed.
    pub fn advance_all(&mut self) {
        for group in std::mem::take(&mut self.groups) {
            self.put(Group {
                pc: group.pc + 1,
                waiting: false,
                ..group
            });
        }
    }
}

fn axis(values: [u32; 3], axis: Axis) -> u32 {
    match axis {
        Axis::X => values[0],
        Axis::Y => values[1],
        Axis::Z => values[2],
    }
}

fn special_value(special: Special, place: &Place) -> Lanes<u32> {
    let every = |value| [value; LANES];
    let per_lane = |f: fn(u32) -> u32| each_lane(|lane| f(lane as u32));
    match special {
        Special::Tid(of) => each_lane(|lane| {
            let linear = 32 * place.warp + lane as u32;
            let [nx, ny, _] = place.block;
            axis([linear % nx, linear / nx % ny, linear / nx / ny], of)
        }),
        Special::Ntid(of) => every(axis(place.block, of)),
        Special::Ctaid(of) => every(axis(place.block_index, of)),
        Special::Nctaid(of) => every(axis(place.grid, of)),
        Special::ClusterId(of) => every(axis(place.block_index, of) / axis(place.cluster, of)),
        Special::NumClusters(of) => every(axis(place.grid, of) / axis(place.cluster, of)),
        Special::BlockInCluster(of) => every(axis(place.block_in_cluster(), of)),
        Special::ClusterShape(of) => every(axis(place.cluster, of)),
        Special::ClusterRank => every(place.rank),
        Special::ClusterBlocks => every(place.cluster.iter().product()),
        Special::IsExplicitCluster => every(u32::from(place.is_explicit_cluster)),
        Special::LaneId => per_lane(|lane| lane),
        Special::WarpId => every(place.warp),
        Special::NumWarps => every(place.num_warps),
        // One multiprocessor that runs one block after the other.
        Special::SmId | Special::GridId => every(0),
        Special::NumSms => every(1),
        Special::LaneMaskEq => per_lane(|lane| 1 << lane),
        Special::LaneMaskLt => per_lane(|lane| (1 << lane) - 1),
        Special::LaneMaskLe => per_lane(|lane| u32::MAX >> (31 - lane)),
        Special::LaneMaskGt => per_lane(|lane| !(u32::MAX >> (31 - lane))),
        Special::LaneMaskGe => per_lane(|lane| u32::MAX << lane),
        Special::DynamicSharedBytes => every(place.dynamic_shared_bytes),
        Special::TotalSharedBytes => every(place.total_shared_bytes),
    }
}
