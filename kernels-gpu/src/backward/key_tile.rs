//! dK and dV of one key tile, and its part of dQ: lines 5 to 19 of the algorithm.
//!
//! K stays in shared memory, V in registers; Q and dO stream through shared memory. A warp owns 16 keys of the tile
//! with all their columns of dK and dV, which it sums in registers over the query tiles and over the query heads that
//! share the key head. For dQ += dS·K, warps are laid out over the query tile instead: one strip of 16 rows and a
//! slice of the columns each.
//!
//! Registers are all in use. What is needed outside of the main loop only is therefore computed there, from values
//! that the compiler takes for new ones (`ptx::opaque`), instead of being kept and spilled.

use crate::backward::block::KeyHead;
use crate::backward::dq::{self, DqCursor};
use crate::backward::gradients;
use crate::backward::probabilities::Derivative;
use crate::backward::queries::QueryPipeline;
use crate::backward::walk::{KeyTile, Step, Work};
use crate::copy::TileCopy;
use crate::epilogue::stage_strip;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, STRIP_ROWS, rows_first};
use crate::mma::{Element, load_strip, mma_pv, mma_qk, mma_strip_qk};
use crate::ptx;
use crate::scores::ScoreKind;
use crate::tile::{Keys, KeysByQueries, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::BwdParams;
use core::array::from_mut;

/// One compiled kernel: sizes and policies. The entry macro in `lib.rs` implements it once per manifest row.
pub trait Variant: Tiling + Sized {
    /// Type of all matrices.
    type Element: Element;
    /// What it can do to scores.
    type Scores: ScoreKind;
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
        assert!(dq::is_shared_evenly::<V>(C));
    }
    // Line 5.
    let mut n_block = KeyHead::current(params).first_tile;
    while n_block < KeyHead::current(params).n_blocks::<V>() {
        let block = &KeyHead::current(params);
        let tile = KeyTile {
            params,
            block,
            n_block: ptx::opaque(n_block),
        };
        // SAFETY: the launch is as promised; the tile before has left shared memory free.
        unsafe { key_tile::<V, M, D, STEPS, C>(&tile) };
        n_block += params.n_stride;
    }
}

impl KeyHead {
    /// Of the calling block. Found out anew wherever it is needed.
    #[inline(always)]
    pub fn current(params: &BwdParams) -> Self {
        // SAFETY: `params` says where the lengths of packed sequences are.
        KeyHead::new(params, ptx::opaque(ptx::block_index()), |address| unsafe {
            ptx::load_global_u32(address)
        })
    }

    /// Number of key tiles of the head.
    #[inline(always)]
    pub const fn n_blocks<V: Variant>(&self) -> u32 {
        self.sequence.keys.seqlen_k.div_ceil(V::BLOCK_N)
    }
}

/// Lines 6 to 18 for one key tile.
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
    tile: &KeyTile,
) {
    let storage = Storage::<V>::current();
    // Lines 6 and 7. V passes through the place of the stages.
    // SAFETY: the caller's promise; shared memory is free.
    unsafe { tile.load(storage.k, storage.v) };
    V::Copy::wait();
    ptx::barrier();
    let place = Place::current_anew();
    let strip = storage
        .v
        .lane(STRIP_ROWS * place.warp, rows_first(place.lane));
    // SAFETY: V is in shared memory.
    let v = unsafe { load_strip::<_, STEPS>(&strip) };
    ptx::barrier();
    let place = Place::current_anew();
    let head_dim = tile.params.forward.head_dim;
    let mut warp = Warp::<V, M, D, STEPS, C> {
        place,
        storage,
        v,
        queries: QueryPipeline::new(storage.stages, place.lane, head_dim),
        d_k: Acc::zero(),
        d_v: Acc::zero(),
    };
    // SAFETY: the launch is as promised.
    unsafe { tile.walk(&mut warp) };

    // Line 18.
    let Warp { mut d_k, d_v, .. } = warp;
    gradients::scale_d_k(tile.params, &mut d_k);
    let place = gradients::before_staging::<V>();
    let first_key = STRIP_ROWS * place.warp;
    // SAFETY: nothing else uses shared memory; a warp stages the rows of its keys, and this block alone writes the tile.
    unsafe {
        stage_strip::<V::Element, _, D>(storage.k, first_key, place.lane, &d_k);
        stage_strip::<V::Element, _, D>(storage.v, first_key, place.lane, &d_v);
        gradients::store_staged::<V>(tile.params, tile.n_block, storage.k, storage.v);
    }
}

/// Where a block's tiles are in shared memory.
struct Storage<V> {
    /// K; dK at the end.
    k: SharedTile<Keys<V>>,
    /// V, until it is in registers; dV at the end.
    v: SharedTile<Keys<V>>,
    /// dSᵀ.
    d_s: SharedTile<KeysByQueries<V>>,
    /// The stages of the pipeline.
    stages: u32,
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

/// What a warp keeps while its block works on one key tile.
struct Warp<V: Variant, const M: usize, const D: usize, const STEPS: usize, const C: usize> {
    place: Place,
    storage: Storage<V>,
    /// The warp's keys of V as first operand.
    v: [[u32; 4]; STEPS],
    queries: QueryPipeline<V>,
    /// dK / softmax_scale.
    d_k: Acc<D>,
    d_v: Acc<D>,
}

impl<V: Variant, const M: usize, const D: usize, const STEPS: usize, const C: usize> Work<V>
    for Warp<V, M, D, STEPS, C>
{
    const DQ_TILES: u32 = C as u32;

    #[inline(always)]
    fn queries(&mut self) -> &mut QueryPipeline<V> {
        &mut self.queries
    }

    #[inline(always)]
    unsafe fn step<const MASK: bool>(&mut self, tile: &KeyTile, step: Step, d_q: &DqCursor) {
        let (place, queries) = (self.place, &self.queries);
        let first_key = STRIP_ROWS * place.warp;
        let (scores, rows) = (tile.scores::<V>(&step, first_key), queries.rows());
        let k = self.storage.k.lane(first_key, rows_first(place.lane));
        queries.wait();
        // SAFETY: K, Q, dO and the statistics are in shared memory; the warps have read the dS of the step before, and
        // the rows that are staged are the warp's own.
        let acc_ds = unsafe {
            // Line 10: Sᵀ = K·Qᵀ. Line 11: P = exp(S - L). Line 12: dV += Pᵀ·dO.
            let [acc_s] = mma_qk::<V::Element, _, _, 1, M>(&k, &queries.q());
            let (p, weights) =
                scores.probabilities::<V, MASK, M>(acc_s, &rows, Derivative::OfProducts);
            mma_pv::<V::Element, _, 1, M, D>(from_mut(&mut self.d_v), &[p], &queries.d_out_rows());
            // Line 13: dPᵀ = V·dOᵀ. Line 14: dS = P ∘ (dP - D).
            let mut acc_dp = rows.gradient_start::<M>();
            mma_strip_qk::<V::Element, _, STEPS, M>(&mut acc_dp, &self.v, &queries.d_out());
            let acc_ds = scores.gradient::<V, M>(acc_dp, &weights, &rows);
            stage_strip::<V::Element, _, M>(self.storage.d_s, first_key, place.lane, &acc_ds);
            acc_ds
        };
        ptx::barrier();
        if step.has_next {
            // SAFETY: all warps have read dO and the statistics before the barrier.
            unsafe { self.queries.start_next() };
        }
        // SAFETY: Q, K and dS are in shared memory; `d_q` is in the tile.
        unsafe {
            // Line 16: dK += dSᵀ·Q. Line 15: dQ += dS·K.
            let q = self.queries.q_rows();
            mma_pv::<V::Element, _, 1, M, D>(from_mut(&mut self.d_k), &[acc_ds], &q);
            dq::add::<V, C>(self.storage.d_s, self.storage.k, place, d_q);
        }
        self.queries.advance();
    }
}
