//! `flash-attention grad`: a forward and a backward pass.

use std::io::Write;

use anyhow::Result;
use clap::Args;

use crate::Outcome;
use crate::attend::{self, AttendArgs, Passes};
use crate::input;

/// What the help says about input and output.
pub fn tensors() -> String {
    format!(
        "{}
  d_out               the gradient of out, shaped as it
  d_lse               f32, the gradient of lse, shaped as it; may be missing, which is zeros

Tensors of the output, besides out and lse:
  d_q, d_k, d_v       gradients of q, k and v, shaped as they are; d_kv of kv, d_qkv of qkv
  d_bias              with --bias, its gradient: shape and type of bias",
        input::TENSORS
    )
}

#[derive(Args)]
pub struct GradArgs {
    #[command(flatten)]
    attend: AttendArgs,
    /// Give the same bits every time and on every device: sum d_q in a fixed order, which takes more memory. Without
    /// it, the last bits of d_q depend on the order in which blocks of a GPU finish.
    #[arg(long)]
    deterministic: bool,
}

pub fn run(args: &GradArgs, stdout: &mut impl Write) -> Result<Outcome> {
    let passes = Passes::ForwardAndBackward {
        is_deterministic: args.deterministic,
    };
    attend::run(&args.attend, passes, stdout)
}
