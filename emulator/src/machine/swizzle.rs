//! Shared-memory swizzles of tensor copies and matrix descriptors (PTX ISA, "Swizzling Modes").
//!
//! A swizzle exchanges 16-byte chunks: some of the address bits 4 to 6 are XORed with as many of the
//! bits 7 to 9. It works on absolute addresses in shared memory, so that a tile has its pattern only
//! where it starts on a multiple of [`Swizzle::period`].

/// A swizzle, named by the bytes of one row of its pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Swizzle {
    /// Addresses stay as they are.
    None,
    /// Rows of 32 bytes.
    B32,
    /// Rows of 64 bytes.
    B64,
    /// Rows of 128 bytes.
    B128,
}

impl Swizzle {
    /// Bytes of a row; 0 without a swizzle.
    pub const fn width(self) -> u32 {
        match self {
            Swizzle::None => 0,
            Swizzle::B32 => 32,
            Swizzle::B64 => 64,
            Swizzle::B128 => 128,
        }
    }

    /// Bytes after which the pattern repeats, a power of two: eight rows, or one chunk.
    pub const fn period(self) -> u32 {
        match self {
            Swizzle::None => 16,
            _ => 8 * self.width(),
        }
    }

    /// The address at which the byte of linear address `address` is stored. Its own inverse.
    #[inline(always)]
    pub const fn apply(self, address: u32) -> u32 {
        let chunks = match self {
            Swizzle::None => 0,
            _ => self.width() / 16 - 1,
        };
        address ^ (address >> 7 & chunks) << 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];

    #[test]
    fn a_swizzle_permutes_the_chunks_of_its_period_and_is_its_own_inverse() {
        for swizzle in ALL {
            let period = swizzle.period();
            for start in [0, 5 * period] {
                let mut seen = vec![false; period as usize];
                for address in start..start + period {
                    let stored = swizzle.apply(address);
                    assert_eq!(swizzle.apply(stored), address, "{swizzle:?}");
                    assert_eq!(stored % 16, address % 16, "{swizzle:?}");
                    seen[(stored - start) as usize] = true;
                }
                assert!(seen.iter().all(|seen| *seen), "{swizzle:?}");
            }
        }
    }

    #[test]
    fn rows_of_a_column_lie_in_different_banks() {
        // Chunk 0 of eight consecutive rows: all eight chunks of a 128-byte line with 128-byte
        // rows; two rows share a line, and thus the pattern, with 64-byte rows, four with 32.
        for (swizzle, expected) in [
            (Swizzle::B128, [0, 1, 2, 3, 4, 5, 6, 7]),
            (Swizzle::B64, [0, 4, 1, 5, 2, 6, 3, 7]),
            (Swizzle::B32, [0, 2, 4, 6, 1, 3, 5, 7]),
        ] {
            for (row, chunk) in expected.into_iter().enumerate() {
                let stored = swizzle.apply(0x2000 + swizzle.width() * row as u32);
                assert_eq!(stored / 16 % 8, chunk, "{swizzle:?} row {row}");
            }
        }
    }
}
