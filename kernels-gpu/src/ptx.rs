//! The PTX instructions of the kernels, one function each: the only file with assembly or LLVM intrinsics.
//!
//! LLVM may move or duplicate inline assembly across branches because it cannot know that an instruction is executed
//! by the warp as a whole. Barriers and shuffles are therefore LLVM intrinsics, which carry that knowledge. For
//! `ldmatrix`, `mma` and `cp.async` no intrinsic has a signature that Rust can spell: they are assembly, and callers
//! reach them in uniform control flow only.
//!
//! Section names are those of the PTX ISA.

use core::arch::{asm, global_asm};

// Dynamic shared memory has no Rust type: one symbol, sized at launch. 1024 bytes is the period of the swizzle.
global_asm!(".extern .shared .align 1024 .b8 dynamic_shared[];");

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.read.ptx.sreg.tid.x"]
    fn sreg_tid_x() -> u32;
    #[link_name = "llvm.nvvm.read.ptx.sreg.ctaid.x"]
    fn sreg_ctaid_x() -> u32;
    #[link_name = "llvm.nvvm.barrier.cta.sync.aligned.all"]
    fn barrier_cta_sync_aligned_all(barrier: i32);
    #[link_name = "llvm.nvvm.shfl.sync.bfly.f32"]
    fn shfl_sync_bfly_f32(members: i32, x: f32, lane_mask: i32, clamp: i32) -> f32;
    #[link_name = "llvm.nvvm.cp.async.wait.all"]
    fn cp_async_wait_all_intrinsic();
    #[link_name = "llvm.nvvm.fma.rn.f"]
    fn fma_rn_f32(a: f32, b: f32, c: f32) -> f32;
    #[link_name = "llvm.nvvm.ex2.approx.ftz.f"]
    fn ex2_approx_ftz_f32(x: f32) -> f32;
    #[link_name = "llvm.nvvm.lg2.approx.ftz.f"]
    fn lg2_approx_ftz_f32(x: f32) -> f32;
    #[link_name = "llvm.nvvm.rcp.approx.ftz.f"]
    fn rcp_approx_ftz_f32(x: f32) -> f32;
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

/// All threads of the block wait for each other; shared memory written before is visible after: `bar.sync 0`
/// ("Parallel Synchronization and Communication Instructions: bar").
#[inline(always)]
pub fn barrier() {
    // SAFETY: barrier 0 is the only one in use; callers are in uniform control flow.
    unsafe { barrier_cta_sync_aligned_all(0) }
}

/// The value of `x` in the lane whose index differs by `lane_mask`: `shfl.sync.bfly.b32` ("shfl.sync").
#[inline(always)]
pub fn shuffle_xor(x: f32, lane_mask: i32) -> f32 {
    // SAFETY: every lane takes part (full member mask); callers are in uniform control flow.
    unsafe { shfl_sync_bfly_f32(-1, x, lane_mask, 31) }
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

/// Loads four 8 x 8 matrices of 16-bit elements: `ldmatrix.sync.aligned.m8n8.x4.shared.b16`
/// ("Warp Level Matrix Load Instruction: ldmatrix").
///
/// # Safety
/// Every lane of the warp calls it with a 16-byte aligned address of 16 initialised bytes of shared memory.
#[inline(always)]
pub unsafe fn ldmatrix(shared: u32) -> [u32; 4] {
    let (r0, r1, r2, r3);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{{}, {}, {}, {}}}, [{}];",
            out(reg32) r0, out(reg32) r1, out(reg32) r2, out(reg32) r3, in(reg32) shared,
            options(readonly, nostack, preserves_flags)
        );
    }
    [r0, r1, r2, r3]
}

/// As [`ldmatrix`], each matrix transposed: `ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16`.
///
/// # Safety
/// As [`ldmatrix`].
#[inline(always)]
pub unsafe fn ldmatrix_trans(shared: u32) -> [u32; 4] {
    let (r0, r1, r2, r3);
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{{}, {}, {}, {}}}, [{}];",
            out(reg32) r0, out(reg32) r1, out(reg32) r2, out(reg32) r3, in(reg32) shared,
            options(readonly, nostack, preserves_flags)
        );
    }
    [r0, r1, r2, r3]
}

macro_rules! mma_m16n8k16 {
    ($(#[$doc:meta])* $name:ident, $types:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Every lane of the warp calls it together.
        #[inline(always)]
        pub unsafe fn $name(c: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
            let [c0, c1, c2, c3] = c;
            // SAFETY: registers in, registers out; the caller's promise makes it warp-uniform.
            unsafe {
                asm!(
                    concat!(
                        "mma.sync.aligned.m16n8k16.row.col.", $types,
                        " {{{0}, {1}, {2}, {3}}}, {{{4}, {5}, {6}, {7}}}, {{{8}, {9}}}, {{{0}, {1}, {2}, {3}}};"
                    ),
                    inout(reg32) *c0, inout(reg32) *c1, inout(reg32) *c2, inout(reg32) *c3,
                    in(reg32) a[0], in(reg32) a[1], in(reg32) a[2], in(reg32) a[3], in(reg32) b[0], in(reg32) b[1],
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
    };
}
mma_m16n8k16!(
    /// c += a * b with f16 operands and f32 sums: `mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32`
    /// ("Multiply-and-Accumulate Instruction: mma").
    mma_f16,
    "f32.f16.f16.f32"
);
mma_m16n8k16!(
    /// c += a * b with bf16 operands and f32 sums: `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32`
    /// ("Multiply-and-Accumulate Instruction: mma").
    mma_bf16,
    "f32.bf16.bf16.f32"
);

/// Two f32 rounded to nearest even f16, `low` in the low half: `cvt.rn.f16x2.f32` ("cvt").
#[inline(always)]
pub fn pack_f16(low: f32, high: f32) -> u32 {
    let packed;
    // SAFETY: registers only.
    unsafe {
        asm!(
            "cvt.rn.f16x2.f32 {}, {}, {};",
            out(reg32) packed, in(reg32) high, in(reg32) low,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    packed
}

/// Two f32 rounded to nearest even bf16, `low` in the low half: `cvt.rn.bf16x2.f32` ("cvt").
#[inline(always)]
pub fn pack_bf16(low: f32, high: f32) -> u32 {
    let packed;
    // SAFETY: registers only.
    unsafe {
        asm!(
            "cvt.rn.bf16x2.f32 {}, {}, {};",
            out(reg32) packed, in(reg32) high, in(reg32) low,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    packed
}

/// a * b + c, rounded once: `fma.rn.f32`. Rust never contracts `a * b + c` by itself.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { fma_rn_f32(a, b, c) }
}

/// 2^x, relative error 2^-22; subnormal inputs and results are 0: `ex2.approx.ftz.f32`.
///
/// The form without `.ftz` costs a comparison and two multiplications more.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { ex2_approx_ftz_f32(x) }
}

/// log2 x, absolute error 2^-22 between 1/2 and 2 and relative error 2^-22 elsewhere: `lg2.approx.ftz.f32`.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { lg2_approx_ftz_f32(x) }
}

/// 1 / x, 1 ulp: `rcp.approx.ftz.f32`.
#[inline(always)]
pub fn reciprocal(x: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { rcp_approx_ftz_f32(x) }
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
