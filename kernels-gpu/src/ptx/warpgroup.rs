//! What four warps do together: matrix products of shared memory and registers (PTX ISA, "Asynchronous Warpgroup Level
//! Matrix Instructions"), and trading registers ("setmaxnreg").
//!
//! A product is asynchronous: between its instruction and [`wait_products`] its accumulators, first operand and shared
//! memory belong to the tensor cores. The compiler does not know that. [`Accumulators::settle`] is where values cross:
//! arithmetic on accumulators stays on the side of it where it is written. So a warpgroup settles what it has computed,
//! calls [`begin_products`], multiplies, [`commit_products`], later [`wait_products`], and settles again.

use crate::fragment::Acc;
use core::arch::asm;

/// Orders the registers of products to come behind what is done to them before: `wgmma.fence.sync.aligned`.
#[inline(always)]
pub fn begin_products() {
    // SAFETY: only orders accesses to registers and memory; callers are in uniform control flow.
    unsafe { asm!("wgmma.fence.sync.aligned;", options(nostack)) }
}

/// Makes the products since the last call a group: `wgmma.commit_group.sync.aligned`.
#[inline(always)]
pub fn commit_products() {
    // SAFETY: only groups products; callers are in uniform control flow.
    unsafe { asm!("wgmma.commit_group.sync.aligned;", options(nostack)) }
}

/// Waits until at most `PENDING` groups are unfinished: `wgmma.wait_group.sync.aligned`.
#[inline(always)]
pub fn wait_products<const PENDING: u32>() {
    // SAFETY: only waits; callers are in uniform control flow.
    unsafe { asm!("wgmma.wait_group.sync.aligned {};", const PENDING, options(nostack)) }
}

/// Gives registers back until the thread has `COUNT`: `setmaxnreg.dec.sync.aligned.u32`.
///
/// # Safety
/// All warps of the warpgroup call it, and the thread has at least as many.
#[inline(always)]
pub unsafe fn release_registers<const COUNT: u32>() {
    // SAFETY: the caller's promise.
    unsafe { asm!("setmaxnreg.dec.sync.aligned.u32 {};", const COUNT, options(nostack)) }
}

/// Waits for registers until the thread has `COUNT`: `setmaxnreg.inc.sync.aligned.u32`.
///
/// # Safety
/// All warps of the warpgroup call it, the thread has at most as many, and other warpgroups release enough.
#[inline(always)]
pub unsafe fn acquire_registers<const COUNT: u32>() {
    // SAFETY: the caller's promise.
    unsafe { asm!("setmaxnreg.inc.sync.aligned.u32 {};", const COUNT, options(nostack)) }
}

/// Keeps the words of a first operand where they are: as [`Accumulators::settle`].
#[inline(always)]
pub fn settle_operand(words: &mut [u32; 4]) {
    let [w0, w1, w2, w3] = words;
    // SAFETY: an empty text.
    unsafe {
        asm!(
            "/* {} {} {} {} */",
            inout(reg32) * w0,
            inout(reg32) * w1,
            inout(reg32) * w2,
            inout(reg32) * w3,
            options(nostack, preserves_flags)
        );
    }
}

/// Which way a 16-bit operand in shared memory is read.
pub trait Major {
    /// The immediate of the instruction.
    const TRANSPOSED: u32;
}
/// Contiguous along k, the dimension that is summed over.
pub struct KMajor;
impl Major for KMajor {
    const TRANSPOSED: u32 = 0;
}
/// Contiguous along the rows of A or the columns of B.
pub struct MnMajor;
impl Major for MnMajor {
    const TRANSPOSED: u32 = 1;
}

/// A lane's part of 64 x N sums in f32, `N / 2` registers: warp w of the warpgroup has rows 16·w .. 16·w + 16, as the
/// accumulators of a strip.
pub trait Accumulators: Sized {
    /// Columns.
    const N: u32;
    /// Zeros.
    const ZERO: Self;

    /// Values cross here, see the head of this file. No instruction.
    fn settle(&mut self);

    /// `self += A·B` of f16 for one k-step of 16, both in shared memory: `wgmma.mma_async` with descriptors.
    ///
    /// # Safety
    /// All four warps of a warpgroup call it with the same descriptors of readable tiles, behind [`begin_products`]; until
    /// [`wait_products`] and [`settle`](Accumulators::settle) nobody touches the accumulators or changes the tiles.
    unsafe fn add_f16<A: Major, B: Major>(&mut self, a: u64, b: u64);
    /// `A·B` of f16, as [`add_f16`](Accumulators::add_f16).
    ///
    /// # Safety
    /// As there.
    unsafe fn product_f16<A: Major, B: Major>(a: u64, b: u64) -> Self;
    /// `self += A·B` of f16 with A in registers.
    ///
    /// # Safety
    /// As [`add_f16`](Accumulators::add_f16); nobody changes the registers of `a` either.
    unsafe fn add_rs_f16<B: Major>(&mut self, a: &[u32; 4], b: u64);
    /// As [`add_f16`](Accumulators::add_f16), of bf16.
    ///
    /// # Safety
    /// As there.
    unsafe fn add_bf16<A: Major, B: Major>(&mut self, a: u64, b: u64);
    /// As [`product_f16`](Accumulators::product_f16), of bf16.
    ///
    /// # Safety
    /// As there.
    unsafe fn product_bf16<A: Major, B: Major>(a: u64, b: u64) -> Self;
    /// As [`add_rs_f16`](Accumulators::add_rs_f16), of bf16.
    ///
    /// # Safety
    /// As there.
    unsafe fn add_rs_bf16<B: Major>(&mut self, a: &[u32; 4], b: u64);
}

/// `{0}, {1}, ...` in braces: the accumulators of an instruction.
macro_rules! registers {
    ($first:literal $($i:literal)*) => {
        concat!("{{{", $first, "}", $(", {", $i, "}",)* "}}")
    };
}

macro_rules! products {
    ($add:ident, $product:ident, $add_rs:ident, $n:literal, $types:literal: $($i:literal)*) => {
        #[inline(always)]
        unsafe fn $add<A: Major, B: Major>(&mut self, a: u64, b: u64) {
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    concat!("wgmma.mma_async.sync.aligned.m64n", $n, "k16.f32.", $types, " ", registers!($($i)*),
                        ", {a}, {b}, 1, 1, 1, {ta}, {tb};"),
                    $(inout(reg32) self.0[$i / 4][$i % 4],)*
                    a = in(reg64) a, b = in(reg64) b, ta = const A::TRANSPOSED, tb = const B::TRANSPOSED,
                    options(nostack)
                );
            }
        }

        #[inline(always)]
        unsafe fn $product<A: Major, B: Major>(a: u64, b: u64) -> Self {
            let mut product = Self::ZERO;
            // SAFETY: the caller's promise. Sums that are not read need not be there.
            unsafe {
                asm!(
                    concat!("wgmma.mma_async.sync.aligned.m64n", $n, "k16.f32.", $types, " ", registers!($($i)*),
                        ", {a}, {b}, 0, 1, 1, {ta}, {tb};"),
                    $(out(reg32) product.0[$i / 4][$i % 4],)*
                    a = in(reg64) a, b = in(reg64) b, ta = const A::TRANSPOSED, tb = const B::TRANSPOSED,
                    options(nostack)
                );
            }
            product
        }

        #[inline(always)]
        unsafe fn $add_rs<B: Major>(&mut self, a: &[u32; 4], b: u64) {
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    concat!("wgmma.mma_async.sync.aligned.m64n", $n, "k16.f32.", $types, " ", registers!($($i)*),
                        ", {{{a0}, {a1}, {a2}, {a3}}}, {b}, 1, 1, 1, {tb};"),
                    $(inout(reg32) self.0[$i / 4][$i % 4],)*
                    a0 = in(reg32) a[0], a1 = in(reg32) a[1], a2 = in(reg32) a[2], a3 = in(reg32) a[3],
                    b = in(reg64) b, tb = const B::TRANSPOSED,
                    options(nostack)
                );
            }
        }
    };
}

macro_rules! accumulators {
    ($n:literal: $($i:literal)*) => {
        impl Accumulators for Acc<{ $n / 8 }> {
            const N: u32 = $n;
            const ZERO: Self = Acc::zero();

            #[inline(always)]
            fn settle(&mut self) {
                // SAFETY: an empty text.
                unsafe {
                    asm!(
                        concat!("/* ", registers!($($i)*), " */"),
                        $(inout(reg32) self.0[$i / 4][$i % 4],)*
                        options(nostack, preserves_flags)
                    );
                }
            }

            products!(add_f16, product_f16, add_rs_f16, $n, "f16.f16": $($i)*);
            products!(add_bf16, product_bf16, add_rs_bf16, $n, "bf16.bf16": $($i)*);
        }
    };
}

// One line for each number of columns that a kernel uses: columns, and the numbers of the registers.
#[rustfmt::skip]
mod widths {
    use super::*;
    accumulators!(32:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    accumulators!(48:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);
    accumulators!(64:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    accumulators!(80:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39);
    accumulators!(96:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47);
    accumulators!(112:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55);
    accumulators!(128:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    accumulators!(160:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
        65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
    accumulators!(176:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
        65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87);
    accumulators!(192:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
        65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95);
    accumulators!(256:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
        65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95
        96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119
        120 121 122 123 124 125 126 127);
}
