//! One batch entry: how long it is and where its rows begin, whether sequences are packed or of equal length.

use abi::{FwdParams, RowValues};

use crate::block_info::div_rem;
use crate::mask::VisibleKeys;

/// A batch entry.
#[derive(Clone, Copy)]
pub struct Sequence {
    /// Index in the batch.
    pub batch: u32,
    /// Row of the first query in its tensor; 0 unless sequences are packed.
    pub first_q: u32,
    /// Row of the first key in its tensor; 0 unless sequences are packed.
    pub first_k: u32,
    /// Visible keys, and both lengths.
    pub keys: VisibleKeys,
}

impl Sequence {
    /// Batch entry `batch` of `params`; `read` loads an i32 from a device address.
    #[inline(always)]
    pub fn new(params: &FwdParams, batch: u32, read: impl Fn(u64) -> u32) -> Self {
        let (mut first_q, mut first_k) = (0, 0);
        let (mut seqlen_q, mut seqlen_k) = (params.seqlen_q, params.seqlen_k);
        let offset = 4 * batch as u64;
        let packed = &params.sequences;
        if packed.cu_seqlens_q != 0 {
            first_q = read(packed.cu_seqlens_q + offset);
            first_k = read(packed.cu_seqlens_k + offset);
            seqlen_q = read(packed.cu_seqlens_q + offset + 4) - first_q;
            seqlen_k = read(packed.cu_seqlens_k + offset + 4) - first_k;
        }
        if packed.seqused_q != 0 {
            seqlen_q = read(packed.seqused_q + offset);
        }
        if packed.seqused_k != 0 {
            seqlen_k = read(packed.seqused_k + offset);
        }
        Sequence {
            batch,
            first_q,
            first_k,
            keys: VisibleKeys::new(params, seqlen_q, seqlen_k),
        }
    }

    /// Number of the first scratch tile of this entry; see [`abi::BwdParams`]. `tiles` is the number of tiles of an
    /// entry when all have the same length, `tile_rows` the rows of one.
    #[inline(always)]
    pub fn first_tile(&self, params: &FwdParams, tiles: u32, tile_rows: u32) -> u32 {
        // The first row is 0 unless sequences are packed.
        let is_packed = params.sequences.cu_seqlens_q != 0;
        let tiles = if is_packed { 1 } else { tiles };
        div_rem(self.first_q, tile_rows).0 + self.batch * tiles
    }

    /// Device address of the value of the entry's first row for `head`.
    #[inline(always)]
    pub const fn row_values(&self, values: &RowValues, head: u32) -> u64 {
        let elements = self.batch as u64 * values.batch_stride
            + head as u64 * values.head_stride
            + self.first_q as u64;
        values.ptr + 4 * elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::tests::params;
    use abi::Sequences;

    #[test]
    fn packed_entries_begin_where_the_one_before_ends_and_use_what_is_said() {
        let (cu_q, cu_k, used_k) = ([0u32, 3, 3, 10], [2u32, 6, 7, 7], [4u32, 0, 0]);
        let read = |address: u64| match address {
            1000..2000 => cu_q[(address as usize - 1000) / 4],
            2000..3000 => cu_k[(address as usize - 2000) / 4],
            _ => used_k[(address as usize - 3000) / 4],
        };
        let mut params = params(7, 4, (u32::MAX, u32::MAX));
        params.sequences = Sequences {
            cu_seqlens_q: 1000,
            cu_seqlens_k: 2000,
            seqused_q: 0,
            seqused_k: 3000,
        };
        let entries: Vec<_> = (0..3)
            .map(|batch| Sequence::new(&params, batch, read))
            .map(|s| (s.first_q, s.keys.seqlen_q, s.first_k, s.keys.seqlen_k))
            .collect();
        assert_eq!(entries, [(0, 3, 2, 4), (3, 0, 6, 0), (3, 7, 7, 0)]);
    }

    #[test]
    fn scratch_tiles_of_packed_entries_do_not_overlap() {
        for cu_q in [[0u32, 3, 3, 10], [0, 16, 32, 33], [5, 20, 36, 100]] {
            let read = |address: u64| cu_q[(address as usize - 1000) / 4];
            let mut params = params(64, 64, (u32::MAX, u32::MAX));
            params.sequences.cu_seqlens_q = 1000;
            params.sequences.cu_seqlens_k = 1000;
            let mut end = 0;
            for batch in 0..3 {
                let entry = Sequence::new(&params, batch, read);
                let first = entry.first_tile(&params, 0, 16);
                assert!(first >= end, "{cu_q:?}");
                end = first + entry.keys.seqlen_q.div_ceil(16);
            }
            assert!(end <= cu_q[3] / 16 + 3, "{cu_q:?}");
        }
    }
}
