//! Operands of products as f32, laid out for the arithmetic.
//!
//! ```text
//! A   for every k and half of the 16 rows: lane 4g + t holds row g
//! B   for every 8 columns and k: columns 0, 2, 4, 6, then 1, 3, 5, 7
//! ```
//! The four warps of a warpgroup need the same B: the one that comes first keeps it for the others.

use std::collections::VecDeque;

use crate::ir::Major;
use crate::ir::R32;
use crate::machine::descriptor::{CHUNK_ELEMENTS, DEPTH, Operand};
use crate::machine::half::{Format, to_f32};
use crate::machine::registers::{Lanes, Registers};

/// The rows of A of one warp.
pub(super) type ATile = [[Lanes<f32>; 2]; DEPTH];
/// Elements of eight columns of B.
pub(super) const BLOCK: usize = 8 * DEPTH;

/// Tiles of B that warps have read, by number of the product.
#[derive(Default)]
pub(crate) struct Tiles {
    tiles: VecDeque<Tile>,
    /// Memory to be used again.
    spare: Vec<Vec<f32>>,
}

struct Tile {
    sequence: u64,
    /// Writes to shared memory up to when it was read.
    version: u64,
    /// Warps that have used it.
    uses: u32,
    values: Vec<f32>,
}

/// Tiles that are kept at most: as many products as a warp has in flight, and then some.
const KEPT: usize = 64;

impl Tiles {
    pub fn reset(&mut self) {
        let tiles = self.tiles.drain(..).map(|tile| tile.values);
        self.spare.extend(tiles);
    }

    /// B of product number `sequence` as another warp has read it, and how many have; unless memory
    /// has changed since.
    pub(super) fn take(&mut self, sequence: u64, version: u64) -> Option<(Vec<f32>, u32)> {
        let index = self
            .tiles
            .iter()
            .position(|tile| tile.sequence == sequence)?;
        let tile = self.tiles.remove(index)?;
        if tile.version == version {
            return Some((tile.values, tile.uses));
        }
        self.spare.push(tile.values);
        None
    }

    /// Memory for a tile.
    pub(super) fn empty(&mut self) -> Vec<f32> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a tile for the other warps, three at most.
    pub(super) fn give_back(
        &mut self,
        sequence: u64,
        version: u64,
        (values, uses): (Vec<f32>, u32),
    ) {
        if uses >= 3 {
            self.spare.push(values);
            return;
        }
        if self.tiles.len() >= KEPT
            && let Some(oldest) = self.tiles.pop_front()
        {
            self.spare.push(oldest.values);
        }
        self.tiles.push_back(Tile {
            sequence,
            version,
            uses: uses + 1,
            values,
        });
    }
}

/// The bits of the eight elements of a chunk.
#[inline(always)]
fn chunk(bytes: &[u8], at: u32) -> [u16; CHUNK_ELEMENTS] {
    let bytes = &bytes[at as usize..at as usize + 2 * CHUNK_ELEMENTS];
    let mut out = [0; CHUNK_ELEMENTS];
    for (value, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *value = u16::from_le_bytes([pair[0], pair[1]]);
    }
    out
}

/// B, read from shared memory.
#[inline(always)]
pub(super) fn read_b(bytes: &[u8], operand: &Operand, format: Format, out: &mut Vec<f32>) {
    out.resize(operand.count as usize * DEPTH, 0.0);
    match format {
        Format::F16 => read_b_as(bytes, operand, |bits| to_f32(Format::F16, bits), out),
        Format::Bf16 => read_b_as(bytes, operand, |bits| to_f32(Format::Bf16, bits), out),
    }
}

#[inline(always)]
fn read_b_as(bytes: &[u8], operand: &Operand, value: impl Fn(u32) -> f32, out: &mut [f32]) {
    for (i, out) in out.chunks_exact_mut(8 * CHUNK_ELEMENTS).enumerate() {
        // Eight columns by eight k. Of a transposed operand the columns are neighbours.
        let mut square = [[0; CHUNK_ELEMENTS]; 8];
        for (row, elements) in square.iter_mut().enumerate() {
            let number = match operand.major {
                Major::K => 16 * (i / 2) + 2 * row + i % 2,
                Major::Mn => 8 * i + row,
            };
            *elements = chunk(bytes, operand.chunk(number as u32));
        }
        for (k, out) in out.chunks_exact_mut(8).enumerate() {
            for (place, out) in out.iter_mut().enumerate() {
                let column = 2 * (place % 4) + place / 4;
                let bits = match operand.major {
                    Major::K => square[column][k],
                    Major::Mn => square[k][column],
                };
                *out = value(bits.into());
            }
        }
    }
}

/// The warp's rows of A from shared memory, their signs changed when `negate`.
#[inline(always)]
pub(super) fn read_a(
    bytes: &[u8],
    operand: &Operand,
    format: Format,
    negate: bool,
    out: &mut ATile,
) {
    let sign = if negate { 0x8000_0000 } else { 0 };
    let signed = |x: f32| f32::from_bits(x.to_bits() ^ sign);
    for i in 0..operand.chunks() as usize {
        let values = chunk(bytes, operand.chunk(i as u32)).map(|bits| to_f32(format, bits.into()));
        for (e, value) in values.into_iter().enumerate() {
            let (row, k) = match operand.major {
                Major::K => (i / 2, 8 * (i % 2) + e),
                Major::Mn => (8 * (i / 16) + e, i % 16),
            };
            let lanes = &mut out[k][row / 8];
            lanes[4 * (row % 8)..][..4].fill(signed(value));
        }
    }
}

/// The warp's rows of A from registers: register h + 2j holds k = 8j + 2t and the next of row
/// g + 8h, low half first.
#[inline(always)]
pub(super) fn spread_a(
    regs: &Registers,
    a: [R32; 4],
    format: Format,
    negate: bool,
    out: &mut ATile,
) {
    let sign = if negate { 0x8000_0000 } else { 0 };
    for (register, a) in a.into_iter().enumerate() {
        let (half, j) = (register % 2, register / 2);
        let words = regs.get32(a);
        for (lane, word) in words.iter().enumerate() {
            let (row, t) = (lane / 4, lane % 4);
            for element in 0..2 {
                let value = to_f32(format, word >> (16 * element) & 0xffff);
                let value = f32::from_bits(value.to_bits() ^ sign);
                out[8 * j + 2 * t + element as usize][half][4 * row..][..4].fill(value);
            }
        }
    }
}
