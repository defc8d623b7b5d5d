//! Fragments: the pieces of tiles that one warp keeps in registers, and which lane owns which element.
//!
//! `mma.sync.m16n8k16` (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type") gives lane `l`, with
//! g = l / 4 and t = l % 4, these elements of a 16 x 8 accumulator:
//!
//! ```text
//!            column 2t   column 2t+1
//! row g         c0           c1
//! row g + 8     c2           c3
//! ```
//!
//! Two accumulators side by side, rounded to 16 bits, are the A operand (16 x 16) of a following product: P never
//! leaves the registers. The maps are `const fn` and are checked for being bijections by the tests below.

/// Query rows of one strip: the M of `mma.sync.m16n8k16`.
pub const STRIP_ROWS: u32 = 16;

/// Distance in rows between elements {c0, c1} and {c2, c3} of an accumulator.
pub const ROW_HALF: u32 = 8;

/// One strip's accumulator: 16 rows by `8 * N` columns in f32, as N tiles of `mma.sync.m16n8k16`.
#[derive(Clone, Copy)]
pub struct Acc<const N: usize>(pub [[f32; 4]; N]);

impl<const N: usize> Acc<N> {
    /// All zeros.
    #[inline(always)]
    pub const fn zero() -> Self {
        Acc([[0.0; 4]; N])
    }

    /// Replaces every element of this lane: `change(x, half, column)`, where `half` is 0 for row g and 1 for row
    /// g + 8, and `column` is relative to the lane's first column [`acc_col`]`(lane, 0)`.
    #[inline(always)]
    pub fn map(&mut self, mut change: impl FnMut(f32, usize, u32) -> f32) {
        let mut n = 0;
        while n < N {
            let mut i = 0;
            while i < 4 {
                self.0[n][i] = change(self.0[n][i], i / 2, n as u32 * 8 + i as u32 % 2);
                i += 1;
            }
            n += 1;
        }
    }
}

/// Row, 0..16, of accumulator element `i` of `lane`.
#[inline(always)]
pub const fn acc_row(lane: u32, i: u32) -> u32 {
    lane / 4 + ROW_HALF * (i / 2)
}

/// Column, 0..8, of accumulator element `i` of `lane`.
#[inline(always)]
pub const fn acc_col(lane: u32, i: u32) -> u32 {
    2 * (lane % 4) + i % 2
}

/// Where a lane points `ldmatrix.x4`: a row and a 16-byte chunk (8 columns), relative to the 16 x 16 piece loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePoint {
    /// Row, 0..16.
    pub row: u32,
    /// Chunk, 0..2.
    pub chunk: u32,
}

/// Q as A operand; with `.trans` also V as B operand of two neighbouring column tiles.
///
/// The four 8 x 8 matrices are taken top left, bottom left, top right, bottom right.
#[inline(always)]
pub const fn rows_first(lane: u32) -> LanePoint {
    LanePoint {
        row: lane % 16,
        chunk: lane / 16,
    }
}

/// K as B operand of two neighbouring key tiles (K is stored [key, head_dim], which is B by columns).
///
/// The four 8 x 8 matrices are taken top left, top right, bottom left, bottom right.
#[inline(always)]
pub const fn chunks_first(lane: u32) -> LanePoint {
    LanePoint {
        row: lane % 8 + 8 * (lane / 16),
        chunk: lane / 8 % 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A operand, register r, half h of `lane`, as the ISA lists it: (row, k).
    fn a_operand(lane: u32, r: u32, h: u32) -> (u32, u32) {
        (lane / 4 + 8 * (r % 2), 2 * (lane % 4) + h + 8 * (r / 2))
    }

    /// B operand, register r, half h of `lane`, as the ISA lists it: (k, column).
    fn b_operand(lane: u32, r: u32, h: u32) -> (u32, u32) {
        (2 * (lane % 4) + h + 8 * r, lane / 4)
    }

    /// What `ldmatrix.x4` puts into register r, half h of `lane`: (row, column) of the stored piece.
    fn ldmatrix(point: fn(u32) -> LanePoint, trans: bool, lane: u32, r: u32, h: u32) -> (u32, u32) {
        let (in_row, in_col) = (lane / 4, 2 * (lane % 4) + h);
        let (in_row, in_col) = if trans {
            (in_col, in_row)
        } else {
            (in_row, in_col)
        };
        let from = point(8 * r + in_row);
        (from.row, 8 * from.chunk + in_col)
    }

    fn every_register_half() -> impl Iterator<Item = (u32, u32, u32)> {
        (0..32).flat_map(|lane| (0..4).flat_map(move |r| (0..2).map(move |h| (lane, r, h))))
    }

    #[test]
    fn accumulator_map_is_a_bijection() {
        let cells: HashSet<_> = (0..32)
            .flat_map(|lane| (0..4).map(move |i| (acc_row(lane, i), acc_col(lane, i))))
            .collect();
        assert_eq!(cells.len(), 128);
        assert!(cells.iter().all(|&(row, col)| row < 16 && col < 8));
    }

    #[test]
    fn map_visits_every_element_with_its_own_coordinate() {
        for lane in 0..32 {
            let mut acc = Acc::<3>::zero();
            acc.map(|_, half, column| {
                let row = acc_row(lane, 0) + ROW_HALF * half as u32;
                (row * 100 + acc_col(lane, 0) + column) as f32
            });
            for (n, tile) in acc.0.iter().enumerate() {
                for (i, &x) in tile.iter().enumerate() {
                    let want =
                        acc_row(lane, i as u32) * 100 + 8 * n as u32 + acc_col(lane, i as u32);
                    assert_eq!(x, want as f32);
                }
            }
        }
    }

    #[test]
    fn two_neighbouring_accumulators_are_an_a_operand() {
        for (lane, r, h) in every_register_half() {
            let i = 2 * (r % 2) + h;
            let cell = (acc_row(lane, i), acc_col(lane, i) + 8 * (r / 2));
            assert_eq!(cell, a_operand(lane, r, h));
        }
    }

    #[test]
    fn ldmatrix_rows_first_yields_the_a_operand() {
        for (lane, r, h) in every_register_half() {
            assert_eq!(
                ldmatrix(rows_first, false, lane, r, h),
                a_operand(lane, r, h)
            );
        }
    }

    #[test]
    fn ldmatrix_chunks_first_yields_two_b_operands_of_k() {
        for (lane, r, h) in every_register_half() {
            let (k, column) = b_operand(lane, r % 2, h);
            assert_eq!(
                ldmatrix(chunks_first, false, lane, r, h),
                (column + 8 * (r / 2), k)
            );
        }
    }

    #[test]
    fn transposed_ldmatrix_rows_first_yields_two_b_operands_of_v() {
        for (lane, r, h) in every_register_half() {
            let (k, column) = b_operand(lane, r % 2, h);
            assert_eq!(
                ldmatrix(rows_first, true, lane, r, h),
                (k, column + 8 * (r / 2))
            );
        }
    }
}
