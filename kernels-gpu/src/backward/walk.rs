//! How a block walks over the queries that see its key tile: lines 8 to 17 of the algorithm.

use crate::backward::block::{KeyHead, QueryTiles};
use crate::backward::dq::DqCursor;
use crate::backward::key_tile::Variant;
use crate::backward::probabilities::ScoreTile;
use crate::backward::queries::QueryPipeline;
use crate::backward::rows::{row_statistics, scratch_row};
use crate::copy::TileCopy;
use crate::ptx;
use crate::scores::ScoreKind;
use crate::softmax::{MASKED, UNMASKED};
use crate::tile::{Keys, SharedTile};
use abi::{BwdParams, Strided};

/// One key tile of one key head.
pub struct KeyTile<'a> {
    /// The launch.
    pub params: &'a BwdParams,
    /// Head and batch entry.
    pub block: &'a KeyHead,
    /// Number of the tile.
    pub n_block: u32,
}

/// One query tile of one head against the key tile.
pub struct Step {
    /// Query head.
    pub head: u32,
    /// Number of the query tile.
    pub m_block: u32,
    /// Whether the tile above is the next step.
    pub has_next: bool,
}

/// What the warps of a block do in a step.
pub trait Work<V: Variant> {
    /// Column tiles of dQ that one warp computes.
    const DQ_TILES: u32;

    /// The stream of query tiles.
    fn queries(&mut self) -> &mut QueryPipeline<V>;

    /// One query tile. Passes a barrier after everything but Q has been read.
    ///
    /// # Safety
    /// The loads of the tile have started, and `d_q` is in the tile. Called by all threads of the block.
    unsafe fn step<const MASK: bool>(&mut self, tile: &KeyTile, step: Step, d_q: &DqCursor);
}

impl KeyTile<'_> {
    /// Line 6: starts to load K and V.
    ///
    /// # Safety
    /// The launch is truthful and shared memory is free.
    #[inline(always)]
    pub unsafe fn load<V: Variant>(&self, k: SharedTile<Keys<V>>, v: SharedTile<Keys<V>>) {
        let extent = (self.block).keys_extent(&self.params.forward, self.n_block * V::BLOCK_N);
        let from = |matrix| {
            let rows = self.block.keys_of(&anew(matrix));
            rows.tile_below(self.n_block, V::BLOCK_N)
        };
        let thread = ptx::opaque(ptx::thread_index());
        // SAFETY: the caller's promise.
        unsafe {
            V::Copy::load_as(thread, k, &from(&self.params.forward.k), extent);
            V::Copy::load_as(thread, v, &from(&self.params.forward.v), extent);
        }
    }

    /// Every query tile of every head that shares the key head.
    ///
    /// # Safety
    /// The launch is truthful, and the delta kernel has run. Called by all threads of the block.
    #[inline(always)]
    pub unsafe fn walk<V: Variant, W: Work<V>>(&self, work: &mut W) {
        let heads = self.params.forward.heads_per_group;
        let mut member = 0;
        while member < heads {
            let tile = KeyTile {
                params: self.params,
                block: &KeyHead::current(self.params),
                n_block: self.n_block,
            };
            // SAFETY: the caller's promise.
            unsafe { tile.walk_head(tile.block.head_k * heads + member, work) };
            member += 1;
        }
    }

    /// # Safety
    /// As [`walk`](Self::walk).
    #[inline(always)]
    unsafe fn walk_head<V: Variant, W: Work<V>>(&self, head: u32, work: &mut W) {
        let sequence = &self.block.sequence;
        let tiles = QueryTiles::new::<V>(&sequence.keys, self.n_block);
        if tiles.begin == tiles.end {
            return;
        }
        let last = tiles.end - 1;
        let from = |matrix: &Strided| {
            let matrix = Strided {
                row_stride: matrix.row_stride,
                ..anew(matrix)
            };
            let rows = self.block.queries_of(&matrix, head);
            rows.tile_below(last, V::BLOCK_M)
        };
        let (q, d_out) = (from(&self.params.forward.q), from(&self.params.d_out));
        let rows = sequence.keys.seqlen_q - last * V::BLOCK_M;
        let row = scratch_row(self.params, sequence, head, last, V::BLOCK_M);
        let statistics = row_statistics(self.params, row);
        // SAFETY: the step before has passed a barrier after reading everything but its stage of Q.
        unsafe { work.queries().start(q, d_out, statistics, rows) };
        let slice = self.block.first_tile;
        let mut d_q = DqCursor::new::<V>(self.params, slice, row, W::DQ_TILES);

        // The masked step is compiled once: the first pass takes the tiles that are cut at their end and the full
        // ones, the second pass those that are cut at their beginning. Where scores are not plain, all take it.
        let is_plain = V::Scores::IS_PLAIN;
        let mut masked_end = if is_plain {
            tiles.full_end
        } else {
            tiles.begin
        };
        let mut m_block = tiles.end;
        let step = |m_block| Step {
            head,
            m_block,
            has_next: m_block > tiles.begin,
        };
        while m_block > tiles.begin {
            while m_block > masked_end {
                m_block -= 1;
                // SAFETY: the step before, or the start, has loaded the tile.
                unsafe { work.step::<MASKED>(self, step(m_block), &d_q) };
                d_q.step_up::<V>();
            }
            while is_plain && m_block > tiles.full_begin {
                m_block -= 1;
                // SAFETY: the step before, or the start, has loaded the tile.
                unsafe { work.step::<UNMASKED>(self, step(m_block), &d_q) };
                d_q.step_up::<V>();
            }
            masked_end = tiles.begin;
        }
    }

    /// The scores of keys from `first_key` of the tile on in a step.
    #[inline(always)]
    pub fn scores<V: Variant>(&self, step: &Step, first_key: u32) -> ScoreTile<'_> {
        let mut m_block = step.m_block;
        if !V::Scores::IS_PLAIN {
            // What is done to scores needs the registers of what would be kept from step to step.
            m_block = ptx::opaque(m_block);
        }
        ScoreTile {
            params: self.params,
            block: self.block,
            head: step.head,
            first_key: self.n_block * V::BLOCK_N + first_key,
            first_query: m_block * V::BLOCK_M,
        }
    }
}

/// `matrix` with strides about which the compiler knows nothing: products with them are computed where they are needed,
/// and not kept in registers from one key tile (or head) to the next.
#[inline(always)]
pub fn anew(matrix: &Strided) -> Strided {
    Strided {
        ptr: matrix.ptr,
        batch_stride: ptx::opaque_stride(matrix.batch_stride),
        row_stride: ptx::opaque_stride(matrix.row_stride),
        head_stride: ptx::opaque_stride(matrix.head_stride),
    }
}
