//! Shared memory of one block of a cluster.
//!
//! Bytes plus one mark per 4-byte word (the smallest asynchronous copy) that says whether a copy into it is still to be
//! waited for, or an mbarrier lies there; how many copies may still read each 16 bytes; and the operands of products
//! that may still be read. What fresh memory holds is up to the plan.

use crate::fault::{BulkRule, FaultKind, MbarrierRule};

use super::descriptor::{CHUNK, Operand};
use super::plan::Fill;

/// Marks of a word.
const FREE: u8 = 0;
const COPY: u8 = 1;
const BARRIER: u8 = 2;

/// Bytes of an mbarrier.
const BARRIER_BYTES: u32 = 8;

pub(crate) struct SharedMemory {
    /// Shared address of the first byte.
    base: u64,
    bytes: Vec<u8>,
    marks: Vec<u8>,
    marked_words: usize,
    /// Copies that may still read each chunk; empty until the first one.
    readers: Vec<u16>,
    /// Sum of `readers`.
    reads: u64,
    /// Operands of products that have not been waited for.
    operands: Vec<Reading>,
    /// How often somebody could write.
    version: u64,
}

/// An operand that a product may still read.
struct Reading {
    /// Warp, and the number of the product.
    product: (u32, u64),
    /// PTX line of the product.
    line: u32,
    operand: Operand,
    /// First byte and end of a range that holds it.
    range: (u32, u32),
}

impl SharedMemory {
    pub fn new(base: u32, bytes: usize) -> Self {
        Self {
            base: base.into(),
            bytes: vec![0; bytes],
            marks: vec![FREE; bytes.div_ceil(4)],
            marked_words: 0,
            readers: Vec::new(),
            reads: 0,
            operands: Vec::new(),
            version: 0,
        }
    }

    /// Nothing is written yet, and no copy in flight.
    pub fn reset(&mut self, fill: Fill) {
        self.bytes.fill(fill.byte());
        self.marks.fill(FREE);
        self.marked_words = 0;
        self.readers.fill(0);
        self.reads = 0;
        self.operands.clear();
        self.version += 1;
    }

    /// Shared address of the first byte, a multiple of every size of access.
    #[inline(always)]
    pub fn base(&self) -> u64 {
        self.base
    }

    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.version += 1;
        &mut self.bytes
    }

    /// Bytes read at one version are the same whenever the version is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A product of a warp, written at `line`, may read its operand from now on.
    pub fn begin_operand(&mut self, product: (u32, u64), line: u32, operand: Operand) {
        self.operands.push(Reading {
            product,
            line,
            operand,
            range: operand.range(),
        });
    }

    /// The product has been waited for.
    pub fn end_operands(&mut self, product: (u32, u64)) {
        self.operands.retain(|reading| reading.product != product);
    }

    /// Refuses a write to bytes that a product may still read.
    #[inline(always)]
    fn check_unread(&self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        if self.operands.is_empty() {
            return Ok(());
        }
        self.check_operands(offset as u32, (offset + bytes) as u32)
    }

    #[inline(never)]
    fn check_operands(&self, start: u32, end: u32) -> Result<(), FaultKind> {
        for reading in &self.operands {
            if start >= reading.range.1 || end <= reading.range.0 {
                continue;
            }
            let overlaps = |at: &u32| start < at + CHUNK && *at < end;
            if let Some(at) = reading.operand.addresses().find(overlaps) {
                return Err(FaultKind::OperandOverwritten {
                    address: self.base + u64::from(at.max(start)),
                    warp: reading.product.0,
                    line: reading.line,
                });
            }
        }
        Ok(())
    }

    /// True when any byte is guarded: only then is [`Self::check_writable`] worth asking.
    #[inline(always)]
    pub fn is_guarded(&self) -> bool {
        self.marked_words != 0 || self.reads != 0 || !self.operands.is_empty()
    }

    /// True when [`Self::check_landed`] has nothing against any of the bytes.
    pub fn has_landed(&self, start: usize, end: usize) -> bool {
        let words = &self.marks[start / 4..end.div_ceil(4)];
        self.marked_words == 0 || words.iter().fold(FREE, |all, mark| all | mark) == FREE
    }

    /// Refuses an access to bytes that a copy may still write, or that hold an mbarrier. The range is inside the memory.
    #[inline(always)]
    pub fn check_landed(&self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        let words = &self.marks[offset / 4..(offset + bytes).div_ceil(4)];
        match words.iter().position(|mark| *mark != FREE) {
            None => Ok(()),
            Some(word) => Err(self.refuse(offset, offset / 4 + word)),
        }
    }

    #[cold]
    fn refuse(&self, offset: usize, word: usize) -> FaultKind {
        let address = self.base + offset.max(4 * word) as u64;
        if self.marks[word] == BARRIER {
            return FaultKind::Mbarrier {
                address: address / 8 * 8,
                rule: MbarrierRule::RawAccess,
            };
        }
        FaultKind::AsyncReadEarly {
            address,
            copy: None,
        }
    }

    /// Refuses a write to the same bytes, and to those that an asynchronous operation may still read.
    #[inline(always)]
    pub fn check_writable(&self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        self.check_landed(offset, bytes)?;
        self.check_unread(offset, bytes)?;
        if self.reads == 0 {
            return Ok(());
        }
        let first = offset as u32 / CHUNK;
        let end = (offset + bytes).div_ceil(CHUNK as usize);
        let chunks = &self.readers[first as usize..end];
        match chunks.iter().position(|readers| *readers != 0) {
            None => Ok(()),
            Some(chunk) => {
                let chunk = u64::from(CHUNK) * (u64::from(first) + chunk as u64);
                Err(FaultKind::Bulk(BulkRule::SourceOverwritten {
                    address: self.base + chunk.max(offset as u64),
                    copy: None,
                }))
            }
        }
    }

    /// Marks the destination of a copy; two copies must not be in flight to one place.
    pub fn begin_copy(&mut self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        match self.check_writable(offset, bytes) {
            Err(FaultKind::AsyncReadEarly { address, copy }) => {
                return Err(FaultKind::AsyncOverlap { address, copy });
            }
            checked => checked?,
        }
        let words = &mut self.marks[offset / 4..(offset + bytes) / 4];
        words.fill(COPY);
        self.marked_words += words.len();
        Ok(())
    }

    /// The copy to this destination has been waited for.
    pub fn end_copy(&mut self, offset: usize, bytes: usize) {
        self.unmark(offset, bytes);
    }

    fn unmark(&mut self, offset: usize, bytes: usize) {
        let words = &mut self.marks[offset / 4..(offset + bytes) / 4];
        words.fill(FREE);
        self.marked_words -= words.len();
    }

    /// An mbarrier lies at `offset`, a multiple of its size, from now on.
    pub fn begin_barrier(&mut self, offset: u32) -> Result<(), FaultKind> {
        let (offset, bytes) = (offset as usize, BARRIER_BYTES as usize);
        self.check_writable(offset, bytes)?;
        let words = &mut self.marks[offset / 4..(offset + bytes) / 4];
        words.fill(BARRIER);
        self.marked_words += words.len();
        Ok(())
    }

    /// No mbarrier lies there any more.
    pub fn end_barrier(&mut self, offset: u32) {
        self.unmark(offset as usize, BARRIER_BYTES as usize);
    }

    /// An asynchronous operation may read these bytes until [`Self::end_read`]: until then nobody may write them.
    /// Several operations may read the same bytes.
    pub fn begin_read(&mut self, offset: u32, bytes: u32) {
        if self.readers.is_empty() {
            self.readers = vec![0; self.bytes.len().div_ceil(CHUNK as usize)];
        }
        for readers in self.chunks(offset, bytes) {
            *readers += 1;
        }
        self.reads += u64::from((offset + bytes).div_ceil(CHUNK) - offset / CHUNK);
    }

    /// The operation has read its bytes, and whoever issued it has waited for that.
    pub fn end_read(&mut self, offset: u32, bytes: u32) {
        for readers in self.chunks(offset, bytes) {
            *readers -= 1;
        }
        self.reads -= u64::from((offset + bytes).div_ceil(CHUNK) - offset / CHUNK);
    }

    fn chunks(&mut self, offset: u32, bytes: u32) -> &mut [u16] {
        let end = (offset + bytes).div_ceil(CHUNK);
        &mut self.readers[(offset / CHUNK) as usize..end as usize]
    }
}
