//! What one block computes: which rows of which head, and which key tiles it must visit.
//!
//! The grid is one-dimensional, `m_blocks * num_heads * batch` blocks. Query tiles vary fastest, so that blocks that
//! read the same keys run together, and from last to first, so that the longest causal rows start first.
//!
//! ```text
//! key tiles    |  cut on the left  |  full: no mask code  |  cut on the right  |   walked from right to left
//!          tiles.begin         full.begin             full.end             tiles.end
//! ```

use crate::global_tile::GlobalTile;
use crate::mask::VisibleKeys;
use crate::sequence::Sequence;
use crate::tiling::Tiling;
use abi::{FwdParams, RowValues, Strided};
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// Coordinates of one block and its key range.
pub struct BlockInfo<T> {
    /// Batch entry.
    pub sequence: Sequence,
    /// Query head.
    pub head: u32,
    /// Key head that this query head reads.
    pub head_k: u32,
    /// First query row, counted from the first one of the sequence.
    pub first_row: u32,
    tiling: PhantomData<T>,
}

/// Key tiles `begin .. end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// The first one.
    pub begin: u32,
    /// The one after the last.
    pub end: u32,
}

impl Tiles {
    /// Whether there is none.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.begin >= self.end
    }

    /// The tiles of `block_n` keys with a key that some row of `first_row ..= last_row` sees.
    #[inline(always)]
    pub const fn seen(keys: &VisibleKeys, first_row: u32, last_row: u32, block_n: u32) -> Self {
        let begin = keys.begin(first_row);
        let end = keys.end(last_row);
        if begin < end {
            Tiles {
                begin: begin / block_n,
                end: end.div_ceil(block_n),
            }
        } else {
            Tiles { begin: 0, end: 0 }
        }
    }

    /// The tiles of `block_n` keys whose every key is seen by every row of `first_row ..= last_row`: those before `begin`
    /// are cut on the left, those from `end` on are cut on the right, and none is full when `begin` is not below `end`.
    #[inline(always)]
    pub const fn full(keys: &VisibleKeys, first_row: u32, last_row: u32, block_n: u32) -> Self {
        Tiles {
            begin: keys.begin(last_row).div_ceil(block_n),
            end: keys.end(first_row) / block_n,
        }
    }
}

impl<T: Tiling> BlockInfo<T> {
    /// The work of block `block`, its index in the grid; `read` loads an i32 from a device address.
    #[inline(always)]
    pub fn new(params: &FwdParams, block: u32, read: impl Fn(u64) -> u32) -> Self {
        let (heads, m_block) = div_rem(block, params.m_blocks);
        let (batch, head) = div_rem(heads, params.num_heads);
        let (head_k, _) = div_rem(head, params.heads_per_group);
        BlockInfo {
            sequence: Sequence::new(params, batch, read),
            head,
            head_k,
            first_row: (params.m_blocks - 1 - m_block) * T::BLOCK_M,
            tiling: PhantomData,
        }
    }

    /// Visible keys per row.
    #[inline(always)]
    pub const fn keys(&self) -> &VisibleKeys {
        &self.sequence.keys
    }

    /// Whether the sequence ends before the first row of this block: it is shorter than the longest of the launch.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.first_row >= self.keys().seqlen_q
    }

    /// Query rows from the first one of this block, which is not empty, to the end of the sequence.
    #[inline(always)]
    pub const fn rows_left(&self) -> u32 {
        self.keys().seqlen_q - self.first_row
    }

    /// Keys from the first one of tile `n_block` to the end of the sequence.
    #[inline(always)]
    pub const fn keys_left(&self, n_block: u32) -> u32 {
        self.keys().seqlen_k - n_block * T::BLOCK_N
    }

    /// The rows of `matrix` (Q, O or their gradients) from the first one of this block on.
    #[inline(always)]
    pub const fn queries_of(&self, matrix: &Strided) -> GlobalTile {
        let first_row = self.sequence.first_q + self.first_row;
        GlobalTile::new(matrix, self.sequence.batch, self.head, first_row)
    }

    /// Device address of the value of the first row of this block.
    #[inline(always)]
    pub const fn row_values(&self, values: &RowValues) -> u64 {
        self.sequence.row_values(values, self.head) + 4 * self.first_row as u64
    }

    /// The rows of `matrix` (K, V or their gradients) from the first key of the sequence on.
    #[inline(always)]
    pub const fn keys_of(&self, matrix: &Strided) -> GlobalTile {
        let Sequence { batch, first_k, .. } = self.sequence;
        GlobalTile::new(matrix, batch, self.head_k, first_k)
    }

    /// The last row of this block, which is not empty.
    #[inline(always)]
    const fn last_row(&self) -> u32 {
        let rows = self.rows_left();
        self.first_row + if rows < T::BLOCK_M { rows } else { T::BLOCK_M } - 1
    }

    /// The key tiles with a key that some row of this block sees.
    #[inline(always)]
    pub const fn tiles(&self) -> Tiles {
        Tiles::seen(self.keys(), self.first_row, self.last_row(), T::BLOCK_N)
    }

    /// The key tiles whose every key is seen by every row of this block, see [`Tiles::full`].
    #[inline(always)]
    pub const fn full_tiles(&self) -> Tiles {
        Tiles::full(self.keys(), self.first_row, self.last_row(), T::BLOCK_N)
    }
}

/// Quotient and remainder; a `divisor` of 0, which the host rules out, counts as 1 so that no trap is compiled.
#[inline(always)]
pub fn div_rem(dividend: u32, divisor: u32) -> (u32, u32) {
    let divisor = NonZeroU32::new(divisor).unwrap_or(NonZeroU32::MIN);
    (dividend / divisor, dividend % divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::tests::params as launch;
    use std::collections::HashSet;

    const UNLIMITED: u32 = u32::MAX;

    struct Small;
    impl Tiling for Small {
        const HEAD_DIM: u32 = 64;
        const BLOCK_M: u32 = 32;
        const BLOCK_N: u32 = 48;
        const WARPS: u32 = 1;
    }

    fn params(seqlen_q: u32, seqlen_k: u32, num_heads: u32, heads_per_group: u32) -> FwdParams {
        FwdParams {
            num_heads,
            heads_per_group,
            m_blocks: seqlen_q.div_ceil(Small::BLOCK_M),
            ..launch(seqlen_q, seqlen_k, (UNLIMITED, UNLIMITED))
        }
    }

    fn block(params: &FwdParams, index: u32) -> BlockInfo<Small> {
        BlockInfo::new(params, index, |_| unreachable!("nothing is packed"))
    }

    #[test]
    fn the_grid_covers_every_tile_of_every_head_once_last_rows_first() {
        let params = params(70, 10, 6, 3);
        let (m_blocks, batches) = (3, 2);
        let mut seen = HashSet::new();
        for id in 0..m_blocks * 6 * batches {
            let block = block(&params, id);
            let batch = block.sequence.batch;
            assert!(batch < batches && block.head < 6);
            assert_eq!(block.head_k, block.head / 3);
            assert_eq!(block.first_row, (m_blocks - 1 - id % m_blocks) * 32);
            seen.insert((batch, block.head, block.first_row));
        }
        assert_eq!(seen.len() as u32, m_blocks * 6 * batches);
    }

    #[test]
    fn the_largest_grid_does_not_wrap() {
        let id = i32::MAX as u32 - 1;
        let block = block(&params(1, 1, 46341, 1), id);
        assert_eq!((block.sequence.batch, block.head), (id / 46341, id % 46341));
    }

    #[test]
    fn blocks_beyond_a_packed_sequence_are_empty() {
        let mut params = params(70, 70, 1, 1);
        params.sequences.seqused_q = 1000;
        let rows = [0u32, 32, 33, 70];
        let of = |id| {
            BlockInfo::<Small>::new(&params, id, |address| rows[(address as usize - 1000) / 4])
        };
        let filled: Vec<_> = (0..12).filter(|&id| !of(id).is_empty()).collect();
        // Three blocks an entry, those of the last rows first.
        assert_eq!(filled, [5, 7, 8, 9, 10, 11]);
    }

    /// Counts visible keys tile by tile and compares with the two ranges.
    fn ranges_agree_with_the_mask(params: &FwdParams) {
        let (seqlen_q, seqlen_k) = (params.seqlen_q, params.seqlen_k);
        for id in 0..params.m_blocks {
            let block = block(params, id);
            let rows = block.first_row..(block.first_row + Small::BLOCK_M).min(seqlen_q);
            let sees = |row: u32, key: u32| {
                (block.keys().begin(row)..block.keys().end(row)).contains(&key)
            };
            let tiles = block.tiles();
            let full = block.full_tiles();
            assert!(tiles.is_empty() || tiles.begin <= full.end && full.end <= tiles.end);
            for n_block in 0..seqlen_k.div_ceil(Small::BLOCK_N) + 1 {
                let keys = n_block * Small::BLOCK_N..(n_block + 1) * Small::BLOCK_N;
                let pairs = || {
                    rows.clone()
                        .flat_map(|row| keys.clone().map(move |key| (row, key)))
                };
                let any = pairs().any(|(row, key)| sees(row, key));
                let all = pairs().all(|(row, key)| sees(row, key));
                let what = format!("{params:?}, block {id}, tile {n_block}");
                assert_eq!((tiles.begin..tiles.end).contains(&n_block), any, "{what}");
                assert_eq!((full.begin..full.end).contains(&n_block), all, "{what}");
            }
        }
    }

    #[test]
    fn visited_tiles_are_those_with_a_visible_key_and_full_ones_need_no_mask() {
        for (seqlen_q, seqlen_k) in [(1, 1), (64, 96), (70, 200), (200, 70), (33, 48), (5, 0)] {
            for left in [UNLIMITED, 0, 31, 60, 130] {
                for right in [UNLIMITED, 0, 20, 100] {
                    for is_top_left in [0, 1] {
                        ranges_agree_with_the_mask(&FwdParams {
                            window_left: left,
                            window_right: right,
                            is_top_left,
                            ..params(seqlen_q, seqlen_k, 1, 1)
                        });
                    }
                }
            }
        }
    }
}
