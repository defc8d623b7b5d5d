//! The arithmetic of a product: D += A·B for the 16 rows of one warp.
//!
//! Eight columns of D are laid out as C of `mma.m16n8`: registers 0 and 1 hold the even and odd
//! columns of rows 0-7, 2 and 3 those of rows 8-15.

use crate::ir::{R32, Wgmma, WgmmaA};
use crate::machine::context::{Context, MmaNumerics};
use crate::machine::descriptor::DEPTH;
use crate::machine::float::bits32;
use crate::machine::fused_dot;
use crate::machine::half::{Format, f16_from_f32, f16_to_f32};
use crate::machine::matrix::EVERYONE;
use crate::machine::mma::repeat;
use crate::machine::registers::{LANES, Lanes, Registers, each_lane};
use crate::machine::warp::Warp;

use super::flight::Product;
use super::tiles::{ATile, BLOCK, read_a, read_b, spread_a};

/// Eight columns of D as bits of f32: a copy of registers moves as a whole.
type Block = [Lanes<u32>; 4];

/// Computes `product`, which is an `op`, and stores D.
#[inline(always)]
pub(super) fn multiply<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    op: &Wgmma,
    product: &Product,
) {
    let format = Format::of(op.input);
    let numerics = context.numerics;
    let block = context.block_mut();
    let shared = &block.shared;
    let mut a: ATile = [[[0.0; LANES]; 2]; DEPTH];
    match (op.a, &product.a) {
        (WgmmaA::Shared(..), Some(operand)) => {
            read_a(shared.bytes(), operand, format, op.negate, &mut a);
        }
        (WgmmaA::Registers(registers), _) => {
            spread_a(&warp.regs, registers, format, op.negate, &mut a);
        }
        (WgmmaA::Shared(..), None) => {}
    }
    let tiles = block.warpgroups.tiles(warp.index);
    let version = shared.version();
    let b = tiles.take(product.sequence, version).unwrap_or_else(|| {
        let mut values = tiles.empty();
        read_b(shared.bytes(), &product.b, format, &mut values);
        (values, 0)
    });
    for (j, b) in b.0.chunks_exact(BLOCK).enumerate() {
        let mut sums = load(&warp.regs, op, j, product.accumulate);
        match numerics {
            MmaNumerics::F32 => add_products::<FUSED>(&mut sums, &a, b),
            MmaNumerics::Hardware => fused_dots(&mut sums, format, &a, b, op.f32_accumulate),
        }
        store(&mut warp.regs, op, j, &sums);
    }
    tiles.give_back(product.sequence, version, b);
}

/// The registers of block `j` of D, of which packed f16 has two.
#[inline(always)]
fn registers(op: &Wgmma, j: usize) -> &[R32] {
    let count = if op.f32_accumulate { 4 } else { 2 };
    &op.d[count * j..count * (j + 1)]
}

#[inline(always)]
fn load(regs: &Registers, op: &Wgmma, j: usize, accumulate: bool) -> Block {
    let mut sums = [[0; LANES]; 4];
    if !accumulate {
        return sums;
    }
    if op.f32_accumulate {
        for (sums, d) in sums.iter_mut().zip(registers(op, j)) {
            *sums = *regs.get32(*d);
        }
    } else {
        for (sums, d) in sums.chunks_exact_mut(2).zip(registers(op, j)) {
            let d = regs.get32(*d);
            for lane in 0..LANES {
                sums[0][lane] = f16_to_f32(d[lane] & 0xffff).to_bits();
                sums[1][lane] = f16_to_f32(d[lane] >> 16).to_bits();
            }
        }
    }
    sums
}

#[inline(always)]
fn store(regs: &mut Registers, op: &Wgmma, j: usize, sums: &Block) {
    let value = |sums: &Lanes<u32>, lane: usize| f32::from_bits(sums[lane]);
    if op.f32_accumulate {
        for (sums, d) in sums.iter().zip(registers(op, j)) {
            regs.set32(EVERYONE, *d, &each_lane(|lane| bits32(value(sums, lane))));
        }
    } else {
        for (sums, d) in sums.chunks_exact(2).zip(registers(op, j)) {
            let half = |of: usize, lane: usize| f16_from_f32(value(&sums[of], lane));
            let pair = |lane: usize| half(0, lane) | half(1, lane) << 16;
            regs.set32(EVERYONE, *d, &each_lane(pair));
        }
    }
}

/// k ascending.
#[inline(always)]
fn add_products<const FUSED: bool>(sums: &mut Block, a: &ATile, b: &[f32]) {
    for rows in 0..2 {
        let (mut even, mut odd) = (sums[2 * rows], sums[2 * rows + 1]);
        for (a, b) in a.iter().zip(b.chunks_exact(8)) {
            let a = &a[rows];
            add::<FUSED>(&mut even, a, &repeat([b[0], b[1], b[2], b[3]]));
            add::<FUSED>(&mut odd, a, &repeat([b[4], b[5], b[6], b[7]]));
        }
        (sums[2 * rows], sums[2 * rows + 1]) = (even, odd);
    }
}

#[inline(always)]
fn add<const FUSED: bool>(sums: &mut Lanes<u32>, a: &Lanes<f32>, b: &Lanes<f32>) {
    for lane in 0..LANES {
        let sum = f32::from_bits(sums[lane]);
        let sum = if FUSED {
            a[lane].mul_add(b[lane], sum)
        } else {
            a[lane] * b[lane] + sum
        };
        sums[lane] = sum.to_bits();
    }
}

/// All sixteen products of an element at once, as Hopper's tensor core adds them.
#[inline(never)]
fn fused_dots(sums: &mut Block, format: Format, a: &ATile, b: &[f32], f32_accumulate: bool) {
    for (register, sums) in sums.iter_mut().enumerate() {
        let (rows, parity) = (register / 2, register % 2);
        for (lane, sum) in sums.iter_mut().enumerate() {
            let product = |k: usize| (a[k][rows][lane], b[8 * k + 4 * parity + lane % 4]);
            let products: [(f32, f32); DEPTH] = std::array::from_fn(product);
            let result = fused_dot::fused_dot_add(
                fused_dot::HOPPER,
                format,
                &products,
                f32::from_bits(*sum),
            );
            *sum = if f32_accumulate {
                fused_dot::to_f32_truncated(result)
            } else {
                f16_to_f32(fused_dot::to_f16_nearest(result))
            }
            .to_bits();
        }
    }
}
