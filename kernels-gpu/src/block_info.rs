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
        self.keys.end(self.first_row + T::BLOCK_M - 1).div_ceil(T::BLOCK_N)
    }

    /// Number of key tiles, from the first, whose every key is seen by every row of this block.
    #[inline(always)]
    pub const fn full_blocks(&self) -> u32 {
        self.keys.end(self.first_row) / T::BLOCK_N
    }
}

/// Quotient and remainder; a `divisor` of 0, which the host rules out, counts as 1 so that no trap is compiled.
#[inline(always)]
fn div_rem(dividend: u32, divisor: u32) -> (u32, u32) {
    let divisor = NonZeroU32::new(divisor).unwrap_or(NonZeroU32::MIN);
    (dividend / divisor, dividend % divisor)
}
