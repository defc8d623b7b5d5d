//! What is done to loaded tiles before products read them, where it is needed. Threads write shared memory here that
//! tensor cores and copies read: the writers fence, then they meet.

use crate::copy::for_each_chunk_of;
use crate::hopper::forward::kernel::{Rows, Variant};
use crate::hopper::roles::{self, WARPGROUP};
use crate::mma::Element;
use crate::ptx;
use crate::tile::{Keys, SharedTile};

/// Moves the sign of `scale`, which is not positive, into Q, which becomes 0 for 0: the softmax needs a positive scale.
///
/// # Safety
/// `q` is the tile of the warpgroup, loaded, and nobody uses it; all threads of the warpgroup call it.
#[inline(always)]
pub unsafe fn move_sign_into_queries<V: Variant>(
    q: SharedTile<Rows<V>>,
    scale: f32,
    warpgroup: u32,
) {
    let (keep, flip) = if scale < 0.0 {
        (!0, V::Element::SIGN_BITS)
    } else {
        (0, 0)
    };
    for_each_chunk_of::<Rows<V>>(ptx::thread_index() % WARPGROUP, |row, chunk| {
        let at = q.chunk(row, chunk);
        // SAFETY: the chunk belongs to this thread until the barrier.
        unsafe { ptx::store_shared(at, ptx::load_shared(at).map(|word| (word & keep) ^ flip)) };
    });
    ptx::fence_proxy_async();
    roles::sync_warpgroup(warpgroup);
}

/// Clears V from key `keys` of its tile on. What lies there is another sequence's or not in use: P is 0 there, but
/// 0 · NaN is not.
///
/// # Safety
/// The tile is loaded, and nobody uses it; all threads that compute call it.
#[inline(always)]
pub unsafe fn clear_values<V: Variant>(v: SharedTile<Keys<V>>, keys: u32) {
    for_each_chunk_of::<Keys<V>>(ptx::thread_index() - WARPGROUP, |row, chunk| {
        if row >= keys {
            // SAFETY: the chunk belongs to this thread until the barrier.
            unsafe { ptx::store_shared(v.chunk(row, chunk), [0; 4]) };
        }
    });
    ptx::fence_proxy_async();
    roles::sync_consumers(V::CONSUMERS);
}
