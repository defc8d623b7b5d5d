//! What is computed: extents, mask, and what happens to scores and probabilities.

use std::ops::Range;

use thiserror::Error;

use super::matrix::Matrix;
use crate::error::ProblemError;
use crate::options::{self, Mask, Window};

/// Extents and options of one reference computation.
///
/// [`Spec::new`] gives plain attention; options are set with `Spec { softcap: Some(30.0), ..Spec::new(q, k) }`. The
/// score of query row i and key j becomes
///
/// ```text
/// x = softmax_scale · q·k
/// x = softcap · tanh(x / softcap)               where there is a softcap
/// x = x - slope · |i + diagonal - j|            where there are ALiBi slopes
/// x = x + bias                                  where there is a bias
/// x = -inf                                      where the mask hides key j from row i
/// ```
///
/// and P = softmax(x) over the keys. The log-sum-exp is that of x. Dropout then sets entries of P to 0 and scales the
/// others before P·V.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Batch entries.
    pub batch: usize,
    /// Query rows per batch entry.
    pub seqlen_q: usize,
    /// Keys per batch entry.
    pub seqlen_k: usize,
    /// Heads of q.
    pub num_heads: usize,
    /// Heads of k and v; query head `h` uses key head `h / (num_heads / num_heads_k)`.
    pub num_heads_k: usize,
    /// Elements per row; any number.
    pub head_dim: usize,
    /// Factor on Q·Kᵀ; `None` for `1 / sqrt(head_dim)`.
    pub softmax_scale: Option<f64>,
    /// Which keys a query row sees.
    pub mask: Mask,
    /// Bound on the magnitude of scores, greater than 0.
    pub softcap: Option<f64>,
    /// Slopes of ALiBi (Press et al., 2022, "Train Short, Test Long"), `[num_heads]` or `[batch, num_heads]`.
    pub alibi_slopes: Option<Vec<f64>>,
    /// What is added to the scores.
    pub bias: Option<Bias>,
    /// Which entries of P are dropped.
    pub dropout: Option<Dropout>,
    /// Number that the first batch entry has for dropout; 0 unless this is a part of a larger batch, say one sequence
    /// of several packed ones. Slopes and bias are those of the part.
    pub first_batch: usize,
}

/// A tensor that is added to the scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Bias {
    /// `[batch or 1, num_heads or 1, seqlen_q, seqlen_k]`; an extent of 1 is shared by all batch entries or heads.
    pub shape: [usize; 4],
    /// Elements, row-major.
    pub data: Vec<f64>,
}

/// Which entries of P are dropped: a pure function of these numbers and of where the entry is, see [`abi::dropout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// Key of the random numbers.
    pub seed: u64,
    /// Added to the number of the head among all heads of the batch.
    pub offset: u64,
    /// Entries kept of 65536, from 1 to 65536; [`abi::dropout::threshold`] gives it for a drop probability.
    pub threshold: u32,
}

impl TryFrom<options::Dropout> for Dropout {
    type Error = ProblemError;

    fn try_from(dropout: options::Dropout) -> Result<Dropout, ProblemError> {
        Ok(Dropout {
            seed: dropout.seed,
            offset: dropout.offset,
            threshold: dropout.threshold()?,
        })
    }
}

impl Dropout {
    /// Factor on the entries that are kept.
    pub fn scale(&self) -> f64 {
        f64::from(abi::dropout::RANGE) / f64::from(self.threshold)
    }
}

/// What does not fit the extents, or is out of range.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ReferenceError {
    /// A slice is too short or too long.
    #[error("{tensor} has {got} elements, its shape needs {want}: pass the whole row-major tensor")]
    Length {
        /// Which one.
        tensor: &'static str,
        /// Elements passed.
        got: usize,
        /// Elements of its shape.
        want: usize,
    },
    /// Query heads cannot be shared out evenly.
    #[error("num_heads {0} must be a multiple of num_heads_k {1}")]
    HeadGroups(usize, usize),
    /// There is no such head.
    #[error(
        "batch entry {0}, head {1} does not exist: the shape has {2} batch entries of {3} heads"
    )]
    NoSuchHead(usize, usize, usize, usize),
    /// A softcap that bounds nothing.
    #[error("softcap {0} must be finite and greater than 0; leave it out for no bound")]
    Softcap(f64),
    /// A bias that cannot be broadcast to the scores.
    #[error(
        "bias of shape {got:?} does not broadcast to {want:?}: the first two extents may be 1, the others must be equal"
    )]
    BiasShape {
        /// Shape passed.
        got: [usize; 4],
        /// `[batch, num_heads, seqlen_q, seqlen_k]`.
        want: [usize; 4],
    },
    /// A threshold that keeps nothing, or more than everything.
    #[error("dropout threshold {0} must be from 1 to 65536, the entries kept of 65536")]
    DropoutThreshold(u32),
}

impl Spec {
    /// Plain attention of q `[batch, seqlen_q, num_heads, head_dim]` and k and v
    /// `[batch, seqlen_k, num_heads_k, head_dim]`: no mask, default scale, no options. Batch and head_dim are those of q.
    pub fn new(q_shape: [usize; 4], k_shape: [usize; 4]) -> Spec {
        let [batch, seqlen_q, num_heads, head_dim] = q_shape;
        let [_, seqlen_k, num_heads_k, _] = k_shape;
        Spec {
            batch,
            seqlen_q,
            seqlen_k,
            num_heads,
            num_heads_k,
            head_dim,
            softmax_scale: None,
            mask: Mask::default(),
            softcap: None,
            alibi_slopes: None,
            bias: None,
            dropout: None,
            first_batch: 0,
        }
    }

    /// The keys that query row `i` sees.
    pub fn visible_keys(&self, i: usize) -> Range<usize> {
        let Window { left, right } = self.mask.band();
        let diagonal = self.diagonal(i);
        let key = |j: i128| j.clamp(0, self.seqlen_k as i128) as usize;
        let begin = left.map_or(0, |left| key(diagonal - left as i128));
        let end = right.map_or(self.seqlen_k, |right| key(diagonal + right as i128 + 1));
        begin..end
    }

    /// Key on the diagonal in row `i`; there need not be such a key.
    pub(super) fn diagonal(&self, i: usize) -> i128 {
        match self.mask.is_top_left {
            true => i as i128,
            false => i as i128 + self.seqlen_k as i128 - self.seqlen_q as i128,
        }
    }

    pub(super) fn scale(&self) -> f64 {
        self.softmax_scale
            .unwrap_or_else(|| 1.0 / (self.head_dim as f64).sqrt())
    }

    pub(super) fn alibi_slope(&self, batch: usize, head: usize) -> Option<f64> {
        let slopes = self.alibi_slopes.as_ref()?;
        let row = match slopes.len() == self.num_heads {
            true => 0,
            false => batch,
        };
        Some(slopes[row * self.num_heads + head])
    }

    /// Where the rows of a query head lie in q, out and their gradients.
    pub(super) fn query_rows(&self, batch: usize, head: usize) -> HeadRows {
        HeadRows {
            first: batch * self.seqlen_q,
            rows: self.seqlen_q,
            heads: self.num_heads,
            head,
            head_dim: self.head_dim,
        }
    }

    /// Where the keys that query head `head` uses lie in k, v and their gradients.
    pub(super) fn key_rows(&self, batch: usize, head: usize) -> HeadRows {
        HeadRows {
            first: batch * self.seqlen_k,
            rows: self.seqlen_k,
            heads: self.num_heads_k,
            head: head / (self.num_heads / self.num_heads_k),
            head_dim: self.head_dim,
        }
    }

    pub(super) fn check(&self, q: usize, k: usize, v: usize) -> Result<(), ReferenceError> {
        check_length("q", q, &self.out_shape())?;
        check_length("k", k, &self.keys_shape())?;
        check_length("v", v, &self.keys_shape())?;
        if !self.num_heads.is_multiple_of(self.num_heads_k) {
            return Err(ReferenceError::HeadGroups(self.num_heads, self.num_heads_k));
        }
        self.check_options()
    }

    fn check_options(&self) -> Result<(), ReferenceError> {
        if let Some(softcap) = self.softcap
            && !(softcap > 0.0 && softcap.is_finite())
        {
            return Err(ReferenceError::Softcap(softcap));
        }
        if let Some(slopes) = &self.alibi_slopes
            && slopes.len() != self.num_heads
        {
            check_length("alibi_slopes", slopes.len(), &[self.batch, self.num_heads])?;
        }
        if let Some(bias) = &self.bias {
            bias.check(self)?;
        }
        match self.dropout {
            Some(Dropout { threshold, .. }) if !(1..=abi::dropout::RANGE).contains(&threshold) => {
                Err(ReferenceError::DropoutThreshold(threshold))
            }
            _ => Ok(()),
        }
    }

    /// Shape of q, out and their gradients.
    pub(crate) fn out_shape(&self) -> [usize; 4] {
        [self.batch, self.seqlen_q, self.num_heads, self.head_dim]
    }

    /// Shape of k, v and their gradients.
    pub(crate) fn keys_shape(&self) -> [usize; 4] {
        [self.batch, self.seqlen_k, self.num_heads_k, self.head_dim]
    }

    /// Shape of the log-sum-exp and its gradient.
    pub(crate) fn lse_shape(&self) -> [usize; 3] {
        [self.batch, self.num_heads, self.seqlen_q]
    }
}

impl Bias {
    fn check(&self, spec: &Spec) -> Result<(), ReferenceError> {
        let want = [spec.batch, spec.num_heads, spec.seqlen_q, spec.seqlen_k];
        let broadcasts = |i: usize| self.shape[i] == want[i] || i < 2 && self.shape[i] == 1;
        if !(0..4).all(broadcasts) {
            return Err(ReferenceError::BiasShape {
                got: self.shape,
                want,
            });
        }
        check_length("bias", self.data.len(), &self.shape)
    }

    /// Where the rows of one head lie, row-major `[seqlen_q, seqlen_k]`.
    pub(super) fn head(&self, batch: usize, head: usize) -> Range<usize> {
        let [batches, heads, seqlen_q, seqlen_k] = self.shape;
        let index = batch % batches * heads + head % heads;
        index * seqlen_q * seqlen_k..(index + 1) * seqlen_q * seqlen_k
    }
}

/// Rows of one head of a `[.., heads, head_dim]` tensor.
pub(super) struct HeadRows {
    first: usize,
    rows: usize,
    heads: usize,
    head: usize,
    head_dim: usize,
}

impl HeadRows {
    pub fn read(&self, tensor: &[f64]) -> Matrix {
        let data = (0..self.rows).flat_map(|i| &tensor[self.row(i)]);
        Matrix {
            rows: self.rows,
            columns: self.head_dim,
            data: data.copied().collect(),
        }
    }

    pub fn add(&self, rows: &Matrix, tensor: &mut [f64]) {
        for i in 0..self.rows {
            add(rows.row(i), &mut tensor[self.row(i)]);
        }
    }

    fn row(&self, i: usize) -> Range<usize> {
        let begin = ((self.first + i) * self.heads + self.head) * self.head_dim;
        begin..begin + self.head_dim
    }
}

/// Adds `terms` to `sums`, element by element.
pub(super) fn add(terms: &[f64], sums: &mut [f64]) {
    sums.iter_mut().zip(terms).for_each(|(sum, x)| *sum += x);
}

pub(crate) fn check_length(
    tensor: &'static str,
    got: usize,
    shape: &[usize],
) -> Result<(), ReferenceError> {
    let want = shape.iter().fold(1usize, |p, &n| p.saturating_mul(n));
    match got == want {
        true => Ok(()),
        false => Err(ReferenceError::Length { tensor, got, want }),
    }
}
