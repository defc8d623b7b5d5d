//! Writes dK and dV of a key tile, rounded to 16 bits.
//!
//! Both go through shared memory, in the places of K and V, so that neighbouring threads write neighbouring chunks of a
//! global row.

use crate::backward::block::KeyHead;
use crate::backward::key_tile::{Storage, Variant};
use crate::copy;
use crate::epilogue::stage_strip;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, STRIP_ROWS};
use crate::ptx;
use abi::BwdParams;

/// Stores the warp's 16 keys of `d_k` and `d_v`; all shared memory is free when it returns.
///
/// # Safety
/// `params` describes the launch truthfully, this block alone writes the tile, and no copy into shared memory is
/// pending.
#[inline(always)]
pub unsafe fn store<V: Variant, const D: usize>(
    params: &BwdParams,
    storage: &Storage<V>,
    n_block: u32,
    d_k: &Acc<D>,
    d_v: &Acc<D>,
) {
    let (block, place) = (KeyHead::current(params), Place::current_anew());
    let first_key = place.warp * STRIP_ROWS;
    ptx::barrier();
    // SAFETY: the barrier has ended all reads of both places; the rows are this warp's own.
    unsafe {
        stage_strip::<V::Element, _, D>(storage.k, first_key, place.lane, d_k);
        stage_strip::<V::Element, _, D>(storage.v, first_key, place.lane, d_v);
    }
    ptx::barrier();
    let extent = block.keys_extent(&params.forward, n_block * V::BLOCK_N);
    let thread = ptx::opaque(ptx::thread_index());
    let tile = |matrix| block.keys_of(matrix).tile_below(n_block, V::BLOCK_N);
    // SAFETY: the tiles are written and a barrier has passed; this block alone writes these rows.
    unsafe {
        copy::store_as::<V::Copy, _>(thread, &tile(&params.d_k), storage.k, extent);
        copy::store_as::<V::Copy, _>(thread, &tile(&params.d_v), storage.v, extent);
    }
    ptx::barrier();
}
