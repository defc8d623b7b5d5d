//! What the host and the kernels agree on: the parameter blocks of launches and the manifest of compiled kernels, one
//! table for the [forward kernels](variants) and one for the [baselines](baseline). No dependencies, `no_std`, the same source on both sides of the launch.
#![no_std]

pub mod baseline;
pub mod spec;
pub mod variants;

pub use baseline::{
    BASELINE_VARIANTS, BaselineStep, BaselineVariant, Flash1Params, StandardParams,
};
pub use spec::{KernelSpec, KernelVariant};
pub use variants::{Arch, CopyKind, Dtype, FWD_VARIANTS, FwdVariant, MaskKind};

/// A `[batch, seqlen, heads, head_dim]` matrix of 16-bit elements in device memory, last dimension contiguous.
///
/// Strides count elements, not bytes. They are 64 bits wide so that no product of index and stride wraps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    /// Device address of element `[0, 0, 0, 0]`.
    pub ptr: u64,
    /// Elements from one batch entry to the next.
    pub batch_stride: i64,
    /// Elements from one sequence position to the next.
    pub row_stride: i64,
    /// Elements from one head to the next.
    pub head_stride: i64,
}

/// Everything a forward kernel is told. The host has checked it (see the field docs); the kernel trusts it.
///
/// Passed by value as the only kernel parameter.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FwdParams {
    /// Queries, `[batch, seqlen_q, num_heads, head_dim]`.
    pub q: Strided,
    /// Keys, `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub k: Strided,
    /// Values, `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub v: Strided,
    /// Output, `[batch, seqlen_q, num_heads, head_dim]`.
    pub out: Strided,
    /// Device address of the log-sum-exp of each row, f32 `[batch, num_heads, seqlen_q]`, contiguous.
    pub lse: u64,
    /// Factor on Q·Kᵀ before the softmax; any sign, zero allowed, finite also when multiplied by log2(e).
    pub softmax_scale: f32,
    /// Query rows per batch entry, 1 ..= 2^31 - 1.
    pub seqlen_q: u32,
    /// Keys per batch entry, 0 ..= 2^31 - 1.
    pub seqlen_k: u32,
    /// Elements per row: a multiple of 8, at most the variant's class.
    pub head_dim: u32,
    /// Query heads.
    pub num_heads: u32,
    /// Query heads that share one key head: `num_heads / num_heads_k`, at least 1.
    pub heads_per_group: u32,
    /// Query tiles per head: `ceil(seqlen_q / BLOCK_M)`. The grid is `m_blocks * num_heads * batch` blocks along x.
    pub m_blocks: u32,
    /// 1 when key j is visible to query i only if j <= i + seqlen_k - seqlen_q, else 0.
    /// Read only by variants whose mask is [`MaskKind::Either`].
    pub is_causal: u32,
}

const _: () = assert!(core::mem::size_of::<Strided>() == 32);
const _: () = assert!(core::mem::size_of::<FwdParams>() == 4 * 32 + 8 + 8 * 4);

/// Gives parameter blocks, which must be `repr(C)` and without padding, their bytes.
macro_rules! params_as_bytes {
    ($($params:ident),*) => { $(
        impl $params {
            /// The launch's parameter buffer: PTX lays a by-value struct out as C does (PTX ISA 5.1.6, `.param`).
            pub fn as_bytes(&self) -> &[u8] {
                // SAFETY: `repr(C)` with 8-byte fields first and an even number of 4-byte fields after, and a size that
                // is the sum of the fields' (asserted): no padding, so every byte is initialised; the borrow keeps the
                // struct alive.
                unsafe {
                    core::slice::from_raw_parts(
                        (self as *const $params).cast::<u8>(),
                        core::mem::size_of::<$params>(),
                    )
                }
            }
        }
    )* };
}
pub(crate) use params_as_bytes;
params_as_bytes!(FwdParams);
