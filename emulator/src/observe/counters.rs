//! Counters: what a launch did, by instruction class and by line, and what its accesses cost.
//!
//! ```text
//! options.rs         of which machine
//! counts.rs          the numbers
//! class.rs           instruction classes and FLOPs
//! sectors.rs         device memory: 32-byte sectors of a request
//! l2.rs              ... which of them L2 serves
//! device_memory.rs   ... what is left, beside the least possible
//! banks.rs           shared memory: wavefronts and conflicts
//! bulk.rs            bulk and tensor copies, of both memories
//! lines.rs           program counter to line
//! ```
//! Blocks are counted one after the other in launch order, on one thread of the host. A GPU runs
//! many at once and interleaves their accesses, so that its L2 may keep less of what one block
//! reads again, and more of what neighbours share.

mod banks;
mod bulk;
mod class;
mod counts;
mod device_memory;
mod l2;
mod lines;
mod options;
mod sectors;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Access, Action, Exchange, Region, Step};
use crate::ir::{Kernel, Op};
use crate::machine::address::GlobalView;
use crate::machine::registers::lanes_of;
use crate::machine::warp::Warp;
use banks::{SameWord, wavefronts};
use class::{class_of, operand_bytes_of, operations_of};
use device_memory::DeviceMemory;
use l2::Purpose;
use lines::{Place, places};
use sectors::{Part, collect};

pub use class::InstructionClass;
pub use counts::{
    AllocationCounters, BankCounts, Counters, Counts, Executed, GlobalCounts, HbmCounts,
    LineCounters, LocalCounts, Operations, SECTOR_BYTES, SectorCounts, SharedCounts,
};
pub use options::{CounterOptions, L2Cache, L2CacheError};

/// What all blocks of a launch share: the program to count, and the sum.
pub(crate) struct SharedCounters {
    places: Vec<Place>,
    /// Class, arithmetic of a lane, bytes that a warp reads as operands of products.
    operations: Vec<(InstructionClass, Operations, u64)>,
    /// Addresses and sizes.
    allocations: Vec<(u64, u64)>,
    l2: L2Cache,
    sum: Mutex<Counters>,
}

impl SharedCounters {
    pub fn new(kernel: &Kernel, memory: &GlobalView, options: CounterOptions) -> Self {
        let of_op = |op: &Op| (class_of(op), operations_of(op), operand_bytes_of(op));
        Self {
            places: places(kernel),
            operations: kernel.program.iter().map(|i| of_op(&i.op)).collect(),
            allocations: memory
                .allocations()
                .map(|allocation| (allocation.base, allocation.bytes))
                .collect(),
            l2: options.l2,
            sum: Mutex::default(),
        }
    }

    /// What the sinks that are gone have counted.
    pub fn total(&self) -> Counters {
        let sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        Counters {
            launches: 1,
            ..sum.clone()
        }
    }
}

/// Counts one block at a time. Adds to the sum when it is dropped.
pub(crate) struct CounterSink {
    shared: Arc<SharedCounters>,
    blocks: u64,
    /// By program counter.
    executed: Vec<Executed>,
    /// By program counter; instructions and operations follow from `executed` at the end.
    counts: Vec<Counts>,
    memory: DeviceMemory,
    /// Whether the instruction has made a request to device memory, or to shared memory, already:
    /// its accesses come one by one for each region.
    has_asked: [bool; 2],
    /// Scratch of one request.
    parts: Vec<Part>,
}

impl CounterSink {
    pub fn new(shared: Arc<SharedCounters>) -> Self {
        let len = shared.places.len();
        Self {
            blocks: 0,
            executed: vec![Executed::default(); len],
            counts: vec![Counts::default(); len],
            memory: DeviceMemory::new(&shared.allocations, shared.l2.model()),
            has_asked: [false; 2],
            parts: Vec::new(),
            shared,
        }
    }

    pub fn cluster_start(&mut self, blocks: u32) {
        self.blocks += u64::from(blocks);
    }

    /// An instruction executes.
    pub fn before(&mut self, warp: &Warp, kernel: &Kernel, step: &Step) {
        self.execute(step.pc, step.lanes);
        self.has_asked = [false; 2];
        if step.lanes == 0 {
            return;
        }
        let targets = match &step.instruction.op {
            Op::Bra { .. } => 1,
            Op::BranchIndexed { table, index, .. } => {
                let table = &kernel.branch_tables[*table as usize];
                let indices = warp.regs.get32(*index);
                let mut targets: Vec<_> = lanes_of(step.lanes)
                    .map(|lane| table.get(indices[lane] as usize))
                    .collect();
                targets.sort_unstable();
                targets.dedup();
                targets.len()
            }
            _ => return,
        };
        let counts = &mut self.counts[step.pc as usize];
        counts.branches += 1;
        counts.divergent_branches += u64::from(targets > 1 || step.lanes != step.group);
    }

    /// Lanes execute a wait at which they may have slept.
    pub fn waited(&mut self, pc: u32, lanes: u32) {
        self.execute(pc, lanes);
    }

    /// Lanes of an exchange execute.
    pub fn exchange(&mut self, exchange: &Exchange) {
        self.execute(exchange.pc, exchange.part);
    }

    /// A warp executes the instructions that its groups stand at.
    pub fn stand(&mut self, warp: &Warp) {
        for group in &warp.groups {
            self.execute(group.pc, group.lanes);
        }
    }

    /// A warp arrives at the barrier that its groups stand at.
    pub fn arrive(&mut self, warp: &Warp) {
        self.stand(warp);
        if let Some(group) = warp.groups.first() {
            self.counts[group.pc as usize].barrier_arrivals += 1;
        }
    }

    fn execute(&mut self, pc: u32, lanes: u32) {
        let executed = &mut self.executed[pc as usize];
        executed.warp += 1;
        executed.thread += u64::from(lanes.count_ones());
    }

    /// An access of the instruction that [`Self::before`] was told of last, by a warp of the block of rank `own`.
    pub fn access(&mut self, step: &Step, access: &Access, own: u32) {
        let lane_bytes = lanes_of(access.lanes).map(|lane| u64::from(access.bytes_of(lane)));
        let lane_bytes = lane_bytes.sum();
        match access.region {
            Region::Global(index) => self.global(step.pc, access, lane_bytes, index),
            Region::Shared(rank) => self.shared(step.pc, access, lane_bytes, rank != own),
            Region::Local => {
                let local = &mut self.counts[step.pc as usize].local;
                local.requests += 1;
                local.lane_bytes += lane_bytes;
            }
            Region::ReadOnly => {}
        }
    }

    fn global(&mut self, pc: u32, access: &Access, lane_bytes: u64, index: usize) {
        collect(access, &mut self.parts);
        let global = &mut self.counts[pc as usize].global;
        let (counts, purpose) = match access.action {
            Action::Load(_) | Action::LoadMatrixRow => (&mut global.loads, Purpose::Read),
            Action::Store(_) | Action::StoreMatrixRow { .. } => {
                (&mut global.stores, Purpose::Write)
            }
            Action::Atomic(_) => (&mut global.atomics, Purpose::Update),
            Action::CopySource | Action::CopyDestination => (&mut global.copies, Purpose::Read),
        };
        *counts += SectorCounts {
            requests: u64::from(!std::mem::replace(&mut self.has_asked[0], true)),
            lane_bytes,
            bytes: self
                .parts
                .iter()
                .map(|p| u64::from(p.bytes.count_ones()))
                .sum(),
            sectors: self.parts.len() as u64,
        };
        for part in &self.parts {
            self.memory.serve(index, *part, purpose);
        }
    }

    fn shared(&mut self, pc: u32, access: &Access, lane_bytes: u64, is_peer: bool) {
        let shared = &mut self.counts[pc as usize].shared;
        let (counts, same) = match access.action {
            Action::Load(_) | Action::CopySource => (&mut shared.loads, SameWord::Shared),
            Action::LoadMatrixRow => (&mut shared.matrix_loads, SameWord::Shared),
            Action::Store(_) | Action::StoreMatrixRow { .. } => {
                (&mut shared.stores, SameWord::Shared)
            }
            Action::Atomic(_) => (&mut shared.atomics, SameWord::InTurn),
            Action::CopyDestination => (&mut shared.copies, SameWord::Shared),
        };
        let counts = if is_peer { &mut shared.peers } else { counts };
        let (wavefronts, ideal_wavefronts) = wavefronts(access, same);
        *counts += BankCounts {
            requests: u64::from(!std::mem::replace(&mut self.has_asked[1], true)),
            lane_bytes,
            wavefronts,
            ideal_wavefronts,
        };
    }

    /// Everything counted.
    fn finish(&mut self) -> Counters {
        let shared = &self.shared;
        let mut total = Counts::default();
        let mut lines: BTreeMap<u32, LineCounters> = BTreeMap::new();
        for (pc, counts) in self.counts.iter_mut().enumerate() {
            let executed = self.executed[pc];
            if executed.warp == 0 {
                continue;
            }
            let (class, operations, operand_bytes) = shared.operations[pc];
            counts.instructions.insert(class, executed);
            counts.operations = operations.times(executed.thread);
            counts.shared.operand_bytes = executed.warp * operand_bytes;
            total += counts;
            let place = &shared.places[pc];
            let line = lines.entry(place.line).or_insert_with(|| LineCounters {
                line: place.line,
                source: place.source.clone(),
                counts: Counts::default(),
            });
            line.counts += counts;
        }
        let untouched = DeviceMemory::new(&[], None);
        let allocations = std::mem::replace(&mut self.memory, untouched).finish();
        let mut hbm = HbmCounts::default();
        for allocation in &allocations {
            hbm += allocation.hbm;
        }
        Counters {
            launches: 0,
            blocks: self.blocks,
            total,
            lines: lines.into_values().collect(),
            hbm,
            allocations,
        }
    }
}

impl Drop for CounterSink {
    fn drop(&mut self) {
        let counters = self.finish();
        let mut sum = self
            .shared
            .sum
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *sum += &counters;
    }
}
