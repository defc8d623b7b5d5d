//! Which keys a query row sees. Every mask is a band along a diagonal: row i sees keys `begin(i) .. end(i)`.
//!
//! ```text
//! no window       causal, 3 x 5     causal, 5 x 3     window 1,1, 4 x 4     causal, top left, 3 x 5
//! 1 1 1 1 1       1 1 1 0 0         0 0 0             1 1 0 0               1 0 0 0 0
//! 1 1 1 1 1       1 1 1 1 0         0 0 0             1 1 1 0               1 1 0 0 0
//! 1 1 1 1 1       1 1 1 1 1         1 0 0             0 1 1 1               1 1 1 0 0
//!                                   1 1 0             0 0 1 1
//!                                   1 1 1
//! ```
//!
//! The diagonal is aligned to the bottom right corner (the last query sees the last key) unless the launch says
//! otherwise.

use crate::fragment::{Acc, acc_col};
use abi::FwdParams;

/// The visible keys as a function of the query row, and the rows that see a key.
#[derive(Clone, Copy)]
pub struct VisibleKeys {
    /// Query rows, 0 ..= 2^31 - 1.
    pub seqlen_q: u32,
    /// Keys, 0 ..= 2^31 - 1.
    pub seqlen_k: u32,
    /// Row i sees keys from `i + begin_offset` on.
    begin_offset: i32,
    /// Row i sees keys before `i + end_offset`.
    end_offset: i32,
}

impl VisibleKeys {
    /// Of a sequence of `seqlen_q` queries and `seqlen_k` keys under the window of `params`.
    #[inline(always)]
    pub const fn new(params: &FwdParams, seqlen_q: u32, seqlen_k: u32) -> Self {
        let diagonal = diagonal(params, seqlen_q, seqlen_k);
        VisibleKeys {
            seqlen_q,
            seqlen_k,
            begin_offset: saturate(diagonal - params.window_left as i64),
            end_offset: saturate(diagonal + params.window_right as i64 + 1),
        }
    }

    /// The first key that `row` sees, `seqlen_k` at most; `row` may lie beyond the last one.
    #[inline(always)]
    pub const fn begin(&self, row: u32) -> u32 {
        shift(row, self.begin_offset, self.seqlen_k)
    }

    /// The key after the last one that `row` sees; not above `begin(row)` when it sees none.
    #[inline(always)]
    pub const fn end(&self, row: u32) -> u32 {
        shift(row, self.end_offset, self.seqlen_k)
    }

    /// The first row that sees `key`, `seqlen_q` at most; `key` may lie beyond the last one.
    #[inline(always)]
    pub const fn first_row(&self, key: u32) -> u32 {
        shift(key + 1, -self.end_offset, self.seqlen_q)
    }

    /// The row after the last one that sees `key`; not above `first_row(key)` when none does.
    #[inline(always)]
    pub const fn end_row(&self, key: u32) -> u32 {
        shift(key + 1, -self.begin_offset, self.seqlen_q)
    }
}

/// What is added to a row to get the key on its diagonal.
#[inline(always)]
pub const fn diagonal(params: &FwdParams, seqlen_q: u32, seqlen_k: u32) -> i64 {
    if params.is_top_left != 0 {
        0
    } else {
        seqlen_k as i64 - seqlen_q as i64
    }
}

/// `offset` moved into -(2^31 - 1) ..= 2^31 - 1: sequences are not longer, so one beyond means the same.
#[inline(always)]
const fn saturate(offset: i64) -> i32 {
    const LONGEST: i64 = i32::MAX as i64;
    if offset < -LONGEST {
        -i32::MAX
    } else if offset > LONGEST {
        i32::MAX
    } else {
        offset as i32
    }
}

/// `position + offset` moved into 0 ..= `limit`; no position is so far beyond 2^31 that the sum wraps.
#[inline(always)]
const fn shift(position: u32, offset: i32, limit: u32) -> u32 {
    let shifted = if offset < 0 {
        position.saturating_sub(offset.unsigned_abs())
    } else {
        position + offset as u32
    };
    if shifted < limit { shifted } else { limit }
}

/// Sets to -inf what lies outside `begin[half] .. end[half]` along the columns.
///
/// `acc` holds scores against columns `first_column ..`, which are keys when its rows are queries and queries when
/// its rows are keys; the bounds are those of the lane's two rows, g and g + 8.
#[inline(always)]
pub fn hide_outside<const N: usize>(
    acc: &mut Acc<N>,
    lane: u32,
    first_column: u32,
    begin: [u32; 2],
    end: [u32; 2],
) {
    let first_column = first_column + acc_col(lane, 0);
    hide_before(acc, first_column, begin);
    hide_from(acc, first_column, end);
}

/// Sets to -inf what lies before column `begin[half]`; the lane's first column is `first_column`.
#[inline(always)]
pub fn hide_before<const N: usize>(acc: &mut Acc<N>, first_column: u32, begin: [u32; 2]) {
    let begin = begin.map(|begin| in_fragment::<N>(begin, first_column));
    acc.map(|score, half, column| {
        if column < begin[half] {
            f32::NEG_INFINITY
        } else {
            score
        }
    });
}

/// Sets to -inf what lies at column `end[half]` or after; the lane's first column is `first_column`.
#[inline(always)]
pub fn hide_from<const N: usize>(acc: &mut Acc<N>, first_column: u32, end: [u32; 2]) {
    let end = end.map(|end| in_fragment::<N>(end, first_column));
    acc.map(|score, half, column| {
        if column < end[half] {
            score
        } else {
            f32::NEG_INFINITY
        }
    });
}

/// `column` relative to `first_column`, so that it is compared with constants; one outside of the fragment is moved to
/// its edge.
#[inline(always)]
const fn in_fragment<const N: usize>(column: u32, first_column: u32) -> u32 {
    let width = 8 * N as u32;
    let relative = column.saturating_sub(first_column);
    if relative < width { relative } else { width }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fragment::acc_row;
    use abi::{RowValues, ScoreParams, Sequences, Strided};

    const UNLIMITED: u32 = u32::MAX;

    /// The parameters of a launch that touches no memory.
    pub(crate) fn params(seqlen_q: u32, seqlen_k: u32, window: (u32, u32)) -> FwdParams {
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
            lse: RowValues {
                ptr: 0,
                batch_stride: 0,
                head_stride: 0,
            },
            sequences: Sequences {
                cu_seqlens_q: 0,
                cu_seqlens_k: 0,
                seqused_q: 0,
                seqused_k: 0,
            },
            scores: ScoreParams {
                alibi_slopes: 0,
                alibi_batch_stride: 0,
                bias: nowhere,
                dropout_seed: 0,
                dropout_offset: 0,
                dropout_threshold: 65536,
                dropout_scale: 1.0,
                softcap: 0.0,
                bias_is_f32: 0,
            },
            softmax_scale: 1.0,
            seqlen_q,
            seqlen_k,
            head_dim: 64,
            num_heads: 1,
            heads_per_group: 1,
            m_blocks: 0,
            window_left: window.0,
            window_right: window.1,
            is_top_left: 0,
        }
    }

    fn bounds_agree_with_the_definition(params: &FwdParams) {
        let (seqlen_q, seqlen_k) = (params.seqlen_q, params.seqlen_k);
        let keys = VisibleKeys::new(params, seqlen_q, seqlen_k);
        let diagonal = match params.is_top_left {
            0 => i64::from(seqlen_k) - i64::from(seqlen_q),
            _ => 0,
        };
        let sees = |i: u32, j: u32| {
            let distance = i64::from(j) - i64::from(i) - diagonal;
            -i64::from(params.window_left) <= distance && distance <= i64::from(params.window_right)
        };
        for i in 0..seqlen_q {
            for j in 0..seqlen_k {
                let what = format!("{params:?}, row {i}, key {j}");
                assert_eq!(
                    (keys.begin(i)..keys.end(i)).contains(&j),
                    sees(i, j),
                    "{what}"
                );
                let rows = keys.first_row(j)..keys.end_row(j);
                assert_eq!(rows.contains(&i), sees(i, j), "{what}");
            }
        }
    }

    #[test]
    fn every_window_is_the_band_of_its_definition() {
        for (seqlen_q, seqlen_k) in [(3, 5), (5, 3), (4, 4), (1, 7), (7, 1), (5, 0)] {
            for left in [0, 1, 3, 9, UNLIMITED] {
                for right in [0, 1, 2, 9, UNLIMITED] {
                    let bottom_right = params(seqlen_q, seqlen_k, (left, right));
                    bounds_agree_with_the_definition(&bottom_right);
                    bounds_agree_with_the_definition(&FwdParams {
                        is_top_left: 1,
                        ..bottom_right
                    });
                }
            }
        }
    }

    #[test]
    fn longest_sequences_do_not_wrap() {
        let longest = i32::MAX as u32;
        let causal = params(longest, longest, (UNLIMITED, 0));
        let keys = VisibleKeys::new(&causal, longest, longest);
        assert_eq!((keys.begin(0), keys.end(0)), (0, 1));
        assert_eq!(keys.end(longest - 1), longest);
        assert_eq!(keys.end(longest + 126), longest);
        assert_eq!(keys.first_row(longest - 1), longest - 1);
        assert_eq!(keys.end_row(0), longest);
        let wide = params(longest, 1, (longest, longest));
        let keys = VisibleKeys::new(&wide, longest, 1);
        assert_eq!((keys.begin(0), keys.end(longest - 1)), (0, 1));
        let mut acc = Acc::<2>::zero();
        hide_outside(&mut acc, 3, longest - 1, [0; 2], [0, longest]);
        let hidden = |tile: &[f32; 4]| tile[0] == f32::NEG_INFINITY && tile[1] == f32::NEG_INFINITY;
        assert!(acc.0.iter().all(hidden));
    }

    #[test]
    fn exactly_the_elements_outside_are_hidden() {
        const N: usize = 4;
        let first_key = 96;
        let params = params(40, 120, (9, 5));
        let keys = VisibleKeys::new(&params, 40, 120);
        for first_row in [0, 16, 32] {
            for lane in 0..32 {
                let mut acc = Acc::<N>::zero();
                let rows = [0, 2].map(|i| first_row + acc_row(lane, i));
                let (begin, end) = (rows.map(|i| keys.begin(i)), rows.map(|i| keys.end(i)));
                hide_outside(&mut acc, lane, first_key, begin, end);
                for (n, tile) in acc.0.iter().enumerate() {
                    for (i, &score) in tile.iter().enumerate() {
                        let row = first_row + acc_row(lane, i as u32);
                        let key = first_key + 8 * n as u32 + acc_col(lane, i as u32);
                        let is_visible = (keys.begin(row)..keys.end(row)).contains(&key);
                        let want = if is_visible { 0.0 } else { f32::NEG_INFINITY };
                        assert_eq!(score, want, "row {row}, key {key}");
                    }
                }
            }
        }
    }
}
