//! What one block of the main backward kernel computes: which key tiles of which head, and which query tiles see them.
//!
//! The grid is one-dimensional, `n_stride * num_heads_k * batch` blocks. Key tiles vary fastest, so that blocks that
//! read the same queries run together; under a causal mask the first tiles, which most queries see, start first.

use crate::block_info::div_rem;
use crate::global_tile::{Extent, GlobalTile, Rows};
use crate::mask::VisibleKeys;
use crate::sequence::Sequence;
use crate::tiling::Tiling;
use abi::{BwdParams, FwdParams, Strided};

/// Coordinates of one block.
pub struct KeyHead {
    /// Key head.
    pub head_k: u32,
    /// First key tile, and number of the slice of dQ that the block adds to.
    pub first_tile: u32,
    /// Batch entry.
    pub sequence: Sequence,
}

impl KeyHead {
    /// The work of block `block`, its index in the grid; `read` loads an i32 from a device address.
    #[inline(always)]
    pub fn new(params: &BwdParams, block: u32, read: impl Fn(u64) -> u32) -> Self {
        let forward = &params.forward;
        let (heads, first_tile) = div_rem(block, params.n_stride);
        let (batch, head_k) = div_rem(heads, params.num_heads_k);
        KeyHead {
            head_k,
            first_tile,
            sequence: Sequence::new(forward, batch, read),
        }
    }

    /// The rows of `matrix` (K, V or their gradients) from the first key of the sequence on.
    #[inline(always)]
    pub const fn keys_of(&self, matrix: &Strided) -> GlobalTile {
        let Sequence { batch, first_k, .. } = self.sequence;
        GlobalTile::new(matrix, batch, self.head_k, first_k)
    }

    /// The rows of `matrix` (Q or dO) for query head `head` from the first query of the sequence on.
    #[inline(always)]
    pub const fn queries_of(&self, matrix: &Strided, head: u32) -> GlobalTile {
        let Sequence { batch, first_q, .. } = self.sequence;
        GlobalTile::new(matrix, batch, head, first_q)
    }

    /// What exists of a tile of K, V or their gradients that begins with `first_key`.
    #[inline(always)]
    pub const fn keys_extent(&self, params: &FwdParams, first_key: u32) -> Extent {
        Extent {
            rows: Rows::First(self.sequence.keys.seqlen_k - first_key),
            cols: params.head_dim,
        }
    }
}

/// The query tiles that see a key tile, walked from last to first.
///
/// ```text
/// query tiles   |  cut by the mask  |  full: no mask code  |  cut by the mask or the end of the queries  |
///             begin            full_begin               full_end                                        end
/// ```
///
/// All tiles count as cut when the key tile itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryTiles {
    /// The first tile with a row that sees a key.
    pub begin: u32,
    /// The first tile whose every row exists and sees every key; not below `begin`.
    pub full_begin: u32,
    /// The one after the last such tile; not below `full_begin`.
    pub full_end: u32,
    /// The one after the last tile with a row that sees a key; not below `full_end`.
    pub end: u32,
}

impl QueryTiles {
    /// Of key tile `n_block`, which is not beyond the keys.
    #[inline(always)]
    pub const fn new<T: Tiling>(keys: &VisibleKeys, n_block: u32) -> Self {
        let first_key = n_block * T::BLOCK_N;
        let keys_left = keys.seqlen_k - first_key;
        let last_key = first_key + min(keys_left, T::BLOCK_N) - 1;
        let (first_row, end_row) = (keys.first_row(first_key), keys.end_row(last_key));
        let begin = first_row / T::BLOCK_M;
        let end = if first_row < end_row {
            end_row.div_ceil(T::BLOCK_M)
        } else {
            begin
        };
        let full_begin = if keys_left < T::BLOCK_N {
            end
        } else {
            min(keys.first_row(last_key).div_ceil(T::BLOCK_M), end)
        };
        let full_end = min(keys.end_row(first_key) / T::BLOCK_M, end);
        QueryTiles {
            begin,
            full_begin,
            full_end: if full_end < full_begin {
                full_begin
            } else {
                full_end
            },
            end,
        }
    }
}

#[inline(always)]
const fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::tests::params;
    use abi::FwdParams;

    struct Small;
    impl Tiling for Small {
        const HEAD_DIM: u32 = 64;
        const BLOCK_M: u32 = 4;
        const BLOCK_N: u32 = 6;
        const WARPS: u32 = 1;
    }

    /// Compares with a count of the visible pairs of every two tiles.
    fn tiles_agree_with_the_mask(params: &FwdParams) {
        let (seqlen_q, seqlen_k) = (params.seqlen_q, params.seqlen_k);
        let keys = VisibleKeys::new(params, seqlen_q, seqlen_k);
        for n_block in 0..seqlen_k.div_ceil(6) {
            let tiles = QueryTiles::new::<Small>(&keys, n_block);
            let what = format!("{params:?}, key tile {n_block}: {tiles:?}");
            let bounds = [tiles.begin, tiles.full_begin, tiles.full_end, tiles.end];
            assert!(bounds.is_sorted(), "{what}");
            for m_block in 0..seqlen_q.div_ceil(4) {
                let pairs = (4 * m_block..seqlen_q.min(4 * m_block + 4))
                    .flat_map(|row| (6 * n_block..6 * n_block + 6).map(move |key| (row, key)))
                    .filter(|&(row, key)| (keys.begin(row)..keys.end(row)).contains(&key));
                let visible = pairs.count();
                let is_visited = (tiles.begin..tiles.end).contains(&m_block);
                let is_full = (tiles.full_begin..tiles.full_end).contains(&m_block);
                assert_eq!(is_visited, visible > 0, "{what}, query tile {m_block}");
                assert_eq!(is_full, visible == 24, "{what}, query tile {m_block}");
            }
        }
    }

    #[test]
    fn visited_tiles_are_those_with_a_visible_pair_and_full_ones_need_no_mask() {
        for (seqlen_q, seqlen_k) in [(1, 1), (13, 29), (29, 13), (24, 24), (5, 0), (16, 7)] {
            for left in [0, 1, 5, 30, u32::MAX] {
                for right in [0, 1, 5, 30, u32::MAX] {
                    for is_top_left in [0, 1] {
                        tiles_agree_with_the_mask(&FwdParams {
                            is_top_left,
                            ..params(seqlen_q, seqlen_k, (left, right))
                        });
                    }
                }
            }
        }
    }
}
