//! One bulk copy on its way.

use crate::fault::{AccessKind, Party};
use crate::ir::{AtomicOp, AtomicType, Kernel};

use super::super::context::Context;
use super::super::reduce;
use super::super::shared::SharedMemory;
use super::super::storage::Words;
use super::super::swizzle::Swizzle;
use super::super::tensor_box::Run;

/// The lane that issued a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Issuer {
    /// Rank of its block in the cluster.
    pub rank: u32,
    /// Warp in the block, and its number in the cluster.
    pub warp: u32,
    pub number: u32,
    pub lane: u32,
    /// Where it was issued.
    pub pc: u32,
}

/// The mbarrier that a copy tells when it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub rank: u32,
    /// Offset in shared memory.
    pub barrier: u32,
    /// Phase at the issue, in which the copy has to be complete.
    pub phase: u64,
}

/// Where a copy begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Device memory; the runs have the addresses.
    Global,
    /// Shared memory of the block of a rank, from an offset on.
    Shared { rank: u32, start: u32 },
}

/// A copy, from its issue until nobody has to know of it any more.
pub(crate) struct Flight {
    pub issuer: Issuer,
    pub from: End,
    pub to: End,
    /// In the order in which they move.
    pub runs: Vec<Run>,
    /// Bytes in shared memory.
    pub bytes: u32,
    pub swizzle: Swizzle,
    fill: [u8; 8],
    pub reduction: Option<(AtomicOp, AtomicType)>,
    pub signal: Option<Signal>,
    /// Number of the thread's bulk group that it belongs to.
    pub group: u32,
    /// What was read and not yet written, at its place in the box.
    data: Vec<u8>,
    /// Runs whose source has been read, and whose destination has been written.
    read: usize,
    written: usize,
    /// True for all but one of the copies of a multicast.
    pub is_repeated: bool,
    /// True once its thread has waited until the source was read.
    pub read_awaited: bool,
    /// Somebody has asked for it so often that it moves next.
    pub is_urgent: bool,
    /// Times that somebody has asked for it.
    pub asked: u32,
}

impl Flight {
    pub fn new(
        issuer: Issuer,
        (from, to): (End, End),
        (runs, bytes): (Vec<Run>, u32),
        (swizzle, fill): (Swizzle, [u8; 8]),
        reduction: Option<(AtomicOp, AtomicType)>,
        (signal, group): (Option<Signal>, u32),
    ) -> Self {
        Self {
            issuer,
            from,
            to,
            runs,
            bytes,
            swizzle,
            fill,
            reduction,
            signal,
            group,
            data: vec![0; bytes as usize],
            read: 0,
            written: 0,
            is_repeated: false,
            read_awaited: false,
            is_urgent: false,
            asked: 0,
        }
    }

    /// True when its destination has been written.
    pub fn is_written(&self) -> bool {
        self.written == self.runs.len()
    }

    /// Runs whose source has not been read, and that have been read and not written.
    pub fn left(&self) -> (usize, usize) {
        (self.runs.len() - self.read, self.read - self.written)
    }

    /// The bytes of shared memory that it writes, or none.
    pub fn destination(&self) -> Option<(u32, u32)> {
        match self.to {
            End::Shared { rank, start } => Some((rank, start)),
            End::Global => None,
        }
    }

    /// The bytes of shared memory that it reads, or none.
    pub fn source(&self) -> Option<(u32, u32)> {
        match self.from {
            End::Shared { rank, start } => Some((rank, start)),
            End::Global => None,
        }
    }

    /// Reads the sources of the next `count` runs.
    pub fn read(&mut self, context: &mut Context, count: usize) {
        let end = self.runs.len().min(self.read.saturating_add(count));
        for index in self.read..end {
            let run = self.runs[index];
            let data = &mut self.data[run.shared as usize..][..run.bytes as usize];
            match (self.from, run.global) {
                (End::Shared { rank, start }, _) => {
                    let shared = &context.blocks[rank as usize].shared;
                    gather(shared, self.swizzle, start + run.shared, data);
                }
                (End::Global, Some(global)) => {
                    if let Some(allocation) = context.global.allocation(global) {
                        let offset = (global - allocation.base) as usize;
                        Words(&allocation.words).read(offset, data);
                    }
                }
                // Both sizes are powers of two, so that a run begins with a whole element.
                (End::Global, None) => {
                    for (byte, fill) in data.iter_mut().zip(self.fill.iter().cycle()) {
                        *byte = *fill;
                    }
                }
            }
        }
        self.read = end;
    }

    /// Writes the destinations of the next `count` runs, as far as they have been read.
    pub fn write(&mut self, context: &mut Context, count: usize) {
        let end = self.read.min(self.written.saturating_add(count));
        for index in self.written..end {
            let run = self.runs[index];
            let data = &self.data[run.shared as usize..][..run.bytes as usize];
            match (self.to, run.global) {
                (End::Shared { rank, start }, _) => {
                    let shared = &mut context.blocks[rank as usize].shared;
                    let at = start + run.shared;
                    match self.reduction {
                        Some((op, ty)) => {
                            reduce_shared(shared.bytes_mut(), (op, ty), at as usize, data);
                        }
                        None => scatter(shared, self.swizzle, at, data),
                    }
                }
                (End::Global, Some(global)) => {
                    let Some(allocation) = context.global.allocation(global) else {
                        continue;
                    };
                    let offset = (global - allocation.base) as usize;
                    match self.reduction {
                        Some(how) => reduce_global(&allocation.words, how, offset, data),
                        None => Words(&allocation.words).write(offset, data),
                    }
                }
                // Outside of the tensor.
                (End::Global, None) => {}
            }
        }
        self.written = end;
    }

    /// The copy as a report names it.
    pub fn party(&self, kernel: &Kernel, block: [u32; 3], access: AccessKind) -> Party {
        let (line, source) = kernel.place(self.issuer.pc);
        Party {
            access,
            block,
            warp: self.issuer.warp,
            lane: self.issuer.lane,
            line,
            source,
        }
    }
}

/// Calls `each` with the places, in memory and in the run, of the pieces that a swizzle leaves whole.
fn chunks(swizzle: Swizzle, start: u32, bytes: usize, mut each: impl FnMut(usize, usize, usize)) {
    if swizzle == Swizzle::None {
        return each(start as usize, 0, bytes);
    }
    let mut done = 0;
    while done < bytes {
        let linear = start + done as u32;
        let len = (16 - linear as usize % 16).min(bytes - done);
        each(swizzle.apply(linear) as usize, done, len);
        done += len;
    }
}

fn gather(shared: &SharedMemory, swizzle: Swizzle, start: u32, data: &mut [u8]) {
    let bytes = shared.bytes();
    chunks(swizzle, start, data.len(), |at, done, len| {
        data[done..done + len].copy_from_slice(&bytes[at..at + len]);
    });
}

fn scatter(shared: &mut SharedMemory, swizzle: Swizzle, start: u32, data: &[u8]) {
    let bytes = shared.bytes_mut();
    chunks(swizzle, start, data.len(), |at, done, len| {
        bytes[at..at + len].copy_from_slice(&data[done..done + len]);
    });
}

/// Little-endian values of the elements in `data`, with their offsets.
fn elements(data: &[u8], size: usize) -> impl Iterator<Item = (usize, u64)> {
    data.chunks_exact(size)
        .enumerate()
        .map(move |(index, chunk)| {
            let value = chunk
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
            (index * size, value)
        })
}

fn reduce_global(
    words: &[std::sync::atomic::AtomicU32],
    (op, ty): (AtomicOp, AtomicType),
    offset: usize,
    data: &[u8],
) {
    for (at, value) in elements(data, reduce::size_of(ty) as usize) {
        reduce::global(words, (op, ty), offset + at, (value, 0));
    }
}

fn reduce_shared(bytes: &mut [u8], (op, ty): (AtomicOp, AtomicType), offset: usize, data: &[u8]) {
    for (at, value) in elements(data, reduce::size_of(ty) as usize) {
        reduce::shared(bytes, (op, ty), offset + at, (value, 0));
    }
}
