//! The gradients of the model, with the f64 reference as its attention, against central finite differences.

use flash_attention::reference::{self, Mask, Spec};
use ndarray::{Array2, Axis, concatenate, s};

use super::Result;
use super::attention::{AttentionLayer, Shape};
use super::model::{Extents, Model};
use super::text::Text;

/// The reference, without rounding.
struct ReferenceAttention;

/// q, k and v, each `[batch, seqlen, heads, head_dim]`.
struct ReferencePass {
    shape: Shape,
    qkv: [Vec<f64>; 3],
}

impl ReferencePass {
    fn spec(&self) -> Spec {
        Spec {
            mask: Mask {
                is_causal: true,
                ..Mask::default()
            },
            ..Spec::new(self.shape.tensor(), self.shape.tensor())
        }
    }

    /// One row per token.
    fn matrix(&self, elements: Vec<f64>) -> Result<Array2<f64>> {
        let Shape {
            batch,
            seqlen,
            heads,
            head_dim,
        } = self.shape;
        Ok(Array2::from_shape_vec(
            (batch * seqlen, heads * head_dim),
            elements,
        )?)
    }
}

impl AttentionLayer for ReferenceAttention {
    type Saved = ReferencePass;

    fn forward(&self, packed: &Array2<f64>, shape: Shape) -> Result<(Array2<f64>, ReferencePass)> {
        let width = shape.heads * shape.head_dim;
        let part = |i| packed.slice(s![.., i * width..(i + 1) * width]);
        let pass = ReferencePass {
            shape,
            qkv: [0, 1, 2].map(|i| part(i).iter().copied().collect()),
        };
        let [q, k, v] = &pass.qkv;
        let result = reference::forward_f64(&pass.spec(), q, k, v)?;
        Ok((pass.matrix(result.out)?, pass))
    }

    fn backward(&self, pass: &ReferencePass, d_out: &Array2<f64>) -> Result<Array2<f64>> {
        let [q, k, v] = &pass.qkv;
        let d_out: Vec<f64> = d_out.iter().copied().collect();
        let gradients = reference::backward_f64(&pass.spec(), q, k, v, &d_out, None)?;
        let [d_q, d_k, d_v] = [gradients.d_q, gradients.d_k, gradients.d_v].map(|x| pass.matrix(x));
        Ok(concatenate(
            Axis(1),
            &[d_q?.view(), d_k?.view(), d_v?.view()],
        )?)
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let text = Text::new("the quick brown fox jumps over the lazy dog, again and again. ");
    let extents = Extents {
        vocabulary: text.vocabulary(),
        seqlen: 6,
        width: 8,
        heads: 2,
        layers: 2,
    };
    let mut random = fastrand::Rng::with_seed(3);
    let batch = text.training_batch(2, extents.seqlen, &mut random);
    let mut model = Model::new(extents, ReferenceAttention, &mut random);
    model.accumulate_gradients(&batch).unwrap();

    let step = 1e-5;
    for index in 0..model.parameters().count() {
        let (rows, columns) = model.parameters().nth(index).unwrap().value.dim();
        for row in 0..rows {
            for column in 0..columns {
                let mut loss_at = |distance: f64| {
                    model.parameters().nth(index).unwrap().value[(row, column)] += distance;
                    let loss = model.loss(&batch).unwrap();
                    model.parameters().nth(index).unwrap().value[(row, column)] -= distance;
                    loss
                };
                let want = (loss_at(step) - loss_at(-step)) / (2.0 * step);
                let got = model.parameters().nth(index).unwrap().gradient[(row, column)];
                assert!(
                    (got - want).abs() < 1e-8 + 1e-6 * want.abs(),
                    "parameter {index} [{row}, {column}]: {got}, finite differences {want}"
                );
            }
        }
    }
}
