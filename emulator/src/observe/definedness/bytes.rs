//! Undefined bytes of a block's shared memory or of a warp's local memory.

use std::collections::HashMap;

use crate::fault::Origin;
use crate::memory::written::ones;

/// One bit per byte, set where the byte is undefined.
pub(super) struct UndefinedBytes {
    bits: Vec<u64>,
    len: usize,
    /// Number of set bits.
    count: u32,
    /// Where the undefined bytes that somebody stored come from; the others were never written.
    origins: HashMap<usize, Origin>,
}

impl UndefinedBytes {
    /// `len` defined bytes.
    pub fn new(len: usize) -> Self {
        Self {
            // One word more, so that a range that crosses words can always read two.
            bits: vec![0; len / 64 + 2],
            len,
            count: 0,
            origins: HashMap::new(),
        }
    }

    /// Makes all bytes undefined, or all defined.
    pub fn reset(&mut self, undefined: bool) {
        self.origins.clear();
        self.bits.fill(0);
        self.count = 0;
        if undefined {
            self.bits[..self.len / 64].fill(u64::MAX);
            self.bits[self.len / 64] = ones(self.len as u32 % 64);
            self.count = self.len as u32;
        }
    }

    /// True when any byte is undefined.
    pub fn any(&self) -> bool {
        self.count != 0
    }

    /// Bit i of the result is set when byte `start + i` is undefined; `len` is at most 64.
    pub fn get(&self, start: usize, len: u32) -> u64 {
        let (word, shift) = (start / 64, start as u32 % 64);
        let mut bits = self.bits[word] >> shift;
        if shift + len > 64 {
            bits |= self.bits[word + 1] << (64 - shift);
        }
        bits & ones(len)
    }

    /// Gives the `len` bytes from `start` on the states of `undefined`, bit i for byte `start + i`;
    /// `len` is at most 64.
    pub fn set(&mut self, start: usize, len: u32, undefined: u64) {
        let (word, shift) = (start / 64, start as u32 % 64);
        self.replace(word, ones(len) << shift, undefined << shift);
        if shift + len > 64 {
            let beyond = 64 - shift;
            self.replace(word + 1, ones(len) >> beyond, undefined >> beyond);
        }
    }

    fn replace(&mut self, word: usize, range: u64, undefined: u64) {
        let old = self.bits[word];
        let new = old & !range | undefined;
        self.bits[word] = new;
        self.count = self.count - old.count_ones() + new.count_ones();
    }

    /// Notes where the undefined value stored to the byte at `at` comes from.
    pub fn set_origin(&mut self, at: usize, origin: Origin) {
        self.origins.insert(at, origin);
    }

    /// Where the undefined byte at `at` comes from, unless it was never written.
    pub fn origin(&self, at: usize) -> Option<Origin> {
        self.origins.get(&at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_across_words_keep_their_neighbours() {
        for start in [0, 3, 56, 60, 63, 64, 100, 116] {
            let mut bytes = UndefinedBytes::new(130);
            bytes.reset(true);
            bytes.set(start, 14, 0b10_0000_0000_0001);
            assert_eq!(bytes.get(start, 14), 0b10_0000_0000_0001);
            for at in 0..130 {
                let inside = start < at && at < start + 13;
                assert_eq!(bytes.get(at, 1) == 0, inside, "{start} {at}");
            }
            assert_eq!(bytes.count, 130 - 12);
        }
    }

    #[test]
    fn bytes_are_all_defined_when_each_has_been_defined() {
        let mut bytes = UndefinedBytes::new(70);
        assert!(!bytes.any());
        bytes.reset(true);
        for at in 0..70 {
            assert!(bytes.any());
            bytes.set(at, 1, 0);
        }
        assert!(!bytes.any());
        bytes.set(69, 1, 1);
        assert!(bytes.any());
        bytes.reset(false);
        assert!(!bytes.any());
    }
}
