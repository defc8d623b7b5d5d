//! `--shape`: random inputs, the same in every run.

use std::str::FromStr;

use anyhow::{Result, bail};
use flash_attention::{Attention, AttentionElement};

use crate::input::{Inputs, OutputGradients};
use crate::random::numbers;

/// Elements of a tensor of random numbers, at most: 512 MiB.
const MAX_ELEMENTS: u128 = 1 << 28;

/// Extents of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `[batch, seqlen_q, num_heads, head_dim]`.
    q: [usize; 4],
    /// `[batch, seqlen_k, num_heads_k, head_dim]`.
    k: [usize; 4],
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let extents: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
        match extents.as_deref() {
            Ok(&[batch, seqlen_q, seqlen_k, num_heads, num_heads_k, head_dim]) => Ok(Shape {
                q: [batch, seqlen_q, num_heads, head_dim],
                k: [batch, seqlen_k, num_heads_k, head_dim],
            }),
            _ => Err(
                "expected six numbers: batch, seqlen_q, seqlen_k, num_heads, num_heads_k, head_dim"
                    .to_owned(),
            ),
        }
    }
}

/// Uniform numbers from -1 to 1 for q, k, v and d_out.
pub fn random<T: AttentionElement>(shape: &Shape) -> Result<Inputs<T>> {
    // Before anything is allocated.
    Attention::new().check(shape.q, shape.k, shape.k)?;
    for (tensor, shape) in [("q", shape.q), ("k", shape.k)] {
        let elements = shape.map(|extent| extent as u128).iter().product::<u128>();
        if elements > MAX_ELEMENTS {
            bail!(
                "{tensor} with shape {shape:?} has {elements} elements, at most 2^28 = {MAX_ELEMENTS} are profiled: \
                 shorten the sequences"
            );
        }
    }
    let [q, k] = [shape.q, shape.k].map(|shape| shape.iter().product());
    let mut inputs = Inputs::plain([
        (shape.q, numbers(q, 1)),
        (shape.k, numbers(k, 2)),
        (shape.k, numbers(k, 3)),
    ]);
    inputs.gradients = Some(OutputGradients {
        d_out: numbers(q, 4),
        d_lse: None,
    });
    Ok(inputs)
}
