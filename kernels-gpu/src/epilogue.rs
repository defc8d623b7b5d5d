//! Writes a block's results: O, rounded to 16 bits, and the log-sum-exp of each row.
//!
//! O goes through the Q tile's place in shared memory, so that neighbouring threads write neighbouring chunks of a
//! global row. A warp overwrites only the Q rows that it alone has read.

use crate::block_info::BlockInfo;
use crate::copy::{self, TileCopy};
use crate::flash_fwd::{Place, Variant};
use crate::fragment::{Acc, ROW_HALF, STRIP_ROWS, acc_col, acc_row};
use crate::global_tile::{Extent, Rows};
use crate::mma::Element;
use crate::ptx;
use crate::tile::{ELEMENT_BYTES, Queries, Shape, SharedTile};
use abi::FwdParams;

/// Stores the normalised `acc_o` and the rows' `lse`.
///
/// # Safety
/// `params` describes the launch truthfully; no copy into the Q tile `staging` is pending, and no warp reads rows of
/// it that are not its own.
#[inline(always)]
pub unsafe fn store<V: Variant, const STRIPS: usize, const D: usize>(
    params: &FwdParams,
    block: &BlockInfo<V>,
    place: Place,
    staging: SharedTile<Queries<V>>,
    acc_o: &[Acc<D>; STRIPS],
    lse: [[f32; 2]; STRIPS],
) {
    let mut strip = 0;
    while strip < STRIPS {
        let first_row = place.warp * V::WARP_ROWS + STRIP_ROWS * strip as u32;
        // SAFETY: the caller's promise; the rows are this warp's own.
        unsafe { stage_strip::<V::Element, _, D>(staging, first_row, place.lane, &acc_o[strip]) };
        // SAFETY: the caller's promise; the rows are this warp's own.
        unsafe { store_lse(params, block, first_row, place.lane, lse[strip]) };
        strip += 1;
    }
    // SAFETY: the whole staging tile is written; this block alone writes its rows.
    unsafe { store_staged(params, block, staging) };
}

/// Stores the results of rows that see no key: zeros and -inf.
///
/// # Safety
/// `params` describes the launch truthfully, and this block alone writes its rows.
#[inline(always)]
pub unsafe fn store_unseen<V: Variant>(params: &FwdParams, block: &BlockInfo<V>) {
    let to = block.queries_of(&params.out);
    let extent = Extent {
        rows: Rows::First(block.rows_left()),
        cols: params.head_dim,
    };
    let lse = block.row_values(&params.lse);
    copy::for_each_chunk::<Queries<V>>(|row, chunk| {
        if extent.contains(row, chunk) {
            // SAFETY: the chunk exists and belongs to this thread.
            unsafe { V::Copy::store_chunk(to.chunk(row, chunk), [0; 4]) };
            if chunk == 0 {
                // SAFETY: the row exists, and this thread alone has its first chunk.
                unsafe { ptx::store_global_f32(lse + 4 * row as u64, f32::NEG_INFINITY) };
            }
        }
    });
}

/// Waits for all warps to have staged their strips and copies the tile to global memory.
///
/// # Safety
/// `params` describes the launch truthfully; each row of `staging` that exists is written by some warp before.
#[inline(always)]
pub unsafe fn store_staged<V: Variant>(
    params: &FwdParams,
    block: &BlockInfo<V>,
    staging: SharedTile<Queries<V>>,
) {
    ptx::barrier();
    let to = block.queries_of(&params.out);
    let extent = Extent {
        rows: Rows::First(block.rows_left()),
        cols: params.head_dim,
    };
    // SAFETY: the tile is written and a barrier has passed; this block alone writes these rows.
    unsafe { copy::store::<V::Copy, _>(&to, staging, extent) };
}

/// Rounds one strip of O and writes it to shared memory.
///
/// # Safety
/// No other warp uses the 16 rows from `first_row` on of `staging` before the next barrier.
#[inline(always)]
pub unsafe fn stage_strip<E: Element, S: Shape, const D: usize>(
    staging: SharedTile<S>,
    first_row: u32,
    lane: u32,
    acc: &Acc<D>,
) {
    let word = acc_col(lane, 0) * ELEMENT_BYTES;
    let mut n = 0;
    while n < D {
        let mut half = 0;
        while half < 2 {
            let row = first_row + acc_row(lane, 0) + ROW_HALF * half as u32;
            let pair = E::pack(acc.0[n][2 * half], acc.0[n][2 * half + 1]);
            // SAFETY: inside the tile, 4-byte aligned, and the rows are the caller's own.
            unsafe { ptx::store_shared_word(staging.chunk(row, n as u32) + word, pair) };
            half += 1;
        }
        n += 1;
    }
}

/// Writes the log-sum-exp of one strip's rows; one lane of each quad does it.
///
/// # Safety
/// `params.lse` is writable as its documentation says, and no other warp writes these rows.
#[inline(always)]
unsafe fn store_lse<V: Variant>(
    params: &FwdParams,
    block: &BlockInfo<V>,
    first_row: u32,
    lane: u32,
    lse: [f32; 2],
) {
    let first = block.row_values(&params.lse);
    let mut half = 0;
    while half < 2 {
        let row = first_row + acc_row(lane, 0) + ROW_HALF * half as u32;
        if acc_col(lane, 0) == 0 && row < block.rows_left() {
            // SAFETY: the row exists, and this lane alone writes it.
            unsafe { ptx::store_global_f32(first + 4 * row as u64, lse[half]) };
        }
        half += 1;
    }
}
