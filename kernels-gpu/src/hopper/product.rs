//! Products of a warpgroup: a chain of steps over tiles in shared memory and registers.
//!
//! They are asynchronous, see [`ptx::Accumulators`]: between [`ptx::begin_products`] and [`ptx::wait_products`].

use crate::fragment::Acc;
use crate::hopper::descriptor::{Descriptor, STEP, k_major_step, mn_major_step};
use crate::mma::{Bf16, Element, F16};
use crate::ptx::{Accumulators, KMajor, Major, MnMajor};
use crate::tile::Shape;

/// An element type that warpgroups multiply.
pub trait WarpgroupElement: Element {
    /// `acc += A·B` for one step, both in shared memory.
    ///
    /// # Safety
    /// As [`Accumulators::add_f16`].
    unsafe fn add<C: Accumulators, A: Major, B: Major>(acc: &mut C, a: Descriptor, b: Descriptor);

    /// `A·B` for one step, both in shared memory.
    ///
    /// # Safety
    /// As [`Accumulators::add_f16`].
    unsafe fn product<C: Accumulators, A: Major, B: Major>(a: Descriptor, b: Descriptor) -> C;

    /// `acc += A·B` for one step, A in registers.
    ///
    /// # Safety
    /// As [`Accumulators::add_rs_f16`].
    unsafe fn add_rs<C: Accumulators, B: Major>(acc: &mut C, a: &[u32; 4], b: Descriptor);
}

macro_rules! warpgroup_element {
    ($element:ident, $add:ident, $product:ident, $add_rs:ident) => {
        impl WarpgroupElement for $element {
            #[inline(always)]
            unsafe fn add<C: Accumulators, A: Major, B: Major>(
                acc: &mut C,
                a: Descriptor,
                b: Descriptor,
            ) {
                // SAFETY: the caller's promise.
                unsafe { acc.$add::<A, B>(a.0, b.0) }
            }

            #[inline(always)]
            unsafe fn product<C: Accumulators, A: Major, B: Major>(
                a: Descriptor,
                b: Descriptor,
            ) -> C {
                // SAFETY: the caller's promise.
                unsafe { C::$product::<A, B>(a.0, b.0) }
            }

            #[inline(always)]
            unsafe fn add_rs<C: Accumulators, B: Major>(acc: &mut C, a: &[u32; 4], b: Descriptor) {
                // SAFETY: the caller's promise.
                unsafe { acc.$add_rs::<B>(a, b.0) }
            }
        }
    };
}
warpgroup_element!(F16, add_f16, product_f16, add_rs_f16);
warpgroup_element!(Bf16, add_bf16, product_bf16, add_rs_bf16);

/// Starts A·Bᵀ for 64 rows `a` of a tile of shape `A` and rows `b` of one of shape `B`, summed over their columns.
///
/// # Safety
/// As [`Accumulators::add_f16`].
#[inline(always)]
pub unsafe fn multiply_transposed<E: WarpgroupElement, A: Shape, B: Shape, C: Accumulators>(
    a: Descriptor,
    b: Descriptor,
) -> C {
    const {
        assert!(A::COLS == B::COLS && C::N <= B::ROWS);
    }
    // SAFETY: the caller's promise.
    let mut product = unsafe { E::product::<C, KMajor, KMajor>(a, b) };
    let mut step = 1;
    while step < A::COLS / STEP {
        let a = a.after(k_major_step::<A>(step));
        let b = b.after(k_major_step::<B>(step));
        // SAFETY: the caller's promise.
        unsafe { E::add::<C, KMajor, KMajor>(&mut product, a, b) };
        step += 1;
    }
    product
}

/// Starts `acc += A·Bᵀ`, as [`multiply_transposed`].
///
/// # Safety
/// As [`Accumulators::add_f16`].
#[inline(always)]
pub unsafe fn add_transposed<E: WarpgroupElement, A: Shape, B: Shape, C: Accumulators>(
    acc: &mut C,
    a: Descriptor,
    b: Descriptor,
) {
    const {
        assert!(A::COLS == B::COLS && C::N <= B::ROWS);
    }
    let mut step = 0;
    while step < A::COLS / STEP {
        let a = a.after(k_major_step::<A>(step));
        let b = b.after(k_major_step::<B>(step));
        // SAFETY: the caller's promise.
        unsafe { E::add::<C, KMajor, KMajor>(acc, a, b) };
        step += 1;
    }
}

/// Starts `acc += A·B` for 64 rows `a` of a tile of shape `A` and whole pages `b` of one of shape `B`.
///
/// # Safety
/// As [`Accumulators::add_f16`].
#[inline(always)]
pub unsafe fn add_tile_product<E: WarpgroupElement, A: Shape, B: Shape, C: Accumulators>(
    acc: &mut C,
    a: Descriptor,
    b: Descriptor,
) {
    const {
        assert!(A::COLS == B::ROWS && C::N.is_multiple_of(B::PAGE_COLS));
    }
    let mut step = 0;
    while step < A::COLS / STEP {
        let a = a.after(k_major_step::<A>(step));
        let b = b.after(mn_major_step::<B>(step));
        // SAFETY: the caller's promise.
        unsafe { E::add::<C, KMajor, MnMajor>(acc, a, b) };
        step += 1;
    }
}

/// Starts Aᵀ·B, summed over the rows of two tiles: 64 columns `a` of one of shape `A` and whole pages `b` of one of shape
/// `B`.
///
/// # Safety
/// As [`Accumulators::add_f16`].
#[inline(always)]
pub unsafe fn multiply_columns<E: WarpgroupElement, A: Shape, B: Shape, C: Accumulators>(
    a: Descriptor,
    b: Descriptor,
) -> C {
    const {
        assert!(A::ROWS == B::ROWS && A::PAGE_COLS == 64);
    }
    // SAFETY: the caller's promise.
    let mut product = unsafe { E::product::<C, MnMajor, MnMajor>(a, b) };
    let mut step = 1;
    while step < A::ROWS / STEP {
        let a = a.after(mn_major_step::<A>(step));
        let b = b.after(mn_major_step::<B>(step));
        // SAFETY: the caller's promise.
        unsafe { E::add::<C, MnMajor, MnMajor>(&mut product, a, b) };
        step += 1;
    }
    product
}

/// Starts `acc += A·B` for A in registers, 64 rows of STEPS steps, and the first rows and columns of the tile `b`.
///
/// # Safety
/// As [`Accumulators::add_rs_f16`].
#[inline(always)]
pub unsafe fn add_product<E: WarpgroupElement, B: Shape, C: Accumulators, const STEPS: usize>(
    acc: &mut C,
    a: &[[u32; 4]; STEPS],
    b: Descriptor,
) {
    const {
        assert!(STEPS as u32 * STEP <= B::ROWS && C::N <= B::COLS);
    }
    let mut step = 0;
    while step < STEPS {
        let b = b.after(mn_major_step::<B>(step as u32));
        // SAFETY: the caller's promise.
        unsafe { E::add_rs::<C, MnMajor>(acc, &a[step], b) };
        step += 1;
    }
}

/// An accumulator of 16 · STEPS columns, rounded: the first operand of a product that sums over these columns.
#[inline(always)]
pub fn operand<E: Element, const N: usize, const STEPS: usize>(acc: &Acc<N>) -> [[u32; 4]; STEPS] {
    const {
        assert!(N == 2 * STEPS);
    }
    let mut words = [[0; 4]; STEPS];
    let mut step = 0;
    while step < STEPS {
        let ([a, b, c, d], [e, f, g, h]) = (acc.0[2 * step], acc.0[2 * step + 1]);
        words[step] = [E::pack(a, b), E::pack(c, d), E::pack(e, f), E::pack(g, h)];
        step += 1;
    }
    words
}
