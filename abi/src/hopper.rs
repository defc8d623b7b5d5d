//! The kernels for Hopper, sm_90a: their tables of the manifest and what they are told. Tiles of Q, K, V and O travel by
//! tensor maps (PTX ISA, "Tensors"), which the host encodes for each launch; products are `wgmma`.
//!
//! Here is what both passes share; [`forward`] and [`backward`] have the rows, what follows from a row, and the parameters.

pub mod backward;
pub mod forward;

use core::marker::PhantomData;

use crate::{Arch, Dtype, KernelSpec};

/// Shared memory that one block may opt in to on Hopper: 227 KiB.
pub const HOPPER_MAX_SHARED_BYTES: u32 = 227 * 1024;

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

/// One row of the table of kernels for Hopper of a pass, [`ForwardPass`](forward::ForwardPass) or
/// [`BackwardPass`](backward::BackwardPass).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HopperVariant<Pass> {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Type of all matrices.
    pub dtype: Dtype,
    /// What it can do to scores.
    pub scores: HopperScores,
    /// Head-dimension class: serves every head_dim up to it.
    pub head_dim: u32,
    /// Query rows of a tile. Forward a block computes a tile, 64 rows in each warpgroup; backward a tile is one step of
    /// the main loop.
    pub block_m: u32,
    /// Keys of a tile. Forward a tile is one step of the main loop; backward a block computes a tile.
    pub block_n: u32,
    /// Tiles of what a step of the main loop copies that shared memory has room for: of K and as many of V, backward of
    /// Q and as many of dO.
    pub stages: u32,
    pass: PhantomData<Pass>,
}

impl<Pass> HopperVariant<Pass> {
    /// What a launch must know of it, when so many warpgroups compute; one more copies.
    const fn spec_of(&self, consumers: u32, shared_bytes: u32) -> KernelSpec {
        KernelSpec {
            entry: self.entry,
            arch: Arch::Sm90a,
            threads: 128 * (consumers + 1),
            shared_bytes,
            blocks_per_sm: 1,
        }
    }

    /// Stops the build at a row that no device runs or `wgmma` has no shape for (PTX ISA, "wgmma.mma_async": m64nNk16, N
    /// a multiple of 8 up to 256).
    const fn assert_legal(&self, shared_bytes: u32) {
        assert!(
            shared_bytes <= HOPPER_MAX_SHARED_BYTES,
            "tiles do not fit in shared memory"
        );
        assert!(
            self.block_m.is_multiple_of(64),
            "the rows of a product are 64"
        );
        assert!(
            self.block_n.is_multiple_of(16),
            "products are 16 deep along the keys, and their columns come in eights"
        );
        assert!(
            self.block_m <= 256 && self.block_n <= 256 && self.head_dim <= 256,
            "a product has up to 256 columns, and a box of a tensor map as many rows"
        );
        assert!(
            self.head_dim.is_multiple_of(32),
            "pages are 32 or 64 columns wide"
        );
    }
}

/// Consumes the rows of a table: `&[HopperVariant]`.
macro_rules! hopper_variants {
    ($($entry:ident: $dtype:ident, $scores:ident, $head_dim:literal,
       $block_m:literal x $block_n:literal, $stages:literal;)*) => {
        &[$(HopperVariant {
            entry: stringify!($entry),
            dtype: Dtype::$dtype,
            scores: HopperScores::$scores,
            head_dim: $head_dim,
            block_m: $block_m,
            block_n: $block_n,
            stages: $stages,
            pass: PhantomData,
        }),*]
    };
}
use hopper_variants;
