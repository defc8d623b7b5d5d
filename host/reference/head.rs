//! One head of one batch entry, forward and backward, as the formulas say.
//!
//! Every step hands its result to `round`: the identity for the reference, rounding to a type for the plain method in
//! that type's precision.

use super::dropout_mask;
use super::matrix::Matrix;
use super::spec::Spec;

/// One query head, and the keys and values that it uses.
pub(super) struct Head<'a, Round> {
    spec: &'a Spec,
    batch: usize,
    head: usize,
    round: &'a Round,
    q: Matrix,
    k: Matrix,
    v: Matrix,
}

/// Softmax of the scores of one head.
pub(super) struct Softmax {
    /// `[seqlen_q, seqlen_k]`, before dropout; 0 where a key is not visible.
    pub probabilities: Matrix,
    /// One per row.
    pub lse: Vec<f64>,
    /// 1 - tanh² of each score, the derivative of the softcap.
    softcap_slope: Option<Matrix>,
}

/// Gradients of one head.
pub(super) struct HeadGradients {
    pub d_q: Matrix,
    pub d_k: Matrix,
    pub d_v: Matrix,
    /// Of the scores that go into the softmax: what an additive bias gets.
    pub d_scores: Option<Matrix>,
}

impl<'a, Round: Fn(f64) -> f64> Head<'a, Round> {
    pub fn new(
        spec: &'a Spec,
        (batch, head): (usize, usize),
        [q, k, v]: [&[f64]; 3],
        round: &'a Round,
    ) -> Head<'a, Round> {
        let (queries, keys) = (spec.query_rows(batch, head), spec.key_rows(batch, head));
        Head {
            spec,
            batch,
            head,
            round,
            q: queries.read(q),
            k: keys.read(k),
            v: keys.read(v),
        }
    }

    /// S = scale·Q·Kᵀ, softcapped, biased and masked; P = softmax(S).
    pub fn softmax(&self) -> Softmax {
        let (spec, round) = (self.spec, self.round);
        let scaled_keys = self.k.clone().map(|x| round(x * spec.scale()));
        let mut scores = self.q.times_transposed(&scaled_keys).map(round);
        let softcap_slope = spec.softcap.map(|softcap| {
            let tanh = scores.clone().map(|x| (x / softcap).tanh());
            scores = tanh.clone().map(|t| round(softcap * t));
            tanh.map(|t| 1.0 - t * t)
        });
        self.add_biases(&mut scores);
        for i in 0..scores.rows {
            let visible = spec.visible_keys(i);
            let row = scores.row_mut(i);
            row[..visible.start].fill(f64::NEG_INFINITY);
            row[visible.end..].fill(f64::NEG_INFINITY);
        }
        let lse = (0..scores.rows).map(|i| softmax_row(scores.row_mut(i)));
        Softmax {
            lse: lse.collect(),
            probabilities: scores.map(round),
            softcap_slope,
        }
    }

    fn add_biases(&self, scores: &mut Matrix) {
        let (spec, round) = (self.spec, self.round);
        if let Some(slope) = spec.alibi_slope(self.batch, self.head) {
            scores.update(|i, j, x| {
                let distance = spec.diagonal(i).abs_diff(j as i128);
                round(x - slope * distance as f64)
            });
        }
        if let Some(bias) = &spec.bias {
            let bias = &bias.data[bias.head(self.batch, self.head)];
            scores.update(|i, j, x| round(x + bias[i * spec.seqlen_k + j]));
        }
    }

    /// `x` where dropout keeps an entry, scaled; 0 elsewhere. P and the gradient of what P became are treated alike.
    fn drop(&self, mut x: Matrix) -> Matrix {
        let Some(dropout) = self.spec.dropout else {
            return x;
        };
        let (rows, columns) = (0..x.rows, 0..x.columns);
        let kept = dropout_mask(self.spec, self.batch, self.head, rows, columns);
        let scale = dropout.scale();
        for (x, is_kept) in x.data.iter_mut().zip(kept) {
            *x = match is_kept {
                true => (self.round)(*x * scale),
                false => 0.0,
            };
        }
        x
    }

    /// O = dropout(P)·V; 0 in rows without visible keys, whatever the values are.
    pub fn out(&self, softmax: &Softmax) -> Matrix {
        let dropped = self.drop(softmax.probabilities.clone());
        let mut out = dropped.times(&self.v).map(self.round);
        clear_empty_rows(&mut out, &softmax.lse);
        out
    }

    /// The gradients for `d_out`, the gradient of O, and `d_lse`, that of the log-sum-exp, in whole tensors.
    ///
    /// ```text
    /// dV = dropout(P)ᵀ·dO       dP = dropout(dO·Vᵀ)       delta = rowsum(dO ∘ O) - d_lse
    /// dS = P ∘ (dP - delta)     dbias = dS                dS = dS ∘ (1 - tanh²)
    /// dQ = scale · dS·K         dK = scale · dSᵀ·Q
    /// ```
    pub fn backward(&self, d_out: &[f64], d_lse: Option<&[f64]>) -> HeadGradients {
        let (spec, round) = (self.spec, self.round);
        let softmax = self.softmax();
        let out = self.out(&softmax);
        let d_out = spec.query_rows(self.batch, self.head).read(d_out);
        let dropped = self.drop(softmax.probabilities.clone());
        let d_v = dropped.transposed_times(&d_out);
        let d_p = self.drop(d_out.times_transposed(&self.v).map(round));
        let first_row = (self.batch * spec.num_heads + self.head) * spec.seqlen_q;
        let delta: Vec<f64> = (0..out.rows)
            .map(|i| dot(d_out.row(i), out.row(i)) - d_lse.map_or(0.0, |d| d[first_row + i]))
            .collect();
        let mut d_s = softmax.probabilities;
        d_s.update(|i, j, p| round(p * (d_p.row(i)[j] - delta[i])));
        clear_empty_rows(&mut d_s, &softmax.lse);
        let d_scores = spec.bias.as_ref().map(|_| d_s.clone());
        if let Some(slope) = softmax.softcap_slope {
            d_s.update(|i, j, x| round(x * slope.row(i)[j]));
        }
        let scaled = |x: f64| round(x * spec.scale());
        HeadGradients {
            d_q: d_s.times(&self.k).map(scaled),
            d_k: d_s.transposed_times(&self.q).map(scaled),
            d_v: d_v.map(round),
            d_scores,
        }
    }
}

/// Turns the scores of a row into probabilities and returns their log-sum-exp; 0 and -inf where all scores are -inf.
fn softmax_row(row: &mut [f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, max_or_nan);
    if max == f64::NEG_INFINITY {
        row.fill(0.0);
        return max;
    }
    row.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
    max + sum.ln()
}

/// The larger of two scores; NaN when one is, unlike `f64::max`.
fn max_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Sets rows without visible keys to 0: what 0 is multiplied with may be infinite or NaN.
fn clear_empty_rows(x: &mut Matrix, lse: &[f64]) {
    for (i, lse) in lse.iter().enumerate() {
        if *lse == f64::NEG_INFINITY {
            x.row_mut(i).fill(0.0);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
