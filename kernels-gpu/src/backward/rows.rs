//! Query tiles in the scratch of a backward pass, and the values of their rows.

use crate::backward::key_tile::Variant;
use crate::block_info::div_rem;
use crate::fragment::{Acc, acc_col};
use crate::global_tile::GlobalTile;
use crate::ptx;
use crate::scores::ScoreKind;
use crate::sequence::Sequence;
use abi::{BwdParams, RowValues, Strided};
use core::marker::PhantomData;

/// Number of a row in the scratch of [`BwdParams`]: the first row of query tile `m_block` of `head`, with tiles of
/// `tile_rows` rows.
#[inline(always)]
pub fn scratch_row(
    params: &BwdParams,
    sequence: &Sequence,
    head: u32,
    m_block: u32,
    tile_rows: u32,
) -> u64 {
    let forward = &params.forward;
    let first = sequence.first_tile(forward, forward.m_blocks, tile_rows);
    let tile = head as u64 * params.scratch_tiles as u64 + first as u64 + m_block as u64;
    tile * tile_rows as u64
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
            scratch_row: scratch_row(params, &sequence, head, m_block, params.tile_rows),
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

/// Address of the row statistics of the tile that begins with scratch row `first_row`.
#[inline(always)]
pub const fn row_statistics(params: &BwdParams, first_row: u64) -> u64 {
    params.row_statistics + 12 * first_row
}

/// The statistics of the rows of a query tile in shared memory, where this lane reads them: for the columns of the
/// lane in a transposed accumulator.
#[derive(Clone, Copy)]
pub struct RowStatistics<T> {
    /// -L · log2(e) of columns 2t and 2t + 1 of the first column tile.
    neg_lse_log2: u32,
    /// -D of those columns, twice.
    neg_delta: u32,
    tiling: PhantomData<T>,
}

impl<T: Variant> RowStatistics<T> {
    /// Bytes of the statistics of a tile.
    pub const BYTES: u32 = 12 * T::BLOCK_M;

    /// At the shared address `base`, for `lane`.
    #[inline(always)]
    pub const fn at(base: u32, lane: u32) -> Self {
        RowStatistics {
            neg_lse_log2: base + 4 * acc_col(lane, 0),
            neg_delta: base + 4 * T::BLOCK_M + 8 * acc_col(lane, 0),
            tiling: PhantomData,
        }
    }

    /// -L · log2(e) of the lane's two columns of column tile `n`.
    ///
    /// # Safety
    /// The statistics are in shared memory.
    #[inline(always)]
    pub unsafe fn neg_lse_log2(&self, n: usize) -> [f32; 2] {
        // SAFETY: the caller's promise; a multiple of 8 bytes.
        unsafe { ptx::load_shared_pair(self.neg_lse_log2 + 32 * n as u32) }.map(f32::from_bits)
    }

    /// -D of those columns, as an accumulator of dPᵀ has it.
    ///
    /// # Safety
    /// The statistics are in shared memory.
    #[inline(always)]
    pub unsafe fn neg_delta(&self, n: usize) -> [f32; 4] {
        // SAFETY: the caller's promise; a multiple of 16 bytes.
        unsafe { ptx::load_shared(self.neg_delta + 64 * n as u32) }.map(f32::from_bits)
    }

    /// What dPᵀ = V·dOᵀ is added to: -D, unless dropout comes between.
    ///
    /// # Safety
    /// The statistics are in shared memory.
    #[inline(always)]
    pub unsafe fn gradient_start<const M: usize>(&self) -> Acc<M> {
        let mut acc = Acc::zero();
        let mut n = 0;
        while T::Scores::IS_PLAIN && n < M {
            // SAFETY: the caller's promise.
            acc.0[n] = unsafe { self.neg_delta(n) };
            n += 1;
        }
        acc
    }
}
