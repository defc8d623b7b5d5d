//! Backward kernels for Hopper.

use core::marker::PhantomData;

use super::{HopperScores, HopperVariant, TensorBox, TensorMap, hopper_variants};
use crate::params::params_as_bytes;
use crate::{BwdParams, Dtype, KernelSpec};

/// Marks rows of the table of main backward kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackwardPass {}

/// One row of the table of backward kernels for Hopper: the main kernel. The other steps are those of
/// [`BWD_VARIANTS`](crate::BWD_VARIANTS).
pub type HopperBwdVariant = HopperVariant<BackwardPass>;

impl HopperBwdVariant {
    /// Warpgroups that compute.
    pub const fn consumers(&self) -> u32 {
        2
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
        self.spec_of(self.consumers(), self.shared_bytes())
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

/// Every backward kernel for Hopper, in manifest order.
pub const HOPPER_BWD_VARIANTS: &[HopperBwdVariant] = for_each_hopper_bwd_variant!(hopper_variants);

const _: () = {
    let mut i = 0;
    while i < HOPPER_BWD_VARIANTS.len() {
        let v = &HOPPER_BWD_VARIANTS[i];
        v.assert_legal(v.shared_bytes());
        let owners = if v.is_wide() { 1 } else { v.consumers() };
        assert!(
            v.block_n == 64 * owners,
            "each warpgroup that owns keys of its own has 64"
        );
        i += 1;
    }
};

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
    /// Zero. The alignment of the maps makes the size a multiple of 16 bytes; what that adds is a field and no padding, so
    /// that every byte is initialised and the block may be viewed as bytes.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<HopperBwdParams>() == 4 * 128 + size_of::<BwdParams>() + 8);

params_as_bytes!(HopperBwdParams);
