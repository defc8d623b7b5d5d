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

/// Threads of the warpgroup wait for each other; what they did to shared memory is visible after. `warpgroup` is its
/// index, 1 or more: barrier 0 is that of the block.
#[inline(always)]
pub fn sync_warpgroup(warpgroup: u32) {
    ptx::named_barrier_sync(warpgroup, WARPGROUP);
}
