//! Online softmax (Milakov and Gimelshein, arXiv:1805.02867), as FlashAttention-2 uses it (arXiv:2307.08691, 3.1).
//!
//! Row maxima m are kept on raw scores; with c = softmax_scale * log2(e) > 0 an element of P is 2^(s·c - m·c): one
//! fused multiply-add and one ex2. Row sums stay per lane until [`OnlineSoftmax::finish`].

use crate::fragment::Acc;
use crate::ptx;
use core::f32::consts::{LN_2, LOG2_E};

/// Compiles the handling of rows that have seen no key yet into an update.
pub const MASKED: bool = true;
/// Every row of the warp sees every key of the tile.
pub const UNMASKED: bool = false;

/// Running maximum and sum of the rows of one warp: per strip, rows g and g + 8 of the lane.
pub struct OnlineSoftmax<const STRIPS: usize> {
    scale_log2: f32,
    row_max: [[f32; 2]; STRIPS],
    row_sum: [[f32; 2]; STRIPS],
}

/// What new maxima mean for the lane's rows of one strip.
#[derive(Clone, Copy)]
pub struct Raise {
    /// -m·c.
    offset: [f32; 2],
    /// What O and row sums so far have to be multiplied by.
    pub shrink: [f32; 2],
}

impl<const STRIPS: usize> OnlineSoftmax<STRIPS> {
    /// No key seen yet. `scale` is positive.
    #[inline(always)]
    pub fn new(scale: f32) -> Self {
        OnlineSoftmax {
            scale_log2: scale * LOG2_E,
            row_max: [[f32::NEG_INFINITY; 2]; STRIPS],
            row_sum: [[0.0; 2]; STRIPS],
        }
    }

    /// Takes one tile of raw scores in: `acc_s` becomes P, `acc_o` and the row sums shrink to the new maximum.
    #[inline(always)]
    pub fn update<const MASK: bool, const N: usize, const D: usize>(
        &mut self,
        acc_s: &mut [Acc<N>; STRIPS],
        acc_o: &mut [Acc<D>; STRIPS],
    ) {
        let mut strip = 0;
        while strip < STRIPS {
            let raise = self.raise::<MASK, N>(strip, &acc_s[strip]);
            self.exponentiate(strip, &mut acc_s[strip], raise, 0, N);
            acc_o[strip].map(|x, half, _| x * raise.shrink[half]);
            strip += 1;
        }
    }

    /// Takes the maxima of one strip's raw scores in.
    #[inline(always)]
    pub fn raise<const MASK: bool, const N: usize>(
        &mut self,
        strip: usize,
        acc_s: &Acc<N>,
    ) -> Raise {
        let c = self.scale_log2;
        let old_max = self.row_max[strip];
        let new_max = row_max(acc_s, old_max);
        // -inf - -inf is NaN: a row without a visible key so far is measured from 0 and gets P = 0.
        let origin = new_max.map(|m| {
            if MASK && m == f32::NEG_INFINITY {
                0.0
            } else {
                m
            }
        });
        let offset = origin.map(|m| -(m * c));
        let shrink = [
            ptx::exp2(ptx::fma(old_max[0], c, offset[0])),
            ptx::exp2(ptx::fma(old_max[1], c, offset[1])),
        ];
        self.row_max[strip] = new_max;
        let sum = self.row_sum[strip];
        self.row_sum[strip] = [sum[0] * shrink[0], sum[1] * shrink[1]];
        Raise { offset, shrink }
    }

    /// The raw scores of one strip become P in column tiles `begin .. end`, which are added to the row sums.
    #[inline(always)]
    pub fn exponentiate<const N: usize>(
        &mut self,
        strip: usize,
        acc_s: &mut Acc<N>,
        raise: Raise,
        begin: usize,
        end: usize,
    ) {
        let mut sum = self.row_sum[strip];
        let mut n = begin;
        while n < end {
            let mut i = 0;
            while i < 4 {
                let score = acc_s.0[n][i];
                let p = ptx::exp2(ptx::fma(score, self.scale_log2, raise.offset[i / 2]));
                sum[i / 2] += p;
                acc_s.0[n][i] = p;
                i += 1;
            }
            n += 1;
        }
        self.row_sum[strip] = sum;
    }

    /// The sums so far of the lane's rows of one strip, not negative.
    #[inline(always)]
    pub const fn row_sum(&self, strip: usize) -> [f32; 2] {
        self.row_sum[strip]
    }

    /// Normalises `acc_o`, multiplies it by `out_scale` and returns the log-sum-exp of the scaled scores of the lane's rows.
    ///
    /// A row that has seen no key gets zeros and -inf.
    #[inline(always)]
    pub fn finish<const D: usize>(
        self,
        acc_o: &mut [Acc<D>; STRIPS],
        out_scale: f32,
    ) -> [[f32; 2]; STRIPS] {
        let mut lse = [[f32::NEG_INFINITY; 2]; STRIPS];
        let mut strip = 0;
        while strip < STRIPS {
            let sum = self.row_sum[strip].map(|sum| across_quad(sum, |a, b| a + b));
            let normaliser = sum.map(|sum| {
                if sum == 0.0 {
                    0.0
                } else {
                    out_scale * ptx::reciprocal(sum)
                }
            });
            acc_o[strip].map(|x, half, _| x * normaliser[half]);
            let mut half = 0;
            while half < 2 {
                if sum[half] != 0.0 {
                    lse[strip][half] = ptx::fma(
                        self.row_max[strip][half],
                        self.scale_log2,
                        ptx::log2(sum[half]),
                    ) * LN_2;
                }
                half += 1;
            }
            strip += 1;
        }
        lse
    }
}

/// Maximum of each row over the tile and `start`, the same in all four lanes of the row's quad.
#[inline(always)]
pub fn row_max<const N: usize>(acc_s: &Acc<N>, start: [f32; 2]) -> [f32; 2] {
    let mut max = start;
    let mut n = 0;
    while n < N {
        let [a, b, c, d] = acc_s.0[n];
        max = [max[0].max(a).max(b), max[1].max(c).max(d)];
        n += 1;
    }
    max.map(|max| across_quad(max, f32::max))
}

/// Combines the values of the four lanes that hold one row.
#[inline(always)]
pub fn across_quad(x: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let x = combine(x, ptx::shuffle_xor(x, 1));
    combine(x, ptx::shuffle_xor(x, 2))
}

/// Combines the values of all 32 lanes.
#[inline(always)]
pub fn across_warp(mut x: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut distance = 16;
    while distance > 0 {
        x = combine(x, ptx::shuffle_xor(x, distance));
        distance /= 2;
    }
    x
}
