//! Shared memory of one block.
//!
//! Bytes plus one mark per 4-byte word (the smallest asynchronous copy) that says whether a copy into it is still to be
//! waited for, or an mbarrier lies there; and how many asynchronous operations may still read each 16 bytes. What fresh
//! memory holds is up to the plan.

use crate::fault::{BulkRule, FaultKind, MbarrierRule};

use super::plan::Fill;

/// Marks of a word.
const FREE: u8 = 0;
const COPY: u8 = 1;
const BARRIER: u8 = 2;

/// Bytes of an mbarrier.
const BARRIER_BYTES: u32 = 8;
/// Asynchronous operations read whole chunks of this many bytes.
const CHUNK: u32 = 16;

pub(crate) struct SharedMemory {
    bytes: Vec<u8>,
    marks: Vec<u8>,
    marked_words: usize,
    /// Operations that may still read each chunk; empty until the first one.
    readers: Vec<u16>,
    /// Sum of `readers`.
    reads: u64,
}

impl SharedMemory {
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes],
            marks: vec![FREE; bytes.div_ceil(4)],
            marked_words: 0,
            readers: Vec::new(),
            reads: 0,
        }
    }

    /// Nothing is written yet, and no copy in flight.
    pub fn reset(&mut self, fill: Fill) {
        self.bytes.fill(fill.byte());
        self.marks.fill(FREE);
        self.marked_words = 0;
        self.readers.fill(0);
        self.reads = 0;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// True when any byte is guarded: only then is [`Self::check_landed`] worth asking.
    #[inline(always)]
    pub fn is_guarded(&self) -> bool {
        self.marked_words != 0 || self.reads != 0
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
        let address = offset.max(4 * word) as u64;
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
                    address: chunk.max(offset as u64),
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
