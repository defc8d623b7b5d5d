//! The manifest: one row per compiled kernel. This file holds the forward kernels and what all tables share.
//!
//! Kernel entries, launch bounds, host dispatch and tests are all generated from these rows; there is no second list.

use crate::KernelSpec;

/// GPU architecture that a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// Ampere: mma.sync m16n8k16, cp.async. `-C target-cpu=sm_80`. Runs on it and every later one.
    Sm80,
    /// Hopper: wgmma, tensor copies, mbarrier. `-C target-cpu=sm_90a`. Runs on it alone.
    Sm90a,
}

impl Arch {
    /// Every architecture of the manifest.
    pub const ALL: &[Arch] = &[Arch::Sm80, Arch::Sm90a];

    /// The name rustc, ptxas and users know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::Sm80 => "sm_80",
            Arch::Sm90a => "sm_90a",
        }
    }

    /// The oldest compute capability that runs it: `(major, minor)`.
    pub const fn compute_capability(self) -> (u32, u32) {
        match self {
            Arch::Sm80 => (8, 0),
            Arch::Sm90a => (9, 0),
        }
    }

    /// Whether a GPU of this compute capability, `(major, minor)`, runs it: the suffix `a` ties a kernel to one.
    pub const fn runs_on(self, (major, minor): (u32, u32)) -> bool {
        match self {
            Arch::Sm80 => major >= 8,
            Arch::Sm90a => major == 9 && minor == 0,
        }
    }
}

/// Element type of Q, K, V and O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    /// Lower-case name, as in entry names and safetensors headers.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
        }
    }
}

/// What a kernel can do to scores. All kernels take every mask and packed sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreKind {
    /// Scores are softmax_scale · Q·Kᵀ, and nothing is dropped.
    Plain,
    /// Also softcap, ALiBi, bias and dropout, told by [`ScoreParams`](crate::ScoreParams) at run time.
    Any,
}

/// How tiles travel between global and shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyKind {
    /// cp.async and 16-byte stores: pointers and strides are multiples of 8 elements.
    Vector,
    /// Element by element: any address an element may have.
    Element,
}

/// One row of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FwdVariant {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Oldest architecture it runs on.
    pub arch: Arch,
    /// Type of Q, K, V and O.
    pub dtype: Dtype,
    /// What it can do to scores.
    pub scores: ScoreKind,
    /// Alignment it asks for.
    pub copy: CopyKind,
    /// Head-dimension class: serves every head_dim up to it.
    pub head_dim: u32,
    /// Query rows of one block.
    pub block_m: u32,
    /// Keys of one step of the main loop.
    pub block_n: u32,
    /// Warps of one block.
    pub warps: u32,
    /// Blocks that the register budget lets share one multiprocessor (`.minnctapersm`).
    pub blocks_per_sm: u32,
}

impl FwdVariant {
    /// Threads of one block (`.reqntid`).
    pub const fn threads(&self) -> u32 {
        self.warps * 32
    }

    /// Dynamic shared memory of one block in bytes: one tile each of Q, K and V.
    pub const fn shared_bytes(&self) -> u32 {
        (self.block_m + 2 * self.block_n) * self.head_dim * 2
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

/// Calls `$consumer!` with all rows of the forward manifest.
///
/// Tile sizes: those with the fewest instructions per tensor operation among the ones that keep all accumulators in
/// registers (0 spills with ptxas 13 for sm_80, sm_86 and sm_90, checked by tests/codegen) and whose tiles fit the
/// 99 KiB of shared memory that every GPU from sm_80 on grants one block. Where it fits, a warp owns two strips of 16
/// rows: each K and V fragment then feeds twice as many products, and a Philox call all elements that it is for. For
/// head_dim 96 and 128 two strips by 64 keys fill all 255 registers and spill, so eight warps of one strip share 128
/// keys. What can happen to scores needs registers too: the kernels that take any have narrower key tiles up to
/// head_dim 96.
#[macro_export]
macro_rules! for_each_fwd_variant {
    ($consumer:ident) => {
        $consumer! {
            // entry: arch, dtype, scores, copy, head_dim, block_m x block_n, warps, blocks_per_sm;
            flash_fwd_sm80_f16_hdim32: Sm80, F16, Plain, Vector, 32, 128 x 96, 4, 2;
            flash_fwd_sm80_f16_hdim64: Sm80, F16, Plain, Vector, 64, 128 x 64, 4, 2;
            flash_fwd_sm80_f16_hdim96: Sm80, F16, Plain, Vector, 96, 128 x 128, 8, 1;
            flash_fwd_sm80_f16_hdim128: Sm80, F16, Plain, Vector, 128, 128 x 128, 8, 1;
            flash_fwd_sm80_f16_hdim192: Sm80, F16, Plain, Vector, 192, 128 x 64, 8, 1;
            flash_fwd_sm80_f16_hdim256: Sm80, F16, Plain, Vector, 256, 64 x 64, 4, 2;
            flash_fwd_sm80_f16_hdim32_scores: Sm80, F16, Any, Vector, 32, 128 x 32, 4, 2;
            flash_fwd_sm80_f16_hdim64_scores: Sm80, F16, Any, Vector, 64, 128 x 48, 4, 2;
            flash_fwd_sm80_f16_hdim96_scores: Sm80, F16, Any, Vector, 96, 128 x 32, 4, 2;
            flash_fwd_sm80_f16_hdim128_scores: Sm80, F16, Any, Vector, 128, 128 x 128, 8, 1;
            flash_fwd_sm80_f16_hdim192_scores: Sm80, F16, Any, Vector, 192, 128 x 64, 8, 1;
            flash_fwd_sm80_f16_hdim256_scores: Sm80, F16, Any, Vector, 256, 64 x 64, 4, 2;
            flash_fwd_sm80_f16_hdim32_unaligned: Sm80, F16, Any, Element, 32, 128 x 32, 4, 2;
            flash_fwd_sm80_f16_hdim64_unaligned: Sm80, F16, Any, Element, 64, 128 x 48, 4, 2;
            flash_fwd_sm80_f16_hdim96_unaligned: Sm80, F16, Any, Element, 96, 128 x 32, 4, 2;
            flash_fwd_sm80_f16_hdim128_unaligned: Sm80, F16, Any, Element, 128, 128 x 128, 8, 1;
            flash_fwd_sm80_f16_hdim192_unaligned: Sm80, F16, Any, Element, 192, 128 x 64, 8, 1;
            flash_fwd_sm80_f16_hdim256_unaligned: Sm80, F16, Any, Element, 256, 64 x 64, 4, 2;
            flash_fwd_sm80_bf16_hdim32: Sm80, Bf16, Plain, Vector, 32, 128 x 96, 4, 2;
            flash_fwd_sm80_bf16_hdim64: Sm80, Bf16, Plain, Vector, 64, 128 x 64, 4, 2;
            flash_fwd_sm80_bf16_hdim96: Sm80, Bf16, Plain, Vector, 96, 128 x 128, 8, 1;
            flash_fwd_sm80_bf16_hdim128: Sm80, Bf16, Plain, Vector, 128, 128 x 128, 8, 1;
            flash_fwd_sm80_bf16_hdim192: Sm80, Bf16, Plain, Vector, 192, 128 x 64, 8, 1;
            flash_fwd_sm80_bf16_hdim256: Sm80, Bf16, Plain, Vector, 256, 64 x 64, 4, 2;
            flash_fwd_sm80_bf16_hdim32_scores: Sm80, Bf16, Any, Vector, 32, 128 x 32, 4, 2;
            flash_fwd_sm80_bf16_hdim64_scores: Sm80, Bf16, Any, Vector, 64, 128 x 48, 4, 2;
            flash_fwd_sm80_bf16_hdim96_scores: Sm80, Bf16, Any, Vector, 96, 128 x 32, 4, 2;
            flash_fwd_sm80_bf16_hdim128_scores: Sm80, Bf16, Any, Vector, 128, 128 x 128, 8, 1;
            flash_fwd_sm80_bf16_hdim192_scores: Sm80, Bf16, Any, Vector, 192, 128 x 64, 8, 1;
            flash_fwd_sm80_bf16_hdim256_scores: Sm80, Bf16, Any, Vector, 256, 64 x 64, 4, 2;
            flash_fwd_sm80_bf16_hdim32_unaligned: Sm80, Bf16, Any, Element, 32, 128 x 32, 4, 2;
            flash_fwd_sm80_bf16_hdim64_unaligned: Sm80, Bf16, Any, Element, 64, 128 x 48, 4, 2;
            flash_fwd_sm80_bf16_hdim96_unaligned: Sm80, Bf16, Any, Element, 96, 128 x 32, 4, 2;
            flash_fwd_sm80_bf16_hdim128_unaligned: Sm80, Bf16, Any, Element, 128, 128 x 128, 8, 1;
            flash_fwd_sm80_bf16_hdim192_unaligned: Sm80, Bf16, Any, Element, 192, 128 x 64, 8, 1;
            flash_fwd_sm80_bf16_hdim256_unaligned: Sm80, Bf16, Any, Element, 256, 64 x 64, 4, 2;
        }
    };
}

macro_rules! fwd_table {
    ($($entry:ident: $arch:ident, $dtype:ident, $scores:ident, $copy:ident,
       $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal, $blocks_per_sm:literal;)*) => {
        /// Every forward kernel, in manifest order.
        pub const FWD_VARIANTS: &[FwdVariant] = &[$(FwdVariant {
            entry: stringify!($entry),
            arch: Arch::$arch,
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
for_each_fwd_variant!(fwd_table);

/// Shared memory that one block may opt in to on every GPU from sm_80 on: sm_86 and sm_89 grant 99 KiB.
pub const MAX_SHARED_BYTES: u32 = 99 * 1024;

const _: () = {
    let mut i = 0;
    while i < FWD_VARIANTS.len() {
        let v = &FWD_VARIANTS[i];
        assert!(
            v.shared_bytes() <= MAX_SHARED_BYTES,
            "tiles do not fit in shared memory"
        );
        assert!(
            v.block_m.is_multiple_of(16 * v.warps),
            "each warp owns whole strips of 16 query rows"
        );
        assert!(
            v.block_n.is_multiple_of(16),
            "P·V walks the keys in steps of 16"
        );
        assert!(
            v.head_dim.is_multiple_of(32),
            "shared-memory pages are 32 or 64 columns wide"
        );
        i += 1;
    }
};
