//! Asynchronous copies between their issue and their wait.
//!
//! A copy may read its source and write its destination at any time in between. The machine itself
//! refuses every access to the destination; here is what a copy's source needs.

use std::collections::VecDeque;

use crate::observe::Landing;

/// One lane's copy that has not been waited for.
#[derive(Clone, Copy)]
pub(super) struct Copy {
    /// Bytes that it reads.
    pub source_bytes: u8,
    /// Where it writes in shared memory: tells the copies of a warp apart, because no two of them
    /// write the same bytes.
    pub dst: u32,
    /// Where it reads: a global address.
    pub src: u64,
    pub pc: u32,
    /// The warp's epoch at the issue.
    pub epoch: u32,
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

    pub fn issue(&mut self, warp: u32, copy: Copy) {
        self.warps[warp as usize].push_back(copy);
    }

    /// Takes out the copy that has landed. Copies land about in the order of their issue.
    pub fn land(&mut self, landing: &Landing) -> Option<Copy> {
        let copies = &mut self.warps[landing.warp as usize];
        let index = copies.iter().position(|copy| copy.dst == landing.dst)?;
        copies.remove(index)
    }

    /// True when no copy is in flight.
    pub fn is_empty(&self) -> bool {
        self.warps.iter().all(VecDeque::is_empty)
    }

    /// A source that one of `writes` changes: its address, and the lane that does it.
    pub fn changed_source(&self, writes: &[Write]) -> Option<(u64, u32)> {
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
pub(super) struct Write {
    pub lane: u32,
    /// Global address.
    pub address: u64,
    pub bytes: u32,
}

impl Write {
    fn end(&self) -> u64 {
        self.address + u64::from(self.bytes)
    }
}
