//! Shared memory: its address, loads, stores and asynchronous copies into it.

use core::arch::{asm, global_asm};

// Dynamic shared memory has no Rust type: one symbol, sized at launch. 1024 bytes is the period of the swizzle.
global_asm!(".extern .shared .align 1024 .b8 dynamic_shared[];");

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.cp.async.wait.all"]
    fn cp_async_wait_all_intrinsic();
}

/// Start of the block's dynamic shared memory in the shared window, aligned to 1024 bytes: `mov.u32`.
#[inline(always)]
pub fn dynamic_shared() -> u32 {
    let address;
    // SAFETY: takes the address of a symbol that this file declares; touches no memory.
    unsafe {
        asm!("mov.u32 {}, dynamic_shared;", out(reg32) address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// Starts an asynchronous copy of 16 bytes, of which `source_bytes` (0 or 16) are read and the rest is zero:
/// `cp.async.cg.shared.global` ("Data Movement and Conversion Instructions: cp.async").
///
/// # Safety
/// `shared` is 16-byte aligned, inside the block's shared memory, and nobody touches it before [`cp_async_wait_all`]
/// and, for other threads, a [`barrier`]. If `source_bytes` is 16, `global` is 16-byte aligned and readable.
#[inline(always)]
pub unsafe fn cp_async(shared: u32, global: u64, source_bytes: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "cp.async.cg.shared.global [{}], [{}], 16, {};",
            in(reg32) shared, in(reg64) global, in(reg32) source_bytes,
            options(nostack, preserves_flags)
        );
    }
}

/// Waits for all asynchronous copies of this thread: `cp.async.wait_all` ("cp.async.wait_all").
#[inline(always)]
pub fn cp_async_wait_all() {
    // SAFETY: only orders memory operations.
    unsafe { cp_async_wait_all_intrinsic() }
}

/// Reads 16 bytes of shared memory: `ld.shared.v4.b32` ("ld").
///
/// # Safety
/// `shared` is 16-byte aligned and the bytes are initialised and visible to this thread.
#[inline(always)]
pub unsafe fn load_shared(shared: u32) -> [u32; 4] {
    let (r0, r1, r2, r3);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld.shared.v4.b32 {{{}, {}, {}, {}}}, [{}];",
            out(reg32) r0, out(reg32) r1, out(reg32) r2, out(reg32) r3, in(reg32) shared,
            options(readonly, nostack, preserves_flags)
        );
    }
    [r0, r1, r2, r3]
}

/// Reads 8 bytes of shared memory: `ld.shared.v2.b32` ("ld").
///
/// # Safety
/// As [`load_shared`] with 8-byte alignment.
#[inline(always)]
pub unsafe fn load_shared_pair(shared: u32) -> [u32; 2] {
    let (r0, r1);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld.shared.v2.b32 {{{}, {}}}, [{}];",
            out(reg32) r0, out(reg32) r1, in(reg32) shared,
            options(readonly, nostack, preserves_flags)
        );
    }
    [r0, r1]
}

/// Writes 16 bytes of shared memory: `st.shared.v4.b32` ("st").
///
/// # Safety
/// `shared` is 16-byte aligned, inside the block's shared memory, and no other thread uses the bytes before the next
/// [`barrier`].
#[inline(always)]
pub unsafe fn store_shared(shared: u32, words: [u32; 4]) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "st.shared.v4.b32 [{}], {{{}, {}, {}, {}}};",
            in(reg32) shared, in(reg32) words[0], in(reg32) words[1], in(reg32) words[2], in(reg32) words[3],
            options(nostack, preserves_flags)
        );
    }
}

/// Writes 4 bytes of shared memory: `st.shared.b32` ("st").
///
/// # Safety
/// As [`store_shared`] with 4-byte alignment.
#[inline(always)]
pub unsafe fn store_shared_word(shared: u32, word: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("st.shared.b32 [{}], {};", in(reg32) shared, in(reg32) word, options(nostack, preserves_flags));
    }
}
