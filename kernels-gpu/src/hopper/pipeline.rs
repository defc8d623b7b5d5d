//! Rings of tiles in shared memory, which one thread fills by copies and warpgroups use and give back.
//!
//! Each slot has two barriers. `full` ends a phase when the bytes of a copy have arrived, `empty` when every warp that
//! computes has given the slot back. Both sides walk through the slots in the same order, and the parity of the phase
//! that a side waits for flips each time around. A slot that was never used counts as given back.
//!
//! ```text
//! copies     wait empty | expect bytes, copy ──► full   |  next slot
//! computes   wait full  | products           ──► empty  |  next slot
//! ```
//!
//! Tiles that are used and given back together need one `empty` barrier for all of them, and each a `full` one of its own
//! where some are wanted before others have arrived ([`Arrivals`]).

use crate::hopper::roles;
use crate::ptx::{self, MBARRIER_BYTES};

/// The barriers of `SLOTS` slots.
#[derive(Clone, Copy)]
pub struct Ring<const SLOTS: u32> {
    base: u32,
}

/// The `full` barriers of `SLOTS` slots.
#[derive(Clone, Copy)]
pub struct Arrivals<const SLOTS: u32> {
    base: u32,
}

/// A use of a slot.
#[derive(Clone, Copy)]
pub struct Turn<const SLOTS: u32> {
    slot: u32,
    /// Of the phase in which the slot is filled.
    parity: u32,
}

impl<const SLOTS: u32> Turn<SLOTS> {
    /// The first one.
    pub const FIRST: Self = Turn { slot: 0, parity: 0 };

    /// Number `n`, from 0.
    #[inline(always)]
    pub const fn nth(n: u32) -> Self {
        Turn {
            slot: n % SLOTS,
            parity: n / SLOTS % 2,
        }
    }

    /// The one after it.
    #[inline(always)]
    pub const fn next(self) -> Self {
        let Turn { slot, parity } = self;
        match SLOTS {
            2 => Turn {
                slot: slot ^ 1,
                parity: parity ^ slot,
            },
            _ => Turn {
                slot: (slot + 1) % SLOTS,
                parity: parity ^ ((slot + 1) / SLOTS),
            },
        }
    }

    /// Index of the slot.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        self.slot
    }
}

impl<const SLOTS: u32> Ring<SLOTS> {
    /// Bytes of shared memory that its barriers take.
    pub const BYTES: u32 = Arrivals::<SLOTS>::BYTES + SLOTS * MBARRIER_BYTES;

    /// The ring whose barriers are at `base`, a multiple of 8.
    #[inline(always)]
    pub const fn at(base: u32) -> Self {
        Ring { base }
    }

    /// Makes the barriers, for `warps` warps that give slots back. One thread calls it, before
    /// [`ptx::fence_mbarrier_init`] and a barrier of the block.
    ///
    /// # Safety
    /// The bytes are this ring's own and hold no barrier yet.
    #[inline(always)]
    pub unsafe fn init(self, warps: u32) {
        let mut slot = 0;
        while slot < SLOTS {
            // SAFETY: the caller's promise.
            unsafe { ptx::mbarrier_init(self.arrivals().full(slot), 1) };
            // SAFETY: the caller's promise.
            unsafe { ptx::mbarrier_init(self.empty(slot), warps) };
            slot += 1;
        }
    }

    /// Waits until the slot is given back and lets it expect copies of `bytes` bytes; returns the barrier they complete
    /// on. The copying thread calls it.
    ///
    /// # Safety
    /// The ring is initialised, and each turn is taken once and in order.
    #[inline(always)]
    pub unsafe fn begin_fill(self, turn: Turn<SLOTS>, bytes: u32) -> u32 {
        // Computed behind the wait, it costs the forward loop of head_dim 64 a worse schedule.
        let full = self.arrivals().full(turn.slot());
        // SAFETY: the caller's promise.
        unsafe { ptx::mbarrier_wait(self.empty(turn.slot()), turn.parity ^ 1) };
        // SAFETY: the caller's promise.
        unsafe { ptx::mbarrier_arrive_expect(full, bytes) };
        full
    }

    /// Waits until the slot is filled. Every thread that computes calls it. Returns 1, see [`ptx::mbarrier_wait`].
    ///
    /// # Safety
    /// The ring is initialised, and each turn is taken once and in order.
    #[inline(always)]
    pub unsafe fn wait_full(self, turn: Turn<SLOTS>) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { self.arrivals().wait(turn) }
    }

    /// Gives the slot back, once all of the warp's uses of it are complete. Every warp that computes calls it.
    ///
    /// # Safety
    /// The warp has waited for this turn and has not given it back.
    #[inline(always)]
    pub unsafe fn give_back(self, turn: Turn<SLOTS>) {
        // SAFETY: the caller's promise.
        unsafe { ptx::mbarrier_arrive_if(roles::is_first_lane(), self.empty(turn.slot())) };
    }

    /// As [`give_back`](Ring::give_back), but not before `known` is computed: two numbers that are not negative.
    ///
    /// The assembler moves a wait for products up to the last use of a barrier. This keeps the next wait behind the
    /// arithmetic that leads to `known`, which is to run beside the products.
    ///
    /// # Safety
    /// As [`give_back`](Ring::give_back).
    #[inline(always)]
    pub unsafe fn give_back_after(self, turn: Turn<SLOTS>, known: [f32; 2]) {
        let is_negative = (known[0] < 0.0) | (known[1] < 0.0);
        if roles::is_first_lane() & !is_negative {
            // SAFETY: the caller's promise.
            unsafe { ptx::mbarrier_arrive(self.empty(turn.slot())) };
        }
    }

    #[inline(always)]
    const fn arrivals(self) -> Arrivals<SLOTS> {
        Arrivals::at(self.base)
    }

    #[inline(always)]
    const fn empty(self, slot: u32) -> u32 {
        self.base + Arrivals::<SLOTS>::BYTES + slot * MBARRIER_BYTES
    }
}

impl<const SLOTS: u32> Arrivals<SLOTS> {
    /// Bytes of shared memory that they take.
    pub const BYTES: u32 = SLOTS * MBARRIER_BYTES;

    /// Those at `base`, a multiple of 8.
    #[inline(always)]
    pub const fn at(base: u32) -> Self {
        Arrivals { base }
    }

    /// Makes the barriers. Called as [`Ring::init`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn init(self) {
        let mut slot = 0;
        while slot < SLOTS {
            // SAFETY: the caller's promise.
            unsafe { ptx::mbarrier_init(self.full(slot), 1) };
            slot += 1;
        }
    }

    /// Lets the slot expect copies of `bytes` bytes; returns the barrier they complete on. The copying thread calls it.
    ///
    /// # Safety
    /// The barriers are initialised, the slot is given back, and each turn is taken once and in order.
    #[inline(always)]
    pub unsafe fn expect(self, turn: Turn<SLOTS>, bytes: u32) -> u32 {
        let full = self.full(turn.slot());
        // SAFETY: the caller's promise.
        unsafe { ptx::mbarrier_arrive_expect(full, bytes) };
        full
    }

    /// Waits until the slot is filled. Every thread that computes calls it. Returns 1, see [`ptx::mbarrier_wait`].
    ///
    /// # Safety
    /// The barriers are initialised, and each turn is taken in order.
    #[inline(always)]
    pub unsafe fn wait(self, turn: Turn<SLOTS>) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { ptx::mbarrier_wait(self.full(turn.slot()), turn.parity) }
    }

    #[inline(always)]
    const fn full(self, slot: u32) -> u32 {
        self.base + slot * MBARRIER_BYTES
    }
}
