//! Row values of a query tile: what the main kernel needs besides the matrices. Line 4 of the algorithm, and line 3:
//! the accumulator of dQ begins with zeros.

use crate::backward::dq::accumulator;
use crate::backward::key_tile::Variant;
use crate::backward::rows::{QueryTile, row_statistics};
use crate::copy::TileCopy;
use crate::global_tile::GlobalTile;
use crate::mma::Element;
use crate::ptx;
use crate::softmax::across_quad;
use crate::tile::CHUNK_COLS;
use abi::BwdParams;
use core::f32::consts::LOG2_E;

/// Lanes that share one row: with 16 bytes each they read 128 contiguous bytes.
const ROW_LANES: u32 = 8;

/// One query tile of one head: -L · log2(e), -D = d_lse - rowsum(dO ∘ O), and zeros for dQ.
///
/// # Safety
/// `params` is what its documentation says, out and d_out are accessible as `V::Copy` asks, and the launch has
/// `V::THREADS` threads per block and `m_blocks * num_heads * batch` blocks.
#[inline(always)]
pub unsafe fn delta<V: Variant>(params: &BwdParams) {
    let Some(tile) = QueryTile::current(params) else {
        return;
    };
    let rows = tile.rows_left();
    let thread = ptx::thread_index();
    let (out, d_out) = (tile.matrix(&params.forward.out), tile.matrix(&params.d_out));
    let mut row = thread / ROW_LANES;
    while row < params.tile_rows {
        let mut sum = 0.0;
        if row < rows {
            // SAFETY: the row exists.
            sum = unsafe { row_product::<V>(params, &out, &d_out, row, thread % ROW_LANES) };
        }
        let sum = across_quad(sum, |a, b| a + b);
        let sum = sum + ptx::shuffle_xor(sum, 4);
        if thread.is_multiple_of(ROW_LANES) {
            // SAFETY: the row is one of the tile's, and this thread alone writes its values.
            unsafe { store_row(params, &tile, row, row < rows, sum) };
        }
        row += V::THREADS / ROW_LANES;
    }
    // SAFETY: this block alone writes the tile.
    unsafe { clear_dq::<V>(params, &tile) };
}

/// This lane's part of rowsum(dO ∘ O).
///
/// # Safety
/// Row `row` of both matrices is readable as `V::Copy` asks.
#[inline(always)]
unsafe fn row_product<V: Variant>(
    params: &BwdParams,
    out: &GlobalTile,
    d_out: &GlobalTile,
    row: u32,
    lane: u32,
) -> f32 {
    let mut sum = 0.0;
    let mut chunk = lane;
    while chunk * CHUNK_COLS < params.forward.head_dim {
        // SAFETY: the chunk exists in both.
        let (a, b) = unsafe {
            (
                V::Copy::load_chunk(out.chunk(row, chunk)),
                V::Copy::load_chunk(d_out.chunk(row, chunk)),
            )
        };
        let mut i = 0;
        while i < 4 {
            let (a, b) = (V::Element::unpack(a[i]), V::Element::unpack(b[i]));
            sum = ptx::fma(a[0], b[0], sum);
            sum = ptx::fma(a[1], b[1], sum);
            i += 1;
        }
        chunk += ROW_LANES;
    }
    sum
}

/// Writes the values of row `row` of the tile, which may lie beyond the end of the queries.
///
/// A row that sees no key has L = -inf; with +inf in its place, exp(S - L) is 0. Both values are stored negated, ready to
/// be added.
///
/// # Safety
/// The scratch is as `params` says, and no other thread writes the values of this row.
#[inline(always)]
unsafe fn store_row(params: &BwdParams, tile: &QueryTile, row: u32, exists: bool, sum: f32) {
    let (mut neg_lse_log2, mut neg_delta) = (f32::NEG_INFINITY, 0.0);
    if exists {
        // SAFETY: the row exists.
        let lse = unsafe { ptx::load_global_f32(tile.row_value(&params.forward.lse, row)) };
        if lse != f32::NEG_INFINITY {
            neg_lse_log2 = -lse * LOG2_E;
            neg_delta = -sum;
            if params.d_lse.ptr != 0 {
                // SAFETY: the row exists.
                neg_delta += unsafe { ptx::load_global_f32(tile.row_value(&params.d_lse, row)) };
            }
        }
    }
    let start = row_statistics(params, tile.scratch_row);
    // Of each pair of rows a and b: a, b, a, b.
    let pair = start + 4 * (params.tile_rows + 2 * row - row % 2) as u64;
    // SAFETY: inside the scratch, and this row's own.
    unsafe {
        ptx::store_global_f32(start + 4 * row as u64, neg_lse_log2);
        ptx::store_global_f32(pair, neg_delta);
        ptx::store_global_f32(pair + 8, neg_delta);
    }
}

/// Zeros the tile's part of every slice of dQ.
///
/// # Safety
/// The accumulator is as `params` says, and no other block writes the tile.
#[inline(always)]
unsafe fn clear_dq<V: Variant>(params: &BwdParams, tile: &QueryTile) {
    let elements = params.tile_rows * params.tile_cols;
    let mut slice = 0;
    while slice < params.dq_slices {
        let start = accumulator(params, slice, tile.scratch_row, params.tile_cols);
        let mut i = 4 * ptx::thread_index();
        while i < elements {
            // SAFETY: inside the tile, a multiple of 16 bytes.
            unsafe { ptx::store_global(start + 4 * i as u64, [0; 4]) };
            i += 4 * V::THREADS;
        }
        slice += 1;
    }
}
