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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::tests::params as launch;
    use abi::{FwdParams, TensorMap};
    use std::collections::HashSet;

    const UNLIMITED: u32 = u32::MAX;
    /// Nobody copies here.
    const NO_MAP: TensorMap = TensorMap([0; 16]);

    struct Small;
    impl Tiling for Small {
        const HEAD_DIM: u32 = 64;
        const BLOCK_M: u32 = 128;
        const BLOCK_N: u32 = 48;
        const WARPS: u32 = 8;
    }

    fn params(forward: FwdParams, packed_heads: u32, batch: u32) -> HopperFwdParams {
        let rows = forward.seqlen_q * packed_heads;
        let m_blocks = rows.div_ceil(Small::BLOCK_M);
        HopperFwdParams {
            q: NO_MAP,
            k: NO_MAP,
            v: NO_MAP,
            out: NO_MAP,
            tiles: m_blocks * (forward.num_heads / packed_heads) * batch,
            forward: FwdParams {
                m_blocks,
                ..forward
            },
            packed_heads,
            reserved: [0; 2],
        }
    }

    fn all(params: &HopperFwdParams) -> Vec<Work<Small>> {
        let schedule = schedule::<Small>(params);
        let nothing_packed = |_| unreachable!("nothing is packed");
        let work = |rank| Work::new(params, schedule.place(rank), nothing_packed);
        (0..params.tiles).map(work).collect()
    }

    fn heads(seqlen_q: u32, num_heads: u32, heads_per_group: u32) -> FwdParams {
        FwdParams {
            num_heads,
            heads_per_group,
            ..launch(seqlen_q, 100, (UNLIMITED, UNLIMITED))
        }
    }

    #[test]
    fn every_query_of_every_head_is_one_row_of_one_tile() {
        for (seqlen_q, packed_heads) in [(300, 1), (3, 4), (40, 4), (33, 4)] {
            let params = params(heads(seqlen_q, 8, 4), packed_heads, 2);
            let mut seen = HashSet::new();
            for work in all(&params) {
                for row in (0..Small::BLOCK_M).filter(|&row| work.has_rows(row, 1)) {
                    let (batch, head) = (work.sequence.batch, work.head(row));
                    assert_eq!(work.head_k, head / 4);
                    assert!(seen.insert((batch, head, work.query(row))));
                }
            }
            assert_eq!(seen.len() as u32, 2 * 8 * seqlen_q);
        }
    }

    #[test]
    fn boxes_begin_where_rows_do() {
        for packed_heads in [1, 4] {
            let params = params(heads(300, 8, 4), packed_heads, 2);
            for work in all(&params) {
                for row in [0, 64] {
                    let (query, head) = (work.query(row), work.head(row));
                    let at = match packed_heads {
                        1 => [query, head, work.sequence.batch],
                        _ => [head, query, work.sequence.batch],
                    };
                    assert_eq!(work.query_box(row), at);
                }
                let key = [2 * Small::BLOCK_N, work.head_k, work.sequence.batch];
                assert_eq!(work.key_box(2), key);
            }
        }
    }

    /// Counts visible keys tile by tile and compares with the two ranges.
    fn ranges_agree_with_the_mask(params: &HopperFwdParams) {
        for work in all(params) {
            let keys = &work.sequence.keys;
            let (tiles, full) = (work.tiles(), work.full_tiles());
            let rows = || (0..Small::BLOCK_M).filter(|&row| work.has_rows(row, 1));
            let sees = |row: u32, key: u32| {
                let query = work.query(row);
                (keys.begin(query)..keys.end(query)).contains(&key)
            };
            for n_block in 0..keys.seqlen_k.div_ceil(Small::BLOCK_N) + 1 {
                let pairs = || {
                    let keys = n_block * Small::BLOCK_N..(n_block + 1) * Small::BLOCK_N;
                    rows().flat_map(move |row| keys.clone().map(move |key| (row, key)))
                };
                let (any, all) = (
                    pairs().any(|(row, key)| sees(row, key)),
                    pairs().all(|(row, key)| sees(row, key)),
                );
                let what = format!("{:?}, tile {n_block}", params.forward);
                assert_eq!((tiles.begin..tiles.end).contains(&n_block), any, "{what}");
                assert_eq!((full.begin..full.end).contains(&n_block), all, "{what}");
            }
        }
    }

    #[test]
    fn visited_tiles_are_those_with_a_visible_key_and_full_ones_need_no_mask() {
        for (seqlen_q, seqlen_k) in [(1, 1), (70, 200), (200, 70), (150, 150), (5, 0)] {
            for window in [(UNLIMITED, UNLIMITED), (UNLIMITED, 0), (31, 20), (130, 100)] {
                for packed_heads in [1, 2] {
                    let forward = FwdParams {
                        num_heads: 2,
                        heads_per_group: 2,
                        ..launch(seqlen_q, seqlen_k, window)
                    };
                    ranges_agree_with_the_mask(&params(forward, packed_heads, 1));
                }
            }
        }
    }

    #[test]
    fn only_the_last_tile_of_a_sequence_that_ends_early_has_foreign_keys() {
        let foreign = |seqused: Option<u32>| {
            let mut params = params(heads(64, 1, 1), 1, 1);
            params.forward.sequences.seqused_k = u64::from(seqused.is_some());
            let place = schedule::<Small>(&params).place(0);
            let work = Work::<Small>::new(&params, place, |_| seqused.unwrap());
            [0, 1].map(|n_block| work.has_foreign_keys(n_block))
        };
        assert_eq!(foreign(None), [false, false]);
        assert_eq!(foreign(Some(90)), [false, true]);
        assert_eq!(foreign(Some(96)), [false, false]);
    }
}
