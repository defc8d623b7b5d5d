//! FlashAttention kernels as ordinary `no_std` Rust, compiled to PTX by stock rustc.
//!
//! | module | what it knows |
//! |---|---|
//! | `flash_fwd` | the forward kernel: prologue, main loop, epilogue |
//! | `backward` | the kernels of the backward pass |
//! | `hopper` | the kernels for Hopper |
//! | `baseline` | the kernels it is compared with: standard attention, FlashAttention-1 |
//! | `softmax` | running maximum, running sum, log-sum-exp |
//! | `scores` | what happens to scores between the product and the softmax |
//! | `dropout` | which elements of P are kept |
//! | `position` | which query and key an element of an accumulator belongs to |
//! | `mma` | the two matrix products, element types |
//! | `pipeline` | when K and V tiles are copied and waited for |
//! | `copy` | how a tile is copied: `cp.async` or element by element |
//! | `epilogue` | O and log-sum-exp to global memory |
//! | `block_info` | which rows, head and key tiles a block works on |
//! | `sequence` | one batch entry: its lengths, where its rows are |
//! | `mask` | which keys a row sees |
//! | `tile` | addresses inside tiles, swizzle |
//! | `fragment` | which lane owns which element |
//! | `tiling` | the sizes of a kernel as a trait |
//! | `ptx` | one function per PTX instruction |
//!
//! Kernel entries are generated from the manifest in `abi`. The modules that are pure arithmetic (`backward::block`,
//! `block_info`, `dropout`, `fragment`, `mask`, `position`, `sequence`, `tile`, `tiling`, `descriptor`, `schedule` and
//! `work` of `hopper`) also compile for the host, where their tests run; the others exist only for `nvptx64`.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    target_arch = "nvptx64",
    feature(abi_ptx, abi_unadjusted, asm_experimental_arch, link_llvm_intrinsics)
)]
#![cfg_attr(
    target_arch = "nvptx64",
    allow(
        internal_features,
        reason = "warp instructions are LLVM intrinsics, see `ptx`"
    )
)]

pub mod backward;
pub mod block_info;
pub mod dropout;
pub mod fragment;
pub mod global_tile;
pub mod hopper;
pub mod mask;
pub mod position;
pub mod sequence;
pub mod tile;
pub mod tiling;

#[cfg(target_arch = "nvptx64")]
pub mod baseline;
#[cfg(target_arch = "nvptx64")]
pub mod copy;
#[cfg(target_arch = "nvptx64")]
pub mod epilogue;
#[cfg(target_arch = "nvptx64")]
pub mod flash_fwd;
#[cfg(target_arch = "nvptx64")]
pub mod mma;
#[cfg(target_arch = "nvptx64")]
pub mod pipeline;
#[cfg(target_arch = "nvptx64")]
pub mod ptx;
#[cfg(target_arch = "nvptx64")]
pub mod scores;
#[cfg(target_arch = "nvptx64")]
pub mod softmax;

#[cfg(all(target_arch = "nvptx64", not(kernel_arch = "sm_90a")))]
mod entries {
    use crate::backward::{bias, delta, dq, key_tile, wide};
    use crate::baseline::{flash1, standard};
    use crate::flash_fwd::{Variant, flash_fwd};
    use crate::tiling::Tiling;
    use crate::{copy, mma, scores};
    use abi::{BwdParams, Flash1Params, FwdParams, StandardParams};

    macro_rules! fwd_entries {
        ($($entry:ident: $arch:ident, $dtype:ident, $scores:ident, $copy:ident,
           $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal, $blocks_per_sm:literal;)*) => { $(
            /// Kernel entry of one manifest row.
            ///
            /// # Safety
            /// See [`flash_fwd`].
            #[unsafe(no_mangle)]
            pub unsafe extern "ptx-kernel" fn $entry(params: FwdParams) {
                struct Row;
                impl Tiling for Row {
                    const HEAD_DIM: u32 = $head_dim;
                    const BLOCK_M: u32 = $block_m;
                    const BLOCK_N: u32 = $block_n;
                    const WARPS: u32 = $warps;
                }
                impl Variant for Row {
                    type Element = mma::$dtype;
                    type Scores = scores::$scores;
                    type Copy = copy::$copy;
                }
                // SAFETY: the launch contract of the entry.
                unsafe { flash_fwd::<Row, { $block_m / $warps / 16 }, { $block_n / 8 }, { $head_dim / 8 }>(&params) }
            }
        )* };
    }
    abi::for_each_fwd_variant!(fwd_entries);

    /// The kernel of a backward step, its fragments counted: column tiles of 8, steps of 16.
    macro_rules! bwd_kernel {
        (Delta, $scores:ident, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            delta::delta::<Row>
        };
        (Main, $scores:ident, $head_dim:literal, $block_m:literal x 128, $warps:literal) => {
            key_tile::flash_bwd::<
                Row,
                { $block_m / 8 },
                { $head_dim / 8 },
                { $head_dim / 16 },
                { $head_dim * ($block_m / 16) / $warps / 8 },
            >
        };
        (Main, $scores:ident, $head_dim:literal, $block_m:literal x $block_n:tt, $warps:literal) => {
            wide::flash_bwd_wide::<
                Row,
                { $block_m / 8 },
                { $head_dim / 8 },
                { $head_dim * ($block_m / 16) / $warps / 8 },
            >
        };
        (ConvertDq, $scores:ident, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            dq::convert::<Row>
        };
        (Bias, $scores:ident, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            bias::bias::<Row, { $block_m / 8 }>
        };
    }

    macro_rules! bwd_entries {
        ($($entry:ident: $arch:ident, $step:ident, $dtype:ident, $scores:ident, $copy:ident,
           $head_dim:literal, $block_m:literal x $block_n:tt, $warps:literal, $blocks_per_sm:literal;)*) => { $(
            /// Kernel entry of one row of the table of backward kernels.
            ///
            /// # Safety
            /// See [`backward`](crate::backward).
            #[unsafe(no_mangle)]
            pub unsafe extern "ptx-kernel" fn $entry(params: BwdParams) {
                struct Row;
                impl Tiling for Row {
                    const HEAD_DIM: u32 = $head_dim;
                    const BLOCK_M: u32 = $block_m;
                    const BLOCK_N: u32 = $block_n;
                    const WARPS: u32 = $warps;
                }
                impl key_tile::Variant for Row {
                    type Element = mma::$dtype;
                    type Scores = scores::$scores;
                    type Copy = copy::$copy;
                }
                // SAFETY: the launch contract of the entry.
                unsafe { bwd_kernel!($step, $scores, $head_dim, $block_m x $block_n, $warps)(&params) }
            }
        )* };
    }
    abi::for_each_bwd_variant!(bwd_entries);

    /// The parameter of a baseline's entry.
    macro_rules! baseline_params {
        (Flash1) => {
            Flash1Params
        };
        ($step:ident) => {
            StandardParams
        };
    }

    /// The kernel of a baseline, its fragments counted: strips of 16 rows and column tiles of 8 per warp.
    macro_rules! baseline_kernel {
        (Scores, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            standard::scores::<Row, { $block_m / $warps / 16 }, { $block_n / 8 }>
        };
        (Softmax, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            standard::softmax::<Row>
        };
        (Output, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            standard::output::<Row, { $block_m / $warps / 16 }, { $head_dim / 8 }>
        };
        (Flash1, $head_dim:literal, $block_m:literal x $block_n:literal, $warps:literal) => {
            flash1::flash1::<Row, { $block_n / $warps / 8 }, { $head_dim / 8 }>
        };
    }

    macro_rules! baseline_entries {
        ($($entry:ident: $arch:ident, $step:ident, $dtype:ident, $head_dim:literal,
           $block_m:literal x $block_n:literal, $warps:literal, $blocks_per_sm:literal;)*) => { $(
            /// Kernel entry of one row of the table of baselines.
            ///
            /// # Safety
            /// See [`standard`] and [`flash1`].
            #[unsafe(no_mangle)]
            pub unsafe extern "ptx-kernel" fn $entry(params: baseline_params!($step)) {
                struct Row;
                impl Tiling for Row {
                    const HEAD_DIM: u32 = $head_dim;
                    const BLOCK_M: u32 = $block_m;
                    const BLOCK_N: u32 = $block_n;
                    const WARPS: u32 = $warps;
                }
                impl Variant for Row {
                    type Element = mma::$dtype;
                    type Scores = scores::Plain;
                    type Copy = copy::Vector;
                }
                // SAFETY: the launch contract of the entry.
                unsafe { baseline_kernel!($step, $head_dim, $block_m x $block_n, $warps)(&params) }
            }
        )* };
    }
    abi::for_each_baseline_variant!(baseline_entries);
}

#[cfg(kernel_arch = "sm_90a")]
mod hopper_entries {
    use crate::hopper::backward;
    use crate::hopper::forward::kernel::{Maps, Variant, flash_fwd};
    use crate::mma;
    use crate::tiling::Tiling;
    use abi::{HopperBwdParams, HopperFwdParams, HopperScores};

    macro_rules! fwd_entries {
        ($($entry:ident: $dtype:ident, $scores:ident, $head_dim:literal,
           $block_m:literal x $block_n:literal, $stages:literal;)*) => { $(
            /// Kernel entry of one row of the table of forward kernels for Hopper.
            ///
            /// # Safety
            /// See [`flash_fwd`].
            #[unsafe(no_mangle)]
            pub unsafe extern "ptx-kernel" fn $entry(params: HopperFwdParams) {
                struct Row;
                impl Tiling for Row {
                    const HEAD_DIM: u32 = $head_dim;
                    const BLOCK_M: u32 = $block_m;
                    const BLOCK_N: u32 = $block_n;
                    const WARPS: u32 = $block_m / 16;
                }
                impl Variant for Row {
                    type Element = mma::$dtype;
                    const IS_PLAIN: bool = matches!(HopperScores::$scores, HopperScores::Plain);
                }
                let maps = Maps::of(crate::parameter_address!($entry));
                // SAFETY: the launch contract of the entry.
                unsafe {
                    flash_fwd::<Row, { $block_n / 8 }, { $block_n / 16 }, { $head_dim / 8 }, $stages>(&params, maps)
                }
            }
        )* };
    }
    abi::for_each_hopper_fwd_variant!(fwd_entries);

    macro_rules! bwd_entries {
        ($($entry:ident: $dtype:ident, $scores:ident, $head_dim:literal,
           $block_m:literal x $block_n:literal, $stages:literal;)*) => { $(
            /// Kernel entry of one row of the table of backward kernels for Hopper.
            ///
            /// # Safety
            /// See [`flash_bwd`](backward::flash_bwd).
            #[unsafe(no_mangle)]
            pub unsafe extern "ptx-kernel" fn $entry(params: HopperBwdParams) {
                struct Row;
                impl Tiling for Row {
                    const HEAD_DIM: u32 = $head_dim;
                    const BLOCK_M: u32 = $block_m;
                    const BLOCK_N: u32 = $block_n;
                    const WARPS: u32 = 12;
                }
                impl backward::Variant for Row {
                    type Element = mma::$dtype;
                    const IS_PLAIN: bool = matches!(HopperScores::$scores, HopperScores::Plain);
                }
                const { assert!($stages == backward::SLOTS) };
                let maps = backward::Maps::at(crate::parameter_address!($entry));
                // SAFETY: the launch contract of the entry.
                unsafe {
                    backward::flash_bwd::<
                        Row,
                        { $block_m / if $head_dim > 128 { 16 } else { 8 } },
                        { $block_m / if $head_dim > 128 { 32 } else { 16 } },
                        { $head_dim / if $head_dim > 128 { 16 } else { 8 } },
                        { $head_dim / if $head_dim > 128 { 32 } else { 16 } },
                        { $head_dim * $block_m / 8 / 128 },
                    >(&params.backward, maps)
                }
            }
        )* };
    }
    abi::for_each_hopper_bwd_variant!(bwd_entries);
}

/// Never compiled into a kernel: no operation here can panic, which the code generation tests check.
#[cfg(target_arch = "nvptx64")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
