//! Dropout: which elements of a lane's accumulators are kept. Each Philox call of `abi::dropout` is made once, for all
//! of the elements of the lane that share it.

use crate::fragment::STRIP_ROWS;
use crate::position::{KeyRows, QueryRows};
use abi::FwdParams;
use abi::dropout::{RANGE, random_words};

/// The random numbers of one head.
#[derive(Clone, Copy)]
pub struct Dropout {
    seed: u64,
    subsequence: u64,
    threshold: u32,
}

impl Dropout {
    /// Of query head `head` of batch entry `batch`.
    #[inline(always)]
    pub const fn new(params: &FwdParams, batch: u32, head: u32) -> Self {
        let heads = batch as u64 * params.num_heads as u64 + head as u64;
        Dropout {
            seed: params.scores.dropout_seed,
            subsequence: params.scores.dropout_offset.wrapping_add(heads),
            threshold: params.scores.dropout_threshold,
        }
    }

    /// Whether anything is dropped at all.
    #[inline(always)]
    pub const fn is_on(&self) -> bool {
        self.threshold < RANGE
    }

    /// Calls `visit(strip, n, i, is_kept)` for every element of `STRIPS` strips of `8 * N` keys, one below the other:
    /// element `i` of column tile `n`. The first row of an even number of strips is a multiple of 32.
    #[inline(always)]
    pub fn visit_query_rows<const STRIPS: usize, const N: usize>(
        &self,
        first: QueryRows,
        mut visit: impl FnMut(usize, usize, usize, bool),
    ) {
        const { assert!(N.is_multiple_of(2), "a call is for two column tiles") };
        let per_call = if STRIPS.is_multiple_of(2) { 2 } else { 1 };
        let mut call = 0;
        // Pairs of column tiles, and the two columns of a lane in each.
        while call < N {
            let (pair, c) = (call / 2, call % 2);
            let key = first.key + 16 * pair as u32 + c as u32;
            let mut strip = 0;
            while strip < STRIPS {
                let row = first.query + STRIP_ROWS * strip as u32;
                let [w0, w1, w2, w3] = random_words(self.seed, self.subsequence, row, key);
                let lower = !(row / STRIP_ROWS).is_multiple_of(2);
                let words = match per_call {
                    1 if lower => [w2, w3, 0, 0],
                    _ => [w0, w1, w2, w3],
                };
                let mut half = 0;
                while half < 2 * per_call {
                    let i = half % 2 * 2 + c;
                    visit(strip + half / 2, 2 * pair, i, self.keeps(words[half]));
                    visit(
                        strip + half / 2,
                        2 * pair + 1,
                        i,
                        self.keeps(words[half] >> 16),
                    );
                    half += 1;
                }
                strip += per_call;
            }
            call += 1;
        }
    }

    /// Calls `visit(n, i, is_kept)` for every element of a strip of 16 keys against `8 * N` queries: element `i` of
    /// column tile `n`. The first query is a multiple of 32, or of 16 when `N` is not a multiple of 4.
    #[inline(always)]
    pub fn visit_key_rows<const N: usize>(
        &self,
        first: KeyRows,
        mut visit: impl FnMut(usize, usize, bool),
    ) {
        const { assert!(N.is_multiple_of(2), "strips are 16 queries") };
        // Column tiles that share a call.
        let per_call = if N.is_multiple_of(4) { 4 } else { 2 };
        let mut call = 0;
        // Groups of column tiles, and the two columns of a lane in each.
        while call < 2 * N / per_call {
            let (tile, c) = (call / 2 * per_call, call % 2);
            let row = first.query + 8 * tile as u32 + c as u32;
            let [w0, w1, w2, w3] = random_words(self.seed, self.subsequence, row, first.key);
            let lower = !(row / STRIP_ROWS).is_multiple_of(2);
            let words = match per_call {
                2 if lower => [w2, w3, 0, 0],
                _ => [w0, w1, w2, w3],
            };
            let mut w = 0;
            while w < per_call {
                visit(tile + w, c, self.keeps(words[w]));
                visit(tile + w, 2 + c, self.keeps(words[w] >> 16));
                w += 1;
            }
            call += 1;
        }
    }

    /// Whether the element with these random bits, the low 16, is kept.
    #[inline(always)]
    const fn keeps(&self, bits: u32) -> bool {
        bits % RANGE < self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::{acc_col, acc_row};
    use crate::mask::tests::params;
    use abi::ScoreParams;
    use abi::dropout::is_kept;
    use std::collections::HashSet;

    const SEED: u64 = 0x0123_4567_89ab_cdef;
    const THRESHOLD: u32 = 40000;

    /// Of head 2 of batch entry 3 of a launch with 5 heads, and its subsequence.
    fn dropout() -> (Dropout, u64) {
        let launch = params(64, 64, (u32::MAX, u32::MAX));
        let launch = FwdParams {
            num_heads: 5,
            scores: ScoreParams {
                dropout_seed: SEED,
                dropout_offset: 1 << 40,
                dropout_threshold: THRESHOLD,
                ..launch.scores
            },
            ..launch
        };
        (Dropout::new(&launch, 3, 2), (1 << 40) + 17)
    }

    fn query_rows_agree<const STRIPS: usize>(first_query: u32) {
        const N: usize = 4;
        let (dropout, subsequence) = dropout();
        let first_key = 48;
        for lane in 0..32 {
            let first = QueryRows {
                query: first_query + acc_row(lane, 0),
                key: first_key + acc_col(lane, 0),
            };
            let mut seen = HashSet::new();
            dropout.visit_query_rows::<STRIPS, N>(first, |strip, n, i, kept| {
                let query = first_query + 16 * strip as u32 + acc_row(lane, i as u32);
                let key = first_key + 8 * n as u32 + acc_col(lane, i as u32);
                let want = is_kept(SEED, subsequence, query, key, THRESHOLD);
                assert_eq!(kept, want, "query {query}, key {key}");
                assert!(seen.insert((strip, n, i)));
            });
            assert_eq!(seen.len(), STRIPS * N * 4);
        }
    }

    #[test]
    fn strips_of_queries_keep_what_the_definition_keeps() {
        query_rows_agree::<1>(64);
        query_rows_agree::<1>(80);
        query_rows_agree::<2>(96);
        query_rows_agree::<4>(32);
    }

    fn key_rows_agree<const N: usize>(first_query: u32) {
        let (dropout, subsequence) = dropout();
        let first_key = 80;
        for lane in 0..32 {
            let first = KeyRows {
                query: first_query + acc_col(lane, 0),
                key: first_key + acc_row(lane, 0),
            };
            let mut seen = HashSet::new();
            dropout.visit_key_rows::<N>(first, |n, i, kept| {
                let query = first_query + 8 * n as u32 + acc_col(lane, i as u32);
                let key = first_key + acc_row(lane, i as u32);
                let want = is_kept(SEED, subsequence, query, key, THRESHOLD);
                assert_eq!(kept, want, "query {query}, key {key}");
                assert!(seen.insert((n, i)));
            });
            assert_eq!(seen.len(), N * 4);
        }
    }

    #[test]
    fn strips_of_keys_keep_what_the_definition_keeps() {
        key_rows_agree::<8>(96);
        key_rows_agree::<4>(32);
        key_rows_agree::<2>(64);
        key_rows_agree::<2>(80);
    }
}
