//! Standard attention, the way before FlashAttention: three kernels that hand the whole S and P through device memory.
//!
//! It is Algorithm 0 of the FlashAttention paper (arXiv:2205.14135): S = scale · Q·Kᵀ (line 1), P = softmax(S) (line 2),
//! O = P·V (line 3). The products know nothing of masks: S has all pairs of a query and a key, and the softmax gives
//! those that the mask hides probability 0.

use super::{exp, first_rows, log_sum_exp, not_packed, origin, reciprocal_or_zero};
use crate::block_info::{BlockInfo, div_rem};
use crate::copy::TileCopy;
use crate::epilogue;
use crate::flash_fwd::{Place, Variant};
use crate::fragment::{Acc, STRIP_ROWS, acc_col, acc_row, chunks_first, rows_first};
use crate::global_tile::{Extent, Rows};
use crate::mma::{Element, mma_qk, mma_stored_pv};
use crate::ptx;
use crate::softmax::across_warp;
use crate::tile::{ELEMENT_BYTES, Keys, Queries, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::{StandardParams, Strided};
use core::marker::PhantomData;

/// Bytes of one score.
const SCORE_BYTES: u64 = 4;
/// Scores that one lane of the softmax reads at once, 16 bytes.
const LANE_SCORES: u32 = 4;

/// Shape of the tiles of P: BLOCK_M query rows by BLOCK_N keys.
struct Probabilities<T>(PhantomData<T>);

impl<T: Tiling> Shape for Probabilities<T> {
    const ROWS: u32 = T::BLOCK_M;
    const COLS: u32 = T::BLOCK_N;
    const THREADS: u32 = T::THREADS;
}

/// Line 1: one tile of S = scale · Q·Kᵀ, BLOCK_M queries by BLOCK_N keys.
///
/// # Safety
/// `params` is what its documentation says, and the launch has `n_blocks * m_blocks * num_heads * batch` blocks (key
/// tile fastest) and the threads and shared memory of the manifest.
#[inline(always)]
pub unsafe fn scores<V: Variant, const STRIPS: usize, const N: usize>(params: &StandardParams) {
    let problem = &params.problem;
    let (block, n_block) = div_rem(ptx::block_index(), params.n_blocks);
    let block = BlockInfo::<V>::new(problem, block, not_packed);
    let place = Place::current();
    let q = SharedTile::<Queries<V>>::at(ptx::dynamic_shared());
    let k = SharedTile::<Keys<V>>::at(ptx::dynamic_shared() + Queries::<V>::BYTES);
    let first_key = n_block * V::BLOCK_N;
    let from_q = block.queries_of(&problem.q);
    let from_k = block.keys_of(&problem.k).tile_below(n_block, V::BLOCK_N);
    // SAFETY: nobody has used shared memory before; the tiles end where the sequences do.
    unsafe {
        V::Copy::load(q, &from_q, first_rows::<V>(block.rows_left()));
        V::Copy::load(k, &from_k, first_rows::<V>(block.keys_left(n_block)));
    }
    V::Copy::wait();
    ptx::barrier();
    let q = q.lane(place.warp * V::WARP_ROWS, rows_first(place.lane));
    let k = k.lane(0, chunks_first(place.lane));
    // SAFETY: the barrier after the copies has passed.
    let acc_s = unsafe { mma_qk::<V::Element, _, _, STRIPS, N>(&q, &k) };

    let mut strip = 0;
    while strip < STRIPS {
        let strip_row = block.first_row + place.warp * V::WARP_ROWS + STRIP_ROWS * strip as u32;
        let mut half = 0;
        while half < 2 {
            let row = strip_row + acc_row(place.lane, 2 * half);
            let first = first_key + acc_col(place.lane, 0);
            let pairs = acc_s[strip]
                .0
                .map(|tile| [tile[2 * half as usize], tile[2 * half as usize + 1]]);
            // SAFETY: this lane alone has these elements of S.
            unsafe { store_scores(params, &block, row, first, &pairs) };
            half += 1;
        }
        strip += 1;
    }
}

/// Writes one lane's scores of one row: pairs of neighbouring columns, 8 columns apart, from column `first` on.
///
/// # Safety
/// `params` describes the launch truthfully and no other thread writes these elements of S.
#[inline(always)]
unsafe fn store_scores<V: Variant, const N: usize>(
    params: &StandardParams,
    block: &BlockInfo<V>,
    row: u32,
    first: u32,
    pairs: &[[f32; 2]; N],
) {
    if row >= params.problem.seqlen_q {
        return;
    }
    let to = params.scores + SCORE_BYTES * (row_start(params, block, row) + first as u64);
    let mut n = 0;
    while n < N {
        // The row stride is a multiple of 8, so a pair is in the row or past it. Keys past the last one were copied as
        // zeros, and so are their scores.
        if first + 8 * (n as u32) < params.row_stride {
            let scaled = pairs[n].map(|s| (s * params.problem.softmax_scale).to_bits());
            // SAFETY: inside the row of S; the caller's promise.
            unsafe { ptx::store_global_pair(to + SCORE_BYTES * 8 * n as u64, scaled) };
        }
        n += 1;
    }
}

/// Line 2: one row of P = softmax(S) per warp, and its log-sum-exp. Reads the row of S twice.
///
/// # Safety
/// As [`scores`], with `m_blocks * num_heads * batch` blocks; S is written.
#[inline(always)]
pub unsafe fn softmax<V: Variant>(params: &StandardParams) {
    let problem = &params.problem;
    let block = BlockInfo::<V>::new(problem, ptx::block_index(), not_packed);
    let Place { warp, lane } = Place::current();
    let row = block.first_row + warp;
    if row >= problem.seqlen_q {
        return;
    }
    let start = row_start(params, &block, row);
    let scores = ScoreRow {
        address: params.scores + SCORE_BYTES * start,
        visible: block.keys().end(row),
    };
    // SAFETY: S is written and has this row.
    let (max, sum) = unsafe { scores.max_and_sum(lane) };
    let origin = origin(max);
    let normaliser = reciprocal_or_zero(sum);

    let probabilities = params.probabilities + ELEMENT_BYTES as u64 * start;
    let mut col = LANE_SCORES * lane;
    while col < params.row_stride {
        // SAFETY: S has this row, whose length is a multiple of 8.
        let p = unsafe { scores.load(col) }.map(|s| exp(s - origin) * normaliser);
        let words = [V::Element::pack(p[0], p[1]), V::Element::pack(p[2], p[3])];
        // SAFETY: inside the row of P; this lane alone writes these elements.
        unsafe { ptx::store_global_pair(probabilities + (ELEMENT_BYTES * col) as u64, words) };
        col += 32 * LANE_SCORES;
    }
    if lane == 0 {
        // SAFETY: the row exists and this lane alone writes its log-sum-exp.
        unsafe {
            ptx::store_global_f32(
                block.sequence.row_values(&problem.lse, block.head) + 4 * row as u64,
                log_sum_exp(max, sum),
            )
        };
    }
}

/// One row of S in device memory.
struct ScoreRow {
    address: u64,
    /// Keys that the row sees; all from this one on are hidden.
    visible: u32,
}

impl ScoreRow {
    /// Four scores from column `col` on, -inf for hidden keys.
    ///
    /// # Safety
    /// The row is readable and has these columns; `col` is a multiple of 4.
    #[inline(always)]
    unsafe fn load(&self, col: u32) -> [f32; 4] {
        // SAFETY: the caller's promise.
        let mut s = unsafe { ptx::load_global_f32x4(self.address + SCORE_BYTES * col as u64) };
        let mut i = 0;
        while i < 4 {
            if col + i >= self.visible {
                s[i as usize] = f32::NEG_INFINITY;
            }
            i += 1;
        }
        s
    }

    /// Maximum of the row's scores and Σ e^(score - maximum), the same in every lane; -inf and 0 when all are hidden.
    ///
    /// Each lane keeps a running maximum and sum of its own columns (arXiv:1805.02867, Algorithm 3).
    ///
    /// # Safety
    /// The row is readable up to the next multiple of 4 of `visible`. Called by whole warps.
    #[inline(always)]
    unsafe fn max_and_sum(&self, lane: u32) -> (f32, f32) {
        let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0);
        let mut col = LANE_SCORES * lane;
        while col < self.visible {
            // SAFETY: the caller's promise.
            let s = unsafe { self.load(col) };
            let new_max = s.into_iter().fold(max, f32::max);
            let from = origin(new_max);
            let terms = s.map(|s| exp(s - from));
            sum = sum * exp(max - from) + (terms[0] + terms[1] + terms[2] + terms[3]);
            max = new_max;
            col += 32 * LANE_SCORES;
        }
        let row_max = across_warp(max, f32::max);
        (
            row_max,
            across_warp(sum * exp(max - origin(row_max)), |a, b| a + b),
        )
    }
}

/// Line 3: BLOCK_M rows of O = P·V.
///
/// # Safety
/// As [`scores`], with `m_blocks * num_heads * batch` blocks; P is written.
#[inline(always)]
pub unsafe fn output<V: Variant, const STRIPS: usize, const D: usize>(params: &StandardParams) {
    let problem = &params.problem;
    let block = BlockInfo::<V>::new(problem, ptx::block_index(), not_packed);
    let place = Place::current();
    let p = SharedTile::<Probabilities<V>>::at(ptx::dynamic_shared());
    let v = SharedTile::<Keys<V>>::at(ptx::dynamic_shared() + Probabilities::<V>::BYTES);
    let lane_p = p.lane(place.warp * V::WARP_ROWS, rows_first(place.lane));
    let lane_v = v.lane(0, rows_first(place.lane));
    let from_p = block.queries_of(&probabilities(params));
    let from_v = block.keys_of(&problem.v);
    let mut acc_o = [Acc::<D>::zero(); STRIPS];

    let mut n_block = 0;
    while n_block < params.n_blocks {
        let first_key = n_block * V::BLOCK_N;
        let extent = Extent {
            rows: Rows::First(block.rows_left()),
            cols: params.row_stride - first_key,
        };
        // SAFETY: all warps have passed the barrier that ends the step before; the extents end where P and V do.
        unsafe {
            V::Copy::load(p, &from_p.right(first_key), extent);
            V::Copy::load(
                v,
                &from_v.tile_below(n_block, V::BLOCK_N),
                first_rows::<V>(block.keys_left(n_block)),
            );
        }
        V::Copy::wait();
        ptx::barrier();
        // SAFETY: the barrier after the copies has passed.
        unsafe { mma_stored_pv::<V::Element, _, _, STRIPS, D>(&mut acc_o, &lane_p, &lane_v) };
        ptx::barrier();
        n_block += 1;
    }

    let staging = SharedTile::<Queries<V>>::at(ptx::dynamic_shared());
    let mut strip = 0;
    while strip < STRIPS {
        let first_row = place.warp * V::WARP_ROWS + STRIP_ROWS * strip as u32;
        // SAFETY: all reads of P and V, whose place this is, are before the last barrier; the rows are the warp's own.
        unsafe {
            epilogue::stage_strip::<V::Element, _, D>(staging, first_row, place.lane, &acc_o[strip])
        };
        strip += 1;
    }
    // SAFETY: the launch is as promised, and every row is staged.
    unsafe { epilogue::store_staged(problem, &block, staging) };
}

/// P as a matrix whose columns are the keys.
#[inline(always)]
fn probabilities(params: &StandardParams) -> Strided {
    let head_stride = params.problem.seqlen_q as i64 * params.row_stride as i64;
    Strided {
        ptr: params.probabilities,
        batch_stride: params.problem.num_heads as i64 * head_stride,
        row_stride: params.row_stride as i64,
        head_stride,
    }
}

/// Index of query row `row` of the block's head among the rows of all heads.
#[inline(always)]
fn row_index<V>(params: &StandardParams, block: &BlockInfo<V>, row: u32) -> u64 {
    let head = block.sequence.batch as u64 * params.problem.num_heads as u64 + block.head as u64;
    head * params.problem.seqlen_q as u64 + row as u64
}

/// Index of the first element of a row of S and P.
#[inline(always)]
fn row_start<V: Variant>(params: &StandardParams, block: &BlockInfo<V>, row: u32) -> u64 {
    row_index(params, block, row) * params.row_stride as u64
}
