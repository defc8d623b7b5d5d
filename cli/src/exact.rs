//! Attention of a file's tensors by the f64 reference, one sequence after the other, and the rule that compares with it.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use anyhow::Result;
use flash_attention::reference::{self, Dropout, Reference, ReferenceError, Spec};
use flash_attention::rule::{self, BiasGradient, ErrorReport, GradientReport, GradientSlices};
use flash_attention::{AttentionElement, Options};

use crate::computed::{Computed, Gradients};
use crate::input::{Bias, Inputs, OutputGradients, Values};

/// A forward pass of the reference, exact or in low precision.
type Forward<T> = fn(&Spec, &[T], &[T], &[T]) -> Result<Reference, ReferenceError>;
/// A backward pass, likewise.
type Backward<T> = fn(
    &Spec,
    &[T],
    &[T],
    &[T],
    &[T],
    Option<&[f32]>,
) -> Result<reference::Gradients, ReferenceError>;

/// The inputs as the reference takes them.
pub struct Exact<'a, T: AttentionElement> {
    inputs: &'a Inputs<T>,
    options: &'a Options,
    dropout: Option<Dropout>,
    qkv: [Cow<'a, [T]>; 3],
    entries: Vec<Entry>,
}

/// One sequence: rows of q and of k, counted over the whole batch.
struct Entry {
    batch: usize,
    q: Range<usize>,
    k: Range<usize>,
}

impl<'a, T: AttentionElement> Exact<'a, T> {
    /// `options` are those of the library's attention, which has checked them and the shapes.
    pub fn new(inputs: &'a Inputs<T>, options: &'a Options) -> Result<Exact<'a, T>> {
        let [q, k, _] = inputs.qkv.shapes();
        let ranges = match &inputs.sequences {
            Some(sequences) => sequences.entries().to_vec(),
            None => (0..q[0])
                .map(|b| [q[1], k[1]].map(|seqlen| b * seqlen..(b + 1) * seqlen))
                .collect(),
        };
        let entry = |(batch, [q, k]): (usize, [Range<usize>; 2])| Entry { batch, q, k };
        Ok(Exact {
            inputs,
            options,
            dropout: options.dropout.map(Dropout::try_from).transpose()?,
            qkv: inputs.qkv.split(),
            entries: ranges.into_iter().enumerate().map(entry).collect(),
        })
    }

    /// The first sequence, with batch 0 when there is none.
    pub fn first_spec(&self) -> Spec {
        match self.entries.first() {
            Some(entry) => self.spec(entry),
            None => Spec {
                batch: 0,
                ..self.whole_spec()
            },
        }
    }

    /// Softmax weights of one head of the first sequence, which is not without rows.
    pub fn first_weights(&self, head: usize) -> Result<Vec<f64>, ReferenceError> {
        let entry = &self.entries[0];
        let [q, k, _] = self.rows(entry);
        reference::attention_weights(&self.spec(entry), q, k, 0, head)
    }

    /// Results rounded to the types that a device would have.
    pub fn compute(&self) -> Result<Computed<T>, ReferenceError> {
        let started = Instant::now();
        let forward = self.forward(reference::forward)?;
        let forward_time = started.elapsed();
        let gradients = match &self.inputs.gradients {
            Some(gradients) => Some(self.gradients(gradients)?),
            None => None,
        };
        Ok(Computed {
            out: rounded(&forward.out),
            lse: forward.lse.iter().map(|&x| x as f32).collect(),
            gradients,
            device: "reference (f64 on the host)".to_owned(),
            kernels: Vec::new(),
            forward_time,
        })
    }

    fn gradients(&self, of_output: &OutputGradients<T>) -> Result<Gradients<T>, ReferenceError> {
        let started = Instant::now();
        let exact = self.backward(reference::backward, of_output)?;
        let time = started.elapsed();
        let parts = [&exact.d_q, &exact.d_k, &exact.d_v].map(|x| rounded(x));
        let bias = self.inputs.bias.as_ref().zip(exact.d_bias);
        Ok(Gradients {
            qkv: self.inputs.qkv.joined(parts),
            bias: bias.map(|(bias, d_bias)| bias.values.rounded(&d_bias)),
            time,
        })
    }

    /// Compares out and lse by FlashAttention's rule.
    pub fn check(&self, computed: &Computed<T>) -> Result<ErrorReport, ReferenceError> {
        let exact = self.forward(reference::forward)?;
        let low = self.forward(reference::forward_low_precision)?;
        let spec = self.whole_spec();
        rule::compare(&spec, &computed.out, &computed.lse, &exact, &low)
    }

    /// Compares gradients by the rule.
    pub fn check_gradients(
        &self,
        of_output: &OutputGradients<T>,
        got: &Gradients<T>,
    ) -> Result<GradientReport, ReferenceError> {
        let exact = self.backward(reference::backward, of_output)?;
        let low = self.backward(reference::backward_low_precision, of_output)?;
        let [d_q, d_k, d_v] = &got.qkv.split();
        let slices = GradientSlices {
            d_q,
            d_k,
            d_v,
            d_bias: got.bias.as_ref().map(|d_bias| match d_bias {
                Values::Element(d_bias) => BiasGradient::Element(d_bias),
                Values::F32(d_bias) => BiasGradient::F32(d_bias),
            }),
        };
        rule::compare_gradients(&self.whole_spec(), &slices, &exact, &low)
    }

    fn forward(&self, compute: Forward<T>) -> Result<Reference, ReferenceError> {
        // What rows of no sequence have.
        let mut whole = Reference {
            out: vec![0.0; self.qkv[0].len()],
            lse: vec![f64::NEG_INFINITY; self.inputs.lse_shape().iter().product()],
        };
        for entry in &self.entries {
            let [q, k, v] = self.rows(entry);
            let part = compute(&self.spec(entry), q, k, v)?;
            whole.out[self.elements(0, &entry.q)].copy_from_slice(&part.out);
            for (to, from) in self.lse_rows(entry) {
                whole.lse[to].copy_from_slice(&part.lse[from]);
            }
        }
        Ok(whole)
    }

    fn backward(
        &self,
        compute: Backward<T>,
        of_output: &OutputGradients<T>,
    ) -> Result<reference::Gradients, ReferenceError> {
        let zeros = |part: usize| vec![0.0; self.qkv[part].len()];
        let bias = self.inputs.bias.as_ref();
        let mut whole = reference::Gradients {
            d_q: zeros(0),
            d_k: zeros(1),
            d_v: zeros(2),
            d_bias: bias.map(|bias| vec![0.0; bias.shape.iter().product()]),
        };
        for entry in &self.entries {
            let [q, k, v] = self.rows(entry);
            let (queries, keys) = (self.elements(0, &entry.q), self.elements(1, &entry.k));
            let d_out = &of_output.d_out[queries.clone()];
            let d_lse = of_output.d_lse.as_ref().map(|d_lse| {
                let rows = self.lse_rows(entry);
                rows.flat_map(|(at, _)| d_lse[at].to_vec())
                    .collect::<Vec<f32>>()
            });
            let part = compute(&self.spec(entry), q, k, v, d_out, d_lse.as_deref())?;
            whole.d_q[queries].copy_from_slice(&part.d_q);
            whole.d_k[keys.clone()].copy_from_slice(&part.d_k);
            whole.d_v[keys].copy_from_slice(&part.d_v);
            if let (Some(bias), Some(whole), Some(part)) = (bias, &mut whole.d_bias, part.d_bias) {
                let places = bias_indices(bias, entry);
                places.zip(part).for_each(|(at, x)| whole[at] += x);
            }
        }
        Ok(whole)
    }

    /// Everything at once, as far as comparisons look at it: they take shapes from it.
    fn whole_spec(&self) -> Spec {
        let [q, k, _] = self.inputs.qkv.shapes();
        let bias = self.inputs.bias.as_ref().map(|bias| reference::Bias {
            shape: bias.shape,
            data: Vec::new(),
        });
        Spec {
            bias,
            ..Spec::new(q, k)
        }
    }

    fn spec(&self, entry: &Entry) -> Spec {
        let [[.., num_heads, head_dim], [.., num_heads_k, _], _] = self.inputs.qkv.shapes();
        let (seqlen_q, seqlen_k) = (entry.q.len(), entry.k.len());
        let bias = self.inputs.bias.as_ref().map(|bias| {
            let elements = bias_indices(bias, entry).map(|at| bias.values.at(at));
            reference::Bias {
                shape: [1, bias.shape[1], seqlen_q, seqlen_k],
                data: elements.collect(),
            }
        });
        let slopes = self.inputs.alibi_slopes.as_ref();
        Spec {
            mask: self.options.mask,
            softmax_scale: self.options.softmax_scale.map(f64::from),
            softcap: Some(self.options.softcap.into()).filter(|&softcap| softcap != 0.0),
            alibi_slopes: slopes.map(|slopes| slopes.of(entry.batch)),
            bias,
            dropout: self.dropout,
            first_batch: entry.batch,
            ..Spec::new(
                [1, seqlen_q, num_heads, head_dim],
                [1, seqlen_k, num_heads_k, head_dim],
            )
        }
    }

    /// q, k and v of a sequence.
    fn rows(&self, entry: &Entry) -> [&[T]; 3] {
        [(0, &entry.q), (1, &entry.k), (2, &entry.k)]
            .map(|(part, rows)| &self.qkv[part][self.elements(part, rows)])
    }

    /// Where rows of q, k or v lie.
    fn elements(&self, part: usize, rows: &Range<usize>) -> Range<usize> {
        let [_, _, heads, head_dim] = self.inputs.qkv.shapes()[part];
        rows.start * heads * head_dim..rows.end * heads * head_dim
    }

    /// For each head, where the rows of a sequence lie in the lse of all, and in its own.
    fn lse_rows(&self, entry: &Entry) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let [_, rows, num_heads, _] = self.inputs.qkv.shapes()[0];
        let first = match self.inputs.sequences {
            Some(_) => entry.q.start,
            None => entry.batch * num_heads * rows,
        };
        let len = entry.q.len();
        (0..num_heads).map(move |head| {
            let at = first + head * rows;
            (at..at + len, head * len..(head + 1) * len)
        })
    }
}

/// Where the elements of a bias lie that a sequence uses, `[num_heads or 1, seqlen_q, seqlen_k]` row-major.
fn bias_indices<T>(bias: &Bias<T>, entry: &Entry) -> impl Iterator<Item = usize> + use<T> {
    let [batches, heads, rows, keys] = bias.shape;
    let (seqlen_q, seqlen_k) = (entry.q.len(), entry.k.len());
    let first_head = if batches == 1 { 0 } else { entry.batch * heads };
    (first_head..first_head + heads).flat_map(move |head| {
        let row = move |i| (head * rows + i) * keys;
        (0..seqlen_q).flat_map(move |i| row(i)..row(i) + seqlen_k)
    })
}

fn rounded<T: AttentionElement>(numbers: &[f64]) -> Vec<T> {
    numbers.iter().map(|&x| T::from_f64(x)).collect()
}
