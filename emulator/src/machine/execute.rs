//! Dispatch of an instruction to its family: one line per operation.

use crate::fault::{FaultKind, Outcome, warp_fault};
use crate::ir::Op;

use super::address_conversion::convert_address;
use super::atomics::{Atomic, atomic, atomic_vector};
use super::context::Context;
use super::matrix::{self, LdMatrix, StMatrix};
use super::memory_access::{Transfer, load, store};
use super::mma;
use super::registers::Mask;
use super::warp::Warp;
use super::{async_copy, bulk, mbarriers, wgmma};

/// Everything that neither moves the program counter nor waits, and is not an operation of a lane alone.
#[inline(always)]
pub(crate) fn compute<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &Op,
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
        _ => copies_and_addresses::<FUSED>(warp, context, mask, op),
    }
}

/// Asynchronous copies, mbarriers, products, and conversion of addresses.
#[inline(always)]
fn copies_and_addresses<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &Op,
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
        _ => warp_wide::<FUSED>(warp, context, mask, op),
    }
}

/// Matrices, and the special registers that change.
#[inline(always)]
fn warp_wide<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &Op,
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
        // `control` has taken all others but those of a lane alone.
        _ => warp_fault(FaultKind::NotExecuted),
    }
}
