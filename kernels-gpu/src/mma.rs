//! The two matrix products of attention on one warp's strips: S = Q·Kᵀ and O += P·V.
//!
//! Every K and V fragment is loaded once and feeds all strips of the warp.

use crate::fragment::Acc;
use crate::ptx;
use crate::tile::{LaneAddress, Shape};
use core::array::from_mut;

/// A 16-bit element type with a tensor-core product into f32.
pub trait Element {
    /// Sign bits of the two elements of a word.
    const SIGN_BITS: u32 = 0x8000_8000;

    /// c += a * b on a 16 x 8 tile, 16 products per element.
    ///
    /// # Safety
    /// Every lane of the warp calls it together.
    unsafe fn mma(c: &mut [f32; 4], a: [u32; 4], b: [u32; 2]);

    /// Two values rounded to nearest even, `low` in the low half.
    fn pack(low: f32, high: f32) -> u32;

    /// The two values of a word, low half first.
    fn unpack(word: u32) -> [f32; 2];
}

/// IEEE binary16.
pub struct F16;

impl Element for F16 {
    #[inline(always)]
    unsafe fn mma(c: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
        // SAFETY: the caller's promise.
        unsafe { ptx::mma_f16(c, a, b) }
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> u32 {
        ptx::pack_f16(low, high)
    }

    #[inline(always)]
    fn unpack(word: u32) -> [f32; 2] {
        [
            ptx::widen_f16(word as u16),
            ptx::widen_f16((word >> 16) as u16),
        ]
    }
}

/// bfloat16.
pub struct Bf16;

impl Element for Bf16 {
    #[inline(always)]
    unsafe fn mma(c: &mut [f32; 4], a: [u32; 4], b: [u32; 2]) {
        // SAFETY: the caller's promise.
        unsafe { ptx::mma_bf16(c, a, b) }
    }

    #[inline(always)]
    fn pack(low: f32, high: f32) -> u32 {
        ptx::pack_bf16(low, high)
    }

    #[inline(always)]
    fn unpack(word: u32) -> [f32; 2] {
        [
            f32::from_bits(word << 16),
            f32::from_bits(word & 0xffff_0000),
        ]
    }
}

/// S = Q·Kᵀ for the warp's strips against one key tile of `8 * N` keys.
///
/// `q` points the lane at the warp's first strip (`rows_first`), `k` at the key tile (`chunks_first`).
///
/// # Safety
/// Called by whole warps; both tiles are written and a barrier has passed since.
#[inline(always)]
pub unsafe fn mma_qk<E: Element, Q: Shape, K: Shape, const STRIPS: usize, const N: usize>(
    q: &LaneAddress<Q>,
    k: &LaneAddress<K>,
) -> [Acc<N>; STRIPS] {
    let mut acc_s = [Acc::zero(); STRIPS];
    // SAFETY: the caller's promise.
    unsafe { mma_qk_onto::<E, _, _, STRIPS, N>(&mut acc_s, q, k) };
    acc_s
}

/// S += Q·Kᵀ as [`mma_qk`], which begins with zeros.
///
/// # Safety
/// As [`mma_qk`].
#[inline(always)]
pub unsafe fn mma_qk_onto<E: Element, Q: Shape, K: Shape, const STRIPS: usize, const N: usize>(
    acc_s: &mut [Acc<N>; STRIPS],
    q: &LaneAddress<Q>,
    k: &LaneAddress<K>,
) {
    let mut step = 0;
    while step < Q::COLS / 16 {
        let mut a = [[0; 4]; STRIPS];
        let mut strip = 0;
        while strip < STRIPS {
            // SAFETY: the caller's promise: a piece of the Q tile.
            a[strip] = unsafe { ptx::ldmatrix(q.piece(strip as u32, step)) };
            strip += 1;
        }
        let mut pair = 0;
        while pair < N / 2 {
            // SAFETY: the caller's promise: a piece of the K tile.
            let b = unsafe { ptx::ldmatrix(k.piece(pair as u32, step)) };
            // SAFETY: the caller's promise.
            unsafe { mma_pair::<E, STRIPS, N>(acc_s, &a, b, pair) };
            pair += 1;
        }
        step += 1;
    }
}

/// One strip as first operand of products over all its columns: a fragment for each 16 of them.
///
/// `q` points the lane at the strip (`rows_first`).
///
/// # Safety
/// Called by whole warps; the tile is written and a barrier has passed since.
#[inline(always)]
pub unsafe fn load_strip<Q: Shape, const STEPS: usize>(q: &LaneAddress<Q>) -> [[u32; 4]; STEPS] {
    let mut fragments = [[0; 4]; STEPS];
    let mut step = 0;
    while step < STEPS {
        // SAFETY: the caller's promise: a piece of the tile.
        fragments[step] = unsafe { ptx::ldmatrix(q.piece(0, step as u32)) };
        step += 1;
    }
    fragments
}

/// S += Q·Kᵀ as [`mma_qk`], for one strip of Q that is in registers, from [`load_strip`].
///
/// # Safety
/// Called by whole warps; the K tile is written and a barrier has passed since.
#[inline(always)]
pub unsafe fn mma_strip_qk<E: Element, K: Shape, const STEPS: usize, const N: usize>(
    acc_s: &mut Acc<N>,
    q: &[[u32; 4]; STEPS],
    k: &LaneAddress<K>,
) {
    let mut step = 0;
    while step < STEPS {
        let mut pair = 0;
        while pair < N / 2 {
            // SAFETY: the caller's promise: a piece of the K tile.
            let b = unsafe { ptx::ldmatrix(k.piece(pair as u32, step as u32)) };
            // SAFETY: the caller's promise.
            unsafe { mma_pair::<E, 1, N>(from_mut(acc_s), &[q[step]], b, pair) };
            pair += 1;
        }
        step += 1;
    }
}

/// O += P·V for the warp's strips; P is `acc_s`, rounded to 16 bits here, V a tile of `8 * N` keys by `8 * D` columns.
///
/// `v` points the lane at the V tile (`rows_first`).
///
/// # Safety
/// Called by whole warps; the V tile is written and a barrier has passed since.
#[inline(always)]
pub unsafe fn mma_pv<E: Element, V: Shape, const STRIPS: usize, const N: usize, const D: usize>(
    acc_o: &mut [Acc<D>; STRIPS],
    acc_s: &[Acc<N>; STRIPS],
    v: &LaneAddress<V>,
) {
    let mut step = 0;
    while step < N / 2 {
        let mut a = [[0; 4]; STRIPS];
        let mut strip = 0;
        while strip < STRIPS {
            a[strip] = a_operand::<E>(&acc_s[strip].0[2 * step], &acc_s[strip].0[2 * step + 1]);
            strip += 1;
        }
        let mut pair = 0;
        while pair < D / 2 {
            // SAFETY: the caller's promise: a piece of the V tile.
            let b = unsafe { ptx::ldmatrix_trans(v.piece(step as u32, pair as u32)) };
            // SAFETY: the caller's promise.
            unsafe { mma_pair::<E, STRIPS, D>(acc_o, &a, b, pair) };
            pair += 1;
        }
        step += 1;
    }
}

/// O += P·V as [`mma_pv`], with P a tile of the element type in shared memory.
///
/// `p` points the lane at the warp's first strip (`rows_first`), `v` at the V tile (`rows_first`).
///
/// # Safety
/// Called by whole warps; both tiles are written and a barrier has passed since.
#[inline(always)]
pub unsafe fn mma_stored_pv<E: Element, P: Shape, V: Shape, const STRIPS: usize, const D: usize>(
    acc_o: &mut [Acc<D>; STRIPS],
    p: &LaneAddress<P>,
    v: &LaneAddress<V>,
) {
    let mut step = 0;
    while step < P::COLS / 16 {
        let mut a = [[0; 4]; STRIPS];
        let mut strip = 0;
        while strip < STRIPS {
            // SAFETY: the caller's promise: a piece of the P tile.
            a[strip] = unsafe { ptx::ldmatrix(p.piece(strip as u32, step)) };
            strip += 1;
        }
        let mut pair = 0;
        while pair < D / 2 {
            // SAFETY: the caller's promise: a piece of the V tile.
            let b = unsafe { ptx::ldmatrix_trans(v.piece(step, pair as u32)) };
            // SAFETY: the caller's promise.
            unsafe { mma_pair::<E, STRIPS, D>(acc_o, &a, b, pair) };
            pair += 1;
        }
        step += 1;
    }
}

/// O += P·V for one strip of P and `8 * D` columns of V, with P stored transposed, keys along its rows.
///
/// `p` points the lane at the tile of Pᵀ (`chunks_first`), whose columns `16 * p_step ..` are the strip; `v` at the V
/// tile (`rows_first`), whose columns `16 * v_step ..` are used.
///
/// # Safety
/// Called by whole warps; both tiles are written and a barrier has passed since.
#[inline(always)]
pub unsafe fn mma_transposed_pv<E: Element, P: Shape, V: Shape, const D: usize>(
    acc_o: &mut Acc<D>,
    (p, p_step): (&LaneAddress<P>, u32),
    (v, v_step): (&LaneAddress<V>, u32),
) {
    let mut step = 0;
    while step < P::ROWS / 16 {
        // SAFETY: the caller's promise: a piece of the tile of Pᵀ.
        let a = unsafe { ptx::ldmatrix_trans(p.piece(step, p_step)) };
        let mut pair = 0;
        while pair < D / 2 {
            // SAFETY: the caller's promise: a piece of the V tile.
            let b = unsafe { ptx::ldmatrix_trans(v.piece(step, v_step + pair as u32)) };
            // SAFETY: the caller's promise.
            unsafe { mma_pair::<E, 1, D>(from_mut(acc_o), &[a], b, pair) };
            pair += 1;
        }
        step += 1;
    }
}

/// Multiplies each strip's A operand with two neighbouring B operands into column tiles `2 * pair` and `2 * pair + 1`.
///
/// # Safety
/// Called by whole warps.
#[inline(always)]
unsafe fn mma_pair<E: Element, const STRIPS: usize, const N: usize>(
    acc: &mut [Acc<N>; STRIPS],
    a: &[[u32; 4]; STRIPS],
    b: [u32; 4],
    pair: usize,
) {
    let mut strip = 0;
    while strip < STRIPS {
        // SAFETY: the caller's promise.
        unsafe {
            E::mma(&mut acc[strip].0[2 * pair], a[strip], [b[0], b[1]]);
            E::mma(&mut acc[strip].0[2 * pair + 1], a[strip], [b[2], b[3]]);
        }
        strip += 1;
    }
}

/// Two neighbouring accumulator tiles as the A operand of a product: the lane maps agree, nothing moves between lanes.
#[inline(always)]
fn a_operand<E: Element>(left: &[f32; 4], right: &[f32; 4]) -> [u32; 4] {
    [
        E::pack(left[0], left[1]),
        E::pack(left[2], left[3]),
        E::pack(right[0], right[1]),
        E::pack(right[2], right[3]),
    ]
}
