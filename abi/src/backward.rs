//! The backward kernels: their table of the manifest. All of them are told the same, [`BwdParams`](crate::BwdParams).

use crate::variants::MAX_SHARED_BYTES;
use crate::{Arch, CopyKind, Dtype, KernelSpec, ScoreKind};

/// What a backward kernel computes. They run in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BwdStep {
    /// Row values for the main kernel, and zeros into the accumulator of dQ. One block is one query tile of one head.
    Delta,
    /// dK and dV of one key tile and one key head, and its part of dQ. One block is one key tile (or, in deterministic
    /// mode, several) of one key head.
    Main,
    /// dQ from its accumulator. One block is one query tile of one head.
    ConvertDq,
    /// The gradient of the bias: one block is one tile of it, summed over the heads and batch entries that share it.
    Bias,
}

impl BwdStep {
    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            BwdStep::Delta => "delta",
            BwdStep::Main => "main",
            BwdStep::ConvertDq => "convert_dq",
            BwdStep::Bias => "bias",
        }
    }
}

/// One row of the table of backward kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BwdVariant {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Oldest architecture it runs on.
    pub arch: Arch,
    /// What it computes.
    pub step: BwdStep,
    /// Type of all matrices.
    pub dtype: Dtype,
    /// What it can do to scores.
    pub scores: ScoreKind,
    /// Alignment it asks for.
    pub copy: CopyKind,
    /// Head-dimension class: serves every head_dim up to it; 256 for the steps that serve all.
    pub head_dim: u32,
    /// Query rows of one tile; 0 for a step that is told at run time.
    pub block_m: u32,
    /// Keys of one tile; 0 for a step without keys.
    pub block_n: u32,
    /// Warps of one block.
    pub warps: u32,
    /// Blocks that the register budget lets share one multiprocessor (`.minnctapersm`).
    pub blocks_per_sm: u32,
}

impl BwdVariant {
    /// Threads of one block (`.reqntid`).
    pub const fn threads(&self) -> u32 {
        self.warps * 32
    }

    /// Dynamic shared memory of one block in bytes.
    pub const fn shared_bytes(&self) -> u32 {
        let (queries, keys) = (
            2 * self.block_m * self.head_dim,
            2 * self.block_n * self.head_dim,
        );
        let d_s = 2 * self.block_m * self.block_n;
        match self.step {
            BwdStep::Delta | BwdStep::ConvertDq => 0,
            // K; V, until it is in registers, and in its place two tiles of Q, one of dO, dS, and row statistics.
            BwdStep::Main if self.block_n == 16 * self.warps => {
                keys + max(keys, 3 * queries + d_s + 12 * self.block_m)
            }
            // K, V, two tiles of Q, one of dO, dS, row statistics, and P in f32.
            BwdStep::Main => 2 * keys + 3 * queries + 3 * d_s + 12 * self.block_m,
            // K, V, Q, dO and row statistics.
            BwdStep::Bias => 2 * (queries + keys) + 12 * self.block_m,
        }
    }

    /// What a launch must know of it.
    pub const fn spec(&self) -> KernelSpec {
        KernelSpec {
            entry: self.entry,
            arch: self.arch,
            threads: self.threads(),
            shared_bytes: self.shared_bytes(),
            blocks_per_sm: self.blocks_per_sm,
        }
    }
}

const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

/// Calls `$consumer!` with all rows of the backward manifest.
#[macro_export]
macro_rules! for_each_bwd_variant {
    ($consumer:ident) => {
        $consumer! {
            // entry: arch, step, dtype, scores, copy, head_dim, block_m x block_n, warps, blocks_per_sm;
            flash_bwd_delta_sm80_f16: Sm80, Delta, F16, Any, Vector, 256, 0 x 0, 4, 4;
            flash_bwd_delta_sm80_f16_unaligned: Sm80, Delta, F16, Any, Element, 256, 0 x 0, 4, 4;
            flash_bwd_sm80_f16_hdim32: Sm80, Main, F16, Plain, Vector, 32, 64 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim64: Sm80, Main, F16, Plain, Vector, 64, 64 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim96: Sm80, Main, F16, Plain, Vector, 96, 64 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim128: Sm80, Main, F16, Plain, Vector, 128, 32 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim192: Sm80, Main, F16, Plain, Vector, 192, 32 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim256: Sm80, Main, F16, Plain, Vector, 256, 16 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim32_scores: Sm80, Main, F16, Any, Vector, 32, 64 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim64_scores: Sm80, Main, F16, Any, Vector, 64, 32 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim96_scores: Sm80, Main, F16, Any, Vector, 96, 32 x 32, 4, 1;
            flash_bwd_sm80_f16_hdim128_scores: Sm80, Main, F16, Any, Vector, 128, 32 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim192_scores: Sm80, Main, F16, Any, Vector, 192, 32 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim256_scores: Sm80, Main, F16, Any, Vector, 256, 16 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim32_unaligned: Sm80, Main, F16, Any, Element, 32, 64 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim64_unaligned: Sm80, Main, F16, Any, Element, 64, 32 x 128, 8, 1;
            flash_bwd_sm80_f16_hdim96_unaligned: Sm80, Main, F16, Any, Element, 96, 32 x 32, 4, 1;
            flash_bwd_sm80_f16_hdim128_unaligned: Sm80, Main, F16, Any, Element, 128, 32 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim192_unaligned: Sm80, Main, F16, Any, Element, 192, 32 x 64, 8, 1;
            flash_bwd_sm80_f16_hdim256_unaligned: Sm80, Main, F16, Any, Element, 256, 16 x 64, 8, 1;
            flash_bwd_dq_sm80_f16: Sm80, ConvertDq, F16, Any, Vector, 256, 0 x 0, 4, 4;
            flash_bwd_dq_sm80_f16_unaligned: Sm80, ConvertDq, F16, Any, Element, 256, 0 x 0, 4, 4;
            flash_bwd_bias_sm80_f16_hdim32: Sm80, Bias, F16, Any, Element, 32, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_f16_hdim64: Sm80, Bias, F16, Any, Element, 64, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_f16_hdim96: Sm80, Bias, F16, Any, Element, 96, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_f16_hdim128: Sm80, Bias, F16, Any, Element, 128, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_f16_hdim192: Sm80, Bias, F16, Any, Element, 192, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_f16_hdim256: Sm80, Bias, F16, Any, Element, 256, 32 x 64, 4, 1;
            flash_bwd_delta_sm80_bf16: Sm80, Delta, Bf16, Any, Vector, 256, 0 x 0, 4, 4;
            flash_bwd_delta_sm80_bf16_unaligned: Sm80, Delta, Bf16, Any, Element, 256, 0 x 0, 4, 4;
            flash_bwd_sm80_bf16_hdim32: Sm80, Main, Bf16, Plain, Vector, 32, 64 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim64: Sm80, Main, Bf16, Plain, Vector, 64, 64 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim96: Sm80, Main, Bf16, Plain, Vector, 96, 64 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim128: Sm80, Main, Bf16, Plain, Vector, 128, 32 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim192: Sm80, Main, Bf16, Plain, Vector, 192, 32 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim256: Sm80, Main, Bf16, Plain, Vector, 256, 16 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim32_scores: Sm80, Main, Bf16, Any, Vector, 32, 64 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim64_scores: Sm80, Main, Bf16, Any, Vector, 64, 32 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim96_scores: Sm80, Main, Bf16, Any, Vector, 96, 32 x 32, 4, 1;
            flash_bwd_sm80_bf16_hdim128_scores: Sm80, Main, Bf16, Any, Vector, 128, 32 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim192_scores: Sm80, Main, Bf16, Any, Vector, 192, 32 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim256_scores: Sm80, Main, Bf16, Any, Vector, 256, 16 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim32_unaligned: Sm80, Main, Bf16, Any, Element, 32, 64 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim64_unaligned: Sm80, Main, Bf16, Any, Element, 64, 32 x 128, 8, 1;
            flash_bwd_sm80_bf16_hdim96_unaligned: Sm80, Main, Bf16, Any, Element, 96, 32 x 32, 4, 1;
            flash_bwd_sm80_bf16_hdim128_unaligned: Sm80, Main, Bf16, Any, Element, 128, 32 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim192_unaligned: Sm80, Main, Bf16, Any, Element, 192, 32 x 64, 8, 1;
            flash_bwd_sm80_bf16_hdim256_unaligned: Sm80, Main, Bf16, Any, Element, 256, 16 x 64, 8, 1;
            flash_bwd_dq_sm80_bf16: Sm80, ConvertDq, Bf16, Any, Vector, 256, 0 x 0, 4, 4;
            flash_bwd_dq_sm80_bf16_unaligned: Sm80, ConvertDq, Bf16, Any, Element, 256, 0 x 0, 4, 4;
            flash_bwd_bias_sm80_bf16_hdim32: Sm80, Bias, Bf16, Any, Element, 32, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_bf16_hdim64: Sm80, Bias, Bf16, Any, Element, 64, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_bf16_hdim96: Sm80, Bias, Bf16, Any, Element, 96, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_bf16_hdim128: Sm80, Bias, Bf16, Any, Element, 128, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_bf16_hdim192: Sm80, Bias, Bf16, Any, Element, 192, 64 x 64, 4, 1;
            flash_bwd_bias_sm80_bf16_hdim256: Sm80, Bias, Bf16, Any, Element, 256, 32 x 64, 4, 1;
        }
    };
}

macro_rules! bwd_table {
    ($($entry:ident: $arch:ident, $step:ident, $dtype:ident, $scores:ident, $copy:ident,
       $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal, $blocks_per_sm:literal;)*) => {
        /// Every backward kernel, in manifest order.
        pub const BWD_VARIANTS: &[BwdVariant] = &[$(BwdVariant {
            entry: stringify!($entry),
            arch: Arch::$arch,
            step: BwdStep::$step,
            dtype: Dtype::$dtype,
            scores: ScoreKind::$scores,
            copy: CopyKind::$copy,
            head_dim: $head_dim,
            block_m: $block_m,
            block_n: $block_n,
            warps: $warps,
            blocks_per_sm: $blocks_per_sm,
        }),*];
    };
}
for_each_bwd_variant!(bwd_table);

const _: () = {
    let mut i = 0;
    while i < BWD_VARIANTS.len() {
        assert!(BWD_VARIANTS[i].shared_bytes() <= MAX_SHARED_BYTES);
        i += 1;
    }
};
