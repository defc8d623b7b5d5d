//! Dispatch of an instruction to its family: one line per operation.

use crate::fault::{FaultKind, Outcome, warp_fault};
use crate::ir::Op;

use super::address_conversion::convert_address;
use super::atomics::{Atomic, atomic, atomic_vector};
use super::carry::{self, Carry};
use super::compare::{self, HalfTest};
use super::context::Context;
use super::convert::{Conversion, convert, convert_pair};
use super::integer;
use super::matrix::{self, LdMatrix, StMatrix};
use super::memory_access::{Transfer, load, store};
use super::mma;
use super::registers::{Destination, Mask, Registers, Scratch};
use super::warp::Warp;
use super::{async_copy, bulk, data_movement, float, half, mbarriers, wgmma};

/// Everything that neither moves the program counter nor waits: memory and matrices here, arithmetic
/// in the functions that follow.
#[inline(always)]
pub(crate) fn compute<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &Op,
    scratch: &mut Scratch,
) -> Outcome {
    match *op {
        Op::Load {
            space,
            consistency: _,
            ty,
            vector,
            d,
            address,
        } => load(
            warp,
            context,
            mask,
            Transfer {
                space,
                ty,
                vector,
                slots: d,
                address,
            },
        ),
        Op::Store {
            space,
            consistency: _,
            ty,
            vector,
            a,
            address,
        } => store(
            warp,
            context,
            mask,
            Transfer {
                space,
                ty,
                vector,
                slots: a,
                address,
            },
        ),
        Op::Atom {
            op,
            ty,
            space,
            scope: _,
            d,
            b,
            c,
            address,
        } => atomic(
            warp,
            context,
            mask,
            Atomic {
                op,
                ty,
                space,
                d: Some(d),
                b,
                c,
                address,
            },
        ),
        Op::Red {
            op,
            ty,
            space,
            scope: _,
            b,
            address,
        } => atomic(
            warp,
            context,
            mask,
            Atomic {
                op,
                ty,
                space,
                d: None,
                b,
                c: b,
                address,
            },
        ),
        Op::AtomicVector(ref atomic) => atomic_vector(warp, context, mask, atomic),
        Op::Fence { .. } => {
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            context.synchronised();
            Ok(())
        }
        _ => copies_and_addresses::<FUSED>(warp, context, mask, op, scratch),
    }
}

/// Asynchronous copies, mbarriers, products, and conversion of addresses.
#[inline(always)]
fn copies_and_addresses<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &Op,
    scratch: &mut Scratch,
) -> Outcome {
    match *op {
        Op::CpAsyncCommit => {
            warp.copies.commit(mask);
            Ok(())
        }
        Op::CpAsyncWait { pending } => {
            async_copy::wait_group(warp, context, mask, pending);
            Ok(())
        }
        Op::CpAsyncWaitAll => {
            async_copy::wait_all(warp, context, mask);
            Ok(())
        }
        Op::Mbarrier(ref barrier) => mbarriers::operate(warp, context, mask, barrier),
        Op::MbarrierPending { d, a } => {
            let counts = mbarriers::pending(warp.regs.get64(a));
            warp.regs.set32(mask, d, &counts);
            Ok(())
        }
        Op::MbarrierInitFence | Op::ProxyFence => {
            mbarriers::fence(warp, context, mask);
            Ok(())
        }
        Op::BulkCommit => {
            warp.bulk.commit(mask);
            Ok(())
        }
        Op::BulkWait { pending, read } => bulk::wait_group(warp, context, mask, (pending, read)),
        Op::Wgmma(_) => {
            wgmma::after_issue::<FUSED>(warp, context);
            Ok(())
        }
        Op::WgmmaWait { pending } => wgmma::wait::<FUSED>(warp, context, pending),
        Op::WgmmaFence | Op::WgmmaCommit | Op::SetMaxRegisters { .. } => Ok(()),
        Op::Cvta { .. }
        | Op::IsSpace { .. }
        | Op::MapAddress32 { .. }
        | Op::MapAddress64 { .. }
        | Op::RankOfAddress { .. } => convert_address(&mut warp.regs, context, mask, op),
        _ => warp_wide::<FUSED>(warp, context, mask, op, scratch),
    }
}

/// Matrices, and the special registers that change.
#[inline(always)]
fn warp_wide<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &Op,
    scratch: &mut Scratch,
) -> Outcome {
    match *op {
        Op::LdMatrix {
            count,
            transpose,
            space,
            d,
            address,
        } => matrix::ldmatrix(
            warp,
            context,
            LdMatrix {
                count,
                transpose,
                space,
                d,
                address,
            },
        ),
        Op::StMatrix {
            count,
            transpose,
            space,
            a,
            address,
        } => matrix::stmatrix(
            warp,
            context,
            StMatrix {
                count,
                transpose,
                space,
                a,
                address,
            },
        ),
        Op::MovMatrix { d, a } => {
            matrix::movmatrix(&mut warp.regs, d, a);
            Ok(())
        }
        Op::Mma(ref op) => {
            mma::mma::<FUSED>(&mut warp.regs, context.numerics, op);
            Ok(())
        }
        Op::Clock32 { d } => {
            warp.regs
                .set32(mask, d, &[context.warp_instructions as u32; 32]);
            Ok(())
        }
        Op::Clock64 { d } => {
            warp.regs.set64(mask, d, &[context.warp_instructions; 32]);
            Ok(())
        }
        _ => several_results(&mut warp.regs, mask, op, scratch),
    }
}

/// The instructions with more than one destination; all others have one, which is stored here.
#[inline(always)]
fn several_results(regs: &mut Registers, mask: Mask, op: &Op, scratch: &mut Scratch) -> Outcome {
    match *op {
        Op::Unpack64 { lo, hi, a } => {
            data_movement::unpack64(regs, mask, lo, hi, a);
            Ok(())
        }
        Op::Unpack16x2 { lo, hi, a } => {
            data_movement::unpack16x2(regs, mask, lo, hi, a);
            Ok(())
        }
        Op::Carry32 {
            subtract,
            d,
            a,
            b,
            carry_in,
            carry_out,
        } => {
            let carry = Carry {
                subtract,
                d,
                a,
                b,
                carry_in,
                carry_out,
            };
            carry::carry32(regs, mask, carry);
            Ok(())
        }
        Op::Carry64 {
            subtract,
            d,
            a,
            b,
            carry_in,
            carry_out,
        } => {
            let carry = Carry {
                subtract,
                d,
                a,
                b,
                carry_in,
                carry_out,
            };
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
fn integers(regs: &Registers, mask: Mask, op: &Op, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        Op::Binary16 { op, d, a, b } => {
            integer::check_divisors16(regs, mask, op, b)?;
            out.w32(d, integer::binary16(regs, op, a, b))
        }
        Op::Binary32 { op, d, a, b } => {
            integer::check_divisors32(regs, mask, op, b)?;
            out.w32(d, integer::binary32(regs, op, a, b))
        }
        Op::Binary64 { op, d, a, b } => {
            integer::check_divisors64(regs, mask, op, b)?;
            out.w64(d, integer::binary64(regs, op, a, b))
        }
        Op::Shift64 { op, d, a, b } => out.w64(d, integer::shift64(regs, op, a, b)),
        Op::Unary16 { op, d, a } => out.w32(d, integer::unary16(regs, op, a)),
        Op::Unary32 { op, d, a } => out.w32(d, integer::unary32(regs, op, a)),
        Op::Unary64 { op, d, a } => out.w64(d, integer::unary64(regs, op, a)),
        Op::Count64 { op, d, a } => out.w32(d, integer::count64(regs, op, a)),
        Op::Ternary16 { op, d, a, b, c } => out.w32(d, integer::ternary16(regs, op, [a, b, c])),
        Op::Ternary32 { op, d, a, b, c } => out.w32(d, integer::ternary32(regs, op, [a, b, c])),
        Op::Ternary64 { op, d, a, b, c } => out.w64(d, integer::ternary64(regs, op, [a, b, c])),
        Op::MulWide16 { signed, d, a, b } => out.w32(d, integer::mul_wide16(regs, signed, a, b)),
        Op::MulWide32 { signed, d, a, b } => out.w64(d, integer::mul_wide32(regs, signed, a, b)),
        Op::MadWide16 { signed, d, a, b, c } => {
            out.w32(d, integer::mad_wide16(regs, signed, [a, b, c]))
        }
        Op::MadWide32 { signed, d, a, b, c } => {
            out.w64(d, integer::mad_wide32(regs, signed, [a, b], c))
        }
        Op::Lop3 { lut, d, a, b, c } => out.w32(d, integer::lop3(regs, lut, [a, b, c])),
        Op::Bfi32 { d, a, b, pos, len } => out.w32(d, integer::bfi32(regs, [a, b], [pos, len])),
        Op::Bfi64 { d, a, b, pos, len } => out.w64(d, integer::bfi64(regs, [a, b], [pos, len])),
        Op::Bfe64 {
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
fn comparisons(regs: &Registers, op: &Op, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        Op::Setp16 { cmp, d, a, b } => out.pred(d, compare::setp16(regs, cmp, a, b)),
        Op::Setp32 { cmp, d, a, b } => out.pred(d, compare::setp32(regs, cmp, a, b)),
        Op::Setp64 { cmp, d, a, b } => out.pred(d, compare::setp64(regs, cmp, a, b)),
        Op::SetpF32 { cmp, ftz, d, a, b } => out.pred(d, compare::setp_f32(regs, (cmp, ftz), a, b)),
        Op::SetpF64 { cmp, d, a, b } => out.pred(d, compare::setp_f64(regs, cmp, a, b)),
        Op::SetpHalf {
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
        Op::TestF32 { class, d, a } => out.pred(d, compare::test_f32(regs, class, a)),
        Op::TestF64 { class, d, a } => out.pred(d, compare::test_f64(regs, class, a)),
        Op::Select32 { d, a, b, p } => out.w32(d, compare::select32(regs, a, b, p)),
        Op::Select64 { d, a, b, p } => out.w64(d, compare::select64(regs, a, b, p)),
        Op::PredLogic { op, d, a, b } => out.pred(d, compare::pred_logic(regs, op, a, b)),
        _ => return floats(regs, op, out),
    })
}

#[inline(always)]
fn floats(regs: &Registers, op: &Op, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        Op::BinaryF32 { op, mode, d, a, b } => {
            out.w32(d, float::binary_f32(regs, (op, mode), a, b))
        }
        Op::UnaryF32 { op, mode, d, a } => out.w32(d, float::unary_f32(regs, (op, mode), a)),
        Op::FmaF32 { mode, d, a, b, c } => out.w32(d, float::fma_f32(regs, mode, [a, b, c])),
        Op::BinaryF64 { op, d, a, b } => out.w64(d, float::binary_f64(regs, op, a, b)),
        Op::UnaryF64 { op, d, a } => out.w64(d, float::unary_f64(regs, op, a)),
        Op::FmaF64 { d, a, b, c } => out.w64(d, float::fma_f64(regs, [a, b, c])),
        Op::BinaryHalf {
            op,
            kind,
            mode,
            d,
            a,
            b,
        } => out.w32(d, half::binary(regs, op, (kind, mode), [a, b])),
        Op::UnaryHalf {
            op,
            kind,
            mode,
            d,
            a,
        } => out.w32(d, half::unary(regs, op, (kind, mode), a)),
        Op::FmaHalf {
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
fn moves(regs: &Registers, op: &Op, out: &mut Scratch) -> Outcome<Destination> {
    Ok(match *op {
        Op::Mov32 { d, a } => out.w32(d, *regs.get32(a)),
        Op::Mov64 { d, a } => out.w64(d, *regs.get64(a)),
        Op::Pack64 { d, lo, hi } => out.w64(d, data_movement::pack64(regs, lo, hi)),
        Op::Pack16x2 { d, lo, hi } => out.w32(d, data_movement::pack16x2(regs, lo, hi)),
        Op::Resize {
            signed,
            from,
            to,
            d,
            a,
        } => out.w32(d, data_movement::resize(regs, signed, (from, to), a)),
        Op::Widen { signed, d, a } => out.w64(d, data_movement::widen(regs, signed, a)),
        Op::Narrow { d, a } => out.w32(d, data_movement::narrow(regs, a)),
        Op::Prmt { mode, d, a, b, c } => out.w32(d, data_movement::prmt(regs, mode, [a, b, c])),
        Op::Convert {
            to,
            from,
            mode,
            d,
            a,
        } => convert(regs, Conversion { to, from, mode }, d, a, out),
        Op::ConvertPair {
            kind,
            mode,
            d,
            hi,
            lo,
        } => out.w32(d, convert_pair(regs, (kind, mode), hi, lo)),
        // `control` and `compute` have taken all others.
        _ => return warp_fault(FaultKind::NotExecuted),
    })
}
