//! Training with the kernels follows the same training in f64.
//!
//! A toy with two attention layers of two heads learns to reverse sequences: each token has random content and a code of
//! its position, and must answer with the content of the token at the mirrored position. Only attention and its gradients
//! differ between the two trainings; everything around them is one piece of plain f64 code.

use std::marker::PhantomData;

use flash_attention::reference::{self, Spec};
use flash_attention::{Attention, AttentionElement, Device, Forward, Tensor, bf16, f16};

use crate::common::{device, randn};

const BATCH: usize = 4;
const SEQLEN: usize = 24;
const HEADS: usize = 2;
const HEAD_DIM: usize = 16;
const SHAPE: [usize; 4] = [BATCH, SEQLEN, HEADS, HEAD_DIM];
/// Tokens of all sequences: rows of every matrix of activations.
const TOKENS: usize = BATCH * SEQLEN;
/// Elements of content of a token; its position has as many.
const CONTENT: usize = 16;
const WIDTH: usize = 2 * CONTENT;
const LAYERS: usize = 2;
const WEIGHTS_PER_LAYER: usize = 4;

const STEPS: usize = 60;
const LEARNING_RATE: f64 = 0.2;
const MOMENTUM: f64 = 0.9;
/// Gradients are multiplied by this on their way through the layers, so that they are large enough for f16.
const LOSS_SCALE: f64 = 256.0;
/// How far a loss may be from that in f64; emulated kernels come within 0.0001 in f16, 0.0007 in bf16.
const TOLERANCE: f64 = 2e-3;

/// Attention and its gradients, without options, on `[batch, seqlen, heads, head_dim]`.
trait AttentionLayer {
    /// What `backward` needs of the forward pass.
    type Saved;

    fn forward(&self, qkv: [Vec<f64>; 3]) -> (Vec<f64>, Self::Saved);

    /// Gradients of q, k and v for that of the output.
    fn backward(&self, saved: &Self::Saved, d_out: &[f64]) -> [Vec<f64>; 3];
}

/// The formulas, in f64.
struct Exact;

impl AttentionLayer for Exact {
    type Saved = [Vec<f64>; 3];

    fn forward(&self, qkv: [Vec<f64>; 3]) -> (Vec<f64>, [Vec<f64>; 3]) {
        let [q, k, v] = &qkv;
        let out = reference::forward_f64(&Spec::new(SHAPE, SHAPE), q, k, v)
            .unwrap()
            .out;
        (out, qkv)
    }

    fn backward(&self, [q, k, v]: &[Vec<f64>; 3], d_out: &[f64]) -> [Vec<f64>; 3] {
        let spec = Spec::new(SHAPE, SHAPE);
        let gradients = reference::backward_f64(&spec, q, k, v, d_out, None).unwrap();
        [gradients.d_q, gradients.d_k, gradients.d_v]
    }
}

/// The kernels: everything that goes in or comes out is rounded to `T`.
struct Kernels<T> {
    device: Device,
    element: PhantomData<T>,
}

impl<T: AttentionElement> Kernels<T> {
    fn tensor(&self, x: &[f64]) -> Tensor<T> {
        let elements: Vec<T> = x.iter().map(|&x| T::from_f64(x)).collect();
        Tensor::from_slice(&self.device, SHAPE, &elements).unwrap()
    }
}

fn to_f64<T: AttentionElement>(x: &Tensor<T>) -> Vec<f64> {
    let elements = x.to_vec().unwrap();
    elements.into_iter().map(T::to_f64).collect()
}

impl<T: AttentionElement> AttentionLayer for Kernels<T> {
    type Saved = ([Tensor<T>; 3], Forward<T>);

    fn forward(&self, qkv: [Vec<f64>; 3]) -> (Vec<f64>, Self::Saved) {
        let qkv = qkv.map(|x| self.tensor(&x));
        let [q, k, v] = &qkv;
        let forward = Attention::new().forward(q, k, v).unwrap();
        (to_f64(&forward.out), (qkv, forward))
    }

    fn backward(&self, (qkv, forward): &Self::Saved, d_out: &[f64]) -> [Vec<f64>; 3] {
        let d_out = self.tensor(d_out);
        let gradients = Attention::new()
            .backward(qkv.each_ref(), forward, &d_out, None)
            .unwrap();
        [&gradients.d_q, &gradients.d_k, &gradients.d_v].map(to_f64)
    }
}

/// Row-major.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Matrix {
    fn new(rows: usize, columns: usize, element: impl Fn(usize, usize) -> f64) -> Matrix {
        let row = |i| (0..columns).map(move |j| (i, j));
        let data = (0..rows)
            .flat_map(row)
            .map(|(i, j)| element(i, j))
            .collect();
        Matrix {
            rows,
            columns,
            data,
        }
    }

    fn random(rows: usize, columns: usize, seed: u64, spread: f64) -> Matrix {
        let data = randn::<f16>(seed, rows * columns, spread as f32);
        Matrix::new(rows, columns, |i, j| data[i * columns + j].to_f64())
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.columns + j]
    }

    fn transposed(&self) -> Matrix {
        Matrix::new(self.columns, self.rows, |i, j| self.at(j, i))
    }

    fn times(&self, b: &Matrix) -> Matrix {
        let product = |i, j| (0..self.columns).map(|k| self.at(i, k) * b.at(k, j)).sum();
        Matrix::new(self.rows, b.columns, product)
    }

    fn plus(&self, b: &Matrix) -> Matrix {
        Matrix::new(self.rows, self.columns, |i, j| self.at(i, j) + b.at(i, j))
    }
}

/// `x + attention(x·Wq, x·Wk, x·Wv)·Wo` twice, then `x·Wout`.
struct Toy {
    /// Wq, Wk, Wv, Wo of the first layer and of the second, then Wout.
    weights: Vec<Matrix>,
    velocities: Vec<Matrix>,
}

impl Toy {
    fn new() -> Toy {
        let inner = HEADS * HEAD_DIM;
        let layer = [
            (WIDTH, inner),
            (WIDTH, inner),
            (WIDTH, inner),
            (inner, WIDTH),
        ];
        let shapes = [layer, layer]
            .concat()
            .into_iter()
            .chain([(WIDTH, CONTENT)]);
        let weights: Vec<_> = shapes
            .zip(100..)
            .map(|((rows, columns), seed)| {
                Matrix::random(rows, columns, seed, (rows as f64).powf(-0.5))
            })
            .collect();
        let zeros = |w: &Matrix| Matrix::new(w.rows, w.columns, |_, _| 0.0);
        Toy {
            velocities: weights.iter().map(zeros).collect(),
            weights,
        }
    }

    /// One step of gradient descent; returns the loss before it.
    fn step(&mut self, attention: &impl AttentionLayer, task: &Task) -> f64 {
        let (loss, gradients) = self.gradients(attention, task);
        self.descend(&gradients);
        loss
    }

    /// The loss, and [`LOSS_SCALE`] times its gradients in the order of the weights.
    fn gradients(&self, attention: &impl AttentionLayer, task: &Task) -> (f64, Vec<Matrix>) {
        let layers = self.weights.chunks_exact(WEIGHTS_PER_LAYER);
        let mut x = task.inputs.clone();
        let mut passes = Vec::new();
        for layer in layers.clone() {
            let qkv = [0, 1, 2].map(|i| x.times(&layer[i]).data);
            let (out, saved) = attention.forward(qkv);
            let out = row_per_token(out);
            let next = x.plus(&out.times(&layer[3]));
            passes.push((x, out, saved));
            x = next;
        }
        let head = &self.weights[LAYERS * WEIGHTS_PER_LAYER];
        let (loss, d_answers) = task.judge(&x.times(head));

        let mut gradients = vec![x.transposed().times(&d_answers)];
        let mut d_x = d_answers.times(&head.transposed());
        for (layer, (x, out, saved)) in layers.zip(&passes).rev() {
            gradients.push(out.transposed().times(&d_x));
            let d_out = d_x.times(&layer[3].transposed());
            let d_qkv = attention.backward(saved, &d_out.data).map(row_per_token);
            for (d, weight) in d_qkv.iter().zip(layer).rev() {
                gradients.push(x.transposed().times(d));
                d_x = d_x.plus(&d.times(&weight.transposed()));
            }
        }
        gradients.reverse();
        (loss, gradients)
    }

    fn descend(&mut self, gradients: &[Matrix]) {
        let weights = self.weights.iter_mut().zip(&mut self.velocities);
        for ((weight, velocity), gradient) in weights.zip(gradients) {
            let elements = weight.data.iter_mut().zip(&mut velocity.data);
            for ((w, v), g) in elements.zip(&gradient.data) {
                *v = MOMENTUM * *v + g / LOSS_SCALE;
                *w -= LEARNING_RATE * *v;
            }
        }
    }
}

fn row_per_token(data: Vec<f64>) -> Matrix {
    Matrix {
        rows: TOKENS,
        columns: data.len() / TOKENS,
        data,
    }
}

/// Sequences and what the toy should answer.
struct Task {
    inputs: Matrix,
    answers: Matrix,
}

impl Task {
    fn new() -> Task {
        let content = Matrix::random(TOKENS, CONTENT, 1, 1.0);
        let positions = Matrix::random(SEQLEN, CONTENT, 2, 1.0);
        let mirrored = |token: usize| token / SEQLEN * SEQLEN + SEQLEN - 1 - token % SEQLEN;
        Task {
            inputs: Matrix::new(TOKENS, WIDTH, |i, j| match j < CONTENT {
                true => content.at(i, j),
                false => positions.at(i % SEQLEN, j - CONTENT),
            }),
            answers: Matrix::new(TOKENS, CONTENT, |i, j| content.at(mirrored(i), j)),
        }
    }

    /// Mean squared error, about 1 for an answer of zeros, and [`LOSS_SCALE`] times its gradient.
    fn judge(&self, answers: &Matrix) -> (f64, Matrix) {
        let error = Matrix::new(TOKENS, CONTENT, |i, j| {
            answers.at(i, j) - self.answers.at(i, j)
        });
        let share = 1.0 / error.data.len() as f64;
        let loss = error.data.iter().map(|e| e * e).sum::<f64>() * share;
        let gradient = |i, j| 2.0 * error.at(i, j) * share * LOSS_SCALE;
        (loss, Matrix::new(TOKENS, CONTENT, gradient))
    }
}

/// The loss of every step.
fn train(attention: &impl AttentionLayer) -> Vec<f64> {
    let (mut toy, task) = (Toy::new(), Task::new());
    (0..STEPS).map(|_| toy.step(attention, &task)).collect()
}

fn assert_follows_f64<T: AttentionElement>() {
    let exact = train(&Exact);
    let kernels = train(&Kernels::<T> {
        device: device(),
        element: PhantomData,
    });
    let distance = farthest(&kernels, &exact);
    assert!(
        distance < TOLERANCE,
        "{distance}: {kernels:?}, in f64 {exact:?}"
    );
    assert!(exact[0] > 2.4 && exact[STEPS - 1] < 0.14, "{exact:?}");
}

fn farthest(a: &[f64], b: &[f64]) -> f64 {
    let distances = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    distances.fold(0.0, f64::max)
}

#[test]
fn training_in_f16_follows_that_in_f64() {
    assert_follows_f64::<f16>();
}

#[test]
fn training_in_bf16_follows_that_in_f64() {
    assert_follows_f64::<bf16>();
}

/// A fault in the exact attention or in its gradients.
enum Fault {
    /// The output and all gradients are 0.
    NoAttention,
    /// The gradient of k is 0.
    NoKeys,
    /// The gradient of q is a tenth too small.
    WeakQueries,
}

impl AttentionLayer for Fault {
    type Saved = [Vec<f64>; 3];

    fn forward(&self, qkv: [Vec<f64>; 3]) -> (Vec<f64>, [Vec<f64>; 3]) {
        let (mut out, qkv) = Exact.forward(qkv);
        if let Fault::NoAttention = self {
            out.fill(0.0);
        }
        (out, qkv)
    }

    fn backward(&self, qkv: &[Vec<f64>; 3], d_out: &[f64]) -> [Vec<f64>; 3] {
        let mut gradients = Exact.backward(qkv, d_out);
        match self {
            Fault::NoAttention => gradients.iter_mut().for_each(|d| d.fill(0.0)),
            Fault::NoKeys => gradients[1].fill(0.0),
            Fault::WeakQueries => gradients[0].iter_mut().for_each(|d| *d *= 0.9),
        }
        gradients
    }
}

#[test]
fn gradients_of_the_toy_are_those_of_finite_differences() {
    let (mut toy, task) = (Toy::new(), Task::new());
    let (_, gradients) = toy.gradients(&Exact, &task);
    let step = 1e-5;
    for (index, gradient) in gradients.iter().enumerate() {
        for at in [0, gradient.data.len() / 2, gradient.data.len() - 1] {
            let mut loss_at = |distance: f64| {
                toy.weights[index].data[at] += distance;
                let (loss, _) = toy.gradients(&Exact, &task);
                toy.weights[index].data[at] -= distance;
                loss
            };
            let want = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            let got = gradient.data[at] / LOSS_SCALE;
            assert!(
                (got - want).abs() < 1e-8,
                "weight {index}, element {at}: {got}, finite differences {want}"
            );
        }
    }
}

#[test]
fn the_task_needs_attention_and_shows_a_wrong_gradient() {
    let exact = train(&Exact);
    assert!(train(&Fault::NoAttention)[STEPS - 1] > 0.5);
    for fault in [Fault::NoKeys, Fault::WeakQueries] {
        assert!(farthest(&train(&fault), &exact) > TOLERANCE);
    }
}
