//! From products to P and from gradients of P to dS, for one warp's keys: lines 11 and 14 of the algorithm, with
//! everything that a launch may ask for between scores and values.

use crate::backward::block::KeyHead;
use crate::backward::key_tile::Variant;
use crate::backward::rows::RowStatistics;
use crate::dropout::Dropout;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, acc_col, acc_row};
use crate::mask::hide_outside;
use crate::position::KeyRows;
use crate::ptx;
use crate::scores::{ScoreKind, Scores};
use abi::BwdParams;
use core::f32::consts::LOG2_E;

/// A tile of Sᵀ: the keys of one warp against the queries of one step.
pub struct ScoreTile<'a> {
    /// The launch.
    pub params: &'a BwdParams,
    /// The block.
    pub block: &'a KeyHead,
    /// Query head.
    pub head: u32,
    /// First key of the warp.
    pub first_key: u32,
    /// First query.
    pub first_query: u32,
}

/// By what a gradient is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Derivative {
    /// The products Q·Kᵀ.
    OfProducts,
    /// The scores that enter the softmax.
    OfScores,
}

/// What is left of P for dS when dV has had it: P, for a gradient of products times the
/// derivative of the softcap; negative where dropout drops.
pub struct Weights<const M: usize>(Acc<M>);

impl<const M: usize> Weights<M> {
    /// Writes them to shared memory: 16 bytes of each column tile, 512 bytes apart.
    ///
    /// # Safety
    /// The bytes are the lane's own until the next barrier; `to` is a multiple of 16.
    #[inline(always)]
    pub unsafe fn store(&self, to: u32) {
        let mut n = 0;
        while n < M {
            // SAFETY: the caller's promise.
            unsafe { ptx::store_shared(to + 512 * n as u32, self.0.0[n].map(f32::to_bits)) };
            n += 1;
        }
    }

    /// Reads what another warp has [stored](Self::store).
    ///
    /// # Safety
    /// It is stored and a barrier has passed since.
    #[inline(always)]
    pub unsafe fn load(from: u32) -> Self {
        let mut acc = Acc::zero();
        let mut n = 0;
        while n < M {
            // SAFETY: the caller's promise.
            acc.0[n] = unsafe { ptx::load_shared(from + 512 * n as u32) }.map(f32::from_bits);
            n += 1;
        }
        Weights(acc)
    }
}

impl ScoreTile<'_> {
    /// Line 11: products become P, and what dV takes of them: P with dropout. P is 0 where the mask hides a key.
    ///
    /// # Safety
    /// `rows` are in shared memory; slopes and bias are readable as the launch says.
    #[inline(always)]
    pub unsafe fn probabilities<V: Variant, const MASK: bool, const M: usize>(
        &self,
        products: Acc<M>,
        rows: &RowStatistics<V>,
        derivative: Derivative,
    ) -> (Acc<M>, Weights<M>) {
        let mut p = products;
        if V::Scores::IS_PLAIN {
            let scale_log2 = self.params.forward.softmax_scale * LOG2_E;
            // SAFETY: the caller's promise.
            unsafe { self.exponentiate::<V, MASK, M>(&mut p, scale_log2, rows) };
            return (p, Weights(p));
        }
        let scores = self.scores();
        scores.scale_and_cap(&mut p);
        let capped = p;
        // SAFETY: the caller's promise.
        unsafe {
            scores.add_biases::<V::Element, _, M>(&mut p, self.first());
            self.exponentiate::<V, MASK, M>(&mut p, LOG2_E, rows);
        }
        let mut weights = p;
        let is_capped = self.params.forward.scores.softcap != 0.0;
        if is_capped && derivative == Derivative::OfProducts {
            combine(&mut weights, &capped, |w, x| w * scores.cap_derivative(x));
        }
        self.drop(&mut p, &mut weights);
        (p, Weights(weights))
    }

    /// Line 14: dS = P ∘ (dP - D), from dP, which begins with [`RowStatistics::gradient_start`].
    ///
    /// # Safety
    /// `rows` are in shared memory.
    #[inline(always)]
    pub unsafe fn gradient<V: Variant, const M: usize>(
        &self,
        mut acc_dp: Acc<M>,
        weights: &Weights<M>,
        rows: &RowStatistics<V>,
    ) -> Acc<M> {
        if !V::Scores::IS_PLAIN {
            let scale = self.params.forward.scores.dropout_scale;
            let mut n = 0;
            while n < M {
                // SAFETY: the caller's promise.
                let neg_delta = unsafe { rows.neg_delta(n) };
                let mut i = 0;
                while i < 4 {
                    let is_kept = weights.0.0[n][i].is_sign_positive();
                    let dp = if is_kept { acc_dp.0[n][i] } else { 0.0 };
                    acc_dp.0[n][i] = ptx::fma(dp, scale, neg_delta[i]);
                    i += 1;
                }
                n += 1;
            }
        }
        let is_plain = V::Scores::IS_PLAIN;
        let weight = |w: f32| if is_plain { w } else { w.abs() };
        combine(&mut acc_dp, &weights.0, |dp, w| dp * weight(w));
        acc_dp
    }

    /// Scores become exp(score - L); `scale_log2` turns them into powers of 2.
    ///
    /// What is hidden is the exponent and not the score, which may have any sign before it is scaled.
    ///
    /// # Safety
    /// `rows` are in shared memory.
    #[inline(always)]
    unsafe fn exponentiate<V: Variant, const MASK: bool, const M: usize>(
        &self,
        acc: &mut Acc<M>,
        scale_log2: f32,
        rows: &RowStatistics<V>,
    ) {
        let mut n = 0;
        while n < M {
            // SAFETY: the caller's promise.
            let neg_lse_log2 = unsafe { rows.neg_lse_log2(n) };
            let mut i = 0;
            while i < 4 {
                acc.0[n][i] = ptx::fma(acc.0[n][i], scale_log2, neg_lse_log2[i % 2]);
                i += 1;
            }
            n += 1;
        }
        if MASK {
            let keys = &self.block.sequence.keys;
            let lane = Place::current_anew().lane;
            let key = [0, 2].map(|i| self.first_key + acc_row(lane, i));
            let begin = key.map(|key| keys.first_row(key));
            let end = key.map(|key| {
                if key < keys.seqlen_k {
                    keys.end_row(key)
                } else {
                    0
                }
            });
            hide_outside(acc, lane, self.first_query, begin, end);
        }
        acc.map(|exponent, _, _| ptx::exp2(exponent));
    }

    /// Dropout: scales what is kept of `p`, sets the rest to 0, and marks it in `weights`.
    #[inline(always)]
    fn drop<const M: usize>(&self, p: &mut Acc<M>, weights: &mut Acc<M>) {
        let forward = &self.params.forward;
        let dropout = Dropout::new(forward, self.block.sequence.batch, self.head);
        if dropout.is_on() {
            dropout.visit_key_rows::<M>(self.first(), |n, i, is_kept| {
                let (p, weight) = (&mut p.0[n][i], &mut weights.0[n][i]);
                if is_kept {
                    *p *= forward.scores.dropout_scale;
                } else {
                    *p = 0.0;
                    *weight = -*weight;
                }
            });
        }
    }

    #[inline(always)]
    fn scores(&self) -> Scores<'_> {
        Scores::new(&self.params.forward, &self.block.sequence, self.head)
    }

    /// Query and key of the lane's first element.
    #[inline(always)]
    fn first(&self) -> KeyRows {
        let lane = Place::current_anew().lane;
        KeyRows {
            query: self.first_query + acc_col(lane, 0),
            key: self.first_key + acc_row(lane, 0),
        }
    }
}

/// Replaces every element `a` of `acc` by `f(a, b)` with that of `other`.
#[inline(always)]
pub fn combine<const M: usize>(acc: &mut Acc<M>, other: &Acc<M>, f: impl Fn(f32, f32) -> f32) {
    let mut n = 0;
    while n < M {
        let mut i = 0;
        while i < 4 {
            acc.0[n][i] = f(acc.0[n][i], other.0[n][i]);
            i += 1;
        }
        n += 1;
    }
}
