//! Writes dK and dV of a key tile, rounded to 16 bits. A warp stages the 16 rows of its keys in shared memory, so that
//! neighbouring lanes write neighbouring chunks of a global row.

use crate::fragment::{Acc, STRIP_ROWS, rows_first};
use crate::hopper::backward::storage::Keys;
use crate::hopper::backward::{KeyTile, Variant};
use crate::hopper::product::operand;
use crate::ptx;
use crate::tile::{CHUNK_COLS, SharedTile};
use abi::Strided;

/// Stores the warp's rows of a gradient of K or V.
///
/// # Safety
/// The launch is truthful, `to` is its gradient, no product reads the warp's rows of `staging`, and this warp alone
/// writes these rows. Called by whole warps.
#[inline(always)]
pub unsafe fn store<V: Variant, const D: usize, const STEPS: usize>(
    tile: &KeyTile,
    to: &Strided,
    staging: SharedTile<Keys<V>>,
    acc: &Acc<D>,
) {
    let thread = ptx::opaque(ptx::thread_index()) - crate::hopper::roles::WARPGROUP;
    let (first_row, lane) = (thread / 32 * STRIP_ROWS, thread % 32);
    let words = operand::<V::Element, D, STEPS>(acc);
    let at = staging.lane(first_row, rows_first(lane));
    let mut step = 0;
    while step < STEPS {
        // SAFETY: inside the warp's rows.
        unsafe { ptx::store_matrix(at.piece(0, step as u32), words[step]) };
        step += 1;
    }
    ptx::warp_barrier();
    let keys = tile.keys_left::<V>();
    let to = tile.block.keys_of(to).tile_below(tile.n_block, V::BLOCK_N);
    let chunks = tile.params.forward.head_dim / CHUNK_COLS;
    let mut i = lane;
    while i < STRIP_ROWS * (V::HEAD_DIM / CHUNK_COLS) {
        let row = first_row + i / (V::HEAD_DIM / CHUNK_COLS);
        let chunk = i % (V::HEAD_DIM / CHUNK_COLS);
        if row < keys && chunk < chunks {
            // SAFETY: the chunk is staged, it exists, and this lane alone writes it.
            unsafe {
                let words = ptx::load_shared(staging.chunk(row, chunk));
                ptx::store_global(to.chunk(row, chunk), words);
            }
        }
        i += 32;
    }
    ptx::warp_barrier();
}
