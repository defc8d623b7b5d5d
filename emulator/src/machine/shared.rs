//! Shared memory of one block of a cluster.
//!
//! Bytes plus one flag per 4-byte word (the smallest asynchronous copy) that says whether a copy into
//! it is still to be waited for. What fresh memory holds is up to the plan.

use crate::fault::FaultKind;

use super::plan::Fill;

pub(crate) struct SharedMemory {
    /// Shared address of the first byte.
    base: u64,
    bytes: Vec<u8>,
    /// 1 where an asynchronous copy has not been waited for.
    in_flight: Vec<u8>,
    in_flight_words: usize,
}

impl SharedMemory {
    pub fn new(base: u32, bytes: usize) -> Self {
        Self {
            base: base.into(),
            bytes: vec![0; bytes],
            in_flight: vec![0; bytes.div_ceil(4)],
            in_flight_words: 0,
        }
    }

    /// Nothing is written yet, and no copy in flight.
    pub fn reset(&mut self, fill: Fill) {
        self.bytes.fill(fill.byte());
        self.in_flight.fill(0);
        self.in_flight_words = 0;
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
        &mut self.bytes
    }

    /// True when any copy is in flight: only then is [`Self::check_landed`] worth asking.
    #[inline(always)]
    pub fn has_in_flight(&self) -> bool {
        self.in_flight_words != 0
    }

    /// Refuses an access to bytes that a copy may still write. The range, from an offset on, is inside the memory.
    #[inline(always)]
    pub fn check_landed(&self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        let words = &self.in_flight[offset / 4..(offset + bytes).div_ceil(4)];
        match words.iter().position(|flag| *flag != 0) {
            None => Ok(()),
            Some(word) => Err(FaultKind::AsyncReadEarly {
                address: self.base + offset.max(4 * (offset / 4 + word)) as u64,
                copy: None,
            }),
        }
    }

    /// Marks the destination of a copy; two copies must not be in flight to one place.
    pub fn begin_copy(&mut self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        let words = &mut self.in_flight[offset / 4..(offset + bytes) / 4];
        if let Some(word) = words.iter().position(|flag| *flag != 0) {
            return Err(FaultKind::AsyncOverlap {
                address: self.base + (offset + 4 * word) as u64,
                copy: None,
            });
        }
        words.fill(1);
        self.in_flight_words += words.len();
        Ok(())
    }

    /// The copy to this destination has been waited for.
    pub fn end_copy(&mut self, offset: usize, bytes: usize) {
        let words = &mut self.in_flight[offset / 4..(offset + bytes) / 4];
        words.fill(0);
        self.in_flight_words -= words.len();
    }
}
