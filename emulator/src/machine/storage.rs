//! One way to read and write 1 to 8 bytes, whatever holds them: plain bytes or shared atomic words.
//! Offsets are inside and aligned to the size; callers have checked both.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::memory::replace_bits;

/// Memory that can be read.
pub(crate) trait Read {
    /// The `N` bytes at `offset`, little-endian, zero-extended.
    fn get<const N: usize>(&self, offset: usize) -> u64;
}

/// Memory that can be written.
pub(crate) trait Write: Read {
    /// Stores the low `N` bytes of `value`.
    fn put<const N: usize>(&mut self, offset: usize, value: u64);
}

impl Read for [u8] {
    #[inline(always)]
    fn get<const N: usize>(&self, offset: usize) -> u64 {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self[offset..offset + N]);
        u64::from_le_bytes(wide)
    }
}

impl Write for [u8] {
    #[inline(always)]
    fn put<const N: usize>(&mut self, offset: usize, value: u64) {
        self[offset..offset + N].copy_from_slice(&value.to_le_bytes()[..N]);
    }
}

/// Words of an allocation that other threads may access at the same time.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(pub &'a [AtomicU32]);

impl Read for Words<'_> {
    #[inline(always)]
    fn get<const N: usize>(&self, offset: usize) -> u64 {
        let index = offset / 4;
        let word = |i: usize| u64::from(self.0[i].load(Relaxed));
        match N {
            8 => word(index + 1) << 32 | word(index),
            4 => word(index),
            2 => word(index) >> (8 * (offset & 2)) & 0xffff,
            _ => word(index) >> (8 * (offset & 3)) & 0xff,
        }
    }
}

impl Write for Words<'_> {
    #[inline(always)]
    fn put<const N: usize>(&mut self, offset: usize, value: u64) {
        let word = &self.0[offset / 4];
        let part = |ones: u32, shift: usize| {
            replace_bits(word, ones << shift, (value as u32 & ones) << shift);
        };
        match N {
            8 => {
                word.store(value as u32, Relaxed);
                self.0[offset / 4 + 1].store((value >> 32) as u32, Relaxed);
            }
            4 => word.store(value as u32, Relaxed),
            2 => part(0xffff, 8 * (offset & 2)),
            _ => part(0xff, 8 * (offset & 3)),
        }
    }
}

impl Words<'_> {
    /// Copies bytes from `offset` on, whatever its alignment.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let word = self.0[at / 4].load(Relaxed).to_le_bytes();
            let (skip, len) = (at % 4, rest.len().min(4 - at % 4));
            let (head, tail) = rest.split_at_mut(len);
            head.copy_from_slice(&word[skip..skip + len]);
            (at, rest) = (at + len, tail);
        }
    }

    /// Copies bytes to `offset` and on, whatever its alignment.
    pub fn write(&self, offset: usize, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (skip, len) = (at % 4, rest.len().min(4 - at % 4));
            let (head, tail) = rest.split_at(len);
            let mut word = [0; 4];
            word[skip..skip + len].copy_from_slice(head);
            let value = u32::from_le_bytes(word);
            if len == 4 {
                self.0[at / 4].store(value, Relaxed);
            } else {
                let ones = (u32::MAX >> (32 - 8 * len)) << (8 * skip);
                replace_bits(&self.0[at / 4], ones, value);
            }
            (at, rest) = (at + len, tail);
        }
    }
}
