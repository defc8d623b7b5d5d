//! Shared memory of one block.
//!
//! Bytes plus one flag per 4-byte word (the smallest asynchronous copy) that says whether a copy into
//! it is still to be waited for, and the operands of products that may still be read. What fresh
//! memory holds is up to the plan.

use crate::fault::FaultKind;

use super::descriptor::{CHUNK, Operand};
use super::plan::Fill;

pub(crate) struct SharedMemory {
    bytes: Vec<u8>,
    /// 1 where an asynchronous copy has not been waited for.
    in_flight: Vec<u8>,
    in_flight_words: usize,
    /// Operands of products that have not been waited for.
    readers: Vec<Reader>,
    /// How often somebody could write.
    version: u64,
}

/// An operand that a product may still read.
struct Reader {
    /// Warp, and the number of the product.
    product: (u32, u64),
    /// PTX line of the product.
    line: u32,
    operand: Operand,
    /// First byte and end of a range that holds it.
    range: (u32, u32),
}

impl SharedMemory {
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes],
            in_flight: vec![0; bytes.div_ceil(4)],
            in_flight_words: 0,
            readers: Vec::new(),
            version: 0,
        }
    }

    /// Nothing is written yet, and no copy in flight.
    pub fn reset(&mut self, fill: Fill) {
        self.bytes.fill(fill.byte());
        self.in_flight.fill(0);
        self.in_flight_words = 0;
        self.readers.clear();
        self.version += 1;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.version += 1;
        &mut self.bytes
    }

    /// Bytes read at one version are the same whenever the version is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A product of a warp, written at `line`, may read its operand from now on.
    pub fn begin_read(&mut self, product: (u32, u64), line: u32, operand: Operand) {
        self.readers.push(Reader {
            product,
            line,
            operand,
            range: operand.range(),
        });
    }

    /// The product has been waited for.
    pub fn end_reads(&mut self, product: (u32, u64)) {
        self.readers.retain(|reader| reader.product != product);
    }

    /// True when any product may still read: only then is [`Self::check_unread`] worth asking.
    #[inline(always)]
    pub fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Refuses a write to bytes that a product may still read.
    #[inline(always)]
    pub fn check_unread(&self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        if self.readers.is_empty() {
            return Ok(());
        }
        self.check_readers(offset as u32, (offset + bytes) as u32)
    }

    #[inline(never)]
    fn check_readers(&self, start: u32, end: u32) -> Result<(), FaultKind> {
        for reader in &self.readers {
            if start >= reader.range.1 || end <= reader.range.0 {
                continue;
            }
            let overlaps = |at: &u32| start < at + CHUNK && *at < end;
            if let Some(at) = reader.operand.addresses().find(overlaps) {
                return Err(FaultKind::OperandOverwritten {
                    address: at.max(start).into(),
                    warp: reader.product.0,
                    line: reader.line,
                });
            }
        }
        Ok(())
    }

    /// True when any copy is in flight: only then is [`Self::check_landed`] worth asking.
    #[inline(always)]
    pub fn has_in_flight(&self) -> bool {
        self.in_flight_words != 0
    }

    /// Refuses an access to bytes that a copy may still write. The range is inside the memory.
    #[inline(always)]
    pub fn check_landed(&self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        let words = &self.in_flight[offset / 4..(offset + bytes).div_ceil(4)];
        match words.iter().position(|flag| *flag != 0) {
            None => Ok(()),
            Some(word) => Err(FaultKind::AsyncReadEarly {
                address: offset.max(4 * (offset / 4 + word)) as u64,
                copy: None,
            }),
        }
    }

    /// Marks the destination of a copy; two copies must not be in flight to one place.
    pub fn begin_copy(&mut self, offset: usize, bytes: usize) -> Result<(), FaultKind> {
        self.check_unread(offset, bytes)?;
        let words = &mut self.in_flight[offset / 4..(offset + bytes) / 4];
        if let Some(word) = words.iter().position(|flag| *flag != 0) {
            return Err(FaultKind::AsyncOverlap {
                address: (offset + 4 * word) as u64,
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
