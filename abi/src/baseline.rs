//! The baselines: what the kernels of standard attention and of FlashAttention-1 are told, and their table of the
//! manifest. FlashAttention-2, the forward kernels of [`variants`](crate::variants), is what they are compared with.

use crate::variants::MAX_SHARED_BYTES;
use crate::{Arch, Dtype, FwdParams, KernelSpec};

/// Bytes of one element of Q, K, V, P and O.
const ELEMENT_BYTES: u32 = 2;

/// Everything a kernel of standard attention is told.
///
/// S and P are `[batch, num_heads, seqlen_q, row_stride]`, contiguous; the first seqlen_k columns are those of the keys.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StandardParams {
    /// The attention problem. `m_blocks` counts tiles of the kernel that is launched.
    pub problem: FwdParams,
    /// Device address of S = softmax_scale · Q·Kᵀ, f32, aligned to 16 bytes.
    pub scores: u64,
    /// Device address of P = softmax(S), of the element type, aligned to 16 bytes.
    pub probabilities: u64,
    /// Elements from one row of S or P to the next: seqlen_k rounded up to a multiple of 8.
    pub row_stride: u32,
    /// Key tiles of the kernel that is launched: `ceil(seqlen_k / BLOCK_N)`.
    pub n_blocks: u32,
}

/// Everything the kernel of FlashAttention-1 is told.
///
/// O, l and m live in device memory between the steps of a block; nobody has to initialise them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flash1Params {
    /// The attention problem; `m_blocks` is 1, since one block computes a whole head.
    pub problem: FwdParams,
    /// Device address of O of the steps so far, f32 `[batch, num_heads, seqlen_q, head_dim]`, aligned to 16 bytes.
    pub out: u64,
    /// Device address of l, the row sums, f32 `[batch, num_heads, seqlen_q]`.
    pub row_sum: u64,
    /// Device address of m, the row maxima of the scaled scores, f32 `[batch, num_heads, seqlen_q]`.
    pub row_max: u64,
}

const _: () = assert!(size_of::<StandardParams>() == size_of::<FwdParams>() + 2 * 8 + 2 * 4);
const _: () = assert!(size_of::<Flash1Params>() == size_of::<FwdParams>() + 3 * 8);
crate::params::params_as_bytes!(StandardParams, Flash1Params);

/// What a baseline kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BaselineStep {
    /// Standard attention, first kernel: S = softmax_scale · Q·Kᵀ. One block is one tile of S.
    Scores,
    /// Standard attention, second kernel: P = softmax(S) and the log-sum-exp. One warp is one row.
    Softmax,
    /// Standard attention, third kernel: O = P·V. One block is `block_m` rows of O.
    Output,
    /// FlashAttention-1, whole. One block is one head of one batch entry.
    Flash1,
}

impl BaselineStep {
    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            BaselineStep::Scores => "scores",
            BaselineStep::Softmax => "softmax",
            BaselineStep::Output => "output",
            BaselineStep::Flash1 => "flash1",
        }
    }
}

/// One row of the table of baselines. All of them take either no mask or the causal one, told by
/// [`FwdParams::window_right`] at run time, and contiguous tensors aligned to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BaselineVariant {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Oldest architecture it runs on.
    pub arch: Arch,
    /// What it computes.
    pub step: BaselineStep,
    /// Type of Q, K, V, P and O.
    pub dtype: Dtype,
    /// The one head dimension it serves; 0 for a step that reads neither Q, K nor V and serves all.
    pub head_dim: u32,
    /// Query rows of one tile.
    pub block_m: u32,
    /// Keys of one tile.
    pub block_n: u32,
    /// Warps of one block.
    pub warps: u32,
    /// Blocks that the register budget lets share one multiprocessor (`.minnctapersm`).
    pub blocks_per_sm: u32,
}

impl BaselineVariant {
    /// Threads of one block (`.reqntid`).
    pub const fn threads(&self) -> u32 {
        self.warps * 32
    }

    /// Dynamic shared memory of one block in bytes.
    pub const fn shared_bytes(&self) -> u32 {
        let query_tile = self.block_m * self.head_dim * ELEMENT_BYTES;
        let key_tile = self.block_n * self.head_dim * ELEMENT_BYTES;
        match self.step {
            BaselineStep::Scores => query_tile + key_tile,
            BaselineStep::Softmax => 0,
            // Tiles of P and V; when they are done, O takes their place on its way to memory.
            BaselineStep::Output => {
                let p_tile = self.block_m * self.block_n * ELEMENT_BYTES;
                max(p_tile + key_tile, query_tile)
            }
            // Tiles of K and V, the f32 parts of O of all warps, in whose place Q was before, and for each row and warp
            // a maximum and a sum.
            BaselineStep::Flash1 => {
                let parts_of_out = self.warps * self.block_m * self.head_dim * 4;
                2 * key_tile + parts_of_out + 2 * self.warps * self.block_m * 4
            }
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

/// Calls `$consumer!` with all rows of the table of baselines.
///
/// FlashAttention-1 has the tiles of its authors' kernels for sm_80: 16 query rows against 256 keys at head_dim 64 and
/// 128 keys at head_dim 128, so that K and V fill the same 64 KiB of shared memory.
#[macro_export]
macro_rules! for_each_baseline_variant {
    ($consumer:ident) => {
        $consumer! {
            // entry: arch, step, dtype, head_dim, block_m x block_n, warps, blocks_per_sm;
            standard_scores_sm80_f16_hdim64: Sm80, Scores, F16, 64, 128 x 64, 4, 2;
            standard_scores_sm80_f16_hdim128: Sm80, Scores, F16, 128, 128 x 64, 4, 2;
            standard_softmax_sm80_f16: Sm80, Softmax, F16, 0, 4 x 128, 4, 8;
            standard_output_sm80_f16_hdim64: Sm80, Output, F16, 64, 128 x 64, 4, 2;
            standard_output_sm80_f16_hdim128: Sm80, Output, F16, 128, 128 x 64, 4, 2;
            flash1_sm80_f16_hdim64: Sm80, Flash1, F16, 64, 16 x 256, 4, 1;
            flash1_sm80_f16_hdim128: Sm80, Flash1, F16, 128, 16 x 128, 4, 1;
            standard_scores_sm80_bf16_hdim64: Sm80, Scores, Bf16, 64, 128 x 64, 4, 2;
            standard_scores_sm80_bf16_hdim128: Sm80, Scores, Bf16, 128, 128 x 64, 4, 2;
            standard_softmax_sm80_bf16: Sm80, Softmax, Bf16, 0, 4 x 128, 4, 8;
            standard_output_sm80_bf16_hdim64: Sm80, Output, Bf16, 64, 128 x 64, 4, 2;
            standard_output_sm80_bf16_hdim128: Sm80, Output, Bf16, 128, 128 x 64, 4, 2;
            flash1_sm80_bf16_hdim64: Sm80, Flash1, Bf16, 64, 16 x 256, 4, 1;
            flash1_sm80_bf16_hdim128: Sm80, Flash1, Bf16, 128, 16 x 128, 4, 1;
        }
    };
}

macro_rules! baseline_table {
    ($($entry:ident: $arch:ident, $step:ident, $dtype:ident, $head_dim:literal,
       $block_m:literal x $block_n:literal, $warps:literal, $blocks_per_sm:literal;)*) => {
        /// Every baseline kernel, in manifest order.
        pub const BASELINE_VARIANTS: &[BaselineVariant] = &[$(BaselineVariant {
            entry: stringify!($entry),
            arch: Arch::$arch,
            step: BaselineStep::$step,
            dtype: Dtype::$dtype,
            head_dim: $head_dim,
            block_m: $block_m,
            block_n: $block_n,
            warps: $warps,
            blocks_per_sm: $blocks_per_sm,
        }),*];
    };
}
for_each_baseline_variant!(baseline_table);

const _: () = {
    let mut i = 0;
    while i < BASELINE_VARIANTS.len() {
        let v = &BASELINE_VARIANTS[i];
        assert!(
            v.shared_bytes() <= MAX_SHARED_BYTES,
            "tiles do not fit in shared memory"
        );
        i += 1;
    }
};
