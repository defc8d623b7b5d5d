//! Zeros beyond the end of a sequence. What lies there in a packed or partly used tensor is not of this sequence and may
//! be anything, NaN too, and a product would sum over it.

use crate::hopper::backward::Variant;
use crate::hopper::roles::{self, WARPGROUP};
use crate::ptx;
use crate::tile::{CHUNK_BYTES, Shape, SharedTile};

/// Zeros the rows from `rows` on of two tiles, for products to come.
///
/// # Safety
/// The copies into both have landed, and no product reads them. Every thread that computes calls it.
#[inline(always)]
pub unsafe fn clear<V: Variant, S: Shape>(tiles: [SharedTile<S>; 2], rows: u32) {
    let thread = ptx::opaque(ptx::thread_index()) - WARPGROUP;
    let mut page = 0;
    while page < S::PAGES {
        // Rows of a page are contiguous, and the swizzle moves nothing from row to row.
        let mut at = rows * S::ROW_BYTES + thread * CHUNK_BYTES;
        while at < S::PAGE_BYTES {
            let offset = page * S::PAGE_BYTES + at;
            // SAFETY: inside the tiles, a multiple of 16 bytes, and this thread's own.
            unsafe {
                ptx::store_shared(tiles[0].base() + offset, [0; 4]);
                ptx::store_shared(tiles[1].base() + offset, [0; 4]);
            }
            at += V::COMPUTING * CHUNK_BYTES;
        }
        page += 1;
    }
    ptx::fence_proxy_async();
    roles::sync_consumers(V::CONSUMERS);
}
