//! Layers without attention, each with its gradients. Activations are `[rows, width]`, one row per token.
//!
//! `backward` takes what `forward` got and the gradient of what it returned, adds to the gradients of the layer's
//! parameters and returns the gradient of the input.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, Zip};

use super::parameter::Parameter;

/// `y = x·W`.
pub struct Linear {
    /// `[inputs, outputs]`.
    pub weight: Parameter,
}

impl Linear {
    /// Random weights that make outputs `gain` times as large as inputs.
    pub fn new(inputs: usize, outputs: usize, gain: f64, random: &mut fastrand::Rng) -> Linear {
        let deviation = gain / (inputs as f64).sqrt();
        Linear {
            weight: Parameter::random([inputs, outputs], deviation, random),
        }
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: &Array2<f64>) -> Array2<f64> {
        x.dot(&self.weight.value)
    }

    /// `dW += xᵀ·dy`, `dx = dy·Wᵀ`.
    pub fn backward(&mut self, x: &Array2<f64>, d_y: &Array2<f64>) -> Array2<f64> {
        general_mat_mul(1.0, &x.t(), d_y, 1.0, &mut self.weight.gradient);
        d_y.dot(&self.weight.value.t())
    }
}

/// `y = gain · x / rms(x)` for each row (Zhang and Sennrich, arXiv:1910.07467).
pub struct RmsNorm {
    /// `[1, width]`.
    pub gain: Parameter,
}

impl RmsNorm {
    /// Keeps a row of zeros from being divided by 0.
    const EPSILON: f64 = 1e-6;

    /// Gain 1.
    pub fn new(width: usize) -> RmsNorm {
        RmsNorm {
            gain: Parameter::new(Array2::ones((1, width))),
        }
    }

    /// Rows of the same size.
    pub fn forward(&self, x: &Array2<f64>) -> Array2<f64> {
        x * &inverse_rms(x) * &self.gain.value
    }

    /// With `n = x / rms(x)` and `dn = gain · dy`: `dx = (dn - n · mean(n · dn)) / rms(x)`.
    pub fn backward(&mut self, x: &Array2<f64>, d_y: &Array2<f64>) -> Array2<f64> {
        let inverse = inverse_rms(x);
        let n = x * &inverse;
        self.gain.gradient += &(d_y * &n).sum_axis(Axis(0));
        let d_n = d_y * &self.gain.value;
        let along = mean_of_rows(&(&n * &d_n));
        (d_n - n * along) * inverse
    }
}

/// `[rows, 1]`.
fn inverse_rms(x: &Array2<f64>) -> Array2<f64> {
    mean_of_rows(&(x * x)).mapv(|mean| 1.0 / (mean + RmsNorm::EPSILON).sqrt())
}

/// `[rows, 1]`.
fn mean_of_rows(x: &Array2<f64>) -> Array2<f64> {
    x.sum_axis(Axis(1)).insert_axis(Axis(1)) / x.ncols() as f64
}

/// Two linear layers with SiLU, `h · sigmoid(h)`, between them.
pub struct Mlp {
    /// To four times the width.
    pub up: Linear,
    /// And back.
    pub down: Linear,
}

impl Mlp {
    /// Random weights; outputs are about `gain` times as large as inputs.
    pub fn new(width: usize, gain: f64, random: &mut fastrand::Rng) -> Mlp {
        Mlp {
            up: Linear::new(width, 4 * width, 1.0, random),
            down: Linear::new(4 * width, width, gain, random),
        }
    }

    /// Returns the output, and the hidden values for [`backward`](Mlp::backward).
    pub fn forward(&self, x: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
        let hidden = self.up.forward(x);
        (self.down.forward(&hidden.mapv(silu)), hidden)
    }

    /// Through `down`, SiLU and `up`.
    pub fn backward(
        &mut self,
        x: &Array2<f64>,
        hidden: &Array2<f64>,
        d_y: &Array2<f64>,
    ) -> Array2<f64> {
        let mut d_hidden = self.down.backward(&hidden.mapv(silu), d_y);
        Zip::from(&mut d_hidden)
            .and(hidden)
            .for_each(|d, &h| *d *= sigmoid(h) * (1.0 + h * (1.0 - sigmoid(h))));
        self.up.backward(x, &d_hidden)
    }
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A row for every token plus a row for every position.
pub struct Embedding {
    /// `[vocabulary, width]`.
    pub tokens: Parameter,
    /// `[seqlen, width]`.
    pub positions: Parameter,
}

impl Embedding {
    /// Standard deviation of elements at the beginning: small, so that training moves them soon.
    const DEVIATION: f64 = 0.3;

    /// Random rows.
    pub fn new(
        vocabulary: usize,
        seqlen: usize,
        width: usize,
        random: &mut fastrand::Rng,
    ) -> Embedding {
        Embedding {
            tokens: Parameter::random([vocabulary, width], Embedding::DEVIATION, random),
            positions: Parameter::random([seqlen, width], Embedding::DEVIATION, random),
        }
    }

    /// `[rows, width]` of sequences of `seqlen` tokens.
    pub fn forward(&self, tokens: &[usize], seqlen: usize) -> Array2<f64> {
        let mut x = self.tokens.value.select(Axis(0), tokens);
        for (row, mut x) in x.rows_mut().into_iter().enumerate() {
            x += &self.positions.value.row(row % seqlen);
        }
        x
    }

    /// Every row of the gradient goes to its token and to its position.
    pub fn backward(&mut self, tokens: &[usize], seqlen: usize, d_x: &Array2<f64>) {
        for (row, d_x) in d_x.rows().into_iter().enumerate() {
            let mut token = self.tokens.gradient.row_mut(tokens[row]);
            token += &d_x;
            let mut position = self.positions.gradient.row_mut(row % seqlen);
            position += &d_x;
        }
    }
}

/// Mean over the rows of `-ln softmax(logits)[target]`, in nats, and its gradient with respect to the logits.
pub fn cross_entropy(logits: &Array2<f64>, targets: &[usize]) -> (f64, Array2<f64>) {
    let share = 1.0 / targets.len() as f64;
    let mut gradient = softmax(logits);
    let mut loss = 0.0;
    for (mut row, &target) in gradient.rows_mut().into_iter().zip(targets) {
        loss -= row[target].ln() * share;
        row[target] -= 1.0;
        row *= share;
    }
    (loss, gradient)
}

/// Probabilities, row by row.
pub fn softmax(logits: &Array2<f64>) -> Array2<f64> {
    let mut rows = logits.clone();
    for mut row in rows.rows_mut() {
        let max = row.fold(f64::NEG_INFINITY, |max, &x| max.max(x));
        row.mapv_inplace(|x| (x - max).exp());
        row /= row.sum();
    }
    rows
}
