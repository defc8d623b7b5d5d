//! Fragments of matrices: `ldmatrix`, `stmatrix`, `mma`, and the rounding to 16 bits that makes an operand.

use core::arch::asm;

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

/// Stores four 8 x 8 matrices of 16-bit elements, the inverse of [`ldmatrix`]:
/// `stmatrix.sync.aligned.m8n8.x4.shared.b16` ("Warp Level Matrix Store Instruction: stmatrix").
///
/// # Safety
/// Every lane of the warp calls it with a 16-byte aligned address of 16 bytes of shared memory that no other thread uses
/// before the next barrier.
#[cfg(kernel_arch = "sm_90a")]
#[inline(always)]
pub unsafe fn store_matrix(shared: u32, words: [u32; 4]) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "stmatrix.sync.aligned.m8n8.x4.shared.b16 [{}], {{{}, {}, {}, {}}};",
            in(reg32) shared, in(reg32) words[0], in(reg32) words[1], in(reg32) words[2], in(reg32) words[3],
            options(nostack, preserves_flags)
        );
    }
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

/// One f16 as f32, exactly: `cvt.f32.f16` ("cvt").
#[inline(always)]
pub fn widen_f16(bits: u16) -> f32 {
    let x;
    // SAFETY: registers only.
    unsafe {
        asm!(
            "cvt.f32.f16 {}, {};",
            out(reg32) x, in(reg16) bits,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    x
}
