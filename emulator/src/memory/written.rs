//! Which bytes of an allocation somebody has written.
//!
//! Accesses are relaxed: a byte is marked before it is written, so whoever may read the byte, being
//! ordered behind its writer, sees the mark as well.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// One bit per byte, shared by all threads. The bits are only there once they are needed: buffers
/// that the host fills in one go never have any.
#[derive(Debug)]
pub(crate) struct Written {
    bytes: u64,
    /// True when nothing is left to be written.
    everything: AtomicBool,
    bits: OnceLock<Box<[AtomicU64]>>,
}

impl Written {
    /// Of a fresh allocation.
    pub fn nothing(bytes: u64) -> Self {
        Self {
            bytes,
            everything: AtomicBool::new(bytes == 0),
            bits: OnceLock::new(),
        }
    }

    /// From now on every byte counts as written.
    pub fn mark_everything(&self) {
        self.everything.store(true, Relaxed);
    }

    /// True when every byte counts as written; may be false although each has been.
    pub fn is_everything(&self) -> bool {
        self.everything.load(Relaxed)
    }

    /// The `len` bytes from `start` on are written; the range is inside.
    pub fn mark(&self, start: u64, len: u64) {
        if self.is_everything() {
            return;
        }
        if len == self.bytes {
            self.mark_everything();
            return;
        }
        let words = self.bits.get_or_init(|| {
            let count = self.bytes.div_ceil(64);
            (0..count).map(|_| AtomicU64::new(0)).collect()
        });
        let (mut at, end) = (start, start + len);
        while at < end {
            let part = (end - at).min(64 - at % 64);
            let bits = ones(part as u32) << (at % 64);
            let word = &words[(at / 64) as usize];
            // Other threads write here too; most of the time nothing changes any more.
            if word.load(Relaxed) & bits != bits {
                word.fetch_or(bits, Relaxed);
            }
            at += part;
        }
    }

    /// Bit i of the result is set when byte `start + i` was never written. The range is inside and
    /// at most 64 bytes long.
    pub fn missing(&self, start: u64, len: u32) -> u64 {
        if self.is_everything() {
            return 0;
        }
        let Some(words) = self.bits.get() else {
            return ones(len);
        };
        let (index, shift) = ((start / 64) as usize, (start % 64) as u32);
        let mut written = words[index].load(Relaxed) >> shift;
        if shift + len > 64 {
            written |= words[index + 1].load(Relaxed) << (64 - shift);
        }
        !written & ones(len)
    }
}

/// The low `count` bits, at most 64.
pub(crate) fn ones(count: u32) -> u64 {
    match count {
        0 => 0,
        count => u64::MAX >> (64 - count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_what_was_not_marked() {
        for start in [0, 1, 60, 63, 64, 100] {
            for len in [0, 1, 4, 16, 70] {
                let written = Written::nothing(200);
                assert_eq!(written.missing(start, 16), 0xffff);
                written.mark(start, len);
                for at in 0..200 {
                    let inside = (start..start + len).contains(&at);
                    assert_eq!(written.missing(at, 1) == 0, inside, "{start} {len} {at}");
                }
                let expected = if len >= 16 {
                    0
                } else {
                    0xffff & !ones(len as u32)
                };
                assert_eq!(written.missing(start, 16), expected);
            }
        }
    }

    #[test]
    fn a_range_may_be_marked_in_pieces_or_at_once() {
        let (pieces, whole) = (Written::nothing(130), Written::nothing(130));
        pieces.mark(0, 65);
        pieces.mark(65, 65);
        whole.mark(0, 130);
        for written in [&pieces, &whole] {
            assert!((0..130).all(|at| written.missing(at, 1) == 0));
        }
        assert!(whole.is_everything());
        assert!(Written::nothing(0).is_everything());
    }
}
