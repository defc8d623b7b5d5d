//! Writes dK and dV of a key tile, rounded to 16 bits. A warp stages the 16 rows of its keys in shared memory, so that
//! neighbouring lanes write neighbouring chunks of a global row.

use crate::fragment::{Acc, STRIP_ROWS, rows_first};
use crate::hopper::backward::storage::Keys;
use crate::hopper::backward::{KeyTile, Variant};
use crate::hopper::product::operand;
use crate::ptx;
use crate::tile::{CHUNK_COLS, SharedTile};
use abi::Strided;

/// Where a warpgroup stages its part of a gradient: 64 rows from `row` and `col` on.
pub struct SharedCorner<V: Variant> {
    /// The staging tile.
    pub tile: SharedTile<Keys<V>>,
    /// First row, in the tile.
    pub row: u32,
    /// First column.
    pub col: u32,
}

/// Stores a warpgroup's part of a gradient of K or V.
///
/// # Safety
/// The launch is truthful, `to` is its gradient, no product reads the part of the staging tile, and this warpgroup alone
/// has it. Called by whole warps.
#[inline(always)]
pub unsafe fn store<V: Variant, const D: usize, const STEPS: usize>(
    tile: &KeyTile,
    to: &Strided,
    staging: &SharedCorner<V>,
    acc: &Acc<D>,
) {
    let thread = ptx::opaque(ptx::thread_index());
    let (warp, lane) = (thread / 32 % 4, thread % 32);
    let (first_row, first_chunk) = (staging.row + warp * STRIP_ROWS, staging.col / CHUNK_COLS);
    let words = operand::<V::Element, D, STEPS>(acc);
    let at = staging.tile.lane(first_row, rows_first(lane));
    let mut step = 0;
    while step < STEPS {
        let piece = at.piece(0, first_chunk / 2 + step as u32);
        // SAFETY: inside the warp's rows.
        unsafe { ptx::store_matrix(piece, words[step]) };
        step += 1;
    }
    ptx::warp_barrier();
    let keys = tile.keys_left::<V>();
    let to = tile.block.keys_of(to).tile_below(tile.n_block, V::BLOCK_N);
    let chunks = tile.params.forward.head_dim / CHUNK_COLS;
    let mut i = lane;
    while i < STRIP_ROWS * D as u32 {
        let (row, chunk) = (first_row + i / D as u32, first_chunk + i % D as u32);
        if row < keys && chunk < chunks {
            // SAFETY: the chunk is staged, it exists, and this lane alone writes it.
            unsafe {
                let words = ptx::load_shared(staging.tile.chunk(row, chunk));
                ptx::store_global(to.chunk(row, chunk), words);
            }
        }
        i += 32;
    }
    ptx::warp_barrier();
}
