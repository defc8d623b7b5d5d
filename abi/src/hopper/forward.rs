//! Forward kernels for Hopper.

use core::marker::PhantomData;

use super::{HopperScores, HopperVariant, TensorBox, TensorMap, hopper_variants};
use crate::params::params_as_bytes;
use crate::{Dtype, FwdParams, KernelSpec};

/// Marks rows of the table of forward kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPass {}

/// One row of the table of forward kernels for Hopper.
pub type HopperFwdVariant = HopperVariant<ForwardPass>;

impl HopperFwdVariant {
    /// Warpgroups that compute.
    pub const fn consumers(&self) -> u32 {
        self.block_m / 64
    }

    /// Columns of a page of a shared tile.
    pub const fn page_cols(&self) -> u32 {
        if self.head_dim.is_multiple_of(64) {
            64
        } else {
            32
        }
    }

    /// The box of the maps of Q and O: the 64 rows of one warpgroup, of `packed_heads` heads.
    ///
    /// # Panics
    /// When `packed_heads` does not divide 64.
    pub const fn query_box(&self, packed_heads: u32) -> TensorBox {
        assert!(64u32.is_multiple_of(packed_heads));
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
        self.spec_of(self.consumers(), self.shared_bytes())
    }
}

/// Calls `$consumer!` with all rows of the table of forward kernels for Hopper.
///
/// Tile sizes: the most keys that fit in shared memory (head_dim 192, 256) or in registers without spills (64, 96, and 128
/// with 176 keys; ptxas 13.5). Rows that differ in the number of keys alone can do the same; dispatch takes the one that
/// computes least where nothing is masked, and the fewest keys where a mask cuts tiles.
#[macro_export]
macro_rules! for_each_hopper_fwd_variant {
    ($consumer:ident) => {
        $consumer! {
            // entry: dtype, scores, head_dim, block_m x block_n, stages;
            flash_fwd_sm90_f16_hdim64: F16, Plain, 64, 128 x 192, 2;
            flash_fwd_sm90_f16_hdim96: F16, Plain, 96, 128 x 192, 2;
            flash_fwd_sm90_f16_hdim128: F16, Plain, 128, 128 x 128, 2;
            flash_fwd_sm90_f16_hdim128_n176: F16, Plain, 128, 128 x 176, 2;
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
            flash_fwd_sm90_bf16_hdim128_n176: Bf16, Plain, 128, 128 x 176, 2;
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

/// Every forward kernel for Hopper, in manifest order.
pub const HOPPER_FWD_VARIANTS: &[HopperFwdVariant] = for_each_hopper_fwd_variant!(hopper_variants);

const _: () = {
    let mut i = 0;
    while i < HOPPER_FWD_VARIANTS.len() {
        let v = &HOPPER_FWD_VARIANTS[i];
        v.assert_legal(v.shared_bytes());
        i += 1;
    }
};

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
    /// Zero. The alignment of the maps makes the size a multiple of 16 bytes; what that adds is a field and no padding, so
    /// that every byte is initialised and the block may be viewed as bytes.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<HopperFwdParams>() == 4 * 128 + size_of::<FwdParams>() + 16);

params_as_bytes!(HopperFwdParams);
