//! Additions and subtractions with carry (PTX ISA, "Extended-Precision Integer Arithmetic").

use crate::ir::{Carry, R32, R64};

use super::registers::{LANES, Mask, Registers};

#[inline(never)]
pub(crate) fn carry32(regs: &mut Registers, mask: Mask, op: Carry<R32>) {
    let (a, b, flags) = (
        regs.get32(op.a),
        regs.get32(op.b),
        regs.get_pred(op.carry_in),
    );
    let (mut out, mut carry) = ([0; LANES], 0);
    for i in 0..LANES {
        let flag = flags >> i & 1 != 0;
        let (value, flag) = if op.subtract {
            a[i].borrowing_sub(b[i], flag)
        } else {
            a[i].carrying_add(b[i], flag)
        };
        out[i] = value;
        carry |= u32::from(flag) << i;
    }
    regs.set32(mask, op.d, &out);
    regs.set_pred(mask, op.carry_out, carry);
}

#[inline(never)]
pub(crate) fn carry64(regs: &mut Registers, mask: Mask, op: Carry<R64>) {
    let (a, b, flags) = (
        regs.get64(op.a),
        regs.get64(op.b),
        regs.get_pred(op.carry_in),
    );
    let (mut out, mut carry) = ([0; LANES], 0);
    for i in 0..LANES {
        let flag = flags >> i & 1 != 0;
        let (value, flag) = if op.subtract {
            a[i].borrowing_sub(b[i], flag)
        } else {
            a[i].carrying_add(b[i], flag)
        };
        out[i] = value;
        carry |= u32::from(flag) << i;
    }
    regs.set64(mask, op.d, &out);
    regs.set_pred(mask, op.carry_out, carry);
}
