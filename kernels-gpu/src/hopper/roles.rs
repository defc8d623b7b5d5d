//! What a thread is in its block: warpgroup 0 copies, the others compute.

use crate::ptx;

/// Threads of a warpgroup: four warps.
pub const WARPGROUP: u32 = 128;

/// The thread's warpgroup in the block, which the assembler knows to be the same for the whole warp.
#[inline(always)]
pub fn warpgroup() -> u32 {
    ptx::of_first_lane(ptx::thread_index() / WARPGROUP)
}

/// Whether this is the first thread of its block: the one that starts all copies.
#[inline(always)]
pub fn is_first_thread() -> bool {
    ptx::thread_index() == 0
}

/// Whether this is the first lane of its warp.
#[inline(always)]
pub fn is_first_lane() -> bool {
    ptx::thread_index().is_multiple_of(32)
}

/// Whether this is the first thread of its warpgroup.
#[inline(always)]
pub fn is_first_thread_of_warpgroup() -> bool {
    ptx::thread_index().is_multiple_of(WARPGROUP)
}

/// Threads of the warpgroup wait for each other; what they did to shared memory is visible after. `warpgroup` is its
/// index, 1 or more: barrier 0 is that of the block.
#[inline(always)]
pub fn sync_warpgroup(warpgroup: u32) {
    ptx::named_barrier_sync(warpgroup, WARPGROUP);
}

/// The order in which warpgroups that compute start their products: one after the other, so that one exponentiates
/// while another has the tensor cores ("pingpong scheduling", FlashAttention-3, 3.1).
///
/// Barrier 4 + w is where warpgroup w waits for its turn.
#[derive(Clone, Copy)]
pub struct Pingpong {
    /// Of the calling thread, 1 or more.
    warpgroup: u32,
    /// Warpgroups that compute.
    consumers: u32,
}

impl Pingpong {
    const FIRST_BARRIER: u32 = 4;

    /// Begins with the turn of warpgroup 1.
    #[inline(always)]
    pub fn start(warpgroup: u32, consumers: u32) -> Self {
        let order = Pingpong {
            warpgroup,
            consumers,
        };
        if warpgroup == consumers {
            order.pass_on();
        }
        order
    }

    /// Waits for this warpgroup's turn.
    #[inline(always)]
    pub fn wait(self) {
        ptx::named_barrier_sync(Self::FIRST_BARRIER + self.warpgroup, 2 * WARPGROUP);
    }

    /// Lets the next warpgroup have its turn.
    #[inline(always)]
    pub fn pass_on(self) {
        let next = if self.warpgroup == self.consumers {
            1
        } else {
            self.warpgroup + 1
        };
        ptx::named_barrier_arrive(Self::FIRST_BARRIER + next, 2 * WARPGROUP);
    }

    /// Takes the turn that the last warpgroup has passed on, so that no barrier is left half full. All warpgroups have
    /// had as many turns.
    #[inline(always)]
    pub fn finish(self) {
        if self.warpgroup == 1 {
            self.wait();
        }
    }
}

/// All threads that compute wait for each other; what they did to shared memory is visible after.
#[inline(always)]
pub fn sync_consumers(consumers: u32) {
    ptx::named_barrier_sync(8, consumers * WARPGROUP);
}
