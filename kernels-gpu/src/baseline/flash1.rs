//! FlashAttention-1: key tiles outside, query tiles inside; O, l and m are rescaled in device memory for every pair.
//!
//! FlashAttention, Algorithm 1 (arXiv:2205.14135), with the softmax scale and the mask of its Algorithm 2; line numbers
//! in comments are those of Algorithm 1. One block computes a whole head: it passes over all of Q and O once per key
//! tile.
//!
//! The warps slice K ("sliced-K"): all of them work on the same 16 query rows, each on a quarter of the keys of the
//! tile, and in every step they put their parts together (see `exchange`). FlashAttention-2 slices Q instead and
//! exchanges nothing.

mod exchange;
mod state;

use super::{exp, first_rows, not_packed, origin, reciprocal_or_zero};
use crate::block_info::BlockInfo;
use crate::copy::TileCopy;
use crate::flash_fwd::{Place, Variant};
use crate::fragment::{Acc, STRIP_ROWS, acc_col, acc_row, chunks_first, rows_first};
use crate::global_tile::GlobalTile;
use crate::mask::hide_outside;
use crate::mma::{mma_pv, mma_qk};
use crate::ptx;
use crate::softmax::{across_quad, row_max};
use crate::tile::{Keys, Queries, Shape, SharedTile};
use abi::Flash1Params;
use exchange::{Exchange, WARPS};
use state::{RowStats, State};

/// FlashAttention-1 on one head: a warp has `8 * N` keys of each key tile, and O has `8 * D` columns.
///
/// # Safety
/// `params` is what its documentation says, and the launch has `num_heads * batch` blocks and the threads and shared
/// memory of the manifest.
#[inline(always)]
pub unsafe fn flash1<V: Variant, const N: usize, const D: usize>(params: &Flash1Params) {
    const {
        assert!(
            V::WARPS == WARPS && V::BLOCK_M == STRIP_ROWS,
            "four warps share one strip"
        );
        assert!(
            N as u32 * 8 * WARPS == V::BLOCK_N && D as u32 * 8 == V::HEAD_DIM,
            "fragments count 8-column tiles"
        );
    }
    let block = BlockInfo::<V>::new(&params.problem, ptx::block_index(), not_packed);
    let keys = block.keys();
    let head = Head::<V, N, D>::new(params, &block);
    // Line 2.
    // SAFETY: the launch is as promised.
    unsafe { head.state.initialise() };
    ptx::barrier();
    let n_blocks = keys.seqlen_k.div_ceil(V::BLOCK_N);
    let m_blocks = keys.seqlen_q.div_ceil(V::BLOCK_M);
    // Line 5, j.
    let mut n_block = 0;
    while n_block < n_blocks {
        // SAFETY: the last step has ended with a barrier.
        unsafe { head.load_keys(n_block) };
        // Line 7, i. No row of a tile above the diagonal sees a key of this tile.
        let mut m_block = keys.first_row(n_block * V::BLOCK_N) / V::BLOCK_M;
        while m_block < m_blocks {
            // SAFETY: as above; the loads are those of `n_block`.
            unsafe { head.step(m_block, n_block) };
            m_block += 1;
        }
        n_block += 1;
    }
    // Line 16.
    // SAFETY: the launch is as promised; a barrier has passed since the last write of O, l and m.
    unsafe { head.state.store_output() };
}

/// What a step knows and does not change.
struct Head<'a, V: Variant, const N: usize, const D: usize> {
    params: &'a Flash1Params,
    block: &'a BlockInfo<V>,
    place: Place,
    k: SharedTile<Keys<V>>,
    v: SharedTile<Keys<V>>,
    /// In the place of the parts of P·V, which are published when no warp needs Q any more.
    q: SharedTile<Queries<V>>,
    exchange: Exchange<D>,
    state: State<'a, V>,
}

impl<'a, V: Variant, const N: usize, const D: usize> Head<'a, V, N, D> {
    #[inline(always)]
    fn new(params: &'a Flash1Params, block: &'a BlockInfo<V>) -> Self {
        let place = Place::current();
        let k = ptx::dynamic_shared();
        let v = k + Keys::<V>::BYTES;
        let after_tiles = v + Keys::<V>::BYTES;
        Head {
            params,
            block,
            place,
            k: SharedTile::at(k),
            v: SharedTile::at(v),
            q: SharedTile::at(after_tiles),
            exchange: Exchange::at(after_tiles, place),
            state: State::new(params, block),
        }
    }

    /// Line 6: starts to load K_j and V_j.
    ///
    /// # Safety
    /// All warps have passed a barrier since they last read the two tiles.
    #[inline(always)]
    unsafe fn load_keys(&self, n_block: u32) {
        let problem = &self.params.problem;
        let extent = first_rows::<V>(self.block.keys_left(n_block));
        let k = self
            .block
            .keys_of(&problem.k)
            .tile_below(n_block, V::BLOCK_N);
        let v = self
            .block
            .keys_of(&problem.v)
            .tile_below(n_block, V::BLOCK_N);
        // SAFETY: the caller's promise; the extent ends where the keys do.
        unsafe {
            V::Copy::load(self.k, &k, extent);
            V::Copy::load(self.v, &v, extent);
        }
    }

    /// Line 8, Q_i: starts to load the query tile.
    ///
    /// # Safety
    /// All warps have passed a barrier since they last used its place.
    #[inline(always)]
    unsafe fn load_queries(&self, first_row: u32) {
        let q = &self.params.problem.q;
        let from = GlobalTile::new(q, self.block.sequence.batch, self.block.head, first_row);
        let extent = first_rows::<V>(self.params.problem.seqlen_q - first_row);
        // SAFETY: the caller's promise; the extent ends where the queries do.
        unsafe { V::Copy::load(self.q, &from, extent) };
    }

    /// Lines 8 to 13: takes key tile j into account for the rows of query tile i. Ends with a barrier.
    ///
    /// # Safety
    /// The loads of K_j and V_j have been started, and a barrier has passed since the last step.
    #[inline(always)]
    unsafe fn step(&self, m_block: u32, n_block: u32) {
        let first_row = m_block * V::BLOCK_M;
        let rows = [0, 2].map(|i| first_row + acc_row(self.place.lane, i));
        // Line 8. O_i is loaded where it is used.
        // SAFETY: the caller's promise.
        let old = unsafe {
            self.load_queries(first_row);
            self.state.load_stats(rows)
        };
        V::Copy::wait();
        ptx::barrier();

        // Line 9.
        // SAFETY: the barrier after the copies has passed.
        let mut scores = unsafe { self.scores(rows, n_block) };

        // Line 10. Each warp has its slice of the keys, the maximum is that of the whole tile.
        // SAFETY: barriers stand between every publication and its use.
        let max = unsafe {
            self.exchange
                .publish_max(row_max(&scores, [f32::NEG_INFINITY; 2]));
            ptx::barrier();
            self.exchange.max()
        };
        let mut sum = [0.0; 2];
        scores.map(|s, half, _| {
            let p = exp(s - origin(max[half]));
            sum[half] += p;
            p
        });
        let sum = sum.map(|sum| across_quad(sum, |a, b| a + b));

        // Line 12, the product P_ij·V_j, again of the warp's slice of the keys.
        let mut part = [Acc::<D>::zero()];
        let v = self.v.lane(self.first_key(), rows_first(self.place.lane));
        // SAFETY: the barrier after the copy of V has passed; no warp needs Q, whose place the parts take, any more.
        let sum = unsafe {
            mma_pv::<V::Element, _, 1, N, D>(&mut part, &[scores], &v);
            self.exchange.publish_sum(sum);
            self.exchange.publish_part(&part[0]);
            ptx::barrier();
            self.exchange.sum()
        };

        // SAFETY: the parts are published and a barrier has passed.
        unsafe { self.update(rows, &old, &RowStats { max, sum }) };
        ptx::barrier();
    }

    /// The first key of this warp's slice in the key tile.
    #[inline(always)]
    fn first_key(&self) -> u32 {
        self.place.warp * 8 * N as u32
    }

    /// Line 9: S_ij = scale · Q_i·K_jᵀ, masked, for this warp's slice of the keys.
    ///
    /// # Safety
    /// Q_i and K_j are loaded and a barrier has passed since.
    #[inline(always)]
    unsafe fn scores(&self, rows: [u32; 2], n_block: u32) -> Acc<N> {
        let lane = self.place.lane;
        let q = self.q.lane(0, rows_first(lane));
        let k = self.k.lane(self.first_key(), chunks_first(lane));
        // SAFETY: the caller's promise.
        let [mut acc_s] = unsafe { mma_qk::<V::Element, _, _, 1, N>(&q, &k) };
        acc_s.map(|s, _, _| s * self.params.problem.softmax_scale);
        hide_outside(
            &mut acc_s,
            lane,
            n_block * V::BLOCK_N + self.first_key(),
            [0; 2],
            rows.map(|row| self.block.keys().end(row)),
        );
        acc_s
    }

    /// Lines 11 to 13. Each warp updates its quarter of the columns of O_i.
    ///
    /// # Safety
    /// As [`step`](Head::step); all parts are published and a barrier has passed since.
    #[inline(always)]
    unsafe fn update(&self, rows: [u32; 2], old: &RowStats, tile: &RowStats) {
        let (mut keep, mut add) = ([0.0; 2], [0.0; 2]);
        let mut half = 0;
        while half < 2 {
            // Line 11.
            let max = old.max[half].max(tile.max[half]);
            let shrink_old = exp(old.max[half] - origin(max));
            let shrink_tile = exp(tile.max[half] - origin(max));
            let sum = shrink_old * old.sum[half] + shrink_tile * tile.sum[half];
            // Line 12, the factors of O_i and of P_ij·V_j.
            let normaliser = reciprocal_or_zero(sum);
            keep[half] = shrink_old * old.sum[half] * normaliser;
            add[half] = shrink_tile * normaliser;
            // Line 13.
            if self.place.warp == 0 && acc_col(self.place.lane, 0) == 0 {
                // SAFETY: this lane alone writes them, and all warps have read them before the first barrier of the step.
                unsafe { self.state.store_stats(rows[half], max, sum) };
            }
            half += 1;
        }
        // Line 12.
        let tiles = D as u32 / WARPS;
        let mut n = 0;
        while n < tiles {
            let column_tile = self.place.warp * tiles + n;
            let col = column_tile * 8 + acc_col(self.place.lane, 0);
            // SAFETY: the parts are published; no other lane uses these elements of O in any step.
            unsafe {
                let [a, b, c, d] = self.exchange.product(column_tile);
                self.state.update_out(rows[0], col, keep[0], add[0], [a, b]);
                self.state.update_out(rows[1], col, keep[1], add[1], [c, d]);
            }
            n += 1;
        }
    }
}
