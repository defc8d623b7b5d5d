//! As `key_tile`, for rows of dK and dV that do not fit in the registers of one warp together.
//!
//! Two warps share 16 keys. One computes P and dV, the other one dS and dK, with the same two products each:
//!
//! ```text
//! role     first product    between them               second product
//! values   Sᵀ  = K·Qᵀ       P = exp(S - L) --+         dV += Pᵀ·dO
//! keys     dPᵀ = V·dOᵀ                       +--> dS   dK += dSᵀ·Q
//! ```
//!
//! P travels through shared memory in f32, from the lane that has an element to the lane that needs it, which is the
//! same one of the other warp.

use crate::backward::block::KeyHead;
use crate::backward::dq::{self, DqCursor};
use crate::backward::gradients;
use crate::backward::key_tile::Variant;
use crate::backward::probabilities::{Derivative, Weights};
use crate::backward::queries::QueryPipeline;
use crate::backward::rows::RowStatistics;
use crate::backward::walk::{KeyTile, Step, Work};
use crate::epilogue::stage_strip;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, STRIP_ROWS, rows_first};
use crate::mma::{mma_pv, mma_qk_onto};
use crate::ptx;
use crate::scores::ScoreKind;
use crate::tile::{Keys, KeysByQueries, Queries, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::BwdParams;
use core::array::from_mut;

/// The kernel of variant `V`: `8 * M` queries per step, `8 * D` columns, and `8 * C` columns of dQ for each warp.
///
/// # Safety
/// As [`flash_bwd`](crate::backward::key_tile::flash_bwd).
#[inline(always)]
pub unsafe fn flash_bwd_wide<V: Variant, const M: usize, const D: usize, const C: usize>(
    params: &BwdParams,
) {
    const {
        assert!(
            V::BLOCK_N * 2 == STRIP_ROWS * V::WARPS,
            "two warps own 16 keys"
        );
        assert!(M as u32 * 8 == V::BLOCK_M && D as u32 * 8 == V::HEAD_DIM);
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
        unsafe { key_tile::<V, M, D, C>(&tile) };
        n_block += params.n_stride;
    }
}

/// Lines 6 to 18 for one key tile.
///
/// # Safety
/// As [`flash_bwd_wide`]; no shared memory is in use, and none is when it returns.
#[inline(always)]
unsafe fn key_tile<V: Variant, const M: usize, const D: usize, const C: usize>(tile: &KeyTile) {
    let storage = Storage::<V>::current();
    // Lines 6 and 7.
    // SAFETY: the caller's promise; shared memory is free.
    unsafe { tile.load(storage.k, storage.v) };
    let place = Place::current_anew();
    let head_dim = tile.params.forward.head_dim;
    let mut warp = Warp::<V, M, D, C> {
        role: Role::of::<V>(place.warp),
        place,
        storage,
        queries: QueryPipeline::new(storage.stages, place.lane, head_dim),
        gradient: Acc::zero(),
    };
    // SAFETY: the launch is as promised.
    unsafe { tile.walk(&mut warp) };

    // Line 18.
    let mut gradient = warp.gradient;
    let place = gradients::before_staging::<V>();
    let role = Role::of::<V>(place.warp);
    if !role.is_values {
        gradients::scale_d_k(tile.params, &mut gradient);
    }
    let to = role.choose(storage.v, storage.k);
    // SAFETY: nothing else uses shared memory; a warp stages the rows of its keys, and this block alone writes the tile.
    unsafe {
        stage_strip::<V::Element, _, D>(to, role.first_key, place.lane, &gradient);
        gradients::store_staged::<V>(tile.params, tile.n_block, storage.k, storage.v);
    }
}

/// Which half of the work a warp does, and for which keys.
#[derive(Clone, Copy)]
struct Role {
    /// P and dV; otherwise dS and dK.
    is_values: bool,
    /// First key of the 16, counted from that of the tile.
    first_key: u32,
}

impl Role {
    #[inline(always)]
    const fn of<V: Tiling>(warp: u32) -> Self {
        let strips = V::BLOCK_N / STRIP_ROWS;
        Role {
            is_values: warp < strips,
            first_key: STRIP_ROWS * (warp % strips),
        }
    }

    /// One of two tiles of equal shape.
    #[inline(always)]
    const fn choose<S: Shape>(&self, values: SharedTile<S>, keys: SharedTile<S>) -> SharedTile<S> {
        SharedTile::at(if self.is_values {
            values.base()
        } else {
            keys.base()
        })
    }
}

/// Where a block's tiles are in shared memory.
struct Storage<V> {
    /// K; dK at the end.
    k: SharedTile<Keys<V>>,
    /// V; dV at the end.
    v: SharedTile<Keys<V>>,
    /// dSᵀ.
    d_s: SharedTile<KeysByQueries<V>>,
    /// The stages of the pipeline.
    stages: u32,
    /// P of all strips: for each column tile 16 bytes of every lane.
    weights: u32,
}

impl<V> Clone for Storage<V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Storage<V> {}

impl<V: Variant> Storage<V> {
    /// Of the calling block. `BwdVariant::shared_bytes` in `abi` counts the same.
    #[inline(always)]
    fn current() -> Self {
        let k = ptx::dynamic_shared();
        let v = k + Keys::<V>::BYTES;
        let d_s = v + Keys::<V>::BYTES;
        let stages = d_s + KeysByQueries::<V>::BYTES;
        Storage {
            k: SharedTile::at(k),
            v: SharedTile::at(v),
            d_s: SharedTile::at(d_s),
            stages,
            weights: stages + 3 * Queries::<V>::BYTES + RowStatistics::<V>::BYTES,
        }
    }
}

/// What a warp keeps while its block works on one key tile.
struct Warp<V: Variant, const M: usize, const D: usize, const C: usize> {
    role: Role,
    place: Place,
    storage: Storage<V>,
    queries: QueryPipeline<V>,
    /// dV or dK / softmax_scale.
    gradient: Acc<D>,
}

impl<V: Variant, const M: usize, const D: usize, const C: usize> Work<V> for Warp<V, M, D, C> {
    const DQ_TILES: u32 = C as u32;

    #[inline(always)]
    fn queries(&mut self) -> &mut QueryPipeline<V> {
        &mut self.queries
    }

    #[inline(always)]
    unsafe fn step<const MASK: bool>(&mut self, tile: &KeyTile, step: Step, d_q: &DqCursor) {
        if !V::Scores::IS_PLAIN {
            // What is done to scores needs the registers of what would be kept from step to step.
            self.place = Place::current_anew();
            self.role = Role::of::<V>(self.place.warp);
            self.queries.lane = self.place.lane;
        }
        let (place, role, queries) = (self.place, self.role, &self.queries);
        let (scores, rows) = (tile.scores::<V>(&step, role.first_key), queries.rows());
        queries.wait();
        let keys = role.choose(self.storage.k, self.storage.v);
        let keys = keys.lane(role.first_key, rows_first(place.lane));
        let [first, second] = [queries.q_tile(), queries.d_out_tile()];
        let mut acc = Acc::<M>::zero();
        let mut acc_operand = Acc::<M>::zero();
        // SAFETY: everything is in shared memory; each lane writes weights of its own place, and the rows of dS that
        // are staged are the warp's own.
        unsafe {
            // Line 10: Sᵀ = K·Qᵀ. Line 13: dPᵀ = V·dOᵀ.
            if !role.is_values {
                acc = rows.gradient_start();
            }
            let other = queries.lane_of(role.choose(first, second));
            mma_qk_onto::<V::Element, _, _, 1, M>(from_mut(&mut acc), &keys, &other);
            // Line 11: P = exp(S - L).
            if role.is_values {
                let (p, weights) =
                    scores.probabilities::<V, MASK, M>(acc, &rows, Derivative::OfProducts);
                weights.store(self.weights());
                acc_operand = p;
            }
        }
        ptx::barrier();
        // SAFETY: the weights are in shared memory, as is everything else.
        unsafe {
            // Line 14: dS = P ∘ (dP - D).
            if !role.is_values {
                let weights = Weights::load(self.weights());
                acc_operand = scores.gradient::<V, M>(acc, &weights, &rows);
                let d_s = self.storage.d_s;
                stage_strip::<V::Element, _, M>(d_s, role.first_key, place.lane, &acc_operand);
            }
            // Line 12: dV += Pᵀ·dO. Line 16: dK += dSᵀ·Q.
            let other = queries.lane_rows_of(role.choose(second, first));
            let gradient = from_mut(&mut self.gradient);
            mma_pv::<V::Element, _, 1, M, D>(gradient, &[acc_operand], &other);
        }
        ptx::barrier();
        if step.has_next {
            // SAFETY: all warps have read dO and the statistics before the barrier.
            unsafe { self.queries.start_next() };
        }
        // Line 15: dQ += dS·K.
        // SAFETY: K and dS are in shared memory; `d_q` is in the tile.
        unsafe { dq::add::<V, C>(self.storage.d_s, self.storage.k, place, d_q) };
        self.queries.advance();
    }
}

impl<V: Variant, const M: usize, const D: usize, const C: usize> Warp<V, M, D, C> {
    /// Where the lane's weights of its strip are in shared memory.
    #[inline(always)]
    const fn weights(&self) -> u32 {
        let strip = self.role.first_key / STRIP_ROWS;
        self.storage.weights + 16 * (32 * M as u32 * strip + self.place.lane)
    }
}
