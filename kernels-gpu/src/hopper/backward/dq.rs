//! Where a warpgroup adds its part of dQ: fragments, as [`backward::dq`](crate::backward::dq) says, with the four
//! elements of a lane side by side.
//!
//! A query tile of 128 rows is shared by rows, one of 64 by columns.

use crate::backward::dq::accumulator;
use crate::fragment::{Acc, STRIP_ROWS};
use crate::hopper::backward::Variant;
use crate::hopper::roles::WARPGROUP;
use crate::ptx;
use crate::tile::CHUNK_COLS;
use crate::tiling::Tiling;
use abi::BwdParams;

/// Bytes of a fragment: 16 rows by 8 columns in f32.
const FRAGMENT_BYTES: u32 = 4 * STRIP_ROWS * CHUNK_COLS;

/// Rows of an accumulator of a warpgroup.
const ROWS: u32 = 64;

/// Columns of a warpgroup's part.
pub const fn columns<T: Tiling>() -> u32 {
    let groups = T::THREADS / WARPGROUP - 1;
    T::HEAD_DIM * T::BLOCK_M / (ROWS * groups)
}

/// Where a warpgroup's part begins: its first row and its first column.
#[inline(always)]
pub const fn corner<T: Tiling>(group: u32, col_tiles: usize) -> (u32, u32) {
    if T::BLOCK_M == ROWS {
        (0, group * col_tiles as u32 * CHUNK_COLS)
    } else {
        (group * ROWS, 0)
    }
}

/// Whether all of a tile of dQ is computed when each warpgroup has `col_tiles` column tiles of 64 rows.
pub const fn is_shared_evenly<T: Tiling>(col_tiles: usize) -> bool {
    let groups = T::THREADS / WARPGROUP - 1;
    let elements = ROWS * col_tiles as u32 * CHUNK_COLS * groups;
    (T::BLOCK_M == ROWS || T::BLOCK_M == ROWS * groups) && elements == T::BLOCK_M * T::HEAD_DIM
}

/// Where one lane adds to dQ: its elements of the first fragment of its warp, in the tile of the current step.
pub struct DqCursor(u64);

impl DqCursor {
    /// Of the calling thread, in slice `slice` of the tile that begins with scratch row `first_row`.
    #[inline(always)]
    pub fn new<V: Variant>(
        params: &BwdParams,
        slice: u32,
        first_row: u64,
        group: u32,
        col_tiles: usize,
    ) -> Self {
        let thread = ptx::opaque(ptx::thread_index());
        let (warp, lane) = (thread / 32 % 4, thread % 32);
        let (row, col) = corner::<V>(group, col_tiles);
        let strip = row / STRIP_ROWS + warp;
        let fragment = strip * (V::HEAD_DIM / CHUNK_COLS) + col / CHUNK_COLS;
        let tile = accumulator(params, slice, first_row, V::HEAD_DIM);
        DqCursor(tile + (fragment * FRAGMENT_BYTES + 16 * lane) as u64)
    }

    /// Moves to the tile above.
    #[inline(always)]
    pub fn step_up<V: Variant>(&mut self) {
        self.0 -= (4 * V::BLOCK_M * V::HEAD_DIM) as u64;
    }

    /// Adds `acc` to the fragments of the warp.
    ///
    /// # Safety
    /// The accumulator is as [`BwdParams`] says, and the delta kernel has zeroed the tile.
    #[inline(always)]
    pub unsafe fn add<const C: usize>(&self, acc: &Acc<C>) {
        let mut n = 0;
        while n < C {
            let to = self.0 + (FRAGMENT_BYTES * n as u32) as u64;
            // SAFETY: the caller's promise: elements of the tile, 16-byte aligned.
            unsafe { ptx::reduce_add_f32x4(to, acc.0[n]) };
            n += 1;
        }
    }
}
