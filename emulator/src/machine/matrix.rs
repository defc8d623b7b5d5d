//! Tensor-core instructions: ldmatrix, movmatrix, mma (PTX ISA, "Warp Level Matrix Instructions").
//!
//! With g = lane / 4 and t = lane % 4, every 8x8 fragment of 16-bit elements gives lane (g, t) the
//! elements (g, 2t) and (g, 2t + 1), low half first. So the 32 lanes of one register, read in lane
//! order as 16-bit elements, are the matrix in row-major order:
//!
//! ```text
//! A 16 x 16: register 0 rows 0-7, k 0-7    B 16 x 8, held as Bᵀ:  register 0 k 0-7
//!            register 1 rows 8-15, k 0-7                          register 1 k 8-15
//!            register 2 rows 0-7, k 8-15   C 16 x 8 of f32: registers 0, 1 even and odd columns
//!            register 3 rows 8-15, k 8-15                   of rows 0-7; registers 2, 3 of 8-15
//! ```

use crate::fault::{FaultKind, Outcome, lane_fault};
use crate::ir::{Address, HalfKind, Mma, R32, Space};

use super::address::{Region, check_bounds, effective};
use super::context::{Context, MmaNumerics};
use super::data_movement::window_base;
use super::fused_dot;
use super::half::{Format, f16_from_f32, f16_to_f32, to_f32};
use super::registers::{LANES, Lanes, Mask, Registers, each_lane};
use super::warp::Warp;

const EVERYONE: Mask = Mask {
    lanes: u32::MAX,
    whole: true,
};

/// Rows of C, and f32 values of one row.
type Tile = [[f32; 8]; 16];

/// Operands of `ldmatrix`.
pub(crate) struct LdMatrix {
    pub count: u8,
    pub transpose: bool,
    pub space: Space,
    pub d: [R32; 4],
    pub address: Address,
}

/// Row q of matrix j comes from the address of lane 8j + q.
#[inline(always)]
pub(crate) fn ldmatrix(warp: &mut Warp, context: &mut Context, op: LdMatrix) -> Outcome {
    let base = if op.space == Space::Generic {
        window_base(Space::Shared)
    } else {
        0
    };
    let addresses = effective(&warp.regs, EVERYONE, op.address);
    let mut rows = each_lane(|i| addresses[i].wrapping_sub(base));
    let used = 8 * usize::from(op.count);
    // The other lanes' addresses are not used; they must not be checked either.
    let first = rows[0];
    rows[used..].fill(first);
    check_rows(context, &rows, used)?;
    for (j, d) in op.d.iter().take(usize::from(op.count)).enumerate() {
        let mut matrix = [0; LANES];
        for (q, words) in matrix.chunks_exact_mut(4).enumerate() {
            let start = rows[8 * j + q] as usize;
            let row = &context.shared.bytes()[start..start + 16];
            for (word, bytes) in words.iter_mut().zip(row.chunks_exact(4)) {
                *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        let out = if op.transpose {
            transposed(&matrix)
        } else {
            matrix
        };
        warp.regs.set32(EVERYONE, *d, &out);
    }
    Ok(())
}

#[inline(always)]
fn check_rows(context: &Context, rows: &Lanes<u64>, used: usize) -> Outcome {
    if let Some(lane) = rows.iter().position(|a| a % 16 != 0) {
        let (space, address) = ("shared", rows[lane]);
        let kind = FaultKind::Misaligned {
            space,
            address,
            alignment: 16,
        };
        return lane_fault(lane as u32, kind);
    }
    let region = Region {
        space: Space::Shared,
        base: 0,
        len: context.shared.bytes().len() as u64,
    };
    check_bounds(u32::MAX, rows, 16, region)?;
    if context.shared.has_in_flight() {
        for (lane, row) in rows[..used].iter().enumerate() {
            if let Err(kind) = context.shared.check_landed(*row as usize, 16) {
                return lane_fault(lane as u32, kind);
            }
        }
    }
    Ok(())
}

/// The elements of an 8x8 matrix of 16-bit elements in row-major order.
#[inline(always)]
fn elements(register: &Lanes<u32>) -> [u16; 64] {
    let mut out = [0; 64];
    for (pair, word) in out.chunks_exact_mut(2).zip(register) {
        (pair[0], pair[1]) = (*word as u16, (word >> 16) as u16);
    }
    out
}

#[inline(always)]
fn transposed(register: &Lanes<u32>) -> Lanes<u32> {
    let m = elements(register);
    let at = |row: usize, col: usize| u32::from(m[8 * col + row]);
    each_lane(|lane| {
        let (g, t) = (lane / 4, lane % 4);
        at(g, 2 * t) | at(g, 2 * t + 1) << 16
    })
}

/// `movmatrix.trans`.
pub(crate) fn movmatrix(regs: &mut Registers, d: R32, a: R32) {
    let out = transposed(regs.get32(a));
    regs.set32(EVERYONE, d, &out);
}

/// An 8x8 matrix of 16-bit floats as f32, row-major.
#[inline(always)]
fn values(format: Format, register: &Lanes<u32>) -> [f32; 64] {
    let mut out = [0.0; 64];
    for (pair, word) in out.chunks_exact_mut(2).zip(register) {
        match format {
            Format::Bf16 => {
                pair[0] = f32::from_bits(word << 16);
                pair[1] = f32::from_bits(word & 0xffff_0000);
            }
            Format::F16 => {
                pair[0] = f16_to_f32(word & 0xffff);
                pair[1] = f16_to_f32(word >> 16);
            }
        }
    }
    out
}

/// Two matrices of A: rows 0-7 and 8-15 of eight columns.
type Half = [[f32; 64]; 2];

/// `mma.sync`. `FUSED` says that the processor has a fused multiply-add. Products of 16-bit floats are
/// exact in f32 unless a bf16 one leaves f32's range, so both ways give the same sum but there.
#[inline(always)]
pub(crate) fn mma<const FUSED: bool>(regs: &mut Registers, numerics: MmaNumerics, op: &Mma) {
    let format = match op.input {
        HalfKind::F16 | HalfKind::F16x2 => Format::F16,
        HalfKind::Bf16 | HalfKind::Bf16x2 => Format::Bf16,
    };
    let mut tile = load_accumulator(regs, op);
    // Eight values of k at a time, which is also how Ampere executes k = 16.
    for half in 0..usize::from(op.k / 8) {
        let (a0, a1) = (regs.get32(op.a[2 * half]), regs.get32(op.a[2 * half + 1]));
        let b = regs.get32(op.b[half]);
        match numerics {
            MmaNumerics::F32 => {
                let a = [values(format, a0), values(format, a1)];
                multiply::<FUSED>(&mut tile, &a, &values(format, &transposed(b)));
            }
            MmaNumerics::Hardware => {
                let rows = [elements(a0), elements(a1)];
                fused_dot_tile(&mut tile, format, &rows, &elements(b), op.f32_accumulate);
            }
        }
    }
    store_accumulator(regs, op, &tile);
}

/// tile += A · B for eight k; `b` is k-major.
#[inline(always)]
fn multiply<const FUSED: bool>(tile: &mut Tile, a: &Half, b: &[f32; 64]) {
    for (i, row) in tile.iter_mut().enumerate() {
        let a_row = &a[i / 8][8 * (i % 8)..][..8];
        let mut sums = *row;
        for (k, a) in a_row.iter().enumerate() {
            let b_row = &b[8 * k..][..8];
            for (sum, b) in sums.iter_mut().zip(b_row) {
                *sum = if FUSED {
                    a.mul_add(*b, *sum)
                } else {
                    a * b + *sum
                };
            }
        }
        *row = sums;
    }
}

#[inline(never)]
fn fused_dot_tile(
    tile: &mut Tile,
    format: Format,
    a: &[[u16; 64]; 2],
    b: &[u16; 64],
    f32_accumulate: bool,
) {
    let value = |bits: u16| to_f32(format, u32::from(bits));
    for (i, row) in tile.iter_mut().enumerate() {
        for (n, sum) in row.iter_mut().enumerate() {
            let products: [(f32, f32); 8] =
                std::array::from_fn(|k| (value(a[i / 8][8 * (i % 8) + k]), value(b[8 * n + k])));
            let result = fused_dot::fused_dot_add(format, &products, *sum);
            *sum = if f32_accumulate {
                fused_dot::to_f32_truncated(result)
            } else {
                f16_to_f32(fused_dot::to_f16_nearest(result))
            };
        }
    }
}

#[inline(always)]
fn load_accumulator(regs: &Registers, op: &Mma) -> Tile {
    let mut tile = [[0.0; 8]; 16];
    if op.f32_accumulate {
        for half in 0..2 {
            let (even, odd) = (regs.get32(op.c[2 * half]), regs.get32(op.c[2 * half + 1]));
            for lane in 0..LANES {
                let pair = &mut tile[8 * half + lane / 4][2 * (lane % 4)..][..2];
                pair[0] = f32::from_bits(even[lane]);
                pair[1] = f32::from_bits(odd[lane]);
            }
        }
    } else {
        for half in 0..2 {
            let rows = values(Format::F16, regs.get32(op.c[half]));
            for (row, values) in tile[8 * half..].iter_mut().zip(rows.chunks_exact(8)) {
                row.copy_from_slice(values);
            }
        }
    }
    tile
}

#[inline(always)]
fn store_accumulator(regs: &mut Registers, op: &Mma, tile: &Tile) {
    for half in 0..2 {
        let pair = |lane: usize| &tile[8 * half + lane / 4][2 * (lane % 4)..][..2];
        if op.f32_accumulate {
            let even = each_lane(|lane| super::float::bits32(pair(lane)[0]));
            let odd = each_lane(|lane| super::float::bits32(pair(lane)[1]));
            regs.set32(EVERYONE, op.d[2 * half], &even);
            regs.set32(EVERYONE, op.d[2 * half + 1], &odd);
        } else {
            let packed =
                each_lane(|lane| f16_from_f32(pair(lane)[0]) | f16_from_f32(pair(lane)[1]) << 16);
            regs.set32(EVERYONE, op.d[half], &packed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (row, column) of element i of a lane's fragment, as the ISA's formulas for m16n8k16 say.
    fn isa_a(lane: usize, i: usize) -> (usize, usize) {
        let (g, t) = (lane / 4, lane % 4);
        (g + 8 * (i >> 1 & 1), 2 * t + (i & 1) + 8 * (i >> 2))
    }

    fn isa_b(lane: usize, i: usize) -> (usize, usize) {
        let (g, t) = (lane / 4, lane % 4);
        (2 * t + (i & 1) + 8 * (i >> 1), g)
    }

    fn isa_c(lane: usize, i: usize) -> (usize, usize) {
        let (g, t) = (lane / 4, lane % 4);
        (g + 8 * (i >> 1), 2 * t + (i & 1))
    }

    fn is_bijection(
        map: impl Fn(usize, usize) -> (usize, usize),
        per_lane: usize,
        columns: usize,
    ) -> bool {
        let mut seen = vec![false; LANES * per_lane];
        for lane in 0..LANES {
            for i in 0..per_lane {
                let (row, column) = map(lane, i);
                seen[row * columns + column] = true;
            }
        }
        seen.iter().all(|s| *s)
    }

    #[test]
    fn the_fragment_maps_are_bijections() {
        assert!(is_bijection(isa_a, 8, 16));
        assert!(is_bijection(isa_b, 4, 8));
        assert!(is_bijection(isa_c, 4, 8));
    }

    fn registers() -> Registers {
        let counts = crate::ir::SlotCounts {
            r32: 16,
            r64: 0,
            pred: 1,
        };
        Registers::new(counts)
    }

    fn put(regs: &mut Registers, slot: u16, lane: usize, element: usize, bits: u32) {
        let word = &mut regs.get32_mut(R32(slot))[lane];
        *word = *word & !(0xffff << (16 * element)) | bits << (16 * element);
    }

    fn op(k: u8, input: HalfKind, f32_accumulate: bool) -> Mma {
        Mma {
            k,
            input,
            f32_accumulate,
            d: [0, 1, 2, 3].map(R32),
            a: [4, 5, 6, 7].map(R32),
            b: [8, 9].map(R32),
            c: [10, 11, 12, 13].map(R32),
        }
    }

    /// Small integers, exact in every format and in every order of summation.
    fn a_value(row: usize, k: usize) -> f32 {
        (row * 3 + k) as f32 % 7.0 - 3.0
    }

    fn b_value(k: usize, n: usize) -> f32 {
        (k * 5 + n * 2) as f32 % 5.0 - 2.0
    }

    fn c_value(row: usize, n: usize) -> f32 {
        (row + n) as f32
    }

    #[test]
    fn mma_multiplies_the_matrices_that_the_isa_maps_describe() {
        for (k, input) in [
            (16, HalfKind::Bf16x2),
            (16, HalfKind::F16x2),
            (8, HalfKind::F16x2),
        ] {
            for numerics in [MmaNumerics::F32, MmaNumerics::Hardware] {
                for f32_accumulate in [true, false] {
                    check_product(k, input, numerics, f32_accumulate);
                }
            }
        }
    }

    fn check_product(k: usize, input: HalfKind, numerics: MmaNumerics, f32_accumulate: bool) {
        let mut regs = registers();
        let format = Format::of(input);
        let bits = |x: f32| crate::machine::half::from_f32(format, x);
        for lane in 0..LANES {
            for i in 0..k / 2 {
                let (row, col) = isa_a(lane, i);
                put(
                    &mut regs,
                    4 + i as u16 / 2,
                    lane,
                    i % 2,
                    bits(a_value(row, col)),
                );
            }
            for i in 0..k / 4 {
                let (row, col) = isa_b(lane, i);
                put(
                    &mut regs,
                    8 + i as u16 / 2,
                    lane,
                    i % 2,
                    bits(b_value(row, col)),
                );
            }
            for i in 0..4 {
                let (row, col) = isa_c(lane, i);
                let value = c_value(row, col);
                if f32_accumulate {
                    regs.get32_mut(R32(10 + i as u16))[lane] = value.to_bits();
                } else {
                    put(
                        &mut regs,
                        10 + i as u16 / 2,
                        lane,
                        i % 2,
                        f16_from_f32(value),
                    );
                }
            }
        }
        mma::<true>(&mut regs, numerics, &op(k as u8, input, f32_accumulate));
        for lane in 0..LANES {
            for i in 0..4 {
                let (row, col) = isa_c(lane, i);
                let dot: f32 = (0..k).map(|k| a_value(row, k) * b_value(k, col)).sum();
                let got = if f32_accumulate {
                    f32::from_bits(regs.get32(R32(i as u16))[lane])
                } else {
                    f16_to_f32(regs.get32(R32(i as u16 / 2))[lane] >> (16 * (i % 2)) & 0xffff)
                };
                assert_eq!(
                    got,
                    dot + c_value(row, col),
                    "{input:?} k{k} ({row}, {col})"
                );
            }
        }
    }

    #[test]
    fn transposing_twice_is_the_identity_and_once_swaps_row_and_column() {
        let matrix: Lanes<u32> =
            std::array::from_fn(|i| (2 * i) as u32 | ((2 * i + 1) as u32) << 16);
        let once = elements(&transposed(&matrix));
        for row in 0..8 {
            for col in 0..8 {
                assert_eq!(usize::from(once[8 * row + col]), 8 * col + row);
            }
        }
        assert_eq!(transposed(&transposed(&matrix)), matrix);
    }
}
