//! How a product of a warpgroup finds an operand in shared memory: 64-bit descriptors (PTX ISA, "Matrix Descriptor").
//!
//! ```text
//! bits 0-13 address / 16 | 16-29 leading offset / 16 | 32-45 stride offset / 16 | 62-63 span of the swizzle
//! ```
//!
//! An operand is a tile as in [`tile`](crate::tile), whose pages have the layout that tensor copies and products call
//! swizzled: eight rows of a page are one period. The same tile can be read two ways.
//!
//! ```text
//! K-major: a step of 16 along the columns             MN-major: a step of 16 along the rows
//! page 0          page 1                              page 0          page 1
//! | s0 s1 s2 s3 | | s4 s5 s6 s7 |                     | s0          | | s0          |
//! |             | |             |                     | s1          | | s1          |
//! ```

use crate::tile::{Shape, SharedTile};

/// Elements that one step of a product sums over.
pub const STEP: u32 = 16;

/// Where an operand begins and how it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// The rows of `tile` are rows of A or columns of B, contiguous along the sum: Q, K.
    #[inline(always)]
    pub const fn k_major<S: Shape>(tile: SharedTile<S>) -> Self {
        // The leading offset is not used; 1 by convention.
        encode::<S>(tile.base(), 1)
    }

    /// The sum goes along the rows of `tile`: V. All of its columns are used.
    #[inline(always)]
    pub const fn mn_major<S: Shape>(tile: SharedTile<S>) -> Self {
        encode::<S>(tile.base(), S::PAGE_BYTES / 16)
    }

    /// The operand `count` times `bytes`, a multiple of 16, further on: one multiplication and addition of 64 bits.
    #[inline(always)]
    pub const fn times_after(self, count: u32, bytes: u32) -> Self {
        Descriptor(self.0.wrapping_add(count as u64 * (bytes / 16) as u64))
    }

    /// The operand `bytes`, a multiple of 16, before this one, or a number that becomes an operand further on.
    #[inline(always)]
    pub const fn before(self, bytes: u32) -> Self {
        Descriptor(self.0.wrapping_sub((bytes / 16) as u64))
    }

    /// The same, about which the compiler knows nothing: steps are then one addition each, where they are needed.
    /// Otherwise it takes them out of the loop, into more registers than there are, and its fields apart.
    #[cfg(kernel_arch = "sm_90a")]
    #[inline(always)]
    pub fn opaque(self) -> Self {
        Descriptor(crate::ptx::opaque_u64(self.0))
    }

    /// The operand `bytes`, a multiple of 16, further on in shared memory.
    #[inline(always)]
    pub const fn after(self, bytes: u32) -> Self {
        // Shared memory ends before the field does: nothing carries into the next one.
        Descriptor(self.0.wrapping_add((bytes / 16) as u64))
    }
}

/// Offset of step `step` of a [`k_major`](Descriptor::k_major) operand, in bytes.
#[inline(always)]
pub const fn k_major_step<S: Shape>(step: u32) -> u32 {
    let page_steps = S::PAGE_COLS / STEP;
    // Inside the first row of a period, which is not swizzled: hardware swizzles the address that it computes.
    step / page_steps * S::PAGE_BYTES + step % page_steps * (S::ROW_BYTES / page_steps)
}

/// Offset of step `step` of an [`mn_major`](Descriptor::mn_major) operand, in bytes.
#[inline(always)]
pub const fn mn_major_step<S: Shape>(step: u32) -> u32 {
    step * STEP * S::ROW_BYTES
}

/// `leading` counts 16 bytes.
#[inline(always)]
const fn encode<S: Shape>(base: u32, leading: u32) -> Descriptor {
    const {
        assert!(
            matches!(S::ROW_BYTES, 32 | 64 | 128),
            "the swizzle spans a row of a page"
        );
    }
    let start = (base & 0x3_FFFF) / 16;
    let stride = 8 * S::ROW_BYTES / 16;
    let span = match S::ROW_BYTES {
        128 => 1,
        64 => 2,
        _ => 3,
    };
    Descriptor(start as u64 | (leading as u64) << 16 | (stride as u64) << 32 | span << 62)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::{CHUNK_COLS, ELEMENT_BYTES, chunk_offset};

    struct Tile<const ROWS: u32, const COLS: u32>;
    impl<const ROWS: u32, const COLS: u32> Shape for Tile<ROWS, COLS> {
        const ROWS: u32 = ROWS;
        const COLS: u32 = COLS;
        const THREADS: u32 = 128;
    }

    const BASE: u32 = 0x2000;

    /// Fields in bytes: start, leading offset, stride offset, span of the swizzle.
    fn fields(descriptor: Descriptor) -> [u32; 4] {
        let field = |bit: u32| (descriptor.0 >> bit) as u32 % (1 << 14) * 16;
        let span = [0, 128, 64, 32][(descriptor.0 >> 62) as usize];
        [field(0), field(16), field(32), span]
    }

    fn swizzled(address: u32, span: u32) -> u32 {
        address ^ (((address >> 7) % (span / 16)) << 4)
    }

    /// Where hardware looks for element `k` of row or column `mn`, as the ISA lays K-major operands out.
    fn k_major_address(descriptor: Descriptor, mn: u32, k: u32) -> u32 {
        let [start, _, stride, span] = fields(descriptor);
        swizzled(start + mn % 8 * span + mn / 8 * stride + 2 * k, span)
    }

    /// The same of MN-major operands.
    fn mn_major_address(descriptor: Descriptor, mn: u32, k: u32) -> u32 {
        let [start, leading, stride, span] = fields(descriptor);
        let chunk = mn / 8;
        let across = mn % 8 * 2 + chunk % (span / 16) * 16 + chunk / (span / 16) * leading;
        swizzled(start + across + k % 8 * span + k / 8 * stride, span)
    }

    fn element<S: Shape>(row: u32, col: u32) -> u32 {
        BASE + chunk_offset::<S>(row, col / CHUNK_COLS) + col % CHUNK_COLS * ELEMENT_BYTES
    }

    fn both_ways_find_every_element<S: Shape>() {
        let tile = SharedTile::<S>::at(BASE);
        for row in 0..S::ROWS {
            for col in 0..S::COLS {
                let step = k_major_step::<S>(col / STEP);
                let along = Descriptor::k_major(tile).after(step);
                let found = k_major_address(along, row, col % STEP);
                assert_eq!(found, element::<S>(row, col), "({row}, {col}) along");
                let step = mn_major_step::<S>(row / STEP);
                let across = Descriptor::mn_major(tile).after(step);
                let found = mn_major_address(across, col, row % STEP);
                assert_eq!(found, element::<S>(row, col), "({row}, {col}) across");
            }
        }
    }

    #[test]
    fn a_descriptor_has_the_bits_of_the_manual() {
        let tile = SharedTile::<Tile<64, 64>>::at(BASE);
        assert_eq!(Descriptor::k_major(tile).0, 0x4000_0040_0001_0200);
        assert_eq!(
            fields(Descriptor::mn_major(tile)),
            [BASE, 64 * 128, 1024, 128]
        );
        let narrow = SharedTile::<Tile<80, 96>>::at(BASE);
        assert_eq!(
            fields(Descriptor::mn_major(narrow)),
            [BASE, 80 * 64, 512, 64]
        );
    }

    #[test]
    fn addresses_are_those_computed_by_hand() {
        let tile = SharedTile::<Tile<16, 128>>::at(BASE);
        let at_step = |step| Descriptor::k_major(tile).after(k_major_step::<Tile<16, 128>>(step));
        assert_eq!(k_major_address(at_step(1), 3, 4), 0x2198);
        assert_eq!(k_major_address(at_step(3), 13, 15), 0x26ae);
        assert_eq!(mn_major_address(Descriptor::mn_major(tile), 3, 5), 0x22d6);
        assert_eq!(mn_major_address(Descriptor::mn_major(tile), 70, 12), 0x2e4c);
        let narrow = SharedTile::<Tile<16, 96>>::at(BASE);
        assert_eq!(k_major_address(Descriptor::k_major(narrow), 5, 9), 0x2172);
        assert_eq!(
            mn_major_address(Descriptor::mn_major(narrow), 40, 9),
            0x2650
        );
    }

    #[test]
    fn descriptors_agree_with_the_layout_of_tiles() {
        both_ways_find_every_element::<Tile<64, 64>>();
        both_ways_find_every_element::<Tile<176, 128>>();
        both_ways_find_every_element::<Tile<144, 96>>();
        both_ways_find_every_element::<Tile<80, 256>>();
        both_ways_find_every_element::<Tile<32, 16>>();
    }

    #[test]
    fn the_end_of_shared_memory_stays_in_its_field() {
        let last = SharedTile::<Tile<8, 64>>::at(227 * 1024 - 1024);
        let tile = Descriptor::k_major(last);
        assert_eq!(fields(tile.after(1008))[1..], fields(tile)[1..]);
    }
}
