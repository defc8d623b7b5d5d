//! dQ: summed in f32 over the key tiles in device memory, then scaled and rounded.
//!
//! The accumulator of a query tile holds fragments instead of rows, so that the lanes of a warp add to contiguous bytes
//! with one instruction: to 128 where a lane adds one element at a time, to 512 where it adds its four at once (sm_90).
//!
//! ```text
//! strip of 16 rows | column tile of 8 | element of the fragment (4) | lane (32)
//! strip of 16 rows | column tile of 8 | lane (32) | element of the fragment (4)
//! ```

use crate::backward::key_tile::Variant;
use crate::backward::rows::QueryTile;
use crate::block_info::div_rem;
use crate::copy::TileCopy;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, ROW_HALF, STRIP_ROWS, chunks_first, rows_first};
use crate::mma::{Element, mma_transposed_pv};
use crate::ptx;
use crate::tile::{CHUNK_COLS, Keys, KeysByQueries, SharedTile};
use crate::tiling::Tiling;
use abi::BwdParams;

/// Elements of one fragment: 16 rows by 8 columns.
const FRAGMENT: u64 = 128;

/// Address of the tile that begins with scratch row `first_row`, in slice `slice`.
#[inline(always)]
pub const fn accumulator(params: &BwdParams, slice: u32, first_row: u64, cols: u32) -> u64 {
    let first = slice as u64 * params.dq_slice_stride + first_row * cols as u64;
    params.dq_accum + 4 * first
}

/// Where one lane adds to dQ: its element of the first fragment of its warp, in the tile of the current step.
pub struct DqCursor(u64);

impl DqCursor {
    /// Of this warp in slice `slice` of the tile that begins with scratch row `first_row`, with `col_tiles` column tiles
    /// for each warp.
    #[inline(always)]
    pub fn new<T: Tiling>(params: &BwdParams, slice: u32, first_row: u64, col_tiles: u32) -> Self {
        let place = Place::current_anew();
        let (strip, col_slice) = warp_place::<T>(place.warp);
        let fragment = strip * (T::HEAD_DIM / 8) + col_slice * col_tiles;
        let tile = accumulator(params, slice, first_row, T::HEAD_DIM);
        DqCursor(tile + 4 * (fragment as u64 * FRAGMENT + place.lane as u64))
    }

    /// Moves to the tile above.
    #[inline(always)]
    pub fn step_up<T: Tiling>(&mut self) {
        self.0 -= (4 * T::BLOCK_M * T::HEAD_DIM) as u64;
    }

    /// Adds `acc` to the fragments of the warp.
    ///
    /// # Safety
    /// The accumulator is as [`BwdParams`] says, and the delta kernel has zeroed the tile. Called by whole warps.
    #[inline(always)]
    pub unsafe fn add<const C: usize>(&self, acc: &Acc<C>) {
        let mut n = 0;
        while n < C {
            let mut i = 0;
            while i < 4 {
                // SAFETY: the caller's promise: an element of the tile.
                unsafe { ptx::reduce_add_f32(self.0 + 128 * (4 * n + i) as u64, acc.0[n][i]) };
                i += 1;
            }
            n += 1;
        }
    }
}

/// Which strip of 16 rows and which slice of the columns of dQ `warp` computes.
#[inline(always)]
const fn warp_place<T: Tiling>(warp: u32) -> (u32, u32) {
    let strips = T::BLOCK_M / STRIP_ROWS;
    (warp % strips, warp / strips)
}

/// Whether all of a tile of dQ is computed when each warp has `col_tiles` column tiles of a strip.
pub const fn is_shared_evenly<T: Tiling>(col_tiles: usize) -> bool {
    col_tiles as u32 * CHUNK_COLS * T::WARPS == T::HEAD_DIM * (T::BLOCK_M / STRIP_ROWS)
        && col_tiles.is_multiple_of(2)
}

/// Line 15: adds dS·K of a key tile to dQ / softmax_scale, `8 * C` columns of one strip for this warp.
///
/// # Safety
/// dSᵀ and K are in shared memory; `d_q` is as [`DqCursor::add`] asks.
#[inline(always)]
pub unsafe fn add<V: Variant, const C: usize>(
    d_s: SharedTile<KeysByQueries<V>>,
    k: SharedTile<Keys<V>>,
    place: Place,
    d_q: &DqCursor,
) {
    let (strip, slice) = warp_place::<V>(place.warp);
    let d_s = d_s.lane(0, chunks_first(place.lane));
    let k = k.lane(0, rows_first(place.lane));
    let first_step = slice * (C as u32 / 2);
    let mut acc = Acc::<C>::zero();
    // SAFETY: the caller's promise.
    unsafe {
        mma_transposed_pv::<V::Element, _, _, C>(&mut acc, (&d_s, strip), (&k, first_step));
        d_q.add(&acc);
    }
}

/// Lines 15 and 19 of the algorithm for one query tile of one head: the slices of dQ added in their order, scaled and
/// rounded.
///
/// A warp takes 8 rows by 32 columns at a time: lane `4 * g + c` has row g of column tile c.
///
/// # Safety
/// `params` is what its documentation says, d_q is accessible as `V::Copy` asks, the main kernel has run, and the launch
/// has `V::THREADS` threads per block and `m_blocks * num_heads * batch` blocks.
#[inline(always)]
pub unsafe fn convert<V: Variant>(params: &BwdParams) {
    let Some(tile) = QueryTile::current(params) else {
        return;
    };
    let place = Place::current();
    let groups = params.tile_cols / CHUNK_COLS / 4;
    // An octet is half of a strip: 8 rows.
    let octets = params.tile_rows / ROW_HALF;
    let mut task = place.warp;
    while task < octets * groups {
        let (octet, group) = div_rem(task, groups);
        let (row, col_tile) = (
            ROW_HALF * octet + place.lane / 4,
            4 * group + place.lane % 4,
        );
        if row < tile.rows_left() && col_tile * CHUNK_COLS < params.forward.head_dim {
            // SAFETY: the main kernel has run; the chunk exists, and this lane alone writes it.
            unsafe { convert_chunk::<V>(params, &tile, row, col_tile) };
        }
        task += V::WARPS;
    }
}

/// 8 columns of one row of dQ.
///
/// # Safety
/// As [`convert`]; the chunk exists and no other thread writes it.
#[inline(always)]
unsafe fn convert_chunk<V: Variant>(params: &BwdParams, tile: &QueryTile, row: u32, col_tile: u32) {
    let (strip, half, g) = (row / STRIP_ROWS, row / ROW_HALF % 2, row % ROW_HALF);
    let fragment = strip * (params.tile_cols / CHUNK_COLS) + col_tile;
    let first = fragment as u64 * FRAGMENT;
    let mut sum = [[0.0; 4]; 2];
    let mut slice = 0;
    while slice < params.dq_slices {
        let at = accumulator(params, slice, tile.scratch_row, params.tile_cols) + 4 * first;
        // SAFETY: inside the tile, which the delta kernel has initialised.
        let parts = unsafe { load_quad(params.dq_lane_stride, at, half, 4 * g) };
        let mut i = 0;
        while i < 4 {
            sum[0][i] += parts[0][i];
            sum[1][i] += parts[1][i];
            i += 1;
        }
        slice += 1;
    }
    let scale = params.forward.softmax_scale;
    let words = [0, 1, 2, 3].map(|i| V::Element::pack(sum[0][i] * scale, sum[1][i] * scale));
    let to = tile.matrix(&params.d_q).chunk(row, col_tile);
    // SAFETY: the caller's promise.
    unsafe { V::Copy::store_chunk(to, words) };
}

/// Elements `2 * half` and `2 * half + 1` of the lanes `lane .. lane + 4` of the fragment at `at`.
///
/// # Safety
/// The fragment is readable and aligned to 16 bytes, and lanes are `lane_stride` elements apart: 1 or 4.
#[inline(always)]
unsafe fn load_quad(lane_stride: u32, at: u64, half: u32, lane: u32) -> [[f32; 4]; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        if lane_stride == 1 {
            let at = at + 4 * (64 * half + lane) as u64;
            return [ptx::load_global_f32x4(at), ptx::load_global_f32x4(at + 128)];
        }
        let at = at + 4 * (4 * lane + 2 * half) as u64;
        let pairs = [0, 16, 32, 48].map(|lane| ptx::load_global_f32x2(at + lane));
        [pairs.map(|pair| pair[0]), pairs.map(|pair| pair[1])]
    }
}

const _: () = assert!(FRAGMENT as u32 == STRIP_ROWS * CHUNK_COLS);
