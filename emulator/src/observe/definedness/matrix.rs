//! How undefined elements spread through matrix instructions (PTX ISA, "Warp Level Matrix
//! Instructions", "Asynchronous Warpgroup Level Matrix Instructions"). The layout of fragments is told in `machine/matrix.rs`.

use super::registers::{RegisterShadow, Taint};
use crate::fault::Origin;
use crate::ir::{Mma, R32, Wgmma, WgmmaA};
use crate::machine::registers::LANES;

/// `mma`: an element of D is undefined when one of its row of A, of its column of B, or its element
/// of C is.
pub(super) fn mma(shadow: &mut RegisterShadow, op: &Mma, line: u32) {
    let inputs = usize::from(op.k) / 4;
    let (results, columns) = if op.f32_accumulate { (4, 1) } else { (2, 2) };
    let mut taints = [Taint::default(); 4];
    for (e, taint) in taints[..results].iter_mut().enumerate() {
        // Registers of C and D hold rows 0-7 in their first half and 8-15 in the second, those of
        // A take turns.
        let half = e * columns / 2;
        for lane in 0..LANES {
            let (g, t) = (lane / 4, lane % 4);
            let a_row = (half..inputs)
                .step_by(2)
                .flat_map(|i| (0..4).map(move |t| (op.a[i], 4 * g + t)));
            // Column n of B is in lanes 4n to 4n + 3.
            let first = 2 * t + (e * columns) % 2;
            let b_columns = op.b[..inputs / 2]
                .iter()
                .flat_map(|b| (4 * first..4 * (first + columns)).map(move |lane| (*b, lane)));
            let elements = [(op.c[e], lane)].into_iter().chain(a_row).chain(b_columns);
            if let Some(origin) = first_undefined(shadow, elements, line) {
                taint.add(lane, origin);
            }
        }
    }
    for (d, taint) in op.d[..results].iter().zip(&taints) {
        shadow.write(u32::from(d.0), u32::MAX, taint);
    }
}

/// `wgmma`: an element of D is undefined when one of its row of A in registers is, or what it is added
/// to. Operands in shared memory have been looked at.
pub(super) fn wgmma(shadow: &mut RegisterShadow, accumulates: bool, op: &Wgmma, line: u32) {
    let per_half = if op.f32_accumulate { 2 } else { 1 };
    let rows: [Taint; 2] = std::array::from_fn(|half| row_taint(shadow, op, half, line));
    for (i, d) in op.d.iter().enumerate() {
        let mut taint = rows[i / per_half % 2];
        for lane in (0..LANES).filter(|_| accumulates) {
            if let Some(origin) = first_undefined(shadow, [(*d, lane)], line) {
                taint.add(lane, origin);
            }
        }
        shadow.write(u32::from(d.0), u32::MAX, &taint);
    }
}

/// The undefined rows of one half of A in registers, as the lanes that hold them.
fn row_taint(shadow: &mut RegisterShadow, op: &Wgmma, half: usize, line: u32) -> Taint {
    let mut taint = Taint::default();
    let WgmmaA::Registers(a) = op.a else {
        return taint;
    };
    for lane in 0..LANES {
        let quad = lane / 4 * 4..lane / 4 * 4 + 4;
        let row = [a[half], a[half + 2]]
            .into_iter()
            .flat_map(|a| quad.clone().map(move |lane| (a, lane)));
        if let Some(origin) = first_undefined(shadow, row, line) {
            taint.add(lane, origin);
        }
    }
    taint
}

/// `movmatrix.trans`: lane (g, t) gets the elements (2t, g) and (2t + 1, g).
pub(super) fn movmatrix(shadow: &mut RegisterShadow, d: R32, a: R32, line: u32) {
    let mut taint = Taint::default();
    for lane in 0..LANES {
        let (g, t) = (lane / 4, lane % 4);
        let elements = [2 * t, 2 * t + 1].map(|row| (a, 4 * row + g / 2));
        if let Some(origin) = first_undefined(shadow, elements, line) {
            taint.add(lane, origin);
        }
    }
    shadow.write(u32::from(d.0), u32::MAX, &taint);
}

/// The lane that `ldmatrix` gives element `column` of row `row` of a matrix.
pub(super) fn ldmatrix_lane(row: usize, column: usize, transpose: bool) -> usize {
    let (g, position) = if transpose {
        (column, row)
    } else {
        (row, column)
    };
    4 * g + position / 2
}

fn first_undefined(
    shadow: &mut RegisterShadow,
    elements: impl IntoIterator<Item = (R32, usize)>,
    line: u32,
) -> Option<Origin> {
    // 32-bit slots come first in the numbering of all slots.
    elements
        .into_iter()
        .find_map(|(slot, lane)| shadow.origin_among(&[u32::from(slot.0)], lane, line))
}
