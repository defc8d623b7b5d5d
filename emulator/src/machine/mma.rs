//! Matrix products: mma (PTX ISA, "Matrix Multiply-Accumulate").
//!
//! With g = lane / 4 and t = lane % 4:
//!
//! ```text
//! A 16 x 16: register 0 rows 0-7, k 0-7    B 16 x 8, held as Bᵀ:  register 0 k 0-7
//!            register 1 rows 8-15, k 0-7                          register 1 k 8-15
//!            register 2 rows 0-7, k 8-15   C 16 x 8 of f32: registers 0, 1 even and odd columns
//!            register 3 rows 8-15, k 8-15                   of rows 0-7; registers 2, 3 of 8-15
//! ```
//! A and B have the elements (g, 2t) and (g, 2t + 1) of an 8x8 matrix in the halves of a lane, C has one element.

use crate::ir::{HalfKind, Mma};

use super::context::MmaNumerics;
use super::fused_dot;
use super::half::{Format, f16_from_f32, f16_to_f32, to_f32};
use super::matrix::{EVERYONE, elements};
use super::registers::{LANES, Lanes, Registers, each_lane};

/// C or D in f32, by register and lane as the map above says.
type Tile = [Lanes<f32>; 4];

/// The low and the high elements of all lanes as f32.
#[inline(always)]
fn values(format: Format, register: &Lanes<u32>) -> [Lanes<f32>; 2] {
    let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
    for i in 0..LANES {
        (low[i], high[i]) = match format {
            Format::Bf16 => (
                f32::from_bits(register[i] << 16),
                f32::from_bits(register[i] & 0xffff_0000),
            ),
            Format::F16 => (
                f16_to_f32(register[i] & 0xffff),
                f16_to_f32(register[i] >> 16),
            ),
        };
    }
    [low, high]
}

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
                let (a0, a1, b) = (values(format, a0), values(format, a1), values(format, b));
                // Spelled out, because the places of the elements must be constants to become shuffles.
                multiply::<FUSED, 0>(&mut tile, [&a0, &a1], &b);
                multiply::<FUSED, 1>(&mut tile, [&a0, &a1], &b);
                multiply::<FUSED, 2>(&mut tile, [&a0, &a1], &b);
                multiply::<FUSED, 3>(&mut tile, [&a0, &a1], &b);
            }
            MmaNumerics::Hardware => {
                let rows = [elements(a0), elements(a1)];
                fused_dot_tile(&mut tile, format, &rows, &elements(b), op.f32_accumulate);
            }
        }
    }
    store_accumulator(regs, op, &tile);
}

/// tile += A · B for k = 2T and 2T + 1. In every register of C, the four lanes of a row need the same element of A, and
/// lane t of each row needs the element of B in column 2t or 2t + 1. C itself never moves between lanes.
#[inline(always)]
fn multiply<const FUSED: bool, const T: usize>(
    tile: &mut Tile,
    a: [&[Lanes<f32>; 2]; 2],
    b: &[Lanes<f32>; 2],
) {
    for k in 0..2 {
        let b = &b[k];
        let even = repeat([b[T], b[8 + T], b[16 + T], b[24 + T]]);
        let odd = repeat([b[4 + T], b[12 + T], b[20 + T], b[28 + T]]);
        for rows in 0..2 {
            let a = spread::<T>(&a[rows][k]);
            add_products::<FUSED>(&mut tile[2 * rows], &a, &even);
            add_products::<FUSED>(&mut tile[2 * rows + 1], &a, &odd);
        }
    }
}

/// The element of lane T of each four, in all four.
#[inline(always)]
fn spread<const T: usize>(x: &Lanes<f32>) -> Lanes<f32> {
    let mut out = [0.0; LANES];
    for (out, four) in out.chunks_exact_mut(4).zip(x.chunks_exact(4)) {
        out.fill(four[T]);
    }
    out
}

/// The same four elements again and again.
#[inline(always)]
pub(super) fn repeat(four: [f32; 4]) -> Lanes<f32> {
    let mut out = [0.0; LANES];
    for out in out.chunks_exact_mut(4) {
        out.copy_from_slice(&four);
    }
    out
}

#[inline(always)]
fn add_products<const FUSED: bool>(sums: &mut Lanes<f32>, a: &Lanes<f32>, b: &Lanes<f32>) {
    for i in 0..LANES {
        sums[i] = if FUSED {
            a[i].mul_add(b[i], sums[i])
        } else {
            a[i] * b[i] + sums[i]
        };
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
    for (register, sums) in tile.iter_mut().enumerate() {
        for (lane, sum) in sums.iter_mut().enumerate() {
            let (i, n) = (8 * (register / 2) + lane / 4, 2 * (lane % 4) + register % 2);
            let products: [(f32, f32); 8] =
                std::array::from_fn(|k| (value(a[i / 8][8 * (i % 8) + k]), value(b[8 * n + k])));
            let result = fused_dot::fused_dot_add(fused_dot::AMPERE, format, &products, *sum);
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
    let mut tile = [[0.0; LANES]; 4];
    if op.f32_accumulate {
        for (sums, c) in tile.iter_mut().zip(op.c) {
            let c = regs.get32(c);
            for i in 0..LANES {
                sums[i] = f32::from_bits(c[i]);
            }
        }
    } else {
        for (sums, c) in tile.chunks_exact_mut(2).zip(op.c) {
            sums.copy_from_slice(&values(Format::F16, regs.get32(c)));
        }
    }
    tile
}

#[inline(always)]
fn store_accumulator(regs: &mut Registers, op: &Mma, tile: &Tile) {
    if op.f32_accumulate {
        for (sums, d) in tile.iter().zip(op.d) {
            let out = each_lane(|i| super::float::bits32(sums[i]));
            regs.set32(EVERYONE, d, &out);
        }
    } else {
        for (sums, d) in tile.chunks_exact(2).zip(op.d) {
            let out = each_lane(|i| f16_from_f32(sums[0][i]) | f16_from_f32(sums[1][i]) << 16);
            regs.set32(EVERYONE, d, &out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::R32;

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

    /// Registers with A, B and C.
    fn operands(k: usize, input: HalfKind, f32_accumulate: bool) -> Registers {
        let mut regs = registers();
        let bits = |x: f32| crate::machine::half::from_f32(Format::of(input), x);
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
        regs
    }

    fn check_product(k: usize, input: HalfKind, numerics: MmaNumerics, f32_accumulate: bool) {
        let mut regs = operands(k, input, f32_accumulate);
        let op = op(k as u8, input, f32_accumulate);
        let element = |regs: &Registers, lane: usize, i: usize| {
            if f32_accumulate {
                f32::from_bits(regs.get32(R32(i as u16))[lane])
            } else {
                f16_to_f32(regs.get32(R32(i as u16 / 2))[lane] >> (16 * (i % 2)) & 0xffff)
            }
        };
        for run in [mma::<true>, mma::<false>] {
            run(&mut regs, numerics, &op);
            for (lane, i) in (0..LANES).flat_map(|lane| (0..4).map(move |i| (lane, i))) {
                let (row, col) = isa_c(lane, i);
                let dot: f32 = (0..k).map(|k| a_value(row, k) * b_value(k, col)).sum();
                let expected = dot + c_value(row, col);
                let got = element(&regs, lane, i);
                assert_eq!(got, expected, "{input:?} k{k} ({row}, {col})");
            }
            regs.get32_mut(R32(0)).fill(0);
        }
    }
}
