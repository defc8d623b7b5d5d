//! 8x8 matrices in registers: ldmatrix, stmatrix, movmatrix (PTX ISA, "Warp Level Matrix Instructions").
//!
//! With g = lane / 4 and t = lane % 4, every 8x8 fragment of 16-bit elements gives lane (g, t) the
//! elements (g, 2t) and (g, 2t + 1), low half first. So the 32 lanes of one register, read in lane
//! order as 16-bit elements, are the matrix in row-major order.

use crate::fault::Outcome;
use crate::ir::{Address, R32, Space};

use super::address::{check_alignment, effective, passes};
use super::context::Context;
use super::registers::{LANES, Lanes, Mask, Registers, each_lane};
use super::shared::SharedMemory;
use super::shared_access::{self, Check};
use super::warp::Warp;

pub(super) const EVERYONE: Mask = Mask {
    lanes: u32::MAX,
    whole: true,
};

/// Operands of `ldmatrix`.
pub(crate) struct LdMatrix {
    pub count: u8,
    pub transpose: bool,
    pub space: Space,
    pub d: [R32; 4],
    pub address: Address,
}

/// Operands of `stmatrix`.
pub(crate) struct StMatrix {
    pub count: u8,
    pub transpose: bool,
    pub space: Space,
    pub a: [R32; 4],
    pub address: Address,
}

/// Row q of matrix j goes to the address of lane 8j + q.
#[inline(always)]
pub(crate) fn stmatrix(warp: &mut Warp, context: &mut Context, op: StMatrix) -> Outcome {
    let used = 8 * usize::from(op.count);
    let rows = row_addresses(warp, context, op.space, op.address, used);
    let write = SharedMemory::check_writable;
    check_rows(context, &rows, used, write)?;
    let shared = &mut context.block_mut().shared;
    let base = shared.base();
    for (j, a) in op.a.iter().take(usize::from(op.count)).enumerate() {
        let held = *warp.regs.get32(*a);
        let matrix = if op.transpose {
            transposed(&held)
        } else {
            held
        };
        for (q, words) in matrix.chunks_exact(4).enumerate() {
            let start = (rows[8 * j + q] - base) as usize;
            let row = &mut shared.bytes_mut()[start..start + 16];
            for (bytes, word) in row.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    Ok(())
}

/// Where the rows lie that the first `used` lanes name. The other lanes' addresses are not used; they
/// must not be checked either.
#[inline(always)]
fn row_addresses(
    warp: &Warp,
    context: &Context,
    space: Space,
    address: Address,
    used: usize,
) -> Lanes<u64> {
    let window = if space == Space::Generic {
        context.kernel.shared.model.window()
    } else {
        0
    };
    let addresses = effective(&warp.regs, EVERYONE, address);
    let mut rows = each_lane(|i| addresses[i].wrapping_sub(window));
    let first = rows[0];
    rows[used..].fill(first);
    rows
}

/// Row q of matrix j comes from the address of lane 8j + q.
#[inline(always)]
pub(crate) fn ldmatrix(warp: &mut Warp, context: &mut Context, op: LdMatrix) -> Outcome {
    let used = 8 * usize::from(op.count);
    let rows = row_addresses(warp, context, op.space, op.address, used);
    check_rows(context, &rows, used, SharedMemory::check_landed)?;
    let shared = &context.block().shared;
    let (base, bytes) = (shared.base(), shared.bytes());
    for (j, d) in op.d.iter().take(usize::from(op.count)).enumerate() {
        let mut matrix = [0; LANES];
        for (q, words) in matrix.chunks_exact_mut(4).enumerate() {
            let start = (rows[8 * j + q] - base) as usize;
            let row = &bytes[start..start + 16];
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
fn check_rows(context: &Context, rows: &Lanes<u64>, used: usize, check: Check) -> Outcome {
    let shared = &context.block().shared;
    if !shared.is_guarded() && passes(rows, 16, shared.base(), shared.bytes().len() as u64) {
        return Ok(());
    }
    check_alignment(u32::MAX, rows, 16, Space::Shared)?;
    let named = u32::MAX >> (32 - used);
    let place = (context.rank, Space::Shared);
    shared_access::check(context, place, named, rows, 16, check)
}

/// The elements of an 8x8 matrix of 16-bit elements in row-major order.
#[inline(always)]
pub(super) fn elements(register: &Lanes<u32>) -> [u16; 64] {
    let mut out = [0; 64];
    for (pair, word) in out.chunks_exact_mut(2).zip(register) {
        (pair[0], pair[1]) = (*word as u16, (word >> 16) as u16);
    }
    out
}

/// Lane (g, t) gets the elements (2t, g) and (2t + 1, g), which are in one half, by the parity of g, of the words g / 2
/// of rows 2t and 2t + 1.
#[inline(always)]
fn transposed(register: &Lanes<u32>) -> Lanes<u32> {
    let mut out = [0; LANES];
    for pair in 0..4 {
        for t in 0..4 {
            let (upper, lower) = (register[8 * t + pair], register[8 * t + 4 + pair]);
            out[8 * pair + t] = upper & 0xffff | lower << 16;
            out[8 * pair + 4 + t] = upper >> 16 | lower & 0xffff_0000;
        }
    }
    out
}

/// `movmatrix.trans`.
pub(crate) fn movmatrix(regs: &mut Registers, d: R32, a: R32) {
    let out = transposed(regs.get32(a));
    regs.set32(EVERYONE, d, &out);
}

#[cfg(test)]
mod tests {
    use super::*;

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
