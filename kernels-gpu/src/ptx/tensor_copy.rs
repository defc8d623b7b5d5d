//! Copies of boxes of matrices by tensor maps (PTX ISA, "cp.async.bulk.tensor") and of plain bytes ("cp.async.bulk").
//! One thread issues them for the whole block.

use core::arch::asm;

/// How long L2 should keep what a copy reads: the policies that `createpolicy.fractional` makes for all of an access.
#[derive(Clone, Copy)]
pub enum CachePolicy {
    /// Read once: the first to go.
    EvictFirst,
    /// Read again by other blocks: the last to go.
    EvictLast,
}

impl CachePolicy {
    /// The encoded policy.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        match self {
            CachePolicy::EvictFirst => 0x12F0_0000_0000_0000,
            CachePolicy::EvictLast => 0x14F0_0000_0000_0000,
        }
    }
}

/// Address of a map in the kernel's parameter, which tensor copies accept: `mov` and `cvta.param` of the parameter's
/// symbol. Rust copies a parameter to local memory where it takes its address, and copies must not read maps there.
#[macro_export]
macro_rules! parameter_address {
    ($entry:ident) => {{
        let address: u64;
        // SAFETY: takes the address of the parameter of the entry that this is expanded in.
        unsafe {
            core::arch::asm!(
                concat!("mov.b64 {0}, ", stringify!($entry), "_param_0;"),
                "cvta.param.u64 {0}, {0};",
                out(reg64) address,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        address
    }};
}

/// Brings a map into the cache for maps: `prefetch.tensormap`.
///
/// # Safety
/// `map` is the generic address of a tensor map.
#[inline(always)]
pub unsafe fn prefetch_map(map: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("prefetch.tensormap [{}];", in(reg64) map, options(nostack, preserves_flags)) }
}

/// Starts to load a box into shared memory, from element `at` (innermost first) on; what is outside of the matrix
/// becomes 0. The box completes all its bytes on `barrier`: `cp.async.bulk.tensor.4d.shared::cluster.global`.
///
/// # Safety
/// `map` is the generic address of a map of four dimensions; `shared` is aligned to the swizzle's period and the box
/// fits there; nobody touches the bytes before the phase of `barrier` ends, which expects them.
#[inline(always)]
pub unsafe fn load_box(shared: u32, map: u64, at: [i32; 4], barrier: u32, policy: CachePolicy) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint \
             [{}], [{}, {{{}, {}, {}, {}}}], [{}], {};",
            in(reg32) shared, in(reg64) map, in(reg32) at[0], in(reg32) at[1], in(reg32) at[2], in(reg32) at[3],
            in(reg32) barrier, in(reg64) policy.bits(),
            options(nostack)
        );
    }
}

/// Starts to store a box from shared memory; what is outside of the matrix is left out:
/// `cp.async.bulk.tensor.4d.global.shared::cta`, in the thread's current bulk group.
///
/// # Safety
/// `map` is the generic address of a map of four dimensions whose matrix is writable; the box at `shared` is written
/// and [`fence_proxy_async`](super::fence_proxy_async) has shown it; nobody changes it before [`wait_boxes_read`].
#[inline(always)]
pub unsafe fn store_box(shared: u32, map: u64, at: [i32; 4]) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [{}, {{{}, {}, {}, {}}}], [{}];",
            in(reg64) map, in(reg32) at[0], in(reg32) at[1], in(reg32) at[2], in(reg32) at[3], in(reg32) shared,
            options(nostack)
        );
    }
}

/// Starts to load `bytes` contiguous bytes: `cp.async.bulk.shared::cluster.global`.
///
/// # Safety
/// As [`load_box`]; both addresses and `bytes` are multiples of 16, and the bytes are readable.
#[inline(always)]
pub unsafe fn load_bytes(shared: u32, global: u64, bytes: u32, barrier: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [{}], [{}], {}, [{}];",
            in(reg32) shared, in(reg64) global, in(reg32) bytes, in(reg32) barrier,
            options(nostack)
        );
    }
}

/// Closes the thread's bulk group: `cp.async.bulk.commit_group`.
#[inline(always)]
pub fn commit_boxes() {
    // SAFETY: only groups copies.
    unsafe { asm!("cp.async.bulk.commit_group;", options(nostack)) }
}

/// Waits until the thread's stores have read their shared memory: `cp.async.bulk.wait_group.read 0`.
#[inline(always)]
pub fn wait_boxes_read() {
    // SAFETY: only waits.
    unsafe { asm!("cp.async.bulk.wait_group.read 0;", options(nostack)) }
}
