//! Barriers in shared memory that count arrivals of threads and bytes of copies (PTX ISA, "mbarrier"), and the fences
//! between what threads and what copies and tensor cores do to memory ("Proxies").

use core::arch::asm;

/// Bytes of a barrier, and its alignment.
pub const MBARRIER_BYTES: u32 = 8;

/// Makes 8 bytes of shared memory a barrier whose phases end after `arrivals` arrivals: `mbarrier.init`.
///
/// # Safety
/// `barrier` is 8-byte aligned, inside the block's shared memory and no barrier yet; others use it only after
/// [`fence_mbarrier_init`] and a [`barrier`](super::barrier).
#[inline(always)]
pub unsafe fn mbarrier_init(barrier: u32, arrivals: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("mbarrier.init.shared::cta.b64 [{}], {};", in(reg32) barrier, in(reg32) arrivals, options(nostack));
    }
}

/// Shows this thread's barriers to copies and to other blocks of the cluster: `fence.mbarrier_init.release.cluster`.
#[inline(always)]
pub fn fence_mbarrier_init() {
    // SAFETY: only orders memory operations.
    unsafe { asm!("fence.mbarrier_init.release.cluster;", options(nostack)) }
}

/// Arrives: `mbarrier.arrive`. What this thread has done to memory is visible to who then sees the phase end.
///
/// # Safety
/// `barrier` is a barrier that expects this arrival in its phase.
#[inline(always)]
pub unsafe fn mbarrier_arrive(barrier: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("mbarrier.arrive.shared::cta.b64 _, [{}];", in(reg32) barrier, options(nostack));
    }
}

/// As [`mbarrier_arrive`] if `condition`: guarded, no branch, so that a warp stays together.
///
/// # Safety
/// If `condition`, as there.
#[inline(always)]
pub unsafe fn mbarrier_arrive_if(condition: bool, barrier: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "{{ .reg .pred %arrives; setp.ne.b32 %arrives, {}, 0; @%arrives mbarrier.arrive.shared::cta.b64 _, [{}]; }}",
            in(reg32) condition as u32, in(reg32) barrier,
            options(nostack)
        );
    }
}

/// Arrives and lets the phase also wait for `bytes` bytes of copies: `mbarrier.arrive.expect_tx`.
///
/// # Safety
/// As [`mbarrier_arrive`]; copies of that many bytes complete on the barrier.
#[inline(always)]
pub unsafe fn mbarrier_arrive_expect(barrier: u32, bytes: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [{}], {};",
            in(reg32) barrier, in(reg32) bytes,
            options(nostack)
        );
    }
}

/// Waits for the end of the phase with this parity: 0 for the first one, then alternating. `mbarrier.try_wait.parity`
/// in a loop, because a wait may give up.
///
/// A fresh barrier counts as having ended a phase of parity 1.
///
/// Returns 1. What is computed from it is computed after the wait; the assembler computes ahead what it can, which takes
/// registers and copies.
///
/// # Safety
/// `barrier` is a barrier; the phase with this parity is the current one or the one before it.
#[inline(always)]
pub unsafe fn mbarrier_wait(barrier: u32, parity: u32) -> u32 {
    loop {
        let done: u32;
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "{{",
                ".reg .pred done;",
                "mbarrier.try_wait.parity.shared::cta.b64 done, [{1}], {2};",
                "selp.b32 {0}, 1, 0, done;",
                "}}",
                out(reg32) done, in(reg32) barrier, in(reg32) parity,
                options(nostack)
            );
        }
        if done != 0 {
            return done;
        }
    }
}

/// Lets copies and tensor cores see what threads have written to shared memory before: `fence.proxy.async.shared::cta`.
/// The threads that write execute it, then they synchronise with the one that starts the copy or the product.
#[inline(always)]
pub fn fence_proxy_async() {
    // SAFETY: only orders memory operations.
    unsafe { asm!("fence.proxy.async.shared::cta;", options(nostack)) }
}
