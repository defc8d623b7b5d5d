//! What one tile of O needs: which rows of which head, where they are in the maps, and which key tiles they see.
//!
//! When a sequence has few queries, all query heads of a key head are packed into one tile, head fastest: row r is
//! query `r / heads` of head `r % heads`. K and V are then read once for all of them.

use crate::block_info::{Tiles, div_rem};
use crate::hopper::forward::schedule::{Place, Schedule};
use crate::sequence::Sequence;
use crate::tiling::Tiling;
use abi::{HopperFwdParams, RowValues};
use core::marker::PhantomData;

/// A tile of BLOCK_M rows of O.
pub struct Work<T> {
    /// Batch entry.
    pub sequence: Sequence,
    /// Query head, the first one when heads are packed.
    pub head: u32,
    /// Key head.
    pub head_k: u32,
    /// First query, counted from the first one of the sequence.
    pub first_query: u32,
    /// Packed heads are `1 << log2_heads`.
    log2_heads: u32,
    /// Batch entry in the maps.
    map_batch: u32,
    /// Whether keys of the matrix may follow on the last key of the sequence.
    ends_early: bool,
    tiling: PhantomData<T>,
}

/// The tiles of the launch in order, see [`Schedule`].
#[inline(always)]
pub fn schedule<T: Tiling>(params: &HopperFwdParams) -> Schedule {
    let forward = &params.forward;
    let heads_per_group = forward.heads_per_group >> params.packed_heads.trailing_zeros();
    Schedule::new(
        params.tiles,
        forward.m_blocks,
        heads_per_group,
        forward.seqlen_k,
        T::HEAD_DIM,
    )
}

impl<T: Tiling> Work<T> {
    /// The work of `place`; `read` loads an i32 from a device address.
    #[inline(always)]
    pub fn new(params: &HopperFwdParams, place: Place, read: impl Fn(u64) -> u32) -> Self {
        let forward = &params.forward;
        let log2_heads = params.packed_heads.trailing_zeros();
        let (batch, head) = div_rem(place.head, forward.num_heads >> log2_heads);
        let head = head << log2_heads;
        let sequence = Sequence::new(forward, batch, read);
        let is_packed = forward.sequences.cu_seqlens_q != 0;
        Work {
            sequence,
            head,
            head_k: div_rem(head, forward.heads_per_group).0,
            first_query: place.m_block * (T::BLOCK_M >> log2_heads),
            log2_heads,
            map_batch: if is_packed { 0 } else { batch },
            ends_early: is_packed || forward.sequences.seqused_k != 0,
            tiling: PhantomData,
        }
    }

    /// Whether the sequence ends before the first row: it is shorter than the longest of the launch.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.first_query >= self.sequence.keys.seqlen_q
    }

    /// Query of row `row` of the tile, counted from the first one of the sequence; it may lie beyond the last one.
    #[inline(always)]
    pub const fn query(&self, row: u32) -> u32 {
        self.first_query + (row >> self.log2_heads)
    }

    /// Query head of row `row` of the tile.
    #[inline(always)]
    pub const fn head(&self, row: u32) -> u32 {
        self.head + (row & ((1 << self.log2_heads) - 1))
    }

    /// Where row `row` of the tile is in the maps of Q and O: all dimensions but the innermost.
    #[inline(always)]
    pub const fn query_box(&self, row: u32) -> [u32; 3] {
        let query = self.sequence.first_q + self.query(row);
        if self.log2_heads == 0 {
            [query, self.head, self.map_batch]
        } else {
            [self.head, query, self.map_batch]
        }
    }

    /// Where key tile `n_block` is in the maps of K and V.
    #[inline(always)]
    pub const fn key_box(&self, n_block: u32) -> [u32; 3] {
        let key = self.sequence.first_k + n_block * T::BLOCK_N;
        [key, self.head_k, self.map_batch]
    }

    /// Whether all of the `rows` rows from `row` on exist.
    #[inline(always)]
    pub const fn has_rows(&self, row: u32, rows: u32) -> bool {
        self.query(row + rows - 1) < self.sequence.keys.seqlen_q
    }

    /// Keys from the first one of tile `n_block` to the end of the sequence.
    #[inline(always)]
    pub const fn keys_left(&self, n_block: u32) -> u32 {
        self.sequence.keys.seqlen_k - n_block * T::BLOCK_N
    }

    /// Whether tile `n_block` of the maps of K and V has keys that are not the sequence's.
    #[inline(always)]
    pub const fn has_foreign_keys(&self, n_block: u32) -> bool {
        self.ends_early && self.keys_left(n_block) < T::BLOCK_N
    }

    /// Device address of the value of row `row`.
    #[inline(always)]
    pub const fn row_value(&self, values: &RowValues, row: u32) -> u64 {
        self.sequence.row_values(values, self.head(row)) + 4 * self.query(row) as u64
    }

    /// The last query of this tile, which is not empty.
    #[inline(always)]
    const fn last_query(&self) -> u32 {
        let (last, end) = (self.query(T::BLOCK_M - 1), self.sequence.keys.seqlen_q);
        if last < end { last } else { end - 1 }
    }

    /// The key tiles with a key that some row sees.
    #[inline(always)]
    pub const fn tiles(&self) -> Tiles {
        Tiles::seen(
            &self.sequence.keys,
            self.first_query,
            self.last_query(),
            T::BLOCK_N,
        )
    }

    /// The key tiles whose every key is seen by every row, see [`Tiles::full`].
    #[inline(always)]
    pub const fn full_tiles(&self) -> Tiles {
        Tiles::full(
            &self.sequence.keys,
            self.first_query,
            self.last_query(),
            T::BLOCK_N,
        )
    }
}
