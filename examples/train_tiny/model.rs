//! A decoder-only transformer and its gradients.
//!
//! ```text
//! x = embedding of tokens and positions
//! x = x + attention(norm(x)), x = x + mlp(norm(x))        in each layer
//! logits = norm(x)·W
//! ```

use std::fmt;

use ndarray::Array2;

use super::Result;
use super::attention::{AttentionLayer, Shape};
use super::layers::{Embedding, Linear, Mlp, RmsNorm, cross_entropy, softmax};
use super::parameter::Parameter;
use super::text::Batch;

/// Sizes of a model.
#[derive(Clone, Copy)]
pub struct Extents {
    /// Different tokens.
    pub vocabulary: usize,
    /// Longest sequence.
    pub seqlen: usize,
    /// Elements per token between layers.
    pub width: usize,
    /// Heads of width `width / heads`.
    pub heads: usize,
    /// Layers, each of attention and an MLP.
    pub layers: usize,
}

/// A language model whose attention is computed by `A`.
pub struct Model<A> {
    extents: Extents,
    attention: A,
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

struct Layer {
    attention_norm: RmsNorm,
    qkv: Linear,
    projection: Linear,
    mlp_norm: RmsNorm,
    mlp: Mlp,
}

/// What a layer saw, for its gradients.
struct LayerPass<Saved> {
    /// Input of the layer.
    x: Array2<f64>,
    normed_x: Array2<f64>,
    saved: Saved,
    attended: Array2<f64>,
    /// The input plus attention.
    y: Array2<f64>,
    normed_y: Array2<f64>,
    hidden: Array2<f64>,
}

/// What the model saw.
struct ModelPass<Saved> {
    seqlen: usize,
    layers: Vec<LayerPass<Saved>>,
    x: Array2<f64>,
    normed: Array2<f64>,
    logits: Array2<f64>,
}

impl<A: AttentionLayer> Model<A> {
    /// Random weights.
    pub fn new(extents: Extents, attention: A, random: &mut fastrand::Rng) -> Model<A> {
        let Extents {
            vocabulary,
            seqlen,
            width,
            layers,
            ..
        } = extents;
        // Each layer adds to x twice. Together all of them add as much as there is at first.
        let gain = 1.0 / (2.0 * layers as f64).sqrt();
        Model {
            extents,
            attention,
            embedding: Embedding::new(vocabulary, seqlen, width, random),
            layers: (0..layers)
                .map(|_| Layer::new(width, gain, random))
                .collect(),
            norm: RmsNorm::new(width),
            head: Linear::new(width, vocabulary, 1.0, random),
        }
    }

    /// Sizes.
    pub fn extents(&self) -> Extents {
        self.extents
    }

    /// Everything that is trained.
    pub fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        [
            &mut self.embedding.tokens,
            &mut self.embedding.positions,
            &mut self.norm.gain,
            &mut self.head.weight,
        ]
        .into_iter()
        .chain(self.layers.iter_mut().flat_map(Layer::parameters))
    }

    /// Mean loss of the predictions, in nats per token.
    pub fn loss(&self, batch: &Batch) -> Result<f64> {
        let pass = self.forward(&batch.tokens, batch.size)?;
        Ok(cross_entropy(&pass.logits, &batch.targets).0)
    }

    /// The same, and adds its gradient to the gradients of the parameters.
    pub fn accumulate_gradients(&mut self, batch: &Batch) -> Result<f64> {
        let pass = self.forward(&batch.tokens, batch.size)?;
        let (loss, d_logits) = cross_entropy(&pass.logits, &batch.targets);
        let d_normed = self.head.backward(&pass.normed, &d_logits);
        let mut d_x = self.norm.backward(&pass.x, &d_normed);
        for (layer, pass) in self.layers.iter_mut().zip(&pass.layers).rev() {
            d_x = layer.backward(&self.attention, pass, d_x)?;
        }
        self.embedding.backward(&batch.tokens, pass.seqlen, &d_x);
        Ok(loss)
    }

    /// Continues `tokens` by `count` tokens, each drawn with the probability that the model gives it.
    pub fn write(
        &self,
        tokens: &[usize],
        count: usize,
        random: &mut fastrand::Rng,
    ) -> Result<Vec<usize>> {
        let mut tokens = tokens.to_vec();
        for _ in 0..count {
            let seen = tokens.len().saturating_sub(self.extents.seqlen);
            let pass = self.forward(&tokens[seen..], 1)?;
            let probabilities = softmax(&pass.logits);
            let last = probabilities.row(probabilities.nrows() - 1);
            tokens.push(draw(last.iter().copied(), random));
        }
        Ok(tokens)
    }

    fn forward(&self, tokens: &[usize], batch: usize) -> Result<ModelPass<A::Saved>> {
        let seqlen = tokens.len() / batch;
        let Extents { heads, width, .. } = self.extents;
        let shape = Shape {
            batch,
            seqlen,
            heads,
            head_dim: width / heads,
        };
        let mut x = self.embedding.forward(tokens, seqlen);
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (output, pass) = layer.forward(&self.attention, x, shape)?;
            layers.push(pass);
            x = output;
        }
        let normed = self.norm.forward(&x);
        Ok(ModelPass {
            seqlen,
            layers,
            logits: self.head.forward(&normed),
            x,
            normed,
        })
    }
}

impl Layer {
    fn new(width: usize, gain: f64, random: &mut fastrand::Rng) -> Layer {
        Layer {
            attention_norm: RmsNorm::new(width),
            qkv: Linear::new(width, 3 * width, 1.0, random),
            projection: Linear::new(width, width, gain, random),
            mlp_norm: RmsNorm::new(width),
            mlp: Mlp::new(width, gain, random),
        }
    }

    fn parameters(&mut self) -> [&mut Parameter; 6] {
        [
            &mut self.attention_norm.gain,
            &mut self.qkv.weight,
            &mut self.projection.weight,
            &mut self.mlp_norm.gain,
            &mut self.mlp.up.weight,
            &mut self.mlp.down.weight,
        ]
    }

    fn forward<A: AttentionLayer>(
        &self,
        attention: &A,
        x: Array2<f64>,
        shape: Shape,
    ) -> Result<(Array2<f64>, LayerPass<A::Saved>)> {
        let normed_x = self.attention_norm.forward(&x);
        let (attended, saved) = attention.forward(&self.qkv.forward(&normed_x), shape)?;
        let y = &x + &self.projection.forward(&attended);
        let normed_y = self.mlp_norm.forward(&y);
        let (change, hidden) = self.mlp.forward(&normed_y);
        let output = &y + &change;
        let pass = LayerPass {
            x,
            normed_x,
            saved,
            attended,
            y,
            normed_y,
            hidden,
        };
        Ok((output, pass))
    }

    /// Gradients flow through each residual twice: past the branch, and through it.
    fn backward<A: AttentionLayer>(
        &mut self,
        attention: &A,
        pass: &LayerPass<A::Saved>,
        d_output: Array2<f64>,
    ) -> Result<Array2<f64>> {
        let d_normed_y = self.mlp.backward(&pass.normed_y, &pass.hidden, &d_output);
        let d_y = d_output + self.mlp_norm.backward(&pass.y, &d_normed_y);
        let d_attended = self.projection.backward(&pass.attended, &d_y);
        let d_packed = attention.backward(&pass.saved, &d_attended)?;
        let d_normed_x = self.qkv.backward(&pass.normed_x, &d_packed);
        Ok(d_y + self.attention_norm.backward(&pass.x, &d_normed_x))
    }
}

/// An index, drawn with its probability.
fn draw(probabilities: impl Iterator<Item = f64>, random: &mut fastrand::Rng) -> usize {
    let mut rest = random.f64();
    let mut index = 0;
    for (i, probability) in probabilities.enumerate() {
        if probability > 0.0 {
            index = i;
        }
        rest -= probability;
        if rest < 0.0 {
            break;
        }
    }
    index
}

impl fmt::Display for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extents {
            vocabulary,
            seqlen,
            width,
            heads,
            layers,
        } = self;
        write!(
            f,
            "{vocabulary} different ones; {layers} layers of width {width}, {heads} heads, {seqlen} characters at once"
        )
    }
}
