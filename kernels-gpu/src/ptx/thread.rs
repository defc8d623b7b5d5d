//! Where a thread is in its launch, and how threads wait for each other and exchange registers.

use core::arch::asm;

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.read.ptx.sreg.tid.x"]
    fn sreg_tid_x() -> u32;
    #[link_name = "llvm.nvvm.read.ptx.sreg.ctaid.x"]
    fn sreg_ctaid_x() -> u32;
    #[link_name = "llvm.nvvm.barrier.cta.sync.aligned.all"]
    fn barrier_cta_sync_aligned_all(barrier: i32);
    #[link_name = "llvm.nvvm.barrier.cta.sync.aligned.count"]
    fn barrier_cta_sync_aligned_count(barrier: i32, threads: i32);
    #[link_name = "llvm.nvvm.barrier.cta.arrive.aligned.count"]
    fn barrier_cta_arrive_aligned_count(barrier: i32, threads: i32);
    #[link_name = "llvm.nvvm.read.ptx.sreg.nctaid.x"]
    fn sreg_nctaid_x() -> u32;
    #[link_name = "llvm.nvvm.shfl.sync.idx.i32"]
    fn shfl_sync_idx_i32(members: i32, x: i32, lane: i32, clamp: i32) -> i32;
    #[link_name = "llvm.nvvm.bar.warp.sync"]
    fn bar_warp_sync(members: i32);
    #[link_name = "llvm.nvvm.shfl.sync.bfly.f32"]
    fn shfl_sync_bfly_f32(members: i32, x: f32, lane_mask: i32, clamp: i32) -> f32;
}

/// Thread in its block: `%tid.x` ("Special Registers").
#[inline(always)]
pub fn thread_index() -> u32 {
    // SAFETY: reads a special register.
    unsafe { sreg_tid_x() }
}

/// Block in its grid: `%ctaid.x` ("Special Registers").
#[inline(always)]
pub fn block_index() -> u32 {
    // SAFETY: reads a special register.
    unsafe { sreg_ctaid_x() }
}

/// `x`, about which the compiler knows nothing more: what is computed from it is computed here, and not kept in
/// registers from an earlier time on. No instruction.
#[inline(always)]
pub fn opaque(mut x: u32) -> u32 {
    // SAFETY: an empty text.
    unsafe { asm!("/* {} */", inout(reg32) x, options(nomem, nostack, preserves_flags)) };
    x
}

/// As [`opaque`], for 64 bits.
#[inline(always)]
pub fn opaque_u64(mut x: u64) -> u64 {
    // SAFETY: an empty text.
    unsafe { asm!("/* {} */", inout(reg64) x, options(nomem, nostack, preserves_flags)) };
    x
}

/// As [`opaque`], for a stride.
#[inline(always)]
pub fn opaque_stride(mut x: i64) -> i64 {
    // SAFETY: an empty text.
    unsafe { asm!("/* {} */", inout(reg64) x, options(nomem, nostack, preserves_flags)) };
    x
}

/// All threads of the block wait for each other; shared memory written before is visible after: `bar.sync 0`
/// ("Parallel Synchronization and Communication Instructions: bar").
#[inline(always)]
pub fn barrier() {
    // SAFETY: barrier 0 is the only one in use; callers are in uniform control flow.
    unsafe { barrier_cta_sync_aligned_all(0) }
}

/// Blocks of the grid: `%nctaid.x` ("Special Registers").
#[inline(always)]
pub fn grid_blocks() -> u32 {
    // SAFETY: reads a special register.
    unsafe { sreg_nctaid_x() }
}

/// `threads` threads of the block, whole warps, wait for each other: `bar.sync` with a number from 1 to 15.
#[inline(always)]
pub fn named_barrier_sync(barrier: u32, threads: u32) {
    // SAFETY: callers are in uniform control flow of their warps, and as many threads as they say use the barrier.
    unsafe { barrier_cta_sync_aligned_count(barrier as i32, threads as i32) }
}

/// Arrives at a barrier that others wait for, without waiting: `bar.arrive`. `threads` counts both.
#[inline(always)]
pub fn named_barrier_arrive(barrier: u32, threads: u32) {
    // SAFETY: as in `named_barrier_sync`.
    unsafe { barrier_cta_arrive_aligned_count(barrier as i32, threads as i32) }
}

/// `x` of lane 0, in every lane: `shfl.sync.idx.b32`. What is computed from it is the same for the whole warp, and the
/// assembler knows, so addresses go to the uniform datapath.
#[inline(always)]
pub fn of_first_lane(x: u32) -> u32 {
    // SAFETY: every lane takes part (full member mask); callers are in uniform control flow.
    unsafe { shfl_sync_idx_i32(-1, x as i32, 0, 31) as u32 }
}

/// The value of `x` in the lane whose index differs by `lane_mask`: `shfl.sync.bfly.b32` ("shfl.sync").
#[inline(always)]
pub fn shuffle_xor(x: f32, lane_mask: i32) -> f32 {
    // SAFETY: every lane takes part (full member mask); callers are in uniform control flow.
    unsafe { shfl_sync_bfly_f32(-1, x, lane_mask, 31) }
}

/// The lanes of the warp wait for each other; what they did to memory is visible to each other after:
/// `bar.warp.sync` ("bar.warp.sync").
#[inline(always)]
pub fn warp_barrier() {
    // SAFETY: every lane takes part (full member mask); callers are in uniform control flow.
    unsafe { bar_warp_sync(-1) }
}
