//! `cp.async` between its issue and its wait.
//!
//! A copy may read its source and write its destination at any time in between. The machine itself
//! refuses every access to the destination; here is what a copy's source needs, and what the two
//! accesses are to others once the copy has been waited for.

use std::collections::VecDeque;

use crate::fault::{FaultKind, Outcome, lane_fault};
use crate::ir::Op;
use crate::machine::address::effective;
use crate::machine::async_copy::source_bytes;
use crate::machine::registers::{Mask, lanes_of};
use crate::machine::warp::Warp;
use crate::observe::{Access, Landing, Region, Step};

use super::record::{Place, Record};
use super::{Races, actor, shared_location};

/// One lane's copy that has not been waited for.
#[derive(Clone, Copy)]
struct Copy {
    /// Bytes that it reads.
    source_bytes: u8,
    /// Where it writes in shared memory: tells the copies of a warp apart, because no two of them
    /// write the same bytes.
    dst: u32,
    /// Where it reads: a global address.
    src: u64,
    pc: u32,
    /// The warp's epoch at the issue.
    epoch: u32,
}

/// The copies of a cluster that are in flight.
pub(super) struct Copies {
    /// By warp, oldest first.
    warps: Vec<VecDeque<Copy>>,
}

impl Copies {
    pub fn new(num_warps: u32) -> Self {
        Self {
            warps: vec![VecDeque::new(); num_warps as usize],
        }
    }

    pub fn clear(&mut self) {
        self.warps.iter_mut().for_each(VecDeque::clear);
    }

    fn issue(&mut self, warp: u32, copy: Copy) {
        self.warps[warp as usize].push_back(copy);
    }

    /// Takes out the copy that has landed. Copies land about in the order of their issue.
    fn land(&mut self, landing: &Landing) -> Option<Copy> {
        let copies = &mut self.warps[landing.warp as usize];
        let index = copies.iter().position(|copy| copy.dst == landing.dst)?;
        copies.remove(index)
    }

    /// True when no copy is in flight.
    pub fn is_empty(&self) -> bool {
        self.warps.iter().all(VecDeque::is_empty)
    }

    /// A source that one of `writes` changes: its address, and the lane that does it.
    fn changed_source(&self, writes: &[Write]) -> Option<(u64, u32)> {
        let first = writes.iter().map(|write| write.address).min()?;
        let end = writes.iter().map(Write::end).max()?;
        let overlaps = |copy: &&Copy, first, end| {
            copy.source_bytes > 0
                && first < copy.src + u64::from(copy.source_bytes)
                && copy.src < end
        };
        let in_flight = self.warps.iter().flatten();
        in_flight
            .filter(|copy| overlaps(copy, first, end))
            .find_map(|copy| {
                let mut writes = writes.iter();
                let write = writes.find(|write| overlaps(&copy, write.address, write.end()))?;
                Some((copy.src, write.lane))
            })
    }
}

/// One lane's write to device memory.
struct Write {
    lane: u32,
    /// Global address.
    address: u64,
    bytes: u32,
}

impl Write {
    fn end(&self) -> u64 {
        self.address + u64::from(self.bytes)
    }
}

impl Races {
    /// Copies are on their way.
    pub(super) fn issue(&mut self, warp: &Warp, step: &Step, access: &Access) {
        let Op::CpAsync(copy) = &step.instruction.op else {
            return;
        };
        let mask = Mask {
            lanes: access.lanes,
            whole: false,
        };
        let sources = effective(&warp.regs, mask, copy.src);
        for lane in lanes_of(access.lanes) {
            let source_bytes = source_bytes(&warp.regs, copy, lane).min(access.bytes);
            let copy = Copy {
                source_bytes: source_bytes as u8,
                dst: access.offsets[lane] as u32,
                src: sources[lane],
                pc: step.pc,
                epoch: self.clocks.epoch(warp.number),
            };
            self.copies.issue(warp.number, copy);
        }
    }

    /// Faults when a write changes what a copy may still have to read. The writer is ordered after
    /// the issue, or it would have raced with it; but it is not ordered after the wait.
    #[cold]
    pub(super) fn check_sources(&self, base: u64, access: &Access) -> Outcome {
        let writes: Vec<Write> = lanes_of(access.lanes)
            .map(|lane| Write {
                lane: lane as u32,
                address: base + access.offsets[lane],
                bytes: access.bytes,
            })
            .collect();
        match self.copies.changed_source(&writes) {
            Some((address, lane)) => lane_fault(lane, FaultKind::CopySourceModified { address }),
            None => Ok(()),
        }
    }

    /// A copy's thread has waited: for others, its write happens now, and its read has lasted until
    /// now.
    pub fn landed(&mut self, landing: &Landing) {
        let Some(copy) = self.copies.land(landing) else {
            return;
        };
        let (warp, lanes) = (landing.warp, 1 << landing.lane);
        let epoch = self.clocks.epoch(warp);
        let write = Record {
            cluster: 0,
            epoch,
            lanes,
            place: Place::new(copy.pc, warp, true),
        };
        let bytes = u32::from(landing.bytes);
        let rank = warp / self.grid.warps_per_block;
        self.shadows[rank as usize].land(write, landing.dst, bytes);
        let location = (None, shared_location(rank, landing.dst));
        self.heads.overwrite(location, bytes);
        if landing.source_bytes > 0 && copy.epoch != epoch {
            let place = Place::new(copy.pc, warp, false);
            let mut reader = actor(&self.grid, &self.clocks, Region::Global(0), place);
            reader.record.lanes = lanes;
            let bytes = u32::from(landing.source_bytes);
            self.grid.shadow.read_again(&reader, landing.src, bytes);
        }
    }
}
