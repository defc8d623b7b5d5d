//! Tiles in shared memory: rectangular pieces of Q, K, V and O. Those in global memory are in `global_tile.rs`.
//!
//! A shared tile is stored as pages of 64 columns (32 or 16 when the width is not a multiple of 64); a page is row-major
//! and dense. Inside a page the index of each 16-byte chunk is XORed with the row:
//!
//! ```text
//!           64 columns, 8 chunks of 16 bytes          32 columns, 4 chunks
//!   row 0   0 1 2 3 4 5 6 7                           row 0   0 1 2 3
//!   row 1   1 0 3 2 5 4 7 6                           row 1   0 1 2 3
//!   row 2   2 3 0 1 6 7 4 5                           row 2   1 0 3 2
//!   row 3   3 2 1 0 7 6 5 4                           row 3   1 0 3 2
//! ```
//!
//! so eight rows of one chunk column (an 8 x 8 matrix of `ldmatrix`) and one row of all chunks (a copy) both touch
//! every bank once. This file is address arithmetic only; it reads and writes no memory.

use crate::fragment::LanePoint;
use crate::tiling::Tiling;
use core::marker::PhantomData;

/// Bytes of one element: f16 and bf16.
pub const ELEMENT_BYTES: u32 = 2;
/// Bytes of one chunk: what one `cp.async.cg` copies and one `ldmatrix` row holds.
pub const CHUNK_BYTES: u32 = 16;
/// Columns of one chunk.
pub const CHUNK_COLS: u32 = CHUNK_BYTES / ELEMENT_BYTES;

/// Extents of a tile and the number of threads that copy it.
pub trait Shape {
    /// Rows: sequence positions.
    const ROWS: u32;
    /// Columns: the head-dimension class.
    const COLS: u32;
    /// Threads of the block.
    const THREADS: u32;

    /// Columns of one page.
    const PAGE_COLS: u32 = if Self::COLS.is_multiple_of(64) {
        64
    } else if Self::COLS.is_multiple_of(32) {
        32
    } else {
        16
    };
    /// Pages side by side.
    const PAGES: u32 = Self::COLS / Self::PAGE_COLS;
    /// Chunks in one row of a page.
    const PAGE_CHUNKS: u32 = Self::PAGE_COLS / CHUNK_COLS;
    /// Bytes of one row of a page.
    const ROW_BYTES: u32 = Self::PAGE_COLS * ELEMENT_BYTES;
    /// Bytes of one page.
    const PAGE_BYTES: u32 = Self::ROWS * Self::ROW_BYTES;
    /// Bytes of the tile.
    const BYTES: u32 = Self::PAGES * Self::PAGE_BYTES;
    /// Threads that copy: no more than a page has chunks.
    const COPIERS: u32 = if Self::THREADS < Self::ROWS * Self::PAGE_CHUNKS {
        Self::THREADS
    } else {
        Self::ROWS * Self::PAGE_CHUNKS
    };
    /// Rows that the block copies at once: each of these threads takes one chunk of one page.
    const PASS_ROWS: u32 = Self::COPIERS / Self::PAGE_CHUNKS;
    /// Passes over one page.
    const PASSES: u32 = {
        // The swizzle repeats every 8 rows: a thread's chunk keeps its place from pass to pass.
        assert!(Self::PASS_ROWS.is_multiple_of(8));
        assert!(
            Self::ROWS.is_multiple_of(Self::PASS_ROWS),
            "a pass covers whole rows of the tile"
        );
        Self::ROWS / Self::PASS_ROWS
    };
}

/// Shape of the tiles of Q and O: BLOCK_M query rows.
pub struct Queries<T>(PhantomData<T>);

impl<T: Tiling> Shape for Queries<T> {
    const ROWS: u32 = T::BLOCK_M;
    const COLS: u32 = T::HEAD_DIM;
    const THREADS: u32 = T::THREADS;
}

/// Shape of the tiles of K and V: BLOCK_N keys.
pub struct Keys<T>(PhantomData<T>);

impl<T: Tiling> Shape for Keys<T> {
    const ROWS: u32 = T::BLOCK_N;
    const COLS: u32 = T::HEAD_DIM;
    const THREADS: u32 = T::THREADS;
}

/// Shape of the tiles of Pᵀ and dSᵀ: BLOCK_N keys by BLOCK_M queries.
pub struct KeysByQueries<T>(PhantomData<T>);

impl<T: Tiling> Shape for KeysByQueries<T> {
    const ROWS: u32 = T::BLOCK_N;
    const COLS: u32 = T::BLOCK_M;
    const THREADS: u32 = T::THREADS;
}

/// What `row` is XORed into: the chunk index of a page row.
#[inline(always)]
const fn swizzle<S: Shape>(row: u32) -> u32 {
    // A 64-byte page row fills half of the 32 banks: two rows share one value; of 32 bytes, four rows.
    row / (8 / S::PAGE_CHUNKS) % S::PAGE_CHUNKS
}

/// Byte offset of chunk `chunk` (counted over the whole tile row) of row `row` from the start of the tile.
#[inline(always)]
pub const fn chunk_offset<S: Shape>(row: u32, chunk: u32) -> u32 {
    let page = chunk / S::PAGE_CHUNKS;
    let place = (chunk % S::PAGE_CHUNKS) ^ swizzle::<S>(row);
    page * S::PAGE_BYTES + row * S::ROW_BYTES + place * CHUNK_BYTES
}

/// A tile in shared memory: a 128-byte aligned address that carries its shape in its type.
pub struct SharedTile<S> {
    base: u32,
    shape: PhantomData<S>,
}

impl<S> Clone for SharedTile<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for SharedTile<S> {}

impl<S: Shape> SharedTile<S> {
    /// The tile whose first byte has the shared-window address `base`, a multiple of 128.
    #[inline(always)]
    pub const fn at(base: u32) -> Self {
        SharedTile {
            base,
            shape: PhantomData,
        }
    }

    /// Address of its first byte.
    #[inline(always)]
    pub const fn base(self) -> u32 {
        self.base
    }

    /// Address of the chunk at (`row`, `chunk`).
    #[inline(always)]
    pub const fn chunk(self, row: u32, chunk: u32) -> u32 {
        self.base + chunk_offset::<S>(row, chunk)
    }

    /// The addresses that one lane gives to `ldmatrix`, starting from its `point` below row `first_row`
    /// (a multiple of 8).
    #[inline(always)]
    pub const fn lane(self, first_row: u32, point: LanePoint) -> LaneAddress<S> {
        LaneAddress {
            base: self.base,
            origin: chunk_offset::<S>(first_row + point.row, point.chunk),
            shape: PhantomData,
        }
    }
}

/// Start addresses of `ldmatrix` rows for one lane, one per 16 x 16 piece of a tile.
///
/// One XOR per piece column, which does not change from tile to tile, and additions of constants: the assembler turns
/// the latter into address offsets.
pub struct LaneAddress<S> {
    base: u32,
    origin: u32,
    shape: PhantomData<S>,
}

impl<S: Shape> LaneAddress<S> {
    /// Address for the piece whose first row is `16 * row_step` below and whose first column is `16 * col_step`.
    #[inline(always)]
    pub const fn piece(&self, row_step: u32, col_step: u32) -> u32 {
        let chunk = 2 * col_step;
        // The chunk index of a piece is even and the lane's own is 0 or 1, so their sum is their XOR. The tile is
        // aligned to a page row, so the XOR touches only the chunk bits of the address.
        let in_page = self.origin ^ (chunk % S::PAGE_CHUNKS * CHUNK_BYTES);
        in_page
            + (self.base + chunk / S::PAGE_CHUNKS * S::PAGE_BYTES + row_step * 16 * S::ROW_BYTES)
    }
}

/// The chunks of a tile that one thread copies: one per page and pass, [`Shape::PASS_ROWS`] rows apart.
#[derive(Clone, Copy)]
pub struct ThreadChunk {
    /// Row of the first pass.
    pub row: u32,
    /// Chunk inside the page.
    pub chunk: u32,
}

impl ThreadChunk {
    /// The chunk of `thread`: neighbouring threads take neighbouring chunks of a row.
    #[inline(always)]
    pub const fn of<S: Shape>(thread: u32) -> Self {
        ThreadChunk {
            row: thread / S::PAGE_CHUNKS,
            chunk: thread % S::PAGE_CHUNKS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::{chunks_first, rows_first};
    use std::collections::HashSet;

    struct Tile<const R: u32, const C: u32, const T: u32>;
    impl<const R: u32, const C: u32, const T: u32> Shape for Tile<R, C, T> {
        const ROWS: u32 = R;
        const COLS: u32 = C;
        const THREADS: u32 = T;
    }

    fn layout_is_a_bijection<S: Shape>() {
        let chunks = S::COLS / CHUNK_COLS;
        let offsets: HashSet<u32> = (0..S::ROWS)
            .flat_map(|row| (0..chunks).map(move |chunk| chunk_offset::<S>(row, chunk)))
            .collect();
        assert_eq!(offsets.len() as u32, S::ROWS * chunks);
        assert!(
            offsets
                .iter()
                .all(|o| o.is_multiple_of(CHUNK_BYTES) && *o < S::BYTES)
        );
    }

    fn matrices_and_rows_touch_every_bank_once<S: Shape>() {
        let bank = |row, chunk| chunk_offset::<S>(row, chunk) / CHUNK_BYTES % 8;
        for chunk in 0..S::COLS / CHUNK_COLS {
            for first in (0..S::ROWS).step_by(8) {
                let banks: HashSet<u32> = (first..first + 8).map(|row| bank(row, chunk)).collect();
                assert_eq!(banks.len(), 8, "matrix at row {first}, chunk {chunk}");
            }
        }
        for thread in (0..S::THREADS).step_by(8) {
            let banks: HashSet<u32> = (thread..thread + 8)
                .map(|t| ThreadChunk::of::<S>(t))
                .map(|at| bank(at.row, at.chunk))
                .collect();
            assert_eq!(banks.len(), 8, "copies of threads from {thread}");
        }
    }

    fn lane_addresses_agree_with_the_layout<S: Shape>() {
        let tile = SharedTile::<S>::at(4096);
        for lane in 0..32 {
            for point in [rows_first(lane), chunks_first(lane)] {
                for (row_step, first_row) in [(0, 0), (1, 16), (2, 0), (S::ROWS / 16 - 1, 0)] {
                    for col_step in 0..S::COLS / 16 {
                        let row = first_row + 16 * row_step + point.row;
                        if row < S::ROWS {
                            let got = tile.lane(first_row, point).piece(row_step, col_step);
                            assert_eq!(got, tile.chunk(row, 2 * col_step + point.chunk));
                        }
                    }
                }
            }
        }
    }

    fn copies_cover_the_tile_once_at_a_fixed_place<S: Shape>() {
        let mut seen = HashSet::new();
        for thread in 0..S::THREADS {
            let at = ThreadChunk::of::<S>(thread);
            let first = chunk_offset::<S>(at.row, at.chunk);
            for page in 0..S::PAGES {
                for pass in 0..S::PASSES {
                    let row = at.row + pass * S::PASS_ROWS;
                    let chunk = page * S::PAGE_CHUNKS + at.chunk;
                    let step = page * S::PAGE_BYTES + pass * S::PASS_ROWS * S::ROW_BYTES;
                    assert_eq!(chunk_offset::<S>(row, chunk), first + step);
                    assert!(seen.insert((row, chunk)));
                }
            }
        }
        assert_eq!(seen.len() as u32, S::ROWS * S::COLS / CHUNK_COLS);
    }

    macro_rules! for_each_shape {
        ($($test:ident),*) => { $(
            #[test]
            fn $test() {
                super::$test::<Tile<128, 32, 128>>();
                super::$test::<Tile<128, 64, 128>>();
                super::$test::<Tile<96, 64, 128>>();
                super::$test::<Tile<64, 96, 128>>();
                super::$test::<Tile<64, 128, 128>>();
                super::$test::<Tile<128, 192, 256>>();
                super::$test::<Tile<64, 256, 128>>();
            }
        )* };
    }
    mod every_shape {
        use super::Tile;
        for_each_shape!(
            layout_is_a_bijection,
            matrices_and_rows_touch_every_bank_once,
            lane_addresses_agree_with_the_layout,
            copies_cover_the_tile_once_at_a_fixed_place
        );
    }
}
