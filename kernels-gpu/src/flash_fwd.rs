//! Forward attention: O = softmax(scale · Q·Kᵀ) · V and the log-sum-exp L of every row.
//!
//! FlashAttention-2, Algorithm 1 (arXiv:2307.08691); line numbers in comments are those of the algorithm. One block
//! computes BLOCK_M rows of O for one head. Q stays in shared memory, K and V stream through it tile by tile, and
//! every warp keeps S, P and O of its own rows in registers, so warps never exchange anything but tiles. Keys are
//! walked from last to first: the tiles cut by the mask come first, and all others run without mask code.

use crate::block_info::{BlockInfo, Tiles};
use crate::copy::{self, TileCopy};
use crate::dropout::Dropout;
use crate::epilogue;
use crate::fragment::{Acc, STRIP_ROWS, acc_col, acc_row, chunks_first, rows_first};
use crate::global_tile::{Extent, Rows};
use crate::mask::{hide_before, hide_from};
use crate::mma::{Element, mma_pv, mma_qk};
use crate::pipeline::{KvPipeline, Stage};
use crate::position::{Position, QueryRows};
use crate::ptx;
use crate::scores::{ScoreKind, Scores};
use crate::softmax::{MASKED, OnlineSoftmax, UNMASKED};
use crate::tile::{Keys, LaneAddress, Queries, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::FwdParams;

/// One compiled kernel: sizes and policies. The entry macro in `lib.rs` implements it once per manifest row.
pub trait Variant: Tiling + Sized {
    /// Type of Q, K, V and O.
    type Element: Element;
    /// What can happen to scores.
    type Scores: ScoreKind;
    /// How tiles travel between global and shared memory.
    type Copy: TileCopy;
}

/// Where this thread stands in its block.
#[derive(Clone, Copy)]
pub struct Place {
    /// Warp in the block.
    pub warp: u32,
    /// Lane in the warp, 0..32.
    pub lane: u32,
}

impl Place {
    /// Of the calling thread.
    #[inline(always)]
    pub fn current() -> Self {
        Place::of(ptx::thread_index())
    }

    /// Of the calling thread, found out anew: see [`ptx::opaque`].
    #[inline(always)]
    pub fn current_anew() -> Self {
        Place::of(ptx::opaque(ptx::thread_index()))
    }

    /// Of thread `thread` of the block.
    #[inline(always)]
    const fn of(thread: u32) -> Self {
        Place {
            warp: thread / 32,
            lane: thread % 32,
        }
    }
}

impl<V: Variant> BlockInfo<V> {
    /// Of the calling block.
    #[inline(always)]
    pub fn current(params: &FwdParams) -> Self {
        // SAFETY: `params` says where the lengths of packed sequences are.
        BlockInfo::new(params, ptx::block_index(), |address| unsafe {
            ptx::load_global_u32(address)
        })
    }
}

/// The kernel of variant `V`: STRIPS strips of 16 rows per warp, `8 * N` keys per step, `8 * D` columns.
///
/// # Safety
/// `params` is what its documentation says, every buffer is accessible as `V::Copy` asks, and the launch has
/// `V::THREADS` threads per block, the grid of `params` and the variant's dynamic shared memory.
#[inline(always)]
pub unsafe fn flash_fwd<V: Variant, const STRIPS: usize, const N: usize, const D: usize>(
    params: &FwdParams,
) {
    const {
        assert!(
            STRIPS as u32 * STRIP_ROWS == V::WARP_ROWS,
            "a warp owns whole strips"
        );
        assert!(
            N as u32 * 8 == V::BLOCK_N && D as u32 * 8 == V::HEAD_DIM,
            "fragments count 8-column tiles"
        );
    }
    let block = BlockInfo::<V>::current(params);
    if block.is_empty() {
        return;
    }
    let place = Place::current();
    let tiles = block.tiles();
    if tiles.is_empty() {
        // SAFETY: the launch is as promised.
        unsafe { epilogue::store_unseen(params, &block) };
        return;
    }
    let q = SharedTile::<Queries<V>>::at(ptx::dynamic_shared());
    let mut acc_o = [Acc::<D>::zero(); STRIPS];
    let mut softmax = OnlineSoftmax::<STRIPS>::new(softmax_scale::<V>(params));
    // SAFETY: the launch is as promised; nothing uses shared memory yet.
    let kv = unsafe { start_loads(params, &block, q, place, tiles) };
    let warp = Warp {
        params,
        block: &block,
        q: q.lane(place.warp * V::WARP_ROWS, rows_first(place.lane)),
        full: block.full_tiles(),
    };
    // The masked step is compiled once: the first pass takes the tiles that are cut on the right and the full ones,
    // the second one the tiles that are cut on the left only.
    // With any scores all that is done to them is behind branches, the mask too, and the masked step takes all tiles.
    let (mut n_block, mut masked_end) = (tiles.end, tiles.begin);
    if V::Scores::IS_PLAIN {
        masked_end = warp.full.end;
    }
    while n_block > tiles.begin {
        while n_block > masked_end {
            n_block -= 1;
            warp.step::<MASKED, STRIPS, N, D>(n_block, &kv, &mut softmax, &mut acc_o);
        }
        while V::Scores::IS_PLAIN && n_block > warp.full.begin {
            n_block -= 1;
            warp.step::<UNMASKED, STRIPS, N, D>(n_block, &kv, &mut softmax, &mut acc_o);
        }
        masked_end = tiles.begin;
    }

    // Lines 12 to 15: O = O / l, L = m + ln l.
    let out_scale = if V::Scores::IS_PLAIN {
        1.0
    } else {
        params.scores.dropout_scale
    };
    let lse = softmax.finish(&mut acc_o, out_scale);
    // SAFETY: the first step has waited for the copy into the Q tile.
    unsafe { epilogue::store(params, &block, place, q, &acc_o, lse) };
}

/// Line 3 and the first half of line 7: starts the loads of Q and of the last K tile.
///
/// The softmax needs a positive scale. For another one the sign of the scale moves into Q, if it is the softmax that
/// multiplies by the scale.
///
/// # Safety
/// As [`flash_fwd`]; no shared memory is in use.
#[inline(always)]
unsafe fn start_loads<V: Variant>(
    params: &FwdParams,
    block: &BlockInfo<V>,
    q: SharedTile<Queries<V>>,
    place: Place,
    tiles: Tiles,
) -> KvPipeline<V> {
    let from = block.queries_of(&params.q);
    let extent = Extent {
        rows: Rows::First(block.rows_left()),
        cols: params.head_dim,
    };
    // SAFETY: the caller's promise.
    unsafe { V::Copy::load(q, &from, extent) };

    let k_tile = SharedTile::at(ptx::dynamic_shared() + Queries::<V>::BYTES);
    let v_tile = SharedTile::at(ptx::dynamic_shared() + Queries::<V>::BYTES + Keys::<V>::BYTES);
    let k = Stage::new(&params.k, block, k_tile, chunks_first(place.lane));
    let v = Stage::new(&params.v, block, v_tile, rows_first(place.lane));
    let last_keys = block.keys_left(tiles.end - 1);
    let kv = KvPipeline::start(k, v, params.head_dim, tiles, last_keys);

    let scale = params.softmax_scale;
    if V::Scores::IS_PLAIN && scale <= 0.0 {
        let (keep, flip) = if scale < 0.0 {
            (!0, V::Element::SIGN_BITS)
        } else {
            (0, 0)
        };
        V::Copy::wait();
        // SAFETY: this thread has waited for its loads; the first step begins with a barrier.
        unsafe { copy::map_loaded(q, |word| word & keep ^ flip) };
    }
    kv
}

/// What the softmax multiplies scores by: for plain ones |scale|, or 1 for 0, which is left of the scale when its sign
/// has moved into Q.
#[inline(always)]
fn softmax_scale<V: Variant>(params: &FwdParams) -> f32 {
    if !V::Scores::IS_PLAIN || params.softmax_scale == 0.0 {
        1.0
    } else {
        params.softmax_scale.abs()
    }
}

/// What a step of the main loop knows and does not change.
struct Warp<'a, V: Variant> {
    params: &'a FwdParams,
    block: &'a BlockInfo<V>,
    q: LaneAddress<Queries<V>>,
    full: Tiles,
}

impl<V: Variant> Warp<'_, V> {
    /// One key tile: S = Q·Kᵀ (line 8), m, P and l (line 9), O = diag(..) O + P·V (line 10).
    #[inline(always)]
    fn step<const MASK: bool, const STRIPS: usize, const N: usize, const D: usize>(
        &self,
        n_block: u32,
        kv: &KvPipeline<V>,
        softmax: &mut OnlineSoftmax<STRIPS>,
        acc_o: &mut [Acc<D>; STRIPS],
    ) {
        let k = kv.wait_k::<MASK>(n_block, self.block.keys_left(n_block));
        // SAFETY: `wait_k` has passed the barrier after the copies of Q and K.
        let mut acc_s = unsafe { mma_qk::<V::Element, _, _, STRIPS, N>(&self.q, k) };
        let v = kv.wait_v(n_block);
        if !V::Scores::IS_PLAIN {
            // SAFETY: `params` is what its documentation says.
            unsafe { self.shape_scores(n_block, &mut acc_s) };
        }
        if MASK {
            self.hide_keys(n_block, &mut acc_s);
        }
        // A bias can hide keys too.
        if MASK || !V::Scores::IS_PLAIN {
            softmax.update::<MASKED, N, D>(&mut acc_s, acc_o);
        } else {
            softmax.update::<UNMASKED, N, D>(&mut acc_s, acc_o);
        }
        if !V::Scores::IS_PLAIN {
            self.drop_elements(n_block, &mut acc_s);
        }
        // SAFETY: `wait_v` has passed the barrier after the copy of V.
        unsafe { mma_pv::<V::Element, _, STRIPS, N, D>(acc_o, &acc_s, v) };
    }

    /// The query and key of the lane's first element in tile `n_block`.
    ///
    /// What follows from it is the same in every step: it would fill registers of the steps that do not need it.
    #[inline(always)]
    fn position(&self, n_block: u32) -> QueryRows {
        let Place { warp, lane } = Place::current_anew();
        let first_row = ptx::opaque(self.block.first_row) + warp * V::WARP_ROWS;
        QueryRows {
            query: first_row + acc_row(lane, 0),
            key: n_block * V::BLOCK_N + acc_col(lane, 0),
        }
    }

    /// Products become scores: softcap, ALiBi, bias.
    ///
    /// # Safety
    /// Slopes and bias are as the launch says.
    #[inline(always)]
    unsafe fn shape_scores<const STRIPS: usize, const N: usize>(
        &self,
        n_block: u32,
        acc_s: &mut [Acc<N>; STRIPS],
    ) {
        let scores = Scores::new(self.params, &self.block.sequence, self.block.head);
        let first = self.position(n_block);
        let mut strip = 0;
        while strip < STRIPS {
            let first = first.below(STRIP_ROWS * strip as u32);
            scores.scale_and_cap(&mut acc_s[strip]);
            // SAFETY: the caller's promise.
            unsafe { scores.add_biases::<V::Element, _, N>(&mut acc_s[strip], first) };
            strip += 1;
        }
    }

    /// Dropped elements of P become 0, if there is dropout.
    #[inline(always)]
    fn drop_elements<const STRIPS: usize, const N: usize>(
        &self,
        n_block: u32,
        acc_p: &mut [Acc<N>; STRIPS],
    ) {
        let dropout = Dropout::new(self.params, self.block.sequence.batch, self.block.head);
        if dropout.is_on() {
            let first = self.position(n_block);
            dropout.visit_query_rows::<STRIPS, N>(first, |strip, n, i, is_kept| {
                if !is_kept {
                    acc_p[strip].0[n][i] = 0.0;
                }
            });
        }
    }

    /// Masks the scores against tile `n_block`.
    #[inline(always)]
    fn hide_keys<const STRIPS: usize, const N: usize>(
        &self,
        n_block: u32,
        acc_s: &mut [Acc<N>; STRIPS],
    ) {
        let first = self.position(n_block);
        let mut strip = 0;
        while strip < STRIPS {
            let first = first.below(STRIP_ROWS * strip as u32);
            let rows = [0, 1].map(|half| first.query(half, 0));
            if n_block < self.full.begin {
                let begin = rows.map(|row| self.block.keys().begin(row));
                hide_before(&mut acc_s[strip], first.key, begin);
            }
            if n_block >= self.full.end {
                let end = rows.map(|row| self.block.keys().end(row));
                hide_from(&mut acc_s[strip], first.key, end);
            }
            strip += 1;
        }
    }
}
