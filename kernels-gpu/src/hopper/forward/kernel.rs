//! The sizes of a forward kernel, its shared memory, and who has which role.

use crate::fragment::Acc;
use crate::hopper::forward::consumer::Consumer;
use crate::hopper::forward::producer::Producer;
use crate::hopper::forward::schedule::Schedule;
use crate::hopper::forward::work::{Work, schedule};
use crate::hopper::pipeline::Ring;
use crate::hopper::product::WarpgroupElement;
use crate::hopper::roles::{self, WARPGROUP};
use crate::ptx::{self, Accumulators};
use crate::tile::{Keys, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::HopperFwdParams;
use core::marker::PhantomData;

/// One compiled kernel. The entry macro in `lib.rs` implements it once per row of the table; [`Tiling::WARPS`] counts
/// the warps that compute, each with one strip of 16 rows.
pub trait Variant: Tiling + Sized {
    /// Type of Q, K, V and O.
    type Element: WarpgroupElement;
    /// Whether scores are softmax_scale · Q·Kᵀ; otherwise they are capped.
    const IS_PLAIN: bool;
    /// Warpgroups that compute.
    const CONSUMERS: u32 = Self::BLOCK_M / 64;
}

/// Shape of a warpgroup's tile of Q and of O: 64 rows.
pub struct Rows<V>(PhantomData<V>);

impl<V: Variant> Shape for Rows<V> {
    const ROWS: u32 = 64;
    const COLS: u32 = V::HEAD_DIM;
    const THREADS: u32 = WARPGROUP;
}

/// Addresses of the tensor maps in the parameter.
#[derive(Clone, Copy)]
pub struct Maps {
    /// Queries.
    pub q: u64,
    /// Keys.
    pub k: u64,
    /// Values.
    pub v: u64,
    /// Output.
    pub out: u64,
}

impl Maps {
    /// Of the parameter at `address`, see [`parameter_address!`](crate::parameter_address).
    #[inline(always)]
    pub const fn of(address: u64) -> Self {
        use core::mem::offset_of;
        Maps {
            q: address + offset_of!(HopperFwdParams, q) as u64,
            k: address + offset_of!(HopperFwdParams, k) as u64,
            v: address + offset_of!(HopperFwdParams, v) as u64,
            out: address + offset_of!(HopperFwdParams, out) as u64,
        }
    }
}

/// What all threads of a block know.
pub struct Block<'a, V, const STAGES: u32> {
    /// The launch.
    pub params: &'a HopperFwdParams,
    /// Its tensor maps.
    pub maps: Maps,
    /// Its tiles.
    schedule: Schedule,
    base: u32,
    variant: PhantomData<V>,
}

/// ```text
/// Q, later O: a tile per warpgroup | K: a tile per stage | V: a tile per stage | barriers
/// ```
impl<V: Variant, const STAGES: u32> Block<'_, V, STAGES> {
    const K: u32 = V::CONSUMERS * Rows::<V>::BYTES;
    const V: u32 = Self::K + STAGES * Keys::<V>::BYTES;
    const BARRIERS: u32 = Self::V + STAGES * Keys::<V>::BYTES;

    /// The tile of Q and of O of a warpgroup, 1 or more.
    #[inline(always)]
    pub const fn q(&self, warpgroup: u32) -> SharedTile<Rows<V>> {
        SharedTile::at(self.base + (warpgroup - 1) * Rows::<V>::BYTES)
    }

    /// Tile `slot` of K.
    #[inline(always)]
    pub const fn k(&self, slot: u32) -> SharedTile<Keys<V>> {
        SharedTile::at(self.base + Self::K + slot * Keys::<V>::BYTES)
    }

    /// Tile `slot` of V.
    #[inline(always)]
    pub const fn v(&self, slot: u32) -> SharedTile<Keys<V>> {
        SharedTile::at(self.base + Self::V + slot * Keys::<V>::BYTES)
    }

    /// Who waits for whom at the tiles of Q, all together.
    #[inline(always)]
    pub const fn q_ring(&self) -> Ring<1> {
        Ring::at(self.base + Self::BARRIERS)
    }

    /// Who waits for whom at the tiles of K.
    #[inline(always)]
    pub const fn k_ring(&self) -> Ring<STAGES> {
        Ring::at(self.base + Self::BARRIERS + Ring::<1>::BYTES)
    }

    /// Who waits for whom at the tiles of V.
    #[inline(always)]
    pub const fn v_ring(&self) -> Ring<STAGES> {
        Ring::at(self.base + Self::BARRIERS + Ring::<1>::BYTES + Ring::<STAGES>::BYTES)
    }

    /// Whether there is a tile of rank `rank`, see [`Schedule::deal`].
    #[inline(always)]
    pub const fn has_tile(&self, rank: u32) -> bool {
        rank < self.schedule.tiles
    }

    /// Rank of the block's tile of round `round`.
    #[inline(always)]
    pub fn rank(round: u32) -> u32 {
        Schedule::deal(round, ptx::block_index(), ptx::grid_blocks())
    }

    /// The tile of rank `rank`; `read` loads an i32 from a device address.
    #[inline(always)]
    pub fn work(&self, rank: u32, read: impl Fn(u64) -> u32) -> Work<V> {
        Work::new(self.params, self.schedule.place(rank), read)
    }

    /// Makes the barriers and shows them to all threads and to copies.
    ///
    /// # Safety
    /// All threads of the block call it first.
    #[inline(always)]
    unsafe fn init_barriers(&self) {
        if roles::is_first_thread() {
            // SAFETY: nobody uses shared memory before the barrier below.
            unsafe {
                self.q_ring().init(V::WARPS);
                self.k_ring().init(V::WARPS);
                self.v_ring().init(V::WARPS);
            }
            ptx::fence_mbarrier_init();
        }
        ptx::barrier();
    }
}

/// The kernel of variant `V`: `8 * N` = `16 * STEPS` keys per step, `8 * D` columns, tiles of K and V each.
///
/// # Safety
/// `params` is what its documentation says, `maps` are those of its maps, and the launch has the threads and the dynamic
/// shared memory of the row.
#[inline(always)]
pub unsafe fn flash_fwd<
    V: Variant,
    const N: usize,
    const STEPS: usize,
    const D: usize,
    const STAGES: u32,
>(
    params: &HopperFwdParams,
    maps: Maps,
) where
    Acc<N>: Accumulators,
    Acc<D>: Accumulators,
{
    let block = Block::<V, STAGES> {
        params,
        maps,
        schedule: schedule::<V>(params),
        base: ptx::dynamic_shared(),
        variant: PhantomData,
    };
    // SAFETY: all threads are here, and nothing came before.
    unsafe { block.init_barriers() };
    let warpgroup = roles::warpgroup();
    // Line 1. A block starts with 168 or 128 registers for each thread.
    if warpgroup == 0 {
        // SAFETY: the whole warpgroup is here.
        unsafe {
            match V::CONSUMERS {
                2 => ptx::release_registers::<40>(),
                _ => ptx::release_registers::<32>(),
            }
        }
        if roles::is_first_thread() {
            // SAFETY: the caller's promise; this is the only thread that copies.
            unsafe { Producer::new(&block).run() };
        }
    } else {
        // SAFETY: the whole warpgroup is here; the copying one gives up what this takes.
        unsafe {
            match V::CONSUMERS {
                2 => ptx::acquire_registers::<232>(),
                _ => ptx::acquire_registers::<160>(),
            }
        }
        // SAFETY: the caller's promise.
        unsafe { Consumer::new(&block, warpgroup).run::<N, STEPS, D>() };
    }
}
