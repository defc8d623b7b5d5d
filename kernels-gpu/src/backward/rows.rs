//! Query tiles in the scratch of a backward pass, and the values of their rows.

use crate::block_info::div_rem;
use crate::fragment::{Acc, acc_col};
use crate::ptx;
use crate::sequence::Sequence;
use crate::tile::GlobalTile;
use abi::{BwdParams, RowValues, Strided};

/// Number of a row in the scratch of [`BwdParams`]: the first row of query tile `m_block` of `head`.
#[inline(always)]
pub const fn scratch_row(params: &BwdParams, sequence: &Sequence, head: u32, m_block: u32) -> u64 {
    let forward = &params.forward;
    let first = sequence.first_tile(forward, forward.m_blocks, params.tile_rows);
    let tile = head as u64 * params.scratch_tiles as u64 + first as u64 + m_block as u64;
    tile * params.tile_rows as u64
}

/// One query tile of one head: the work of a block of the delta and the dQ kernel.
pub struct QueryTile {
    /// Number of its first row in the scratch.
    pub scratch_row: u64,
    sequence: Sequence,
    head: u32,
    first_row: u32,
}

impl QueryTile {
    /// Of the calling block; `None` when its sequence has no such tile.
    #[inline(always)]
    pub fn current(params: &BwdParams) -> Option<Self> {
        let forward = &params.forward;
        let (heads, m_block) = div_rem(ptx::block_index(), forward.m_blocks);
        let (batch, head) = div_rem(heads, forward.num_heads);
        // SAFETY: `params` says where the lengths of packed sequences are.
        let sequence = Sequence::new(forward, batch, |address| unsafe {
            ptx::load_global_u32(address)
        });
        let first_row = m_block * params.tile_rows;
        if first_row >= sequence.keys.seqlen_q {
            return None;
        }
        Some(QueryTile {
            scratch_row: scratch_row(params, &sequence, head, m_block),
            sequence,
            head,
            first_row,
        })
    }

    /// Query rows from the first one of the tile to the end of the sequence.
    #[inline(always)]
    pub const fn rows_left(&self) -> u32 {
        self.sequence.keys.seqlen_q - self.first_row
    }

    /// The rows of `matrix` (O, dO or dQ) from the first one of the tile on.
    #[inline(always)]
    pub const fn matrix(&self, matrix: &Strided) -> GlobalTile {
        let first_row = self.sequence.first_q + self.first_row;
        GlobalTile::new(matrix, self.sequence.batch, self.head, first_row)
    }

    /// Device address of the value of row `row` of the tile.
    #[inline(always)]
    pub const fn row_value(&self, values: &RowValues, row: u32) -> u64 {
        self.sequence.row_values(values, self.head) + 4 * (self.first_row + row) as u64
    }
}

/// What one lane needs of the rows of a query tile; its columns are those of the lane in an accumulator.
pub struct RowStatistics<const N: usize> {
    /// L · log2(e) of columns 2t and 2t + 1 of each column tile.
    pub lse_log2: [[f32; 2]; N],
    /// An accumulator of dPᵀ that holds -D.
    pub neg_delta: Acc<N>,
}

impl<const N: usize> RowStatistics<N> {
    /// Of the `8 * N` rows from scratch row `first_row` on, which is a tile's first one.
    ///
    /// # Safety
    /// The scratch of `params` is as it says, and the delta kernel has written the tile.
    #[inline(always)]
    pub unsafe fn load(params: &BwdParams, first_row: u64, lane: u32) -> Self {
        let first = first_row + acc_col(lane, 0) as u64;
        let (lse, delta) = (params.lse_log2 + 4 * first, params.neg_delta + 8 * first);
        let mut rows = RowStatistics {
            lse_log2: [[0.0; 2]; N],
            neg_delta: Acc::zero(),
        };
        let mut n = 0;
        while n < N {
            // SAFETY: the caller's promise; the offsets are multiples of 8 and 16 bytes.
            unsafe {
                rows.lse_log2[n] = ptx::load_global_f32x2(lse + 32 * n as u64);
                rows.neg_delta.0[n] = ptx::load_global_f32x4(delta + 64 * n as u64);
            }
            n += 1;
        }
        rows
    }
}
