//! The kernels for Hopper, sm_90a: their tables of the manifest and what they are told. Tiles of Q, K, V and O travel by
//! tensor maps (PTX ISA, "Tensors"), which the host encodes for each launch; products are `wgmma`.

use crate::params::params_as_bytes;
use crate::{Arch, BwdParams, Dtype, FwdParams, KernelSpec};

/// An encoded tensor map (CUDA driver API, `cuTensorMapEncodeTiled`): 128 bytes that only the device understands.
///
/// A device wants it at a multiple of 64 bytes. It is the first thing in a parameter block, and the build gives the
/// parameter of every kernel for Hopper that alignment (rustc aligns parameters of kernels to 16 bytes at most).
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMap(pub [u64; 16]);

impl TensorMap {
    /// Alignment that a device asks for, in bytes.
    pub const ALIGN: u32 = 64;
    /// No map: the kernel does not read it.
    pub const NONE: TensorMap = TensorMap([0; 16]);
}

/// The piece of a matrix that one tensor copy moves: a page of a shared tile.
///
/// The map of a [`Strided`](crate::Strided) matrix has four dimensions, innermost first: head_dim, rows (of one batch
/// entry, or all rows when sequences are packed), heads, batch entries (1 when sequences are packed). Elements outside
/// are read as 0 and not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorBox {
    /// Columns of a page; a row of it, of `2 * cols` bytes, is the span of the swizzle: 128, 64 or 32.
    pub cols: u32,
    /// Heads side by side as rows of the tile: 1, or all query heads of a key head, head fastest. The map of a matrix
    /// whose heads are packed like this has heads before rows.
    pub heads: u32,
    /// Rows of one head.
    pub rows: u32,
}

/// What a kernel for Hopper can do to scores. All of them take every mask and packed sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HopperScores {
    /// Scores are softmax_scale · Q·Kᵀ.
    Plain,
    /// Then softcap · tanh(score / softcap).
    Softcap,
}

/// One row of the table of forward kernels for Hopper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HopperFwdVariant {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Type of Q, K, V and O.
    pub dtype: Dtype,
    /// What it can do to scores.
    pub scores: HopperScores,
    /// Head-dimension class: serves every head_dim up to it.
    pub head_dim: u32,
    /// Query rows of one tile: 64 for each warpgroup that computes.
    pub block_m: u32,
    /// Keys of one step of the main loop.
    pub block_n: u32,
    /// Tiles of K, and of V, in shared memory.
    pub stages: u32,
}

impl HopperFwdVariant {
    /// Warpgroups that compute; one more copies.
    pub const fn consumers(&self) -> u32 {
        self.block_m / 64
    }

    /// Threads of one block (`.reqntid`).
    pub const fn threads(&self) -> u32 {
        128 * (self.consumers() + 1)
    }

    /// Columns of a page of a shared tile.
    pub const fn page_cols(&self) -> u32 {
        if self.head_dim.is_multiple_of(64) {
            64
        } else {
            32
        }
    }

    /// The box of the maps of Q and O: the 64 rows of one warpgroup, of `packed_heads` heads, which divides 64.
    pub const fn query_box(&self, packed_heads: u32) -> TensorBox {
        TensorBox {
            cols: self.page_cols(),
            heads: packed_heads,
            rows: 64 / packed_heads,
        }
    }

    /// The box of the maps of K and V.
    pub const fn key_box(&self) -> TensorBox {
        TensorBox {
            cols: self.page_cols(),
            heads: 1,
            rows: self.block_n,
        }
    }

    /// Dynamic shared memory of one block in bytes: the tile of Q, also that of O; the stages of K and V; barriers.
    pub const fn shared_bytes(&self) -> u32 {
        2 * self.head_dim * (self.block_m + 2 * self.stages * self.block_n) + 1024
    }

    /// What a launch must know of it.
    pub const fn spec(&self) -> KernelSpec {
        KernelSpec {
            entry: self.entry,
            arch: Arch::Sm90a,
            threads: self.threads(),
            shared_bytes: self.shared_bytes(),
            blocks_per_sm: 1,
        }
    }
}

/// Calls `$consumer!` with all rows of the table of forward kernels for Hopper.
#[macro_export]
macro_rules! for_each_hopper_fwd_variant {
    ($consumer:ident) => {
        $consumer! {
            // entry: dtype, scores, head_dim, block_m x block_n, stages;
            flash_fwd_sm90_f16_hdim64: F16, Plain, 64, 128 x 192, 2;
            flash_fwd_sm90_f16_hdim96: F16, Plain, 96, 128 x 192, 2;
            flash_fwd_sm90_f16_hdim128: F16, Plain, 128, 128 x 128, 2;
            flash_fwd_sm90_f16_hdim192: F16, Plain, 192, 128 x 112, 2;
            flash_fwd_sm90_f16_hdim256: F16, Plain, 256, 128 x 80, 2;
            flash_fwd_sm90_f16_hdim64_softcap: F16, Softcap, 64, 128 x 192, 2;
            flash_fwd_sm90_f16_hdim96_softcap: F16, Softcap, 96, 128 x 192, 2;
            flash_fwd_sm90_f16_hdim128_softcap: F16, Softcap, 128, 128 x 128, 2;
            flash_fwd_sm90_f16_hdim192_softcap: F16, Softcap, 192, 128 x 112, 2;
            flash_fwd_sm90_f16_hdim256_softcap: F16, Softcap, 256, 128 x 80, 2;
            flash_fwd_sm90_bf16_hdim64: Bf16, Plain, 64, 128 x 192, 2;
            flash_fwd_sm90_bf16_hdim96: Bf16, Plain, 96, 128 x 192, 2;
            flash_fwd_sm90_bf16_hdim128: Bf16, Plain, 128, 128 x 128, 2;
            flash_fwd_sm90_bf16_hdim192: Bf16, Plain, 192, 128 x 112, 2;
            flash_fwd_sm90_bf16_hdim256: Bf16, Plain, 256, 128 x 80, 2;
            flash_fwd_sm90_bf16_hdim64_softcap: Bf16, Softcap, 64, 128 x 192, 2;
            flash_fwd_sm90_bf16_hdim96_softcap: Bf16, Softcap, 96, 128 x 192, 2;
            flash_fwd_sm90_bf16_hdim128_softcap: Bf16, Softcap, 128, 128 x 128, 2;
            flash_fwd_sm90_bf16_hdim192_softcap: Bf16, Softcap, 192, 128 x 112, 2;
            flash_fwd_sm90_bf16_hdim256_softcap: Bf16, Softcap, 256, 128 x 80, 2;
        }
    };
}

macro_rules! hopper_fwd_table {
    ($($entry:ident: $dtype:ident, $scores:ident, $head_dim:literal,
       $block_m:literal x $block_n:literal, $stages:literal;)*) => {
        /// Every forward kernel for Hopper, in manifest order.
        pub const HOPPER_FWD_VARIANTS: &[HopperFwdVariant] = &[$(HopperFwdVariant {
            entry: stringify!($entry),
            dtype: Dtype::$dtype,
            scores: HopperScores::$scores,
            head_dim: $head_dim,
            block_m: $block_m,
            block_n: $block_n,
            stages: $stages,
        }),*];
    };
}
for_each_hopper_fwd_variant!(hopper_fwd_table);

/// One row of the table of backward kernels for Hopper: the main kernel. The other steps are those of
/// [`BWD_VARIANTS`](crate::BWD_VARIANTS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HopperBwdVariant {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Type of all matrices.
    pub dtype: Dtype,
    /// What it can do to scores.
    pub scores: HopperScores,
    /// Head-dimension class: serves every head_dim up to it.
    pub head_dim: u32,
    /// Query rows of one step of the main loop.
    pub block_m: u32,
    /// Keys of one block.
    pub block_n: u32,
    /// Tiles of Q, and of dO, in shared memory.
    pub stages: u32,
}

impl HopperBwdVariant {
    /// Warpgroups that compute; one more copies.
    pub const fn consumers(&self) -> u32 {
        2
    }

    /// Threads of one block (`.reqntid`).
    pub const fn threads(&self) -> u32 {
        128 * (self.consumers() + 1)
    }

    /// Columns of a page of Q and dO in shared memory.
    pub const fn page_cols(&self) -> u32 {
        let share = self.head_dim / if self.is_wide() { 2 } else { 1 };
        if share.is_multiple_of(64) { 64 } else { 32 }
    }

    /// Whether warpgroups share the columns of dK and dV instead of the keys.
    pub const fn is_wide(&self) -> bool {
        self.head_dim > 128
    }

    /// Columns of a page of K and V in shared memory. Each warpgroup computes as much of dQ as the others, with whole pages
    /// of K.
    pub const fn key_page_cols(&self) -> u32 {
        let share = self.head_dim * self.block_m / (64 * self.consumers());
        if share.is_multiple_of(64) {
            64
        } else if share.is_multiple_of(32) {
            32
        } else {
            16
        }
    }

    /// What one copy moves of Q or dO.
    pub const fn query_box(&self) -> TensorBox {
        TensorBox {
            cols: self.page_cols(),
            heads: 1,
            rows: self.block_m,
        }
    }

    /// What one copy moves of K or V.
    pub const fn key_box(&self) -> TensorBox {
        TensorBox {
            cols: self.key_page_cols(),
            heads: 1,
            rows: self.block_n,
        }
    }

    /// Dynamic shared memory of one block in bytes: K, V, the stages of Q and dO with their row statistics, two tiles of
    /// dS, and of P in wide variants; barriers.
    pub const fn shared_bytes(&self) -> u32 {
        2 * self.head_dim * (2 * self.block_n + 2 * self.stages * self.block_m)
            + 12 * self.stages * self.block_m
            + 2 * self.block_m * self.block_n * if self.is_wide() { 4 } else { 2 }
            + 1024
    }

    /// What a launch must know of it.
    pub const fn spec(&self) -> KernelSpec {
        KernelSpec {
            entry: self.entry,
            arch: Arch::Sm90a,
            threads: self.threads(),
            shared_bytes: self.shared_bytes(),
            blocks_per_sm: 1,
        }
    }
}

/// Calls `$consumer!` with all rows of the table of backward kernels for Hopper.
#[macro_export]
macro_rules! for_each_hopper_bwd_variant {
    ($consumer:ident) => {
        $consumer! {
            // entry: dtype, scores, head_dim, block_m x block_n, stages;
            flash_bwd_sm90_f16_hdim64: F16, Plain, 64, 128 x 128, 2;
            flash_bwd_sm90_f16_hdim96: F16, Plain, 96, 64 x 128, 2;
            flash_bwd_sm90_f16_hdim128: F16, Plain, 128, 64 x 128, 2;
            flash_bwd_sm90_f16_hdim192: F16, Plain, 192, 64 x 64, 2;
            flash_bwd_sm90_f16_hdim256: F16, Plain, 256, 64 x 64, 2;
            flash_bwd_sm90_f16_hdim64_softcap: F16, Softcap, 64, 64 x 128, 2;
            flash_bwd_sm90_f16_hdim96_softcap: F16, Softcap, 96, 64 x 128, 2;
            flash_bwd_sm90_f16_hdim128_softcap: F16, Softcap, 128, 64 x 128, 2;
            flash_bwd_sm90_f16_hdim192_softcap: F16, Softcap, 192, 64 x 64, 2;
            flash_bwd_sm90_f16_hdim256_softcap: F16, Softcap, 256, 64 x 64, 2;
            flash_bwd_sm90_bf16_hdim64: Bf16, Plain, 64, 128 x 128, 2;
            flash_bwd_sm90_bf16_hdim96: Bf16, Plain, 96, 64 x 128, 2;
            flash_bwd_sm90_bf16_hdim128: Bf16, Plain, 128, 64 x 128, 2;
            flash_bwd_sm90_bf16_hdim192: Bf16, Plain, 192, 64 x 64, 2;
            flash_bwd_sm90_bf16_hdim256: Bf16, Plain, 256, 64 x 64, 2;
            flash_bwd_sm90_bf16_hdim64_softcap: Bf16, Softcap, 64, 64 x 128, 2;
            flash_bwd_sm90_bf16_hdim96_softcap: Bf16, Softcap, 96, 64 x 128, 2;
            flash_bwd_sm90_bf16_hdim128_softcap: Bf16, Softcap, 128, 64 x 128, 2;
            flash_bwd_sm90_bf16_hdim192_softcap: Bf16, Softcap, 192, 64 x 64, 2;
            flash_bwd_sm90_bf16_hdim256_softcap: Bf16, Softcap, 256, 64 x 64, 2;
        }
    };
}

macro_rules! hopper_bwd_table {
    ($($entry:ident: $dtype:ident, $scores:ident, $head_dim:literal,
       $block_m:literal x $block_n:literal, $stages:literal;)*) => {
        /// Every backward kernel for Hopper, in manifest order.
        pub const HOPPER_BWD_VARIANTS: &[HopperBwdVariant] = &[$(HopperBwdVariant {
            entry: stringify!($entry),
            dtype: Dtype::$dtype,
            scores: HopperScores::$scores,
            head_dim: $head_dim,
            block_m: $block_m,
            block_n: $block_n,
            stages: $stages,
        }),*];
    };
}
for_each_hopper_bwd_variant!(hopper_bwd_table);

/// Shared memory that one block may opt in to on Hopper: 227 KiB.
pub const HOPPER_MAX_SHARED_BYTES: u32 = 227 * 1024;

/// Everything a forward kernel for Hopper is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HopperFwdParams {
    /// Queries.
    pub q: TensorMap,
    /// Keys.
    pub k: TensorMap,
    /// Values.
    pub v: TensorMap,
    /// Output, written.
    pub out: TensorMap,
    /// The problem. `m_blocks` counts tiles of this kernel.
    pub forward: FwdParams,
    /// Tiles of all heads and batch entries: `m_blocks * num_heads * batch`, or `m_blocks * num_heads_k * batch` with
    /// packed heads. The grid is any number of blocks along x up to it; they share the tiles.
    pub tiles: u32,
    /// Query heads that are packed into one tile: 1, or `heads_per_group`, which then divides 64.
    pub packed_heads: u32,
    /// Zero.
    pub reserved: [u32; 2],
}

/// Everything the main backward kernel for Hopper is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HopperBwdParams {
    /// Queries.
    pub q: TensorMap,
    /// Keys.
    pub k: TensorMap,
    /// Values.
    pub v: TensorMap,
    /// Gradient of the output.
    pub d_out: TensorMap,
    /// The problem.
    pub backward: BwdParams,
    /// Zero.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<HopperFwdParams>() == 4 * 128 + size_of::<FwdParams>() + 16);
const _: () = assert!(size_of::<HopperBwdParams>() == 4 * 128 + size_of::<BwdParams>() + 8);

params_as_bytes!(HopperFwdParams, HopperBwdParams);
