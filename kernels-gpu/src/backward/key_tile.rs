//! dK and dV of one key tile, and its part of dQ: lines 5 to 19 of the algorithm.
//!
//! K stays in shared memory, V in registers; Q and dO stream through shared memory. A warp owns 16 keys of the tile
//! with all their columns of dK and dV, which it sums in registers over the query tiles and over the query heads that
//! share the key head. For dQ += dS·K, warps are laid out over the query tile instead: one strip of 16 rows and a
//! slice of the columns each.

use crate::backward::block::{KeyHead, QueryTiles};
use crate::backward::dq::{self, DqCursor};
use crate::backward::gradients;
use crate::backward::queries::QueryPipeline;
use crate::backward::rows::{RowStatistics, row_statistics, scratch_row};
use crate::copy::TileCopy;
use crate::epilogue::stage_strip;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, STRIP_ROWS, acc_row, chunks_first, rows_first};
use crate::mask::hide_outside;
use crate::mma::{Element, load_strip, mma_pv, mma_qk, mma_strip_qk, mma_transposed_pv};
use crate::ptx;
use crate::softmax::{MASKED, UNMASKED};
use crate::tile::{Keys, KeysByQueries, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::{BwdParams, Strided};
use core::array::from_mut;
use core::f32::consts::LOG2_E;

/// One compiled kernel: sizes and policies. The entry macro in `lib.rs` implements it once per manifest row.
pub trait Variant: Tiling + Sized {
    /// Type of all matrices.
    type Element: Element;
    /// How tiles travel between global and shared memory.
    type Copy: TileCopy;
}

/// The kernel of variant `V`: `8 * M` queries per step, `8 * D` columns in `STEPS` steps of 16, and `8 * C` columns of
/// dQ for each warp.
///
/// # Safety
/// `params` is what its documentation says, every buffer is accessible as `V::Copy` asks, the delta kernel has run, and
/// the launch has `V::THREADS` threads per block, the grid of `params` and the variant's dynamic shared memory.
#[inline(always)]
pub unsafe fn flash_bwd<
    V: Variant,
    const M: usize,
    const D: usize,
    const STEPS: usize,
    const C: usize,
>(
    params: &BwdParams,
) {
    const {
        assert!(V::BLOCK_N == STRIP_ROWS * V::WARPS, "a warp owns 16 keys");
        assert!(M as u32 * 8 == V::BLOCK_M && D as u32 * 8 == V::HEAD_DIM);
        assert!(STEPS * 2 == D);
        assert!(
            C as u32 * 8 * V::WARPS == V::HEAD_DIM * (V::BLOCK_M / STRIP_ROWS),
            "warps share dQ evenly"
        );
    }
    let block = KeyHead::current(params);
    let n_blocks = block.sequence.keys.seqlen_k.div_ceil(V::BLOCK_N);
    let mut n_block = block.first_tile;
    while n_block < n_blocks {
        // SAFETY: the launch is as promised; the tile before has ended with a barrier.
        unsafe { key_tile::<V, M, D, STEPS, C>(params, n_block) };
        n_block += params.n_stride;
    }
}

impl KeyHead {
    /// Of the calling block. Found out anew wherever it is needed: kept over the main loop, it would be spilled.
    #[inline(always)]
    pub fn current(params: &BwdParams) -> Self {
        // SAFETY: `params` says where the lengths of packed sequences are.
        KeyHead::new(params, ptx::opaque(ptx::block_index()), |address| unsafe {
            ptx::load_global_u32(address)
        })
    }
}

/// Lines 6 to 18 for key tile `n_block`.
///
/// # Safety
/// As [`flash_bwd`]; no shared memory is in use, and none is when it returns.
#[inline(always)]
unsafe fn key_tile<
    V: Variant,
    const M: usize,
    const D: usize,
    const STEPS: usize,
    const C: usize,
>(
    params: &BwdParams,
    n_block: u32,
) {
    let block = &KeyHead::current(params);
    let place = Place::current_anew();
    let storage = Storage::<V>::current();
    // Lines 6 and 7. V passes through the place of the stages.
    // SAFETY: the caller's promise; shared memory is free.
    unsafe { load_keys(params, block, &storage, n_block) };
    let strip = rows_first(place.lane);
    // SAFETY: V is in shared memory.
    let v = unsafe { load_strip::<_, STEPS>(&storage.v.lane(STRIP_ROWS * place.warp, strip)) };
    ptx::barrier();
    let place = Place::current_anew();
    let mut warp = Warp::<V, STEPS> {
        params,
        block,
        place,
        n_block,
        storage,
        v,
        queries: QueryPipeline::new(storage.stages, place.lane, params.forward.head_dim),
    };
    let mut d_k = Acc::<D>::zero();
    let mut d_v = Acc::<D>::zero();
    let mut member = 0;
    while member < params.forward.heads_per_group {
        let head = block.head_k * params.forward.heads_per_group + member;
        // SAFETY: the launch is as promised.
        unsafe { warp.head::<M, D, C>(head, &mut d_k, &mut d_v) };
        member += 1;
    }
    // Line 18.
    d_k.map(|x, _, _| x * params.forward.softmax_scale);
    // SAFETY: this block alone writes the tile.
    unsafe { gradients::store(params, &storage, n_block, &d_k, &d_v) };
}

/// Where a block's tiles are in shared memory.
pub struct Storage<V> {
    /// K.
    pub k: SharedTile<Keys<V>>,
    /// V, until it is in registers; dV at the end.
    pub v: SharedTile<Keys<V>>,
    /// The stages of the pipeline.
    pub stages: u32,
    /// dSᵀ.
    pub d_s: SharedTile<KeysByQueries<V>>,
}

impl<V> Clone for Storage<V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Storage<V> {}

impl<V: Tiling> Storage<V> {
    /// Of the calling block. `BwdVariant::shared_bytes` in `abi` counts the same.
    #[inline(always)]
    fn current() -> Self {
        let k = ptx::dynamic_shared();
        let v = k + Keys::<V>::BYTES;
        Storage {
            k: SharedTile::at(k),
            v: SharedTile::at(v),
            d_s: SharedTile::at(v),
            stages: v + KeysByQueries::<V>::BYTES,
        }
    }
}

/// Line 6: K and V of tile `n_block` are in shared memory when it returns.
///
/// # Safety
/// As [`flash_bwd`]; no shared memory is in use.
#[inline(always)]
unsafe fn load_keys<V: Variant>(
    params: &BwdParams,
    block: &KeyHead,
    storage: &Storage<V>,
    n_block: u32,
) {
    let extent = block.keys_extent(&params.forward, n_block * V::BLOCK_N);
    let tile = |matrix: &Strided| {
        // Strides in bytes would be kept in registers for the next key tile.
        let matrix = Strided {
            row_stride: ptx::opaque_stride(matrix.row_stride),
            ..*matrix
        };
        block.keys_of(&matrix).tile_below(n_block, V::BLOCK_N)
    };
    let thread = ptx::opaque(ptx::thread_index());
    // SAFETY: the caller's promise.
    unsafe {
        V::Copy::load_as(thread, storage.k, &tile(&params.forward.k), extent);
        V::Copy::load_as(thread, storage.v, &tile(&params.forward.v), extent);
    }
    V::Copy::wait();
    ptx::barrier();
}

/// What a warp keeps while its block works on one key tile.
struct Warp<'a, V: Variant, const STEPS: usize> {
    params: &'a BwdParams,
    block: &'a KeyHead,
    place: Place,
    n_block: u32,
    storage: Storage<V>,
    /// The warp's keys of V as first operand.
    v: [[u32; 4]; STEPS],
    queries: QueryPipeline<V>,
}

impl<V: Variant, const STEPS: usize> Warp<'_, V, STEPS> {
    /// Lines 8 to 17 for the queries of `head`.
    ///
    /// # Safety
    /// As [`flash_bwd`].
    #[inline(always)]
    unsafe fn head<const M: usize, const D: usize, const C: usize>(
        &mut self,
        head: u32,
        d_k: &mut Acc<D>,
        d_v: &mut Acc<D>,
    ) {
        let sequence = &self.block.sequence;
        let tiles = QueryTiles::new::<V>(&sequence.keys, self.n_block);
        if tiles.begin == tiles.end {
            return;
        }
        let tile = |matrix| {
            self.block
                .queries_of(matrix, head)
                .tile_below(tiles.end - 1, V::BLOCK_M)
        };
        let (q, d_out) = (tile(&self.params.forward.q), tile(&self.params.d_out));
        let rows = sequence.keys.seqlen_q - (tiles.end - 1) * V::BLOCK_M;
        let row = scratch_row(self.params, sequence, head, tiles.end - 1, V::BLOCK_M);
        // SAFETY: the last step has passed its two barriers, the second one after reading dO.
        unsafe {
            self.queries
                .start(q, d_out, row_statistics(self.params, row), rows)
        };
        let mut m_block = tiles.end;
        let mut d_q = self.dq_cursor::<C>(row + V::BLOCK_M as u64);
        // The masked step is compiled once: the first pass takes the tiles that are cut at their end and the full
        // ones, the second pass those that are cut at their beginning.
        let mut masked_end = tiles.full_end;
        while m_block > tiles.begin {
            while m_block > masked_end {
                m_block -= 1;
                d_q.step_up::<V>();
                let step = (m_block, m_block > tiles.begin);
                // SAFETY: the caller's promise; the step before, or the start, has loaded the tile.
                unsafe { self.step::<MASKED, M, D, C>(step, &d_q, d_k, d_v) };
            }
            while m_block > tiles.full_begin {
                m_block -= 1;
                d_q.step_up::<V>();
                let step = (m_block, m_block > tiles.begin);
                // SAFETY: the caller's promise; the step before, or the start, has loaded the tile.
                unsafe { self.step::<UNMASKED, M, D, C>(step, &d_q, d_k, d_v) };
            }
            masked_end = tiles.begin;
        }
    }

    /// Where the lane adds to dQ of the tile that begins with scratch row `first_row`.
    #[inline(always)]
    fn dq_cursor<const C: usize>(&self, first_row: u64) -> DqCursor {
        let place = Place::current_anew();
        let (strip, slice) = Self::dq_place(place.warp);
        let tile = dq::accumulator(self.params, self.block.first_tile, first_row, V::HEAD_DIM);
        DqCursor::new(
            tile,
            strip * (V::HEAD_DIM / 8) + slice * C as u32,
            place.lane,
        )
    }

    /// Which strip of 16 rows and which slice of the columns of dQ `warp` computes.
    #[inline(always)]
    const fn dq_place(warp: u32) -> (u32, u32) {
        let strips = V::BLOCK_M / STRIP_ROWS;
        (warp % strips, warp / strips)
    }

    /// Lines 10 to 16 for query tile `m_block`; `has_next` says whether the tile above is the next step.
    ///
    /// # Safety
    /// As [`flash_bwd`]; the loads of the step have started, and `d_q` is in the tile.
    #[inline(always)]
    unsafe fn step<const MASK: bool, const M: usize, const D: usize, const C: usize>(
        &mut self,
        (m_block, has_next): (u32, bool),
        d_q: &DqCursor,
        d_k: &mut Acc<D>,
        d_v: &mut Acc<D>,
    ) {
        self.queries.wait();
        // Line 10: Sᵀ = K·Qᵀ. Line 11: P = exp(S - L).
        let k = self
            .storage
            .k
            .lane(STRIP_ROWS * self.place.warp, rows_first(self.place.lane));
        // SAFETY: K and Q are in shared memory.
        let [mut acc_s] = unsafe { mma_qk::<V::Element, _, _, 1, M>(&k, &self.queries.q()) };
        let rows = self.queries.rows();
        // SAFETY: the statistics are in shared memory.
        unsafe { self.exponentiate::<MASK, M>(&mut acc_s, &rows, m_block) };
        // Lines 13 and 14: dPᵀ = V·dOᵀ, dS = P ∘ (dP - D). The accumulator starts from -D.
        // SAFETY: the statistics are in shared memory.
        let mut acc_ds = unsafe { rows.neg_delta() };
        // SAFETY: dO is in shared memory.
        unsafe {
            mma_strip_qk::<V::Element, _, STEPS, M>(&mut acc_ds, &self.v, &self.queries.d_out())
        };
        multiply(&mut acc_ds, &acc_s);
        // SAFETY: the warps have read the dS of the step before, and the rows are the warp's own.
        unsafe {
            stage_strip::<V::Element, _, M>(
                self.storage.d_s,
                STRIP_ROWS * self.place.warp,
                self.place.lane,
                &acc_ds,
            )
        };
        // Line 12: dV += Pᵀ·dO.
        // SAFETY: dO is in shared memory.
        unsafe {
            mma_pv::<V::Element, _, 1, M, D>(from_mut(d_v), &[acc_s], &self.queries.d_out_rows())
        };

        ptx::barrier();
        if has_next {
            // SAFETY: all warps have read dO before the barrier.
            unsafe { self.queries.start_next() };
        }
        // Line 16: dK += dSᵀ·Q.
        // SAFETY: Q is in shared memory.
        unsafe {
            mma_pv::<V::Element, _, 1, M, D>(from_mut(d_k), &[acc_ds], &self.queries.q_rows())
        };
        // SAFETY: dS and K are in shared memory.
        unsafe { self.add_dq::<C>(d_q) };
        self.queries.advance();
    }

    /// Line 11 for the warp's keys: scores become P. Masked ones become 0, whatever the sign of the scale.
    ///
    /// # Safety
    /// `rows` are in shared memory.
    #[inline(always)]
    unsafe fn exponentiate<const MASK: bool, const M: usize>(
        &self,
        acc_s: &mut Acc<M>,
        rows: &RowStatistics<V>,
        m_block: u32,
    ) {
        let scale_log2 = self.params.forward.softmax_scale * LOG2_E;
        let mut n = 0;
        while n < M {
            // SAFETY: the caller's promise.
            let lse_log2 = unsafe { rows.lse_log2(n) };
            let mut i = 0;
            while i < 4 {
                acc_s.0[n][i] = ptx::fma(acc_s.0[n][i], scale_log2, -lse_log2[i % 2]);
                i += 1;
            }
            n += 1;
        }
        if MASK {
            let keys = &self.block.sequence.keys;
            let place = Place::current_anew();
            let first_key = self.n_block * V::BLOCK_N + STRIP_ROWS * place.warp;
            let key = [0, 2].map(|i| first_key + acc_row(place.lane, i));
            let begin = key.map(|key| keys.first_row(key));
            let end = key.map(|key| {
                if key < keys.seqlen_k {
                    keys.end_row(key)
                } else {
                    0
                }
            });
            hide_outside(acc_s, place.lane, m_block * V::BLOCK_M, begin, end);
        }
        acc_s.map(|exponent, _, _| ptx::exp2(exponent));
    }

    /// Line 15: adds this key tile's part of dQ / softmax_scale.
    ///
    /// # Safety
    /// dSᵀ and K are in shared memory; `d_q` is in the query tile.
    #[inline(always)]
    unsafe fn add_dq<const C: usize>(&self, d_q: &DqCursor) {
        let (strip, slice) = Self::dq_place(self.place.warp);
        let d_s = self.storage.d_s.lane(0, chunks_first(self.place.lane));
        let k = self.storage.k.lane(0, rows_first(self.place.lane));
        let mut acc = Acc::<C>::zero();
        // SAFETY: the caller's promise.
        unsafe {
            mma_transposed_pv::<V::Element, _, _, C>(
                &mut acc,
                (&d_s, strip),
                (&k, slice * (C as u32 / 2)),
            );
            d_q.add(&acc);
        }
    }
}

/// Line 14 with D already subtracted: dS = P ∘ dP.
#[inline(always)]
fn multiply<const M: usize>(acc_dp: &mut Acc<M>, p: &Acc<M>) {
    let mut n = 0;
    while n < M {
        let mut i = 0;
        while i < 4 {
            acc_dp.0[n][i] *= p.0[n][i];
            i += 1;
        }
        n += 1;
    }
}
