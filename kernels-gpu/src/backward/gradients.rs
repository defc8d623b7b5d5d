//! Writes dK and dV of a key tile, rounded to 16 bits.
//!
//! Both go through shared memory, in the places of K and V, so that neighbouring threads write neighbouring chunks of a
//! global row.

use crate::backward::block::KeyHead;
use crate::backward::key_tile::Variant;
use crate::backward::walk::anew;
use crate::copy::{self, TileCopy};
use crate::flash_fwd::Place;
use crate::fragment::Acc;
use crate::ptx;
use crate::tile::{Keys, SharedTile};
use abi::BwdParams;

/// What the sums over dSᵀ·Q lack of dK.
#[inline(always)]
pub fn scale_d_k<const D: usize>(params: &BwdParams, acc: &mut Acc<D>) {
    acc.map(|x, _, _| x * params.forward.softmax_scale);
}

/// Ends all reads of shared memory, so that gradients can be staged there; where the calling thread stands.
#[inline(always)]
pub fn before_staging<V: Variant>() -> Place {
    // Where no query sees a key of the tile, nobody has waited for its K and V yet.
    V::Copy::wait();
    ptx::barrier();
    Place::current_anew()
}

/// Stores key tile `n_block`, whose gradients are staged in `k` and `v`; all shared memory is free when it returns.
///
/// # Safety
/// `params` describes the launch truthfully, this block alone writes the tile, and its warps have staged every row
/// that exists.
#[inline(always)]
pub unsafe fn store_staged<V: Variant>(
    params: &BwdParams,
    n_block: u32,
    k: SharedTile<Keys<V>>,
    v: SharedTile<Keys<V>>,
) {
    ptx::barrier();
    let block = KeyHead::current(params);
    let extent = block.keys_extent(&params.forward, n_block * V::BLOCK_N);
    let thread = ptx::opaque(ptx::thread_index());
    let tile = |matrix| {
        let rows = block.keys_of(&anew(matrix));
        rows.tile_below(n_block, V::BLOCK_N)
    };
    // SAFETY: the tiles are written and a barrier has passed; this block alone writes these rows.
    unsafe {
        copy::store_as::<V::Copy, _>(thread, &tile(&params.d_k), k, extent);
        copy::store_as::<V::Copy, _>(thread, &tile(&params.d_v), v, extent);
    }
    ptx::barrier();
}
