//! Tiles in global memory, and how much of a tile exists there. Address arithmetic only.

use crate::tile::{CHUNK_BYTES, CHUNK_COLS, ELEMENT_BYTES};
use abi::Strided;

/// The rows of one head of one batch entry in global memory.
#[derive(Clone, Copy)]
pub struct GlobalTile {
    base: u64,
    row_bytes: i64,
}

impl GlobalTile {
    /// No tile: nothing is read or written.
    pub const NOWHERE: GlobalTile = GlobalTile {
        base: 0,
        row_bytes: 0,
    };

    /// Rows from `first_row` on of head `head` of batch entry `batch`. All offsets are 64 bits wide.
    #[inline(always)]
    pub const fn new(matrix: &Strided, batch: u32, head: u32, first_row: u32) -> Self {
        let elements = (matrix.batch_stride.wrapping_mul(batch as i64))
            .wrapping_add(matrix.head_stride.wrapping_mul(head as i64))
            .wrapping_add(matrix.row_stride.wrapping_mul(first_row as i64));
        GlobalTile {
            base: matrix
                .ptr
                .wrapping_add_signed(elements.wrapping_mul(ELEMENT_BYTES as i64)),
            row_bytes: matrix.row_stride.wrapping_mul(ELEMENT_BYTES as i64),
        }
    }

    /// The tile `index` tiles of `rows` rows further down.
    #[inline(always)]
    pub const fn tile_below(&self, index: u32, rows: u32) -> Self {
        let offset = self.row_bytes.wrapping_mul(index as i64 * rows as i64);
        GlobalTile {
            base: self.base.wrapping_add_signed(offset),
            row_bytes: self.row_bytes,
        }
    }

    /// The tile of `rows` rows that ends where this one begins.
    #[inline(always)]
    pub const fn tile_above(&self, rows: u32) -> Self {
        let offset = self.row_bytes.wrapping_mul(rows as i64);
        GlobalTile {
            base: self.base.wrapping_sub(offset as u64),
            row_bytes: self.row_bytes,
        }
    }

    /// The tile `cols` columns, a multiple of 8, further right.
    #[inline(always)]
    pub const fn right(&self, cols: u32) -> Self {
        GlobalTile {
            base: self.base.wrapping_add(cols as u64 * ELEMENT_BYTES as u64),
            row_bytes: self.row_bytes,
        }
    }

    /// Address of the chunk at (`row`, `chunk`); both relative to this tile.
    #[inline(always)]
    pub const fn chunk(&self, row: u32, chunk: u32) -> u64 {
        self.base
            .wrapping_add_signed(self.row_bytes.wrapping_mul(row as i64))
            .wrapping_add((chunk * CHUNK_BYTES) as u64)
    }

    /// Address `rows` further down than `address`.
    #[inline(always)]
    pub const fn below(&self, address: u64, rows: u32) -> u64 {
        address.wrapping_add_signed(self.row_bytes.wrapping_mul(rows as i64))
    }
}

/// Which part of a tile exists in global memory; the rest reads as zero and is not written.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Rows that exist.
    pub rows: Rows,
    /// Columns that exist, a multiple of 8; the number may exceed the tile.
    pub cols: u32,
}

/// Rows of a tile that exist.
#[derive(Clone, Copy)]
pub enum Rows {
    /// The whole tile: no comparison is compiled.
    All,
    /// The first so many; the number may exceed the tile.
    First(u32),
}

impl Extent {
    /// Whether the chunk at (`row`, `chunk`) exists.
    #[inline(always)]
    pub const fn contains(&self, row: u32, chunk: u32) -> bool {
        let row_exists = match self.rows {
            Rows::All => true,
            Rows::First(rows) => row < rows,
        };
        row_exists & (chunk * CHUNK_COLS < self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_offsets_do_not_wrap_at_32_bits() {
        let matrix = Strided {
            ptr: 1 << 40,
            batch_stride: 1 << 36,
            row_stride: -(1 << 33),
            head_stride: 3,
        };
        let tile = GlobalTile::new(&matrix, 5, 7, 2);
        let elements = 5 * (1_i64 << 36) + 7 * 3 - 2 * (1 << 33) - 9 * (1 << 33) + 8 * 11;
        assert_eq!(
            tile.chunk(9, 11),
            (1_u64 << 40).wrapping_add_signed(2 * elements)
        );
        assert_eq!(tile.below(tile.chunk(4, 11), 5), tile.chunk(9, 11));
        assert_eq!(tile.right(8 * 3).chunk(9, 11), tile.chunk(9, 14));
    }

    #[test]
    fn extent_ends_at_the_last_row_and_the_last_column() {
        let extent = Extent {
            rows: Rows::First(3),
            cols: 40,
        };
        assert!(extent.contains(2, 4));
        assert!(!extent.contains(3, 4));
        assert!(!extent.contains(2, 5));
        assert!(
            Extent {
                rows: Rows::All,
                ..extent
            }
            .contains(1000, 4)
        );
    }
}
