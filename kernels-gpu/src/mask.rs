//! Which keys a query row sees. Both masks are a prefix of the keys: row i sees keys `0 .. end(i)`.
//!
//! ```text
//! Full            Causal, seqlen_q 3, seqlen_k 5     Causal, seqlen_q 5, seqlen_k 3
//! 1 1 1 1 1       1 1 1 0 0                          0 0 0
//! 1 1 1 1 1       1 1 1 1 0                          0 0 0
//! 1 1 1 1 1       1 1 1 1 1                          1 0 0
//!                                                    1 1 0
//!                                                    1 1 1
//! ```
//!
//! The causal mask is aligned to the bottom right corner: the last query sees the last key.

use crate::fragment::{Acc, acc_col};
use abi::FwdParams;

/// The mask of a kernel, a type so that what is known at compile time costs nothing.
pub trait Mask {
    /// Whether the causal mask applies to this launch.
    fn is_causal(params: &FwdParams) -> bool;
}

/// Every key is visible.
pub struct Full;

impl Mask for Full {
    #[inline(always)]
    fn is_causal(_: &FwdParams) -> bool {
        false
    }
}

/// Keys j <= i + seqlen_k - seqlen_q are visible.
pub struct Causal;

impl Mask for Causal {
    #[inline(always)]
    fn is_causal(_: &FwdParams) -> bool {
        true
    }
}

/// [`Full`] or [`Causal`], as the launch says.
pub struct Either;

impl Mask for Either {
    #[inline(always)]
    fn is_causal(params: &FwdParams) -> bool {
        params.is_causal != 0
    }
}

/// The visible prefix of the keys as a function of the query row.
#[derive(Clone, Copy)]
pub struct VisibleKeys {
    /// Query rows, 1 ..= 2^31 - 1.
    pub seqlen_q: u32,
    /// Keys, 0 ..= 2^31 - 1.
    pub seqlen_k: u32,
    /// Whether rows before the last one see fewer keys.
    pub is_causal: bool,
}

impl VisibleKeys {
    /// One past the last key that `row` sees; 0 when it sees none. Rows past seqlen_q see what the last row sees.
    #[inline(always)]
    pub const fn end(&self, row: u32) -> u32 {
        if !self.is_causal {
            return self.seqlen_k;
        }
        let rows_after = (self.seqlen_q - 1).saturating_sub(row);
        self.seqlen_k.saturating_sub(rows_after)
    }

    /// The first row that sees `key`, which is less than seqlen_k.
    #[inline(always)]
    pub const fn first_row(&self, key: u32) -> u32 {
        if !self.is_causal {
            return 0;
        }
        (self.seqlen_q + key).saturating_sub(self.seqlen_k)
    }
}

/// Sets the scores of invisible keys to -inf.
///
/// `acc_s` holds the scores of one strip against keys `first_key ..`; `end` is [`VisibleKeys::end`] of the lane's two
/// rows, g and g + 8.
#[inline(always)]
pub fn hide_keys<const N: usize>(acc_s: &mut Acc<N>, lane: u32, first_key: u32, end: [u32; 2]) {
    let width = 8 * N as u32;
    // At most `width`, so the subtraction cannot overflow; relative to the lane's first column, so every comparison
    // below is with a constant.
    let visible = end.map(|end| {
        let in_tile = end.saturating_sub(first_key);
        let in_tile = if in_tile < width { in_tile } else { width };
        in_tile as i32 - acc_col(lane, 0) as i32
    });
    acc_s.map(|score, half, column| {
        if (column as i32) < visible[half] {
            score
        } else {
            f32::NEG_INFINITY
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::acc_row;

    #[test]
    fn causal_mask_is_bottom_right_aligned() {
        for (seqlen_q, seqlen_k) in [(3, 5), (5, 3), (4, 4), (1, 7), (7, 1), (5, 0)] {
            let keys = VisibleKeys {
                seqlen_q,
                seqlen_k,
                is_causal: true,
            };
            for i in 0..seqlen_q {
                let visible = (0..seqlen_k)
                    .filter(|&j| j as i64 <= i as i64 + seqlen_k as i64 - seqlen_q as i64);
                assert_eq!(
                    keys.end(i),
                    visible.count() as u32,
                    "{seqlen_q} x {seqlen_k}, row {i}"
                );
            }
            for key in 0..seqlen_k {
                let first = (0..seqlen_q).find(|&row| key < keys.end(row));
                assert_eq!(Some(keys.first_row(key)), first, "key {key}");
            }
        }
    }

    #[test]
    fn full_mask_shows_every_key_to_every_row() {
        let keys = VisibleKeys {
            seqlen_q: 9,
            seqlen_k: 4,
            is_causal: false,
        };
        assert!((0..12).all(|row| keys.end(row) == 4));
        assert!((0..4).all(|key| keys.first_row(key) == 0));
    }

    #[test]
    fn longest_sequences_do_not_wrap() {
        let longest = i32::MAX as u32;
        let keys = VisibleKeys {
            seqlen_q: longest,
            seqlen_k: longest,
            is_causal: true,
        };
        assert_eq!(keys.end(0), 1);
        assert_eq!(keys.end(longest - 1), longest);
        assert_eq!(keys.end(longest + 126), longest);
        assert_eq!(keys.first_row(longest - 1), longest - 1);
        let mut acc = Acc::<2>::zero();
        hide_keys(&mut acc, 3, longest - 1, [0, longest]);
        assert!(
            acc.0
                .iter()
                .all(|tile| tile[0] == f32::NEG_INFINITY && tile[1] == f32::NEG_INFINITY)
        );
    }

    #[test]
    fn exactly_the_invisible_keys_are_hidden() {
        const N: usize = 4;
        let first_key = 96;
        let keys = VisibleKeys {
            seqlen_q: 40,
            seqlen_k: 120,
            is_causal: true,
        };
        for first_row in [0, 16, 32] {
            for lane in 0..32 {
                let mut acc = Acc::<N>::zero();
                let end = [0, 2].map(|i| keys.end(first_row + acc_row(lane, i)));
                hide_keys(&mut acc, lane, first_key, end);
                for (n, tile) in acc.0.iter().enumerate() {
                    for (i, &score) in tile.iter().enumerate() {
                        let row = first_row + acc_row(lane, i as u32);
                        let key = first_key + 8 * n as u32 + acc_col(lane, i as u32);
                        let want = if key < keys.end(row) {
                            0.0
                        } else {
                            f32::NEG_INFINITY
                        };
                        assert_eq!(score, want, "row {row}, key {key}");
                    }
                }
            }
        }
    }
}
