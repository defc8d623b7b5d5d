//! The inputs of attention in a safetensors file.
//!
//! ```text
//! file.rs       tensors by name, their types
//! qkv.rs        q, k and v, separate or packed
//! sequences.rs  cu_seqlens and seqused: sequences of different lengths
//! scores.rs     ALiBi slopes and bias
//! ```

mod file;
mod qkv;
mod scores;
mod sequences;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use flash_attention::{AttentionElement, bf16, f16};
use safetensors::{Dtype, SafeTensors};

use file::File;
pub use qkv::{Group, Qkv, Uploaded};
pub use scores::{Bias, Slopes, Values};
pub use sequences::Sequences;

/// What the help of a command says about its input.
pub const TENSORS: &str = "\
Tensors of the input, f16 or bf16 where nothing else is said:
  q                   [batch, seqlen_q, num_heads, head_dim]
  k, v                [batch, seqlen_k, num_heads_k, head_dim]
  kv                  [batch, seqlen_k, 2, num_heads_k, head_dim], instead of k and v
  qkv                 [batch, seqlen, 3, num_heads, head_dim], instead of q, k and v
  cu_seqlens          i32 or i64 [batch + 1]: q, k and v hold sequences of different lengths one after the other and
                      have dimensions [total, ..] instead of [batch, seqlen, ..]; sequence b is the rows from
                      cu_seqlens[b] to cu_seqlens[b + 1], that one excluded
  cu_seqlens_q, cu_seqlens_k
                      instead of cu_seqlens, when keys are cut otherwise than queries
  seqused_q, seqused_k
                      i32 or i64 [batch]: only so many rows of each sequence take part
  alibi_slopes        f32 [num_heads] or [batch, num_heads], for --alibi
  bias                f32 or as q, [batch or 1, num_heads or 1, seqlen_q, seqlen_k] (the longest ones with cu_seqlens);
                      dimensions of 1 in front may be missing; for --bias";

/// What a command wants of a file besides q, k and v.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    pub alibi: bool,
    pub bias: bool,
    /// The gradients of out and lse.
    pub gradients: bool,
}

/// The inputs of attention.
pub struct Inputs<T> {
    pub qkv: Qkv<T>,
    /// None when all sequences have one length.
    pub sequences: Option<Sequences>,
    pub alibi_slopes: Option<Slopes>,
    pub bias: Option<Bias<T>>,
    pub gradients: Option<OutputGradients<T>>,
}

/// What a backward pass begins with, row-major.
pub struct OutputGradients<T> {
    /// Shaped as out.
    pub d_out: Vec<T>,
    /// Shaped as lse.
    pub d_lse: Option<Vec<f32>>,
}

/// Inputs of either type that kernels exist for.
pub enum AnyInputs {
    F16(Inputs<f16>),
    Bf16(Inputs<bf16>),
}

/// Extents of the scores.
#[derive(Clone, Copy)]
pub struct Extents {
    pub batch: usize,
    pub num_heads: usize,
    /// The longest one when there are several.
    pub seqlen_q: usize,
    pub seqlen_k: usize,
}

/// Reads a file; the type of q decides which type k and v must have.
pub fn read(path: &Path, wanted: Wanted) -> Result<AnyInputs> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is not a safetensors file", path.display()))?;
    from_tensors(tensors, wanted).with_context(|| path.display().to_string())
}

/// Takes the inputs from what a file has.
pub fn from_tensors(tensors: SafeTensors, wanted: Wanted) -> Result<AnyInputs> {
    any_inputs(&File::new(tensors), wanted)
}

fn any_inputs(file: &File, wanted: Wanted) -> Result<AnyInputs> {
    let names = group_names(file)?;
    let first = file.need(names[0].0)?;
    match first.dtype() {
        Dtype::F16 => inputs(file, names, wanted).map(AnyInputs::F16),
        Dtype::BF16 => inputs(file, names, wanted).map(AnyInputs::Bf16),
        other => bail!(
            "{} has dtype {other:?}, must be F16 or BF16: convert the tensors",
            names[0].0
        ),
    }
}

/// Names of the tensors that hold q, k and v, and how many of them each one holds.
fn group_names(file: &File) -> Result<&'static [(&'static str, usize)]> {
    let (names, others): (&'static [_], &[&str]) = if file.has("qkv") {
        (&[("qkv", 3)], &["q", "k", "v", "kv"])
    } else if file.has("kv") {
        (&[("q", 1), ("kv", 2)], &["k", "v"])
    } else {
        (&[("q", 1), ("k", 1), ("v", 1)], &[])
    };
    match others.iter().find(|other| file.has(other)) {
        Some(other) => {
            let packed = names[names.len() - 1].0;
            bail!(
                "{packed} and {other} are both in the file, which leaves open what to use: remove one"
            )
        }
        None => Ok(names),
    }
}

fn inputs<T: AttentionElement>(
    file: &File,
    names: &'static [(&'static str, usize)],
    wanted: Wanted,
) -> Result<Inputs<T>> {
    let sequences = Sequences::read(file)?;
    let dtype = file.need(names[0].0)?.dtype();
    let group = |&(name, parts)| -> Result<Group<T>> {
        let tensor = file.need(name)?;
        if tensor.dtype() != dtype {
            bail!(
                "{name} has dtype {:?}, {} has {dtype:?}: convert them to one type",
                tensor.dtype(),
                names[0].0
            );
        }
        Ok(Group {
            name,
            shape: tensor.shape().to_vec(),
            extents: group_extents(name, tensor.shape(), parts, sequences.is_some())?,
            data: file::elements(&tensor),
        })
    };
    let groups: Result<_> = names.iter().map(group).collect();
    let qkv = Qkv { groups: groups? };
    if let Some(sequences) = &sequences {
        let [q, k, _] = qkv.shapes();
        sequences.check_rows([q[1], k[1]])?;
    }
    let mut inputs = Inputs {
        qkv,
        sequences,
        alibi_slopes: None,
        bias: None,
        gradients: None,
    };
    let extents = inputs.extents();
    if wanted.alibi {
        inputs.alibi_slopes = Some(Slopes::read(file, extents)?);
    }
    if wanted.bias {
        inputs.bias = Some(Bias::read(file, dtype, extents)?);
    }
    if wanted.gradients {
        inputs.gradients = Some(OutputGradients::read(file, dtype, &inputs)?);
    }
    Ok(inputs)
}

/// `[batch, seqlen, parts, heads, head_dim]` of a tensor that holds `parts` of q, k and v.
fn group_extents(
    name: &str,
    shape: &[usize],
    parts: usize,
    has_sequences: bool,
) -> Result<[usize; 5]> {
    let inner = match parts {
        1 => "heads, head_dim",
        2 => "2, heads, head_dim",
        _ => "3, heads, head_dim",
    };
    let rows = if has_sequences { 1 } else { 2 };
    let rank = rows + if parts > 1 { 3 } else { 2 };
    if shape.len() != rank {
        let (layout, way_out) = match has_sequences {
            true => (
                "[total, ",
                "because the file has cu_seqlens: remove that when all sequences have one length",
            ),
            false => (
                "[batch, seqlen, ",
                "add cu_seqlens (i32 [batch + 1]) when sequences are packed one after the other",
            ),
        };
        bail!(
            "{name} has shape {shape:?}, must have {rank} dimensions {layout}{inner}]; {way_out}"
        );
    }
    if parts > 1 && shape[rows] != parts {
        bail!(
            "{name} has shape {shape:?}, dimension {rows} must be {parts}, one for each letter of its name"
        );
    }
    let mut extents = [1; 5];
    extents[2 - rows..2].copy_from_slice(&shape[..rows]);
    extents[3..].copy_from_slice(&shape[rank - 2..]);
    extents[2] = parts;
    Ok(extents)
}

impl<T: AttentionElement> Inputs<T> {
    /// Plain attention of q, k and v, each a shape `[batch, seqlen, heads, head_dim]` and its numbers.
    pub fn plain(tensors: [([usize; 4], Vec<T>); 3]) -> Inputs<T> {
        Inputs {
            qkv: Qkv::separate(tensors),
            sequences: None,
            alibi_slopes: None,
            bias: None,
            gradients: None,
        }
    }

    pub fn extents(&self) -> Extents {
        let [q, k, _] = self.qkv.shapes();
        let sequences = self.sequences.as_ref();
        let [seqlen_q, seqlen_k] = sequences.map_or([q[1], k[1]], Sequences::max_seqlens);
        Extents {
            batch: sequences.map_or(q[0], |sequences| sequences.entries().len()),
            num_heads: q[2],
            seqlen_q,
            seqlen_k,
        }
    }

    /// Shape of out in a file.
    pub fn out_shape(&self) -> Vec<usize> {
        let q = self.qkv.shapes()[0];
        match self.sequences {
            Some(_) => q[1..].to_vec(),
            None => q.to_vec(),
        }
    }

    /// Shape of lse in a file.
    pub fn lse_shape(&self) -> Vec<usize> {
        let [batch, rows, num_heads, _] = self.qkv.shapes()[0];
        match self.sequences {
            Some(_) => vec![num_heads, rows],
            None => vec![batch, num_heads, rows],
        }
    }
}

impl<T: AttentionElement> OutputGradients<T> {
    fn read(file: &File, dtype: Dtype, inputs: &Inputs<T>) -> Result<OutputGradients<T>> {
        let d_out = file.find("d_out").ok_or_else(|| {
            anyhow!(
                "no tensor d_out, the gradient of out: the file needs it with shape {:?}, has {:?}",
                inputs.out_shape(),
                file.names()
            )
        })?;
        file::check("d_out", &d_out, &[dtype], &inputs.out_shape())?;
        let d_lse = file.find("d_lse");
        if let Some(d_lse) = &d_lse {
            file::check("d_lse", d_lse, &[Dtype::F32], &inputs.lse_shape())?;
        }
        Ok(OutputGradients {
            d_out: file::elements(&d_out),
            d_lse: d_lse.map(|d_lse| file::floats(&d_lse)),
        })
    }
}
