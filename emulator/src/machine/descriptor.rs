//! Matrix descriptors: where the 16-bit elements of a `wgmma` operand lie in shared memory (PTX ISA,
//! "Asynchronous Warpgroup Level Matrix Shared Memory Layout", "Matrix Descriptor Format").
//!
//! ```text
//! bits 0-13   start address / 16           bits 49-51  base offset: only 0 is known here
//! bits 16-29  leading byte offset / 16     bits 62-63  swizzle: 0 none, 1 128 B, 2 64 B, 3 32 B
//! bits 32-45  stride byte offset / 16      all others  zero
//! ```
//! An operand is `mn` (rows of A, columns of B) by 16 values of k. It is made of chunks of 16 bytes:
//! eight elements along k of one mn, or, when it is transposed, eight along mn of one k. Addresses
//! are those of the block's own shared memory.

use crate::ir::Major;

use super::swizzle::Swizzle;

/// Bytes of a chunk.
pub(crate) const CHUNK: u32 = 16;
/// Elements of a chunk.
pub(crate) const CHUNK_ELEMENTS: usize = 8;
/// Values of k in one instruction.
pub(crate) const DEPTH: usize = 16;

/// Bits of an address that a descriptor has room for.
pub(crate) const ADDRESS_BITS: u32 = 0x3_ffff;

/// Bits that must be zero.
const RESERVED: u64 = !(0x3fff | 0x3fff << 16 | 0x3fff << 32 | 0x7 << 49 | 0x3 << 62);

/// A decoded descriptor. Offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Descriptor {
    start: u32,
    leading: u32,
    stride: u32,
    swizzle: Swizzle,
}

/// An operand, or some of its mn: which chunks it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operand {
    pub descriptor: Descriptor,
    pub major: Major,
    /// First mn, a multiple of 8.
    pub first: u32,
    /// Number of mn, a multiple of 8.
    pub count: u32,
}

impl Descriptor {
    /// Reads a descriptor, or says what is wrong with it.
    pub fn new(bits: u64) -> Result<Self, &'static str> {
        let field = |shift: u32| (bits >> shift & 0x3fff) as u32 * CHUNK;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::B128,
            2 => Swizzle::B64,
            _ => Swizzle::B32,
        };
        let start = field(0);
        if bits & RESERVED != 0 {
            return Err("bits outside of its fields are set");
        }
        if bits >> 49 & 7 != 0 {
            return Err("its base offset is not 0: start the tile where the swizzle repeats");
        }
        // Within the first row of the pattern; without a swizzle there is no pattern.
        if swizzle != Swizzle::None && start % swizzle.period() >= swizzle.width() {
            return Err("its start is not in the first row of its swizzle");
        }
        Ok(Self {
            start,
            leading: field(16),
            stride: field(32),
            swizzle,
        })
    }

    /// The same with addresses that count from `first`, where the block's shared memory begins, a multiple of every
    /// period of a swizzle; none when the operand begins before.
    pub fn counted_from(self, first: u32) -> Option<Self> {
        let start = self.start.checked_sub(first)?;
        Some(Self { start, ..self })
    }

    /// Address of the chunk with the elements k = 8 · `half` and on of `mn`.
    #[inline(always)]
    fn along_k(&self, mn: u32, half: u32) -> u32 {
        let groups = self.start + mn / 8 * self.stride;
        match self.swizzle {
            Swizzle::None => groups + mn % 8 * CHUNK + half * self.leading,
            swizzle => swizzle.apply(groups + mn % 8 * swizzle.width() + half * CHUNK),
        }
    }

    /// Address of the chunk with the elements mn = 8 · `group` and on of `k`.
    #[inline(always)]
    fn along_mn(&self, group: u32, k: u32) -> u32 {
        match self.swizzle {
            Swizzle::None => {
                self.start + group * self.stride + k % 8 * CHUNK + k / 8 * self.leading
            }
            swizzle => {
                let per_row = swizzle.width() / CHUNK;
                let row = k % 8 * swizzle.width() + k / 8 * self.stride;
                let column = group % per_row * CHUNK + group / per_row * self.leading;
                swizzle.apply(self.start + row + column)
            }
        }
    }
}

impl Operand {
    /// Number of chunks.
    pub fn chunks(&self) -> u32 {
        2 * self.count
    }

    /// Address of a chunk. Chunks are numbered along k first: chunk i holds mn `i / 2`, k from
    /// `8 * (i % 2)` on; of a transposed operand mn from `8 * (i / 16)` on, k `i % 16`.
    #[inline(always)]
    pub fn chunk(&self, i: u32) -> u32 {
        match self.major {
            Major::K => self.descriptor.along_k(self.first + i / 2, i % 2),
            Major::Mn => self.descriptor.along_mn(self.first / 8 + i / 16, i % 16),
        }
    }

    /// Addresses of all chunks.
    pub fn addresses(&self) -> impl Iterator<Item = u32> {
        (0..self.chunks()).map(|i| self.chunk(i))
    }

    /// The bytes of all chunks as offsets and sizes, neighbours in one.
    pub fn runs(&self) -> Vec<(u32, u32)> {
        let mut chunks: Vec<u32> = self.addresses().collect();
        chunks.sort_unstable();
        chunks.dedup();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for at in chunks {
            match runs.last_mut() {
                Some((start, bytes)) if *start + *bytes == at => *bytes += CHUNK,
                _ => runs.push((at, CHUNK)),
            }
        }
        runs
    }

    /// First byte and end of a range that all chunks lie in. Swizzles stay within 128 bytes, and
    /// unswizzled addresses grow with k, row and column.
    pub fn range(&self) -> (u32, u32) {
        let last = self.first + self.count - 1;
        let (low, high) = match self.major {
            Major::K => {
                let of = |mn, half| self.descriptor.along_k(mn, half);
                (of(self.first, 0), of(last, 1))
            }
            Major::Mn => {
                let of =
                    |k| (self.first / 8..=last / 8).map(move |g| self.descriptor.along_mn(g, k));
                let low = of(0).min().unwrap_or_default();
                (low, of(DEPTH as u32 - 1).max().unwrap_or_default())
            }
        };
        (low / 128 * 128, (high / 128 + 1) * 128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWIZZLES: [(Swizzle, u64); 4] = [
        (Swizzle::None, 0),
        (Swizzle::B32, 3),
        (Swizzle::B64, 2),
        (Swizzle::B128, 1),
    ];

    fn descriptor(start: u32, stride: u32, leading: u32, mode: u64) -> Descriptor {
        let field = |bytes: u32| u64::from(bytes / CHUNK);
        let bits = field(start) | field(leading) << 16 | field(stride) << 32 | mode << 62;
        Descriptor::new(bits).expect("a good descriptor")
    }

    /// Address of one bf16 element.
    fn element(descriptor: Descriptor, major: Major, mn: u32, k: u32) -> u32 {
        let operand = Operand {
            descriptor,
            major,
            first: mn / 8 * 8,
            count: 8,
        };
        match major {
            Major::K => operand.chunk(2 * (mn % 8) + k / 8) + 2 * (k % 8),
            Major::Mn => operand.chunk(k) + 2 * (mn % 8),
        }
    }

    #[test]
    fn elements_lie_where_the_layouts_of_the_isa_put_them() {
        for (start, stride, leading, mode, mn, k, address) in [
            (0x2020, 1024, 16, 1, 3, 4, 0x2198),
            (0x2060, 1024, 16, 1, 13, 15, 0x26ae),
            (0x2000, 512, 16, 2, 5, 9, 0x2172),
            (0x2000, 256, 16, 3, 7, 15, 0x20ee),
            (0x2000, 128, 1024, 0, 9, 9, 0x2492),
        ] {
            let found = element(descriptor(start, stride, leading, mode), Major::K, mn, k);
            assert_eq!(found, address, "along k, swizzle {mode}: {found:#x}");
        }
        for (stride, leading, mode, mn, k, address) in [
            (1024, 2048, 1, 3, 5, 0x22d6),
            (1024, 2048, 1, 70, 12, 0x2e4c),
            (512, 1024, 2, 40, 9, 0x2650),
            (256, 512, 3, 20, 15, 0x23f8),
            (128, 2048, 0, 9, 9, 0x2892),
        ] {
            let found = element(descriptor(0x2000, stride, leading, mode), Major::Mn, mn, k);
            assert_eq!(found, address, "along mn, swizzle {mode}: {found:#x}");
        }
    }

    #[test]
    fn the_fields_of_a_descriptor_are_where_the_isa_puts_them() {
        let expected = Descriptor {
            start: 0x2000,
            leading: 16,
            stride: 1024,
            swizzle: Swizzle::B128,
        };
        assert_eq!(Descriptor::new(0x4000_0040_0001_0200), Ok(expected));
    }

    #[test]
    fn a_descriptor_that_is_none_is_refused() {
        for (bits, word) in [
            (1 << 14, "outside"),
            (1 << 30, "outside"),
            (1 << 46, "outside"),
            (1 << 52, "outside"),
            (1 << 49, "base offset"),
            // One row of 128 bytes into the pattern; the same start is right for one of 32 bytes.
            (8 | 1 << 62, "first row"),
            (4 | 2 << 62, "first row"),
            (2 | 3 << 62, "first row"),
        ] {
            let error = Descriptor::new(bits).expect_err("a bad descriptor");
            assert!(error.contains(word), "{bits:#x}: {error}");
        }
        assert!(Descriptor::new(8).is_ok());
        assert!(Descriptor::new(6 | 1 << 62).is_ok());
    }

    #[test]
    fn the_chunks_of_an_operand_are_different_and_in_its_range() {
        for (swizzle, mode) in SWIZZLES {
            for major in [Major::K, Major::Mn] {
                for (first, count) in [(0, 8), (16, 16), (0, 72), (0, 256)] {
                    let width = swizzle.width().max(CHUNK);
                    let (stride, leading) = match (swizzle, major) {
                        (Swizzle::None, _) => (256, 0x4000),
                        (_, Major::K) => (8 * width, 16),
                        (_, Major::Mn) => (8 * width, 16 * width),
                    };
                    let operand = Operand {
                        descriptor: descriptor(0x2000, stride, leading, mode),
                        major,
                        first,
                        count,
                    };
                    let (start, end) = operand.range();
                    let mut chunks: Vec<u32> = operand.addresses().collect();
                    assert!(chunks.iter().all(|at| start <= *at && at + CHUNK <= end));
                    chunks.sort_unstable();
                    chunks.dedup();
                    assert_eq!(chunks.len() as u32, operand.chunks(), "{operand:?}");
                    let bytes = |(start, bytes)| (start..start + bytes).step_by(CHUNK as usize);
                    let runs: Vec<u32> = operand.runs().into_iter().flat_map(bytes).collect();
                    assert_eq!(runs, chunks);
                }
            }
        }
    }
}
