//! The main backward kernel for Hopper: dK and dV of one key tile, and its part of dQ.
//!
//! FlashAttention-2, Algorithm 2 (arXiv:2307.08691), whose line numbers are in comments, in the form that FlashAttention-3
//! gives it (arXiv:2407.08608, Algorithm 3): a warpgroup copies, the others multiply. The row statistics come from the
//! kernel of [`delta`](crate::backward::delta) before, dQ is finished by that of [`dq`](crate::backward::dq) after.
//!
//! ```text
//! copies     K V │ Q dO of the last query tile │ Q dO of the one above │ ...            two slots for each
//! computes       │ S dP ► P ► dV ► dS │ dQ dK  │ S dP ► P ► dV ► dS │ dQ dK │ ... │ store dK dV
//! ```
//!
//! A warpgroup owns 64 keys of the tile. Sᵀ = K·Qᵀ and dPᵀ = V·dOᵀ have its keys along the rows, so Pᵀ and dSᵀ are in its
//! registers what dV += Pᵀ·dO and dK += dSᵀ·Q need as their first operand. dQ = dS·K sums over all keys: dS goes through
//! shared memory, and each warpgroup computes a part of dQ for the keys of both.
//!
//! | module | what it knows |
//! |---|---|
//! | `storage` | what is where in shared memory |
//! | `copies` | the warpgroup that copies |
//! | `keys` | the warpgroups that compute: one key tile, from loading it to storing its gradients |
//! | `step` | one query tile against the key tile: lines 10 to 16 |
//! | `wide` | the same for head dimensions above 128, where warpgroups share columns and not keys |
//! | `dq` | where a warpgroup adds to dQ |
//! | `ends` | zeros beyond the end of a sequence |
//! | `gradients` | dK and dV to global memory |

pub mod copies;
pub mod dq;
pub mod ends;
pub mod gradients;
pub mod keys;
pub mod step;
pub mod storage;
pub mod wide;

use crate::backward::block::KeyHead;
use crate::fragment::Acc;
use crate::hopper::backward::storage::Storage;
use crate::hopper::product::WarpgroupElement;
use crate::hopper::roles::{self, WARPGROUP};
use crate::ptx::{self, Accumulators};
use crate::tiling::Tiling;
use abi::{BwdParams, HopperBwdParams};
use core::mem::offset_of;

/// Slots of Q and of dO in shared memory.
pub const SLOTS: u32 = 2;

/// Registers of a thread that copies: the least there is.
const COPYING_REGISTERS: u32 = 24;
/// Registers of a thread that computes: what two warpgroups get of 64 Ki when a third has the least.
const COMPUTING_REGISTERS: u32 = 240;

/// One compiled kernel. The entry macro in `lib.rs` implements it once per manifest row.
pub trait Variant: Tiling + Sized {
    /// Type of all matrices.
    type Element: WarpgroupElement;
    /// Whether scores are softmax_scale · Q·Kᵀ; otherwise they are capped.
    const IS_PLAIN: bool;

    /// Whether warpgroups share the columns of gradients instead of the keys: see [`wide`].
    const IS_WIDE: bool = Self::HEAD_DIM > 128;

    /// Threads that compute.
    const COMPUTING: u32 = Self::THREADS - WARPGROUP;
    /// Warpgroups that compute.
    const CONSUMERS: u32 = Self::COMPUTING / WARPGROUP;
}

/// Addresses of the tensor maps.
#[derive(Clone, Copy)]
pub struct Maps {
    q: u64,
    k: u64,
    v: u64,
    d_out: u64,
}

impl Maps {
    /// In the parameter at `address`, from [`parameter_address!`](crate::parameter_address).
    #[inline(always)]
    pub const fn at(address: u64) -> Self {
        Maps {
            q: address + offset_of!(HopperBwdParams, q) as u64,
            k: address + offset_of!(HopperBwdParams, k) as u64,
            v: address + offset_of!(HopperBwdParams, v) as u64,
            d_out: address + offset_of!(HopperBwdParams, d_out) as u64,
        }
    }
}

/// The kernel of variant `V`; for each warpgroup: `8 * M` queries in `STEPS` steps of 16, `8 * D` columns in
/// `D_STEPS` steps, and `8 * C` columns of dQ for each
/// warpgroup.
///
/// # Safety
/// `params` is what its documentation says, `maps` are its maps, whose boxes are pages of the kernel's tiles; the delta
/// kernel has run, and the launch has `V::THREADS` threads per block, the grid of `params` and the variant's dynamic
/// shared memory.
#[inline(always)]
pub unsafe fn flash_bwd<
    V: Variant,
    const M: usize,
    const STEPS: usize,
    const D: usize,
    const D_STEPS: usize,
    const C: usize,
>(
    params: &BwdParams,
    maps: Maps,
) where
    Acc<M>: Accumulators,
    Acc<D>: Accumulators,
    Acc<C>: Accumulators,
{
    const {
        let (m, d) = (M as u32 * 8, D as u32 * 8);
        if V::IS_WIDE {
            assert!(V::BLOCK_N == 64 && V::BLOCK_M == 2 * m && V::HEAD_DIM == 2 * d);
        } else {
            assert!(V::BLOCK_N == 128 && V::BLOCK_M == m && V::HEAD_DIM == d);
        }
        assert!(V::COMPUTING == 2 * WARPGROUP && STEPS * 2 == M && D_STEPS * 2 == D);
        assert!(dq::is_shared_evenly::<V>(C));
    }
    let storage = Storage::<V>::current();
    if roles::is_first_thread() {
        // SAFETY: the block has just begun, and this thread alone makes the barriers.
        unsafe { storage.init_barriers() };
        ptx::fence_mbarrier_init();
    }
    ptx::barrier();
    let warpgroup = roles::warpgroup();
    // SAFETY: whole warpgroups come here once; the barriers exist; the launch is as promised.
    unsafe {
        if warpgroup == 0 {
            ptx::release_registers::<COPYING_REGISTERS>();
            if roles::is_first_thread() {
                copies::copy::<V>(params, maps, storage);
            }
        } else {
            ptx::acquire_registers::<COMPUTING_REGISTERS>();
            keys::compute::<V, M, STEPS, D, D_STEPS, C>(params, storage, warpgroup - 1);
        }
    }
}

/// One key tile of one key head.
pub struct KeyTile<'a> {
    /// The launch.
    pub params: &'a BwdParams,
    /// Head and batch entry.
    pub block: KeyHead,
    /// Number of the tile.
    pub n_block: u32,
}

impl<'a> KeyTile<'a> {
    /// Tile number `nth` of the calling block, line 5. What is found out anew wherever it is needed takes no registers
    /// between.
    #[inline(always)]
    pub fn anew(params: &'a BwdParams, nth: u32) -> Self {
        let block = KeyHead::current(params);
        let n_block = block.first_tile + nth * params.n_stride;
        KeyTile {
            params,
            block,
            n_block,
        }
    }

    /// Whether the head has so many.
    #[inline(always)]
    pub const fn exists<V: Variant>(&self) -> bool {
        self.n_block < self.block.sequence.keys.seqlen_k.div_ceil(V::BLOCK_N)
    }

    /// Its first key.
    #[inline(always)]
    pub const fn first_key<V: Variant>(&self) -> u32 {
        self.n_block * V::BLOCK_N
    }

    /// Keys from its first one to the end of the sequence.
    #[inline(always)]
    pub const fn keys_left<V: Variant>(&self) -> u32 {
        self.block.sequence.keys.seqlen_k - self.first_key::<V>()
    }

    /// The query head that is number `member` of those that share the key head.
    #[inline(always)]
    pub const fn head(&self, member: u32) -> u32 {
        self.block.head_k * self.params.forward.heads_per_group + member
    }
}
