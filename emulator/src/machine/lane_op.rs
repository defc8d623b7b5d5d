//! What each lane computes from its own registers: one line per operation.

use crate::fault::{FaultKind, Outcome, warp_fault};
use crate::ir::LaneOp;

use super::carry;
use super::compare::{self, HalfTest};
use super::convert::{Conversion, convert, convert_pair};
use super::integer;
use super::registers::{Destination, Mask, Registers, Scratch};
use super::{data_movement, float, half};

/// The operations with more than one destination here; all others have one, which is stored here.
#[inline(always)]
pub(super) fn compute(
    regs: &mut Registers,
    mask: Mask,
    op: &LaneOp,
    scratch: &mut Scratch,
) -> Outcome {
    match *op {
        LaneOp::Unpack64 { lo, hi, a } => {
            data_movement::unpack64(regs, mask, lo, hi, a);
            Ok(())
        }
        LaneOp::Unpack16x2 { lo, hi, a } => {
            data_movement::unpack16x2(regs, mask, lo, hi, a);
            Ok(())
        }
        LaneOp::Carry32(carry) => {
            carry::carry32(regs, mask, carry);
            Ok(())
        }
        LaneOp::Carry64(carry) => {
            carry::carry64(regs, mask, carry);
            Ok(())
        }
        _ => {
            let destination = integers(regs, mask, op, scratch)?;
            regs.store(mask, scratch, destination);
            Ok(())
        }
    }
}

#[inline(always)]
fn integers(regs: &Registers, mask: Mask, op: &LaneOp, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        LaneOp::Binary16 { op, d, a, b } => {
            integer::check_divisors16(regs, mask, op, b)?;
            out.w32(d, integer::binary16(regs, op, a, b))
        }
        LaneOp::Binary32 { op, d, a, b } => {
            integer::check_divisors32(regs, mask, op, b)?;
            out.w32(d, integer::binary32(regs, op, a, b))
        }
        LaneOp::Binary64 { op, d, a, b } => {
            integer::check_divisors64(regs, mask, op, b)?;
            out.w64(d, integer::binary64(regs, op, a, b))
        }
        LaneOp::Shift64 { op, d, a, b } => out.w64(d, integer::shift64(regs, op, a, b)),
        LaneOp::Unary16 { op, d, a } => out.w32(d, integer::unary16(regs, op, a)),
        LaneOp::Unary32 { op, d, a } => out.w32(d, integer::unary32(regs, op, a)),
        LaneOp::Unary64 { op, d, a } => out.w64(d, integer::unary64(regs, op, a)),
        LaneOp::Count64 { op, d, a } => out.w32(d, integer::count64(regs, op, a)),
        LaneOp::Ternary16 { op, d, a, b, c } => out.w32(d, integer::ternary16(regs, op, [a, b, c])),
        LaneOp::Ternary32 { op, d, a, b, c } => out.w32(d, integer::ternary32(regs, op, [a, b, c])),
        LaneOp::Ternary64 { op, d, a, b, c } => out.w64(d, integer::ternary64(regs, op, [a, b, c])),
        LaneOp::MulWide16 { signed, d, a, b } => {
            out.w32(d, integer::mul_wide16(regs, signed, a, b))
        }
        LaneOp::MulWide32 { signed, d, a, b } => {
            out.w64(d, integer::mul_wide32(regs, signed, a, b))
        }
        LaneOp::MadWide16 { signed, d, a, b, c } => {
            out.w32(d, integer::mad_wide16(regs, signed, [a, b, c]))
        }
        LaneOp::MadWide32 { signed, d, a, b, c } => {
            out.w64(d, integer::mad_wide32(regs, signed, [a, b], c))
        }
        LaneOp::Lop3 { lut, d, a, b, c } => out.w32(d, integer::lop3(regs, lut, [a, b, c])),
        LaneOp::Bfi32 { d, a, b, pos, len } => out.w32(d, integer::bfi32(regs, [a, b], [pos, len])),
        LaneOp::Bfi64 { d, a, b, pos, len } => out.w64(d, integer::bfi64(regs, [a, b], [pos, len])),
        LaneOp::Bfe64 {
            signed,
            d,
            a,
            pos,
            len,
        } => out.w64(d, integer::bfe64(regs, signed, a, [pos, len])),
        _ => return comparisons(regs, op, out),
    })
}

#[inline(always)]
fn comparisons(regs: &Registers, op: &LaneOp, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        LaneOp::Setp16 { cmp, d, a, b } => out.pred(d, compare::setp16(regs, cmp, a, b)),
        LaneOp::Setp32 { cmp, d, a, b } => out.pred(d, compare::setp32(regs, cmp, a, b)),
        LaneOp::Setp64 { cmp, d, a, b } => out.pred(d, compare::setp64(regs, cmp, a, b)),
        LaneOp::SetpF32 { cmp, ftz, d, a, b } => {
            out.pred(d, compare::setp_f32(regs, (cmp, ftz), a, b))
        }
        LaneOp::SetpF64 { cmp, d, a, b } => out.pred(d, compare::setp_f64(regs, cmp, a, b)),
        LaneOp::SetpHalf {
            cmp,
            kind,
            ftz,
            d,
            a,
            b,
        } => out.pred(
            d,
            compare::setp_half(regs, HalfTest { cmp, kind, ftz }, a, b),
        ),
        LaneOp::TestF32 { class, d, a } => out.pred(d, compare::test_f32(regs, class, a)),
        LaneOp::TestF64 { class, d, a } => out.pred(d, compare::test_f64(regs, class, a)),
        LaneOp::Select32 { d, a, b, p } => out.w32(d, compare::select32(regs, a, b, p)),
        LaneOp::Select64 { d, a, b, p } => out.w64(d, compare::select64(regs, a, b, p)),
        LaneOp::PredLogic { op, d, a, b } => out.pred(d, compare::pred_logic(regs, op, a, b)),
        _ => return floats(regs, op, out),
    })
}

#[inline(always)]
fn floats(regs: &Registers, op: &LaneOp, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        LaneOp::BinaryF32 { op, mode, d, a, b } => {
            out.w32(d, float::binary_f32(regs, (op, mode), a, b))
        }
        LaneOp::UnaryF32 { op, mode, d, a } => out.w32(d, float::unary_f32(regs, (op, mode), a)),
        LaneOp::FmaF32 { mode, d, a, b, c } => out.w32(d, float::fma_f32(regs, mode, [a, b, c])),
        LaneOp::BinaryF64 { op, d, a, b } => out.w64(d, float::binary_f64(regs, op, a, b)),
        LaneOp::UnaryF64 { op, d, a } => out.w64(d, float::unary_f64(regs, op, a)),
        LaneOp::FmaF64 { d, a, b, c } => out.w64(d, float::fma_f64(regs, [a, b, c])),
        LaneOp::BinaryHalf {
            op,
            kind,
            mode,
            d,
            a,
            b,
        } => out.w32(d, half::binary(regs, op, (kind, mode), [a, b])),
        LaneOp::UnaryHalf {
            op,
            kind,
            mode,
            d,
            a,
        } => out.w32(d, half::unary(regs, op, (kind, mode), a)),
        LaneOp::FmaHalf {
            kind,
            mode,
            d,
            a,
            b,
            c,
        } => out.w32(d, half::fma(regs, (kind, mode), [a, b, c])),
        _ => return moves(regs, op, out),
    })
}

#[inline(always)]
fn moves(regs: &Registers, op: &LaneOp, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        LaneOp::Mov32 { d, a } => out.w32(d, *regs.get32(a)),
        LaneOp::Mov64 { d, a } => out.w64(d, *regs.get64(a)),
        LaneOp::Pack64 { d, lo, hi } => out.w64(d, data_movement::pack64(regs, lo, hi)),
        LaneOp::Pack16x2 { d, lo, hi } => out.w32(d, data_movement::pack16x2(regs, lo, hi)),
        LaneOp::Resize {
            signed,
            from,
            to,
            d,
            a,
        } => out.w32(d, data_movement::resize(regs, signed, (from, to), a)),
        LaneOp::Widen { signed, d, a } => out.w64(d, data_movement::widen(regs, signed, a)),
        LaneOp::Narrow { d, a } => out.w32(d, data_movement::narrow(regs, a)),
        LaneOp::Prmt { mode, d, a, b, c } => out.w32(d, data_movement::prmt(regs, mode, [a, b, c])),
        LaneOp::Convert {
            to,
            from,
            mode,
            d,
            a,
        } => convert(regs, Conversion { to, from, mode }, d, a, out),
        LaneOp::ConvertPair {
            kind,
            mode,
            d,
            hi,
            lo,
        } => out.w32(d, convert_pair(regs, (kind, mode), hi, lo)),
        // `compute` has taken all others.
        _ => return warp_fault(FaultKind::NotExecuted),
    })
}
