//! Global memory: loads and stores.

use core::arch::asm;

/// Reads one 16-bit element of global memory: `ld.global.b16` ("ld").
///
/// # Safety
/// `global` is 2-byte aligned and readable.
#[inline(always)]
pub unsafe fn load_global_element(global: u64) -> u16 {
    let element;
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld.global.b16 {}, [{}];",
            out(reg16) element, in(reg64) global,
            options(readonly, nostack, preserves_flags)
        );
    }
    element
}

/// As [`load_global_element`] if `condition`, 0 otherwise: a guarded `ld.global.b16`, no branch.
///
/// # Safety
/// If `condition`, as [`load_global_element`].
#[inline(always)]
pub unsafe fn load_global_element_if(condition: bool, global: u64) -> u16 {
    let element;
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "{{ .reg .pred %is_read; setp.ne.b32 %is_read, {}, 0; mov.b16 {}, 0; @%is_read ld.global.b16 {1}, [{}]; }}",
            in(reg32) condition as u32, out(reg16) element, in(reg64) global,
            options(readonly, nostack, preserves_flags)
        );
    }
    element
}

/// Writes one 16-bit element of global memory: `st.global.b16` ("st").
///
/// # Safety
/// `global` is 2-byte aligned, writable, and no other thread uses it.
#[inline(always)]
pub unsafe fn store_global_element(global: u64, element: u16) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("st.global.b16 [{}], {};", in(reg64) global, in(reg16) element, options(nostack, preserves_flags));
    }
}

/// Reads one u32 of global memory: `ld.global.b32` ("ld").
///
/// # Safety
/// `global` is 4-byte aligned and readable.
#[inline(always)]
pub unsafe fn load_global_u32(global: u64) -> u32 {
    let x;
    // SAFETY: the caller's promise.
    unsafe {
        asm!("ld.global.b32 {}, [{}];", out(reg32) x, in(reg64) global, options(readonly, nostack, preserves_flags));
    }
    x
}

/// Reads one f32 of global memory: `ld.global.b32` ("ld").
///
/// # Safety
/// `global` is 4-byte aligned and readable.
#[inline(always)]
pub unsafe fn load_global_f32(global: u64) -> f32 {
    let x;
    // SAFETY: the caller's promise.
    unsafe {
        asm!("ld.global.b32 {}, [{}];", out(reg32) x, in(reg64) global, options(readonly, nostack, preserves_flags));
    }
    x
}

/// As [`load_global_f32`] if `condition`, 0 otherwise: a guarded `ld.global.b32`, no branch.
///
/// # Safety
/// If `condition`, as [`load_global_f32`].
#[inline(always)]
pub unsafe fn load_global_f32_if(condition: bool, global: u64) -> f32 {
    let x;
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "{{ .reg .pred %is_read; setp.ne.b32 %is_read, {}, 0; mov.b32 {}, 0; @%is_read ld.global.b32 {1}, [{}]; }}",
            in(reg32) condition as u32, out(reg32) x, in(reg64) global,
            options(readonly, nostack, preserves_flags)
        );
    }
    x
}

/// Reads two f32 of global memory: `ld.global.v2.b32` ("ld").
///
/// # Safety
/// `global` is 8-byte aligned and readable.
#[inline(always)]
pub unsafe fn load_global_f32x2(global: u64) -> [f32; 2] {
    let (x0, x1);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld.global.v2.b32 {{{}, {}}}, [{}];",
            out(reg32) x0, out(reg32) x1, in(reg64) global,
            options(readonly, nostack, preserves_flags)
        );
    }
    [x0, x1]
}

/// Reads four f32 of global memory: `ld.global.v4.b32` ("ld").
///
/// # Safety
/// `global` is 16-byte aligned and readable.
#[inline(always)]
pub unsafe fn load_global_f32x4(global: u64) -> [f32; 4] {
    let (x0, x1, x2, x3);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ld.global.v4.b32 {{{}, {}, {}, {}}}, [{}];",
            out(reg32) x0, out(reg32) x1, out(reg32) x2, out(reg32) x3, in(reg64) global,
            options(readonly, nostack, preserves_flags)
        );
    }
    [x0, x1, x2, x3]
}

/// Reads 16 bytes of global memory: `ld.global.v4.b32` ("ld").
///
/// # Safety
/// `global` is 16-byte aligned and readable.
#[inline(always)]
pub unsafe fn load_global(global: u64) -> [u32; 4] {
    // SAFETY: the caller's promise.
    unsafe { load_global_f32x4(global) }.map(f32::to_bits)
}

/// Writes 16 bytes of global memory: `st.global.v4.b32` ("st").
///
/// # Safety
/// `global` is 16-byte aligned, writable, and no other thread uses it.
#[inline(always)]
pub unsafe fn store_global(global: u64, words: [u32; 4]) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "st.global.v4.b32 [{}], {{{}, {}, {}, {}}};",
            in(reg64) global, in(reg32) words[0], in(reg32) words[1], in(reg32) words[2], in(reg32) words[3],
            options(nostack, preserves_flags)
        );
    }
}

/// Writes 8 bytes of global memory: `st.global.v2.b32` ("st").
///
/// # Safety
/// `global` is 8-byte aligned, writable, and no other thread uses it.
#[inline(always)]
pub unsafe fn store_global_pair(global: u64, words: [u32; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "st.global.v2.b32 [{}], {{{}, {}}};",
            in(reg64) global, in(reg32) words[0], in(reg32) words[1],
            options(nostack, preserves_flags)
        );
    }
}

/// Writes one f32 of global memory: `st.global.b32` ("st").
///
/// # Safety
/// `global` is 4-byte aligned, writable, and no other thread uses it.
#[inline(always)]
pub unsafe fn store_global_f32(global: u64, x: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("st.global.b32 [{}], {};", in(reg64) global, in(reg32) x, options(nostack, preserves_flags));
    }
}

/// Adds to one f32 of global memory, in no order with other threads that do: `red.global.add.f32` ("red").
///
/// # Safety
/// `global` is 4-byte aligned, writable, and other threads use it in no other way.
#[inline(always)]
pub unsafe fn reduce_add_f32(global: u64, x: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("red.global.add.f32 [{}], {};", in(reg64) global, in(reg32) x, options(nostack, preserves_flags));
    }
}

/// Adds to four f32 of global memory, each as [`reduce_add_f32`]: `red.global.add.v4.f32` ("red").
///
/// # Safety
/// As [`reduce_add_f32`] with 16-byte alignment.
#[cfg(kernel_arch = "sm_90a")]
#[inline(always)]
pub unsafe fn reduce_add_f32x4(global: u64, x: [f32; 4]) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "red.global.add.v4.f32 [{}], {{{}, {}, {}, {}}};",
            in(reg64) global, in(reg32) x[0], in(reg32) x[1], in(reg32) x[2], in(reg32) x[3],
            options(nostack, preserves_flags)
        );
    }
}
