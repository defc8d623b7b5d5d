//! Cases of packed sequences: each sequence is judged as attention of its own, all of them by one rule.

use flash_attention::reference::{self, Gradients, Reference, Spec};
use flash_attention::rule;
use flash_attention::{AttentionElement, CuSeqlens, Device, ForwardVarlen, Tensor};

use super::{Case, Devices, GradientsOnHost, Training, in_dtype};

/// Sequences packed one after the other. `case` says everything but how long each one is.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Extents of the scores: entries, and the most queries and keys of any.
    pub case: Case,
    q: Side,
    k: Side,
    has_seqused: bool,
    /// What rows of no sequence hold instead of numbers like the others.
    garbage: Option<f64>,
}

/// Rows of the queries, or of the keys.
#[derive(Clone, Debug)]
struct Side {
    /// First row and rows in use of each sequence.
    sequences: Vec<(usize, usize)>,
    cu_seqlens: Vec<i32>,
    total: usize,
}

impl Side {
    /// Sequences with `gap` unused rows after each one, and that many before the first and after the last.
    fn new(lengths: &[usize], gap: usize) -> Side {
        let mut row = gap;
        let mut side = Side {
            sequences: Vec::new(),
            cu_seqlens: vec![row as i32],
            total: 0,
        };
        for &length in lengths {
            side.sequences.push((row, length));
            row += length + gap;
            side.cu_seqlens.push(row as i32);
        }
        side.total = row + gap;
        side
    }

    fn seqused(&self) -> Vec<i32> {
        self.sequences
            .iter()
            .map(|&(_, used)| used as i32)
            .collect()
    }

    fn longest(&self) -> usize {
        self.sequences
            .iter()
            .map(|&(_, used)| used)
            .max()
            .unwrap_or(0)
    }
}

/// Where the f64 results of all sequences are put together.
struct Whole {
    forward: Reference,
    backward: Gradients,
}

impl Packed {
    /// Sequences of these `(queries, keys)`, without gaps; batch and lengths of `case` do not matter.
    pub fn new(case: Case, lengths: &[(usize, usize)]) -> Packed {
        Packed::with_gaps(case, lengths, 0)
    }

    /// As [`new`](Packed::new), with `gap` unused rows around each sequence, in q and in k.
    pub fn with_gaps(case: Case, lengths: &[(usize, usize)], gap: usize) -> Packed {
        let (q, k): (Vec<usize>, Vec<usize>) = lengths.iter().copied().unzip();
        let (q, k) = (Side::new(&q, gap), Side::new(&k, gap));
        let case = Case {
            batch: lengths.len(),
            seqlen_q: q.longest(),
            seqlen_k: k.longest(),
            ..case
        };
        Packed {
            case,
            q,
            k,
            has_seqused: gap > 0,
            garbage: None,
        }
    }

    /// Puts `garbage` into every row of q, k, v and d_out that belongs to no sequence.
    pub fn with_garbage(self, garbage: f64) -> Packed {
        Packed {
            garbage: Some(garbage),
            ..self
        }
    }

    /// The tensors of all rows, as those of one long sequence.
    pub fn rows(&self) -> Case {
        Case {
            batch: 1,
            seqlen_q: self.q.total,
            seqlen_k: self.k.total,
            ..self.case
        }
    }

    pub fn cu_seqlens(&self, device: &Device) -> CuSeqlens {
        let (q, k) = (&self.q.cu_seqlens, &self.k.cu_seqlens);
        let sequences = CuSeqlens::new(device, q, k).unwrap();
        if !self.has_seqused {
            return sequences;
        }
        let (q, k) = (self.q.seqused(), self.k.seqused());
        sequences.seqused(Some(&q), Some(&k)).unwrap()
    }

    /// q, k and v of all sequences on `device`.
    pub fn upload<T: AttentionElement>(&self, device: &Device) -> [Tensor<T, 3>; 3] {
        let rows = self.rows();
        let [q, k, v] = rows.inputs::<T>();
        let q = self.place(device, &self.q, rows.num_heads, q);
        let [k, v] = [k, v].map(|x| self.place(device, &self.k, rows.num_heads_k, x));
        [q, k, v]
    }

    /// Row-major rows of `side` on `device`, with what the unused ones hold.
    fn place<T: AttentionElement>(
        &self,
        device: &Device,
        side: &Side,
        heads: usize,
        mut data: Vec<T>,
    ) -> Tensor<T, 3> {
        let head_dim = self.case.head_dim;
        if let Some(garbage) = self.garbage {
            let is_used = |row: usize| {
                let mut sequences = side.sequences.iter();
                sequences.any(|&(first, used)| (first..first + used).contains(&row))
            };
            for (row, elements) in data.chunks_mut(heads * head_dim).enumerate() {
                if !is_used(row) {
                    elements.fill(T::from_f64(garbage));
                }
            }
        }
        Tensor::from_slice(device, [side.total, heads, head_dim], &data).unwrap()
    }

    /// Runs the sequences forward.
    pub fn run<T: AttentionElement>(&self, device: &Device) -> ForwardVarlen<T> {
        let (inputs, sequences) = (self.upload(device), self.cu_seqlens(device));
        self.case
            .attention(device)
            .forward_varlen(inputs.each_ref(), &sequences)
            .unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// Runs the sequences forward and backward.
    pub fn train<T: AttentionElement>(&self, device: &Device) -> Training<T> {
        let (rows, inputs) = (self.rows(), self.upload::<T>(device));
        let d_out = self.place(device, &self.q, rows.num_heads, rows.d_out::<T>());
        let shape = [rows.num_heads, rows.seqlen_q];
        let d_lse = rows
            .d_lse_values()
            .map(|d_lse| Tensor::from_slice(device, shape, &d_lse).unwrap());
        let forward = self.run::<T>(device);
        let attention = self.case.attention(device);
        let sequences = self.cu_seqlens(device);
        let gradients = attention
            .backward_varlen(
                inputs.each_ref(),
                &forward,
                &d_out,
                d_lse.as_ref(),
                &sequences,
            )
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let d = [&gradients.d_q, &gradients.d_k, &gradients.d_v];
        let [d_q, d_k, d_v] = d.map(|tensor| tensor.to_vec().unwrap());
        let d_bias = gradients.d_bias.map(|d_bias| d_bias.to_f64().unwrap());
        let kernels = forward.variant.iter().chain(&gradients.variants);
        Training {
            out: forward.out.to_vec().unwrap(),
            lse: forward.lse.to_vec().unwrap(),
            gradients: GradientsOnHost {
                d_q,
                d_k,
                d_v,
                d_bias,
            },
            entries: kernels.map(|kernel| kernel.entry()).collect(),
        }
    }

    /// Runs the sequences forward on each device and panics unless output and log-sum-exp hold the rule.
    pub fn assert_exact(&self, devices: &(impl Devices + ?Sized)) {
        in_dtype!(
            self.case.dtype,
            self.assert_exact_in(self.case.devices(devices))
        );
    }

    fn assert_exact_in<T: AttentionElement>(&self, devices: &[Device]) {
        let [exact, low] = self.references::<T>();
        for device in devices {
            let result = self.run::<T>(device);
            let (out, lse) = (result.out.to_vec().unwrap(), result.lse.to_vec().unwrap());
            self.assert_rule(&out, &lse, [&exact, &low]);
        }
    }

    /// Runs the sequences forward and backward on each device and panics unless output, log-sum-exp and all gradients
    /// hold the rule.
    pub fn assert_gradients_exact(&self, devices: &(impl Devices + ?Sized)) {
        let devices = self.case.devices(devices);
        in_dtype!(self.case.dtype, self.assert_gradients_exact_in(devices));
    }

    fn assert_gradients_exact_in<T: AttentionElement>(&self, devices: &[Device]) {
        let [exact, low] = self.references::<T>();
        let both = [&exact.backward, &low.backward];
        for device in devices {
            let got = self.train::<T>(device);
            self.assert_rule(&got.out, &got.lse, [&exact, &low]);
            let report = got.gradients.judge(&self.rows_spec(), self.case.bias, both);
            assert!(report.passed(), "{:?} {self:?}: {report}", got.entries);
        }
    }

    fn assert_rule<T: AttentionElement>(&self, out: &[T], lse: &[f32], [exact, low]: [&Whole; 2]) {
        let spec = self.rows_spec();
        let report = rule::compare(&spec, out, lse, &exact.forward, &low.forward).unwrap();
        assert!(report.passed(), "{self:?}: {report}");
    }

    /// Extents of the tensors, and of the bias.
    fn rows_spec(&self) -> Spec {
        Spec {
            bias: self.case.spec().bias,
            ..Spec::new(self.rows().q_shape(), self.rows().k_shape())
        }
    }

    /// The reference, and the plain method in low precision.
    fn references<T: AttentionElement>(&self) -> [Whole; 2] {
        [
            self.reference::<T>(reference::forward, reference::backward),
            self.reference::<T>(
                reference::forward_low_precision,
                reference::backward_low_precision,
            ),
        ]
    }

    /// What one sequence is, for the reference.
    fn spec(&self, entry: usize) -> Spec {
        let whole = self.case.spec();
        let (seqlen_q, seqlen_k) = (self.q.sequences[entry].1, self.k.sequences[entry].1);
        let heads = whole.num_heads;
        let slopes = whole.alibi_slopes.as_ref().map(|slopes| {
            let is_shared = slopes.len() == heads;
            let first = if is_shared { 0 } else { entry * heads };
            slopes[first..first + heads].to_vec()
        });
        let bias = whole.bias.as_ref().map(|bias| {
            let [_, bias_heads, ..] = bias.shape;
            reference::Bias {
                shape: [1, bias_heads, seqlen_q, seqlen_k],
                data: self.bias_indices(entry).map(|at| bias.data[at]).collect(),
            }
        });
        Spec {
            batch: 1,
            seqlen_q,
            seqlen_k,
            alibi_slopes: slopes,
            bias,
            first_batch: entry,
            ..whole
        }
    }

    /// Where the elements of the bias of one sequence lie in the whole bias.
    fn bias_indices(&self, entry: usize) -> impl Iterator<Item = usize> {
        let [batch, heads, rows, keys] = self.case.bias_shape().unwrap_or([1; 4]);
        let (seqlen_q, seqlen_k) = (self.q.sequences[entry].1, self.k.sequences[entry].1);
        let first = entry % batch * heads;
        let row = move |i: usize| {
            let (head, i) = (i / seqlen_q.max(1), i % seqlen_q.max(1));
            ((first + head) * rows + i) * keys
        };
        (0..heads * seqlen_q).flat_map(move |i| (0..seqlen_k).map(move |j| row(i) + j))
    }

    /// Every sequence for itself, put together.
    fn reference<T: AttentionElement>(&self, forward: Forward<T>, backward: Backward<T>) -> Whole {
        let rows = self.rows();
        let ([q, k, v], d_out, d_lse) =
            (rows.inputs::<T>(), rows.d_out::<T>(), rows.d_lse_values());
        let bias_len = self.case.bias_shape().map(|shape| shape.iter().product());
        let mut whole = Whole {
            forward: Reference {
                out: vec![0.0; q.len()],
                lse: vec![f64::NEG_INFINITY; rows.num_heads * self.q.total],
            },
            backward: Gradients {
                d_q: vec![0.0; q.len()],
                d_k: vec![0.0; k.len()],
                d_v: vec![0.0; v.len()],
                d_bias: bias_len.map(|len: usize| vec![0.0; len]),
            },
        };
        for entry in 0..self.case.batch {
            let elements = |(first, used): (usize, usize), heads: usize| {
                let row = heads * rows.head_dim;
                first * row..(first + used) * row
            };
            let (of_q, of_k) = (self.q.sequences[entry], self.k.sequences[entry]);
            let (in_q, in_k) = (
                elements(of_q, rows.num_heads),
                elements(of_k, rows.num_heads_k),
            );
            let [q, k, v] = [&q[in_q.clone()], &k[in_k.clone()], &v[in_k.clone()]];
            let total_q = self.q.total;
            let lse_rows: Vec<usize> = (0..rows.num_heads)
                .flat_map(|head| (0..of_q.1).map(move |i| head * total_q + of_q.0 + i))
                .collect();
            let d_lse: Option<Vec<f32>> = d_lse
                .as_ref()
                .map(|d_lse| lse_rows.iter().map(|&at| d_lse[at]).collect());
            let spec = self.spec(entry);
            let Reference { out, lse } = forward(&spec, q, k, v).unwrap();
            let d = backward(&spec, q, k, v, &d_out[in_q.clone()], d_lse.as_deref()).unwrap();
            whole.forward.out[in_q.clone()].copy_from_slice(&out);
            lse_rows
                .iter()
                .zip(lse)
                .for_each(|(&at, lse)| whole.forward.lse[at] = lse);
            whole.backward.d_q[in_q].copy_from_slice(&d.d_q);
            whole.backward.d_k[in_k.clone()].copy_from_slice(&d.d_k);
            whole.backward.d_v[in_k].copy_from_slice(&d.d_v);
            if let (Some(sum), Some(part)) = (&mut whole.backward.d_bias, d.d_bias) {
                self.bias_indices(entry)
                    .zip(part)
                    .for_each(|(at, x)| sum[at] += x);
            }
        }
        whole
    }
}

type Forward<T> = fn(&Spec, &[T], &[T], &[T]) -> Result<Reference, reference::ReferenceError>;
type Backward<T> = fn(
    &Spec,
    &[T],
    &[T],
    &[T],
    &[T],
    Option<&[f32]>,
) -> Result<Gradients, reference::ReferenceError>;
