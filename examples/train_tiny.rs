//! Trains a small character-level language model on this repository's ARCHITECTURE.md. Attention and its gradients come
//! from the kernels of this library, in bf16 on the emulated device; everything else is a few hundred lines of f64.
//!
//! `cargo run --release --example train_tiny [STEPS]`
//!
//! | file | question it answers |
//! |---|---|
//! | `attention.rs` | how does a model call the kernels, forward and backward? |
//! | `model.rs` | what is the model, and what are its gradients? |
//! | `layers.rs` | what are its parts? |
//! | `parameter.rs` | how does Adam move a parameter? |
//! | `text.rs` | what is it trained on? |
//! | `report.rs` | how does one see that it learns? |

/// The files of `examples/train_tiny/`.
mod train_tiny {
    /// Whatever goes wrong ends the program with its message.
    pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    pub mod attention;
    pub mod layers;
    pub mod model;
    pub mod parameter;
    pub mod report;
    #[cfg(test)]
    mod tests;
    pub mod text;
}

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use flash_attention::Device;
use train_tiny::Result;
use train_tiny::attention::{AttentionLayer, KernelAttention};
use train_tiny::model::{Extents, Model};
use train_tiny::parameter::Adam;
use train_tiny::report::{self, Summary};
use train_tiny::text::Text;

/// Steps when the command line names no number.
const STEPS: usize = 800;
/// Sequences per step.
const BATCH: usize = 8;
/// Sequences of held-out text that are judged.
const JUDGED: usize = 16;
/// Characters to write at the end.
const SAMPLE: usize = 240;
/// Everything random follows from this number.
const SEED: u64 = 1;

fn main() -> Result<()> {
    let steps = steps()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = Text::read(&root.join("ARCHITECTURE.md"))?;
    let extents = Extents {
        vocabulary: text.vocabulary(),
        seqlen: 64,
        width: 64,
        heads: 2,
        layers: 2,
    };
    let attention = KernelAttention::new(Device::emulated());
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut model = Model::new(extents, attention, &mut random);
    println!("{} characters, {extents}", text.len());

    let begin = Instant::now();
    let before = judge(&model, &text)?;
    let losses = train(&mut model, &text, steps, &mut random)?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = judge(&model, &text)?;
    let written = model.write(&text.encode("## ")?, SAMPLE, &mut random)?;

    let summary = Summary {
        unigram_entropy: text.unigram_entropy(),
        losses: &losses,
        held_out: [before, after],
        seconds,
    };
    println!("{summary}\n\n{}\n", text.decode(&written));
    let plot = root.join("target/train_tiny.svg");
    report::plot(&summary, &plot)?;
    println!("loss curve: {}", plot.display());
    Ok(())
}

/// The number on the command line, or [`STEPS`].
fn steps() -> Result<usize> {
    let Some(argument) = std::env::args().nth(1) else {
        return Ok(STEPS);
    };
    let steps: NonZeroUsize = argument.parse().map_err(|error| {
        format!("STEPS {argument:?}: {error}; pass the number of training steps, say 100")
    })?;
    Ok(steps.get())
}

/// Trains and returns the loss of every step.
fn train(
    model: &mut Model<impl AttentionLayer>,
    text: &Text,
    steps: usize,
    random: &mut fastrand::Rng,
) -> Result<Vec<f64>> {
    let progress = report::progress_bar(steps);
    let mut losses = Vec::with_capacity(steps);
    for step in 0..steps {
        let batch = text.training_batch(BATCH, model.extents().seqlen, random);
        let loss = model.accumulate_gradients(&batch)?;
        let adam = Adam::at(step, steps);
        model
            .parameters()
            .for_each(|parameter| adam.update(parameter));
        progress.set_message(format!("{loss:.3}"));
        progress.inc(1);
        losses.push(loss);
    }
    progress.finish_and_clear();
    Ok(losses)
}

/// Loss on text that is never trained on.
fn judge(model: &Model<impl AttentionLayer>, text: &Text) -> Result<f64> {
    model.loss(&text.held_out_batch(JUDGED, model.extents().seqlen))
}
