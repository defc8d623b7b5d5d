//! Attention and its gradients as the formulas say, in f64: what the kernels are measured against.
//!
//! Whole score matrices, one head at a time, and no online softmax. Inputs are row-major host slices in the layouts of
//! [`Attention::forward`](crate::Attention::forward).
//!
//! | file | question it answers |
//! |---|---|
//! | `spec.rs` | what is computed? |
//! | `head.rs` | how, for one head? |
//! | `matrix.rs` | how are matrices multiplied? |

mod head;
mod matrix;
mod spec;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use crate::element::AttentionElement;
use head::{Head, HeadGradients};

pub use crate::options::{Mask, Window};
pub(crate) use spec::check_length;
pub use spec::{Bias, Dropout, ReferenceError, Spec};

/// Heads that are computed at once; each holds a handful of `seqlen_q x seqlen_k` matrices.
const MAX_THREADS: usize = 8;

/// Multiply-adds of one product of a head from which on a thread takes less time to start than to be useful.
const WORTH_A_THREAD: usize = 1 << 16;

/// Result of one reference computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// `[batch, seqlen_q, num_heads, head_dim]`; rows without visible keys are 0.
    pub out: Vec<f64>,
    /// `[batch, num_heads, seqlen_q]`, natural logarithm; -inf for rows without visible keys.
    pub lse: Vec<f64>,
}

/// Gradients of one reference computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// `[batch, seqlen_q, num_heads, head_dim]`.
    pub d_q: Vec<f64>,
    /// `[batch, seqlen_k, num_heads_k, head_dim]`, summed over the query heads that share a key head.
    pub d_k: Vec<f64>,
    /// `[batch, seqlen_k, num_heads_k, head_dim]`, summed like `d_k`.
    pub d_v: Vec<f64>,
    /// In the shape of the bias, summed over the heads and batch entries that share it; `None` without a bias.
    pub d_bias: Option<Vec<f64>>,
}

/// Exact attention in f64.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
///
/// ```
/// use flash_attention::{f16, reference::{self, Spec}};
/// let spec = Spec { softmax_scale: Some(1.0), ..Spec::new([1, 1, 1, 1], [1, 2, 1, 1]) };
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
    attend(spec, [&widen(q), &widen(k), &widen(v)], &|exact| exact)
}

/// As [`forward`], of inputs that no 16-bit type has rounded: for training wholly in f64 and for finite differences.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
pub fn forward_f64(
    spec: &Spec,
    q: &[f64],
    k: &[f64],
    v: &[f64],
) -> Result<Reference, ReferenceError> {
    attend(spec, [q, k, v], &|exact| exact)
}

/// The same computation by the plain method in the precision of `T`: scaled keys, scores after each step,
/// probabilities before and after dropout, and output are each rounded to `T`. Its distance from [`forward`] tells how
/// much error the input's precision alone explains.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
pub fn forward_low_precision<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    v: &[T],
) -> Result<Reference, ReferenceError> {
    attend(spec, [&widen(q), &widen(k), &widen(v)], &round_to::<T>)
}

/// Gradients of attention in f64, for `d_out`, the gradient of the output, and `d_lse`, that of the log-sum-exp
/// (`[batch, num_heads, seqlen_q]`; `None` for zeros). Rows without visible keys contribute nothing.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
///
/// ```
/// use flash_attention::{f16, reference::{self, Spec}};
/// let spec = Spec { softmax_scale: Some(1.0), ..Spec::new([1, 1, 1, 1], [1, 2, 1, 1]) };
/// let half = |x: f32| f16::from_f32(x);
/// let (q, k, v) = ([half(0.0)], [half(5.0), half(7.0)], [half(2.0), half(4.0)]);
/// let gradients = reference::backward(&spec, &q, &k, &v, &[half(1.0)], None)?;
/// assert_eq!(gradients.d_v, [0.5, 0.5]); // the probabilities
/// assert_eq!(gradients.d_q, [1.0]); // scores get -0.5 and 0.5, times keys 5 and 7
/// assert_eq!(gradients.d_k, [0.0, 0.0]);
/// # Ok::<(), flash_attention::reference::ReferenceError>(())
/// ```
pub fn backward<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    v: &[T],
    d_out: &[T],
    d_lse: Option<&[f32]>,
) -> Result<Gradients, ReferenceError> {
    let inputs = [q, k, v, d_out].map(widen);
    differentiate(spec, slices(&inputs), widen_lse(d_lse), &|exact| exact)
}

/// As [`backward`], of inputs and gradients that no 16-bit type has rounded.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
pub fn backward_f64(
    spec: &Spec,
    q: &[f64],
    k: &[f64],
    v: &[f64],
    d_out: &[f64],
    d_lse: Option<&[f64]>,
) -> Result<Gradients, ReferenceError> {
    let d_lse = d_lse.map(<[f64]>::to_vec);
    differentiate(spec, [q, k, v, d_out], d_lse, &|exact| exact)
}

/// The same computation by the plain method in the precision of `T`: everything that [`forward_low_precision`] rounds,
/// the gradients of probabilities and of scores at each step, the gradients of each query head, and the sums over heads
/// that share keys or a bias.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together.
pub fn backward_low_precision<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    v: &[T],
    d_out: &[T],
    d_lse: Option<&[f32]>,
) -> Result<Gradients, ReferenceError> {
    let inputs = [q, k, v, d_out].map(widen);
    differentiate(spec, slices(&inputs), widen_lse(d_lse), &round_to::<T>)
}

/// Softmax weights of one head of one batch entry before dropout, `[seqlen_q, seqlen_k]` row-major, in f64; 0 where a
/// key is not visible.
///
/// # Errors
///
/// [`ReferenceError`] when slices, extents and options do not fit together or the head does not exist.
pub fn attention_weights<T: AttentionElement>(
    spec: &Spec,
    q: &[T],
    k: &[T],
    batch: usize,
    head: usize,
) -> Result<Vec<f64>, ReferenceError> {
    spec.check(q.len(), k.len(), k.len())?;
    if batch >= spec.batch || head >= spec.num_heads {
        let (batches, heads) = (spec.batch, spec.num_heads);
        return Err(ReferenceError::NoSuchHead(batch, head, batches, heads));
    }
    let (q, k) = (widen(q), widen(k));
    // Weights do not depend on values, so that any will do.
    let head = Head::new(spec, (batch, head), [&q, &k, &k], &|exact| exact);
    Ok(head.softmax().probabilities.data)
}

/// Which entries of P dropout keeps in a region of one head, `[rows, columns]` row-major; all of them without dropout.
///
/// Entry (`row`, `column`) of batch entry `batch` and query head `head` is kept if
/// `abi::dropout::is_kept(seed, offset + (first_batch + batch) * num_heads + head, row, column, threshold)`. The region
/// need not lie inside the extents; indices count modulo 2^32.
pub fn dropout_mask(
    spec: &Spec,
    batch: usize,
    head: usize,
    rows: Range<usize>,
    columns: Range<usize>,
) -> Vec<bool> {
    let index = (spec.first_batch as u64)
        .wrapping_add(batch as u64)
        .wrapping_mul(spec.num_heads as u64)
        .wrapping_add(head as u64);
    let is_kept = |row, column| match spec.dropout {
        None => true,
        Some(Dropout {
            seed,
            offset,
            threshold,
        }) => {
            let subsequence = offset.wrapping_add(index);
            abi::dropout::is_kept(seed, subsequence, row as u32, column as u32, threshold)
        }
    };
    rows.flat_map(|row| columns.clone().map(move |column| (row, column)))
        .map(|(row, column)| is_kept(row, column))
        .collect()
}

/// Forward over all heads; every intermediate result goes through `round`.
fn attend(
    spec: &Spec,
    inputs: [&[f64]; 3],
    round: &(impl Fn(f64) -> f64 + Sync),
) -> Result<Reference, ReferenceError> {
    let [q, k, v] = inputs;
    spec.check(q.len(), k.len(), v.len())?;
    let mut result = Reference {
        out: vec![0.0; q.len()],
        lse: Vec::new(),
    };
    for_each_head(
        spec,
        |at| {
            let head = Head::new(spec, at, inputs, round);
            let softmax = head.softmax();
            (head.out(&softmax), softmax.lse)
        },
        |(batch, head), (out, lse)| {
            spec.query_rows(batch, head).add(&out, &mut result.out);
            result.lse.extend(lse);
        },
    );
    Ok(result)
}

/// Backward over all heads for q, k, v and the gradient of the output; every intermediate result goes through `round`.
fn differentiate(
    spec: &Spec,
    [q, k, v, d_out]: [&[f64]; 4],
    d_lse: Option<Vec<f64>>,
    round: &(impl Fn(f64) -> f64 + Sync),
) -> Result<Gradients, ReferenceError> {
    spec.check(q.len(), k.len(), v.len())?;
    check_length("d_out", d_out.len(), &spec.out_shape())?;
    if let Some(d_lse) = &d_lse {
        check_length("d_lse", d_lse.len(), &spec.lse_shape())?;
    }
    let mut sums = Gradients {
        d_q: vec![0.0; q.len()],
        d_k: vec![0.0; k.len()],
        d_v: vec![0.0; v.len()],
        d_bias: spec.bias.as_ref().map(|bias| vec![0.0; bias.data.len()]),
    };
    for_each_head(
        spec,
        |at| Head::new(spec, at, [q, k, v], round).backward(d_out, d_lse.as_deref()),
        |at, gradients| sums.add_head(spec, at, &gradients),
    );
    let Gradients {
        d_q,
        d_k,
        d_v,
        d_bias,
    } = &mut sums;
    let tensors = [d_q, d_k, d_v].into_iter().chain(d_bias);
    tensors.flatten().for_each(|x| *x = round(*x));
    Ok(sums)
}

impl Gradients {
    fn add_head(&mut self, spec: &Spec, (batch, head): (usize, usize), gradients: &HeadGradients) {
        let (queries, keys) = (spec.query_rows(batch, head), spec.key_rows(batch, head));
        queries.add(&gradients.d_q, &mut self.d_q);
        keys.add(&gradients.d_k, &mut self.d_k);
        keys.add(&gradients.d_v, &mut self.d_v);
        if let (Some(d_bias), Some(bias), Some(d_scores)) =
            (&mut self.d_bias, &spec.bias, &gradients.d_scores)
        {
            spec::add(&d_scores.data, &mut d_bias[bias.head(batch, head)]);
        }
    }
}

/// Computes every (batch, head), some at a time on threads of their own, and stores the results in order.
fn for_each_head<R: Send>(
    spec: &Spec,
    compute: impl Fn((usize, usize)) -> R + Sync,
    mut store: impl FnMut((usize, usize), R),
) {
    let scores = spec.seqlen_q.saturating_mul(spec.seqlen_k);
    let threads = match scores.saturating_mul(spec.head_dim) < WORTH_A_THREAD {
        true => 1,
        false => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
    };
    let compute = &compute;
    let heads: Vec<_> = (0..spec.batch)
        .flat_map(|batch| (0..spec.num_heads).map(move |head| (batch, head)))
        .collect();
    for heads in heads.chunks(threads) {
        thread::scope(|scope| {
            let others: Vec<_> = heads[1..]
                .iter()
                .map(|&at| (at, scope.spawn(move || compute(at))))
                .collect();
            store(heads[0], compute(heads[0]));
            for (at, thread) in others {
                store(
                    at,
                    thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                );
            }
        });
    }
}

fn widen<T: AttentionElement>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

fn slices(tensors: &[Vec<f64>; 4]) -> [&[f64]; 4] {
    tensors.each_ref().map(Vec::as_slice)
}

fn widen_lse(x: Option<&[f32]>) -> Option<Vec<f64>> {
    x.map(|x| x.iter().copied().map(f64::from).collect())
}

/// The nearest value of `T`. Overflow is no rounding error: what `T` cannot hold stays as it is.
fn round_to<T: AttentionElement>(exact: f64) -> f64 {
    let rounded = T::from_f64(exact).to_f64();
    if rounded.is_infinite() {
        exact
    } else {
        rounded
    }
}
