//! What is where in the shared memory of a block.

use crate::hopper::backward::{SLOTS, Variant, dq};
use crate::hopper::pipeline::{Arrivals, Ring};
use crate::ptx;
use crate::tile::{KeysByQueries, Shape, SharedTile};
use core::marker::PhantomData;

/// Shape of the tiles of K and V: BLOCK_N keys. A warpgroup takes whole pages of K for its columns of dQ, so pages are
/// narrower where those of [`crate::tile::Keys`] cannot be shared.
pub struct Keys<V>(PhantomData<V>);

impl<V: Variant> Shape for Keys<V> {
    const ROWS: u32 = V::BLOCK_N;
    const COLS: u32 = V::HEAD_DIM;
    const THREADS: u32 = V::THREADS;
    const PAGE_COLS: u32 = {
        let share = dq::columns::<V>();
        if share.is_multiple_of(64) {
            64
        } else if share.is_multiple_of(32) {
            32
        } else {
            16
        }
    };
}

/// Shape of the tiles of Q and dO: BLOCK_M queries. Wide variants share their columns out as well.
pub struct Queries<V>(PhantomData<V>);

impl<V: Variant> Shape for Queries<V> {
    const ROWS: u32 = V::BLOCK_M;
    const COLS: u32 = V::HEAD_DIM;
    const THREADS: u32 = V::THREADS;
    const PAGE_COLS: u32 = {
        let share = V::HEAD_DIM / if V::IS_WIDE { 2 } else { 1 };
        if share.is_multiple_of(64) { 64 } else { 32 }
    };
}

/// Places in shared memory; `HopperBwdVariant::shared_bytes` in `abi` counts the same.
///
/// ```text
/// K | V | Q, two slots | dO, two slots | dSᵀ, two | wide variants: Pᵀ, two | row statistics, two slots | barriers
/// ```
///
/// Tiles begin at multiples of 1024 bytes, the period of the widest swizzle.
pub struct Storage<V> {
    base: u32,
    variant: PhantomData<V>,
}

impl<V> Clone for Storage<V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Storage<V> {}

impl<V: Variant> Storage<V> {
    /// Bytes of the row statistics of a query tile: -L · log2(e) of each row, and -D of each twice.
    pub const STATISTICS_BYTES: u32 = 12 * V::BLOCK_M;

    const V_AT: u32 = Keys::<V>::BYTES;
    const Q_AT: u32 = Self::V_AT + Keys::<V>::BYTES;
    const D_OUT_AT: u32 = Self::Q_AT + SLOTS * Queries::<V>::BYTES;
    const D_S_AT: u32 = Self::D_OUT_AT + SLOTS * Queries::<V>::BYTES;
    const P_AT: u32 = Self::D_S_AT + 2 * KeysByQueries::<V>::BYTES;
    const STATISTICS_AT: u32 =
        Self::P_AT + if V::IS_WIDE { 2 } else { 0 } * KeysByQueries::<V>::BYTES;
    const BARRIERS_AT: u32 = Self::STATISTICS_AT + SLOTS * Self::STATISTICS_BYTES;

    /// Of the calling block.
    #[inline(always)]
    pub fn current() -> Self {
        Storage {
            base: ptx::dynamic_shared(),
            variant: PhantomData,
        }
    }

    /// The same, about which the compiler knows nothing more: see [`ptx::opaque`].
    #[inline(always)]
    pub fn anew(self) -> Self {
        Storage {
            base: ptx::opaque(self.base),
            variant: PhantomData,
        }
    }

    /// K of the key tile.
    #[inline(always)]
    pub const fn k(self) -> SharedTile<Keys<V>> {
        SharedTile::at(self.base)
    }

    /// V of the key tile; at its end dV and dK, one after the other.
    #[inline(always)]
    pub const fn v(self) -> SharedTile<Keys<V>> {
        SharedTile::at(self.base + Self::V_AT)
    }

    /// Q of a step.
    #[inline(always)]
    pub const fn q(self, slot: u32) -> SharedTile<Queries<V>> {
        SharedTile::at(self.base + Self::Q_AT + slot * Queries::<V>::BYTES)
    }

    /// dO of a step.
    #[inline(always)]
    pub const fn d_out(self, slot: u32) -> SharedTile<Queries<V>> {
        SharedTile::at(self.base + Self::D_OUT_AT + slot * Queries::<V>::BYTES)
    }

    /// dSᵀ of a step. Steps take turns, so that one may write it while the one before is still read.
    #[inline(always)]
    pub const fn d_s(self, slot: u32) -> SharedTile<KeysByQueries<V>> {
        SharedTile::at(self.base + Self::D_S_AT + slot * KeysByQueries::<V>::BYTES)
    }

    /// Pᵀ of a step of a wide variant.
    #[inline(always)]
    pub const fn p(self, slot: u32) -> SharedTile<KeysByQueries<V>> {
        SharedTile::at(self.base + Self::P_AT + slot * KeysByQueries::<V>::BYTES)
    }

    /// Address of the row statistics of a step.
    #[inline(always)]
    pub const fn statistics(self, slot: u32) -> u32 {
        self.base + Self::STATISTICS_AT + slot * Self::STATISTICS_BYTES
    }

    /// Who waits for K and V.
    #[inline(always)]
    pub const fn keys_ring(self) -> Ring<1> {
        Ring::at(self.base + Self::BARRIERS_AT)
    }

    /// Who waits for Q, and for the slots of a step: of Q, dO and row statistics.
    #[inline(always)]
    pub const fn queries_ring(self) -> Ring<SLOTS> {
        Ring::at(self.base + Self::BARRIERS_AT + Ring::<1>::BYTES)
    }

    /// Who waits for dO and row statistics. They are given back with Q.
    #[inline(always)]
    pub const fn d_out_arrivals(self) -> Arrivals<SLOTS> {
        Arrivals::at(self.base + Self::BARRIERS_AT + Ring::<1>::BYTES + Ring::<SLOTS>::BYTES)
    }

    /// Makes all barriers.
    ///
    /// # Safety
    /// As [`Ring::init`].
    #[inline(always)]
    pub unsafe fn init_barriers(self) {
        let warps = V::COMPUTING / 32;
        // SAFETY: the caller's promise; the rings are apart.
        unsafe {
            self.keys_ring().init(warps);
            self.queries_ring().init(warps);
            self.d_out_arrivals().init();
        }
    }
}
