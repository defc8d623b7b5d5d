//! Attention as the formula says, in f64, one row at a time: what the kernels are measured against.
//!
//! Slow and without tricks on purpose. Inputs are row-major host slices in the layouts of
//! [`Attention::forward`](crate::Attention::forward).

use thiserror::Error;

use crate::element::AttentionElement;

/// Extents and options of one reference computation.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// Whether query i sees key j only if `j <= i + seqlen_k - seqlen_q`.
    pub is_causal: bool,
    /// Factor on Q·Kᵀ; `None` for `1 / sqrt(head_dim)`.
    pub softmax_scale: Option<f64>,
}

/// Result of one reference computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// `[batch, seqlen_q, num_heads, head_dim]`; rows without visible keys are 0.
    pub out: Vec<f64>,
    /// `[batch, num_heads, seqlen_q]`, natural logarithm; -inf for rows without visible keys.
    pub lse: Vec<f64>,
}

/// Slices that do not fit the extents.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
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
}

/// Exact attention in f64.
///
/// # Errors
///
/// [`ReferenceError`] when slices and extents do not fit together.
///
/// ```
/// use flash_attention::{f16, reference::{self, Spec}};
/// let spec = Spec {
///     batch: 1, seqlen_q: 1, seqlen_k: 2, num_heads: 1, num_heads_k: 1, head_dim: 1,
///     is_causal: false, softmax_scale: Some(1.0),
/// };
/// let half = |x: f32| f16::from_f32(x);
/// let result = reference::forward(&spec, &[half(0.0)], &[half(5.0), half(7.0)], &[half(2.0), half(4.0)])?;
/// assert_eq!(result.out, [3.0]); // equal scores: the mean of the values
/// assert_eq!(result.lse, [2f64.ln()]);
/// # Ok::<(), flash_attention::reference::ReferenceError>(())
/// ```
pub fn forward<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    v: &[T],
) -> Result<Reference, ReferenceError> {
    attend(spec, q, k, v, |exact| exact)
}

/// The same computation by the plain method in the precision of `T`: scaled keys, scores, probabilities and output
/// are each rounded to `T`. Its distance from [`forward`] tells how much error the input's precision alone explains.
///
/// # Errors
///
/// [`ReferenceError`] when slices and extents do not fit together.
pub fn forward_low_precision<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    v: &[T],
) -> Result<Reference, ReferenceError> {
    attend(spec, q, k, v, |exact| {
        let rounded = T::from_f64(exact).to_f64();
        // Overflow is no rounding error: a score that `T` cannot hold stays as it is.
        if rounded.is_infinite() {
            exact
        } else {
            rounded
        }
    })
}

/// Softmax weights of one head of one batch entry, `[seqlen_q, seqlen_k]` row-major, in f64; 0 where a key is not
/// visible.
///
/// # Errors
///
/// [`ReferenceError`] when slices and extents do not fit together or the head does not exist.
pub fn attention_weights<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    batch: usize,
    head: usize,
) -> Result<Vec<f64>, ReferenceError> {
    spec.check(q.len(), k.len(), k.len())?;
    if batch >= spec.batch || head >= spec.num_heads {
        return Err(ReferenceError::NoSuchHead(
            batch,
            head,
            spec.batch,
            spec.num_heads,
        ));
    }
    let (q, k) = (
        spec.query_head(q, batch, head),
        spec.scaled_keys(k, batch, head, |exact| exact),
    );
    Ok(q.iter()
        .enumerate()
        .flat_map(|(i, q)| spec.softmax_row(q, &k, i, |exact| exact).0)
        .collect())
}

fn attend<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    v: &[T],
    round: impl Fn(f64) -> f64,
) -> Result<Reference, ReferenceError> {
    spec.check(q.len(), k.len(), v.len())?;
    let mut out = vec![0.0; q.len()];
    let mut lse = Vec::new();
    for batch in 0..spec.batch {
        for head in 0..spec.num_heads {
            let keys = spec.scaled_keys(k, batch, head, &round);
            let values = spec.key_head(v, batch, head);
            for (i, query) in spec.query_head(q, batch, head).iter().enumerate() {
                let (weights, row_lse) = spec.softmax_row(query, &keys, i, &round);
                let at = ((batch * spec.seqlen_q + i) * spec.num_heads + head) * spec.head_dim;
                let row = &mut out[at..at + spec.head_dim];
                for (weight, value) in weights.iter().zip(&values) {
                    row.iter_mut()
                        .zip(value)
                        .for_each(|(o, v)| *o += weight * v);
                }
                row.iter_mut().for_each(|o| *o = round(*o));
                lse.push(row_lse);
            }
        }
    }
    Ok(Reference { out, lse })
}

impl Spec {
    /// Probabilities of all keys for query row `i`, and the row's log-sum-exp.
    fn softmax_row(
        &self,
        q: &[f64],
        key_columns: &[Vec<f64>],
        i: usize,
        round: impl Fn(f64) -> f64,
    ) -> (Vec<f64>, f64) {
        let mut scores = vec![0.0; self.seqlen_k];
        for (q, column) in q.iter().zip(key_columns) {
            scores.iter_mut().zip(column).for_each(|(s, k)| *s += q * k);
        }
        for (j, score) in scores.iter_mut().enumerate() {
            *score = match self.is_visible(i, j) {
                true => round(*score),
                false => f64::NEG_INFINITY,
            };
        }
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, max_or_nan);
        if max == f64::NEG_INFINITY {
            return (vec![0.0; self.seqlen_k], max);
        }
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        (
            scores
                .iter()
                .map(|s| round((s - max).exp() / sum))
                .collect(),
            max + sum.ln(),
        )
    }

    fn is_visible(&self, i: usize, j: usize) -> bool {
        !self.is_causal || j + self.seqlen_q <= i + self.seqlen_k
    }

    /// The keys that query head `head` uses, times softmax_scale, as `head_dim` columns: summing scores column by
    /// column is the same sum in the same order as row by row, and several times faster.
    fn scaled_keys<T: AttentionElement>(
        &self,
        k: &[T],
        batch: usize,
        head: usize,
        round: impl Fn(f64) -> f64,
    ) -> Vec<Vec<f64>> {
        let scale = self
            .softmax_scale
            .unwrap_or_else(|| 1.0 / (self.head_dim as f64).sqrt());
        let keys = self.key_head(k, batch, head);
        (0..self.head_dim)
            .map(|d| keys.iter().map(|key| round(key[d] * scale)).collect())
            .collect()
    }

    fn key_head<T: AttentionElement>(&self, k: &[T], batch: usize, head: usize) -> Vec<Vec<f64>> {
        let head = head / (self.num_heads / self.num_heads_k);
        rows(
            k,
            batch * self.seqlen_k,
            self.seqlen_k,
            self.num_heads_k,
            head,
            self.head_dim,
        )
    }

    fn query_head<T: AttentionElement>(&self, q: &[T], batch: usize, head: usize) -> Vec<Vec<f64>> {
        rows(
            q,
            batch * self.seqlen_q,
            self.seqlen_q,
            self.num_heads,
            head,
            self.head_dim,
        )
    }

    fn check(&self, q: usize, k: usize, v: usize) -> Result<(), ReferenceError> {
        let elements = |seqlen, heads| {
            [self.batch, seqlen, heads, self.head_dim]
                .iter()
                .fold(1usize, |p, &n| p.saturating_mul(n))
        };
        let keys = elements(self.seqlen_k, self.num_heads_k);
        for (tensor, got, want) in [
            ("q", q, elements(self.seqlen_q, self.num_heads)),
            ("k", k, keys),
            ("v", v, keys),
        ] {
            if got != want {
                return Err(ReferenceError::Length { tensor, got, want });
            }
        }
        let groups_are_even = self.num_heads.is_multiple_of(self.num_heads_k);
        if !groups_are_even {
            return Err(ReferenceError::HeadGroups(self.num_heads, self.num_heads_k));
        }
        Ok(())
    }
}

/// The larger of two scores; NaN when one is, unlike `f64::max`.
fn max_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Rows `first .. first + len` of one head of a `[.., heads, head_dim]` tensor, widened.
fn rows<T: AttentionElement>(
    x: &[T],
    first: usize,
    len: usize,
    heads: usize,
    head: usize,
    head_dim: usize,
) -> Vec<Vec<f64>> {
    let row = |i: usize| &x[(i * heads + head) * head_dim..][..head_dim];
    (first..first + len)
        .map(|i| row(i).iter().map(|x| x.to_f64()).collect())
        .collect()
}
