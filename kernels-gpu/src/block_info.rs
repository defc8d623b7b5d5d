//! What one block computes: which rows of which head, and which key tiles it must visit.
//!
//! The grid is one-dimensional, `m_blocks * num_heads * batch` blocks. Query tiles vary fastest, so that blocks that
//! read the same keys run together, and from last to first, so that the longest causal rows start first.
//!
//! ```text
//! key tiles, walked from right to left:   0 .. full_blocks        no mask code
//!                                         full_blocks .. n_blocks  cut by the end of the keys or by the diagonal
//! ```

use crate::mask::{Mask, VisibleKeys};
use crate::tiling::Tiling;
use abi::FwdParams;
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// Coordinates of one block and its key range.
pub struct BlockInfo<T> {
    /// Batch entry.
    pub batch: u32,
    /// Query head.
    pub head: u32,
    /// Key head that this query head reads.
    pub head_k: u32,
    /// First query row.
    pub first_row: u32,
    /// Visible keys per row.
    pub keys: VisibleKeys,
    tiling: PhantomData<T>,
}

impl<T: Tiling> BlockInfo<T> {
    /// The work of block `block`, its index in the grid, under mask `M`.
    #[inline(always)]
    pub fn new<M: Mask>(params: &FwdParams, block: u32) -> Self {
        let (heads, m_block) = div_rem(block, params.m_blocks);
        let (batch, head) = div_rem(heads, params.num_heads);
        let (head_k, _) = div_rem(head, params.heads_per_group);
        BlockInfo {
            batch,
            head,
            head_k,
            first_row: (params.m_blocks - 1 - m_block) * T::BLOCK_M,
            keys: VisibleKeys {
                seqlen_q: params.seqlen_q,
                seqlen_k: params.seqlen_k,
                is_causal: M::is_causal(params),
            },
            tiling: PhantomData,
        }
    }

    /// Query rows from the first one of this block to the end of the sequence.
    #[inline(always)]
    pub const fn rows_left(&self) -> u32 {
        self.keys.seqlen_q - self.first_row
    }

    /// Keys from the first one of tile `n_block` to the end of the sequence.
    #[inline(always)]
    pub const fn keys_left(&self, n_block: u32) -> u32 {
        self.keys.seqlen_k - n_block * T::BLOCK_N
    }

    /// Number of key tiles with a key that some row of this block sees.
    #[inline(always)]
    pub const fn n_blocks(&self) -> u32 {
        self.keys
            .end(self.first_row + T::BLOCK_M - 1)
            .div_ceil(T::BLOCK_N)
    }

    /// Number of key tiles, from the first, whose every key is seen by every row of this block.
    #[inline(always)]
    pub const fn full_blocks(&self) -> u32 {
        self.keys.end(self.first_row) / T::BLOCK_N
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
    use crate::mask::{Causal, Either, Full};
    use abi::Strided;
    use std::collections::HashSet;

    struct Small;
    impl Tiling for Small {
        const HEAD_DIM: u32 = 64;
        const BLOCK_M: u32 = 32;
        const BLOCK_N: u32 = 48;
        const WARPS: u32 = 1;
    }

    fn params(seqlen_q: u32, seqlen_k: u32, num_heads: u32, heads_per_group: u32) -> FwdParams {
        let nowhere = Strided {
            ptr: 0,
            batch_stride: 0,
            row_stride: 0,
            head_stride: 0,
        };
        FwdParams {
            q: nowhere,
            k: nowhere,
            v: nowhere,
            out: nowhere,
            lse: 0,
            softmax_scale: 1.0,
            seqlen_q,
            seqlen_k,
            head_dim: 64,
            num_heads,
            heads_per_group,
            m_blocks: seqlen_q.div_ceil(Small::BLOCK_M),
            is_causal: 0,
        }
    }

    #[test]
    fn the_grid_covers_every_tile_of_every_head_once_last_rows_first() {
        let params = params(70, 10, 6, 3);
        let (m_blocks, batches) = (3, 2);
        let mut seen = HashSet::new();
        for id in 0..m_blocks * 6 * batches {
            let block = BlockInfo::<Small>::new::<Full>(&params, id);
            assert!(block.batch < batches && block.head < 6);
            assert_eq!(block.head_k, block.head / 3);
            assert_eq!(block.first_row, (m_blocks - 1 - id % m_blocks) * 32);
            seen.insert((block.batch, block.head, block.first_row));
        }
        assert_eq!(seen.len() as u32, m_blocks * 6 * batches);
    }

    #[test]
    fn the_largest_grid_does_not_wrap() {
        let block = BlockInfo::<Small>::new::<Full>(&params(1, 1, 46341, 1), i32::MAX as u32 - 1);
        let id = i32::MAX as u32 - 1;
        assert_eq!((block.batch, block.head), (id / 46341, id % 46341));
    }

    /// Counts visible keys tile by tile and compares with the two bounds.
    fn bounds_agree_with_the_mask<M: Mask>(seqlen_q: u32, seqlen_k: u32) {
        let params = params(seqlen_q, seqlen_k, 1, 1);
        for id in 0..params.m_blocks {
            let block = BlockInfo::<Small>::new::<M>(&params, id);
            let rows = block.first_row..(block.first_row + Small::BLOCK_M).min(seqlen_q);
            for n_block in 0..seqlen_k.div_ceil(Small::BLOCK_N) + 1 {
                let first = n_block * Small::BLOCK_N;
                let mut ends = rows.clone().map(|row| block.keys.end(row));
                let (any, all) = (
                    ends.clone().any(|end| end > first),
                    ends.all(|end| end >= first + Small::BLOCK_N),
                );
                assert_eq!(
                    n_block < block.n_blocks(),
                    any,
                    "{seqlen_q} x {seqlen_k}, tile {n_block}"
                );
                assert_eq!(
                    n_block < block.full_blocks(),
                    all,
                    "{seqlen_q} x {seqlen_k}, tile {n_block}"
                );
            }
        }
    }

    #[test]
    fn visited_tiles_are_those_with_a_visible_key_and_full_ones_need_no_mask() {
        for (seqlen_q, seqlen_k) in [(1, 1), (64, 96), (70, 200), (200, 70), (33, 48), (5, 0)] {
            bounds_agree_with_the_mask::<Full>(seqlen_q, seqlen_k);
            bounds_agree_with_the_mask::<Causal>(seqlen_q, seqlen_k);
        }
    }

    #[test]
    fn either_follows_the_launch() {
        let full = params(70, 200, 1, 1);
        let causal = FwdParams {
            is_causal: 1,
            ..full
        };
        for (params, is_causal) in [(full, false), (causal, true)] {
            assert_eq!(
                BlockInfo::<Small>::new::<Either>(&params, 0).keys.is_causal,
                is_causal
            );
        }
    }
}
