//! `atom` and `red` (PTX ISA, "Parallel Synchronization and Communication Instructions: atom, red").
//!
//! Lanes act one after the other in lane order. Operations on device memory are atomic with respect
//! to blocks on other threads; 64-bit ones exclude each other by a lock.

use crate::fault::{FaultKind, Outcome, lane_fault, space_name};
use crate::ir::{Address, AtomicOp, AtomicType, AtomicVector, R32, R64, Space};

use super::address::{check_alignment, effective, out_of_bounds};
use super::context::Context;
use super::data_movement::{space_of, window_base};
use super::reduce::{self, size_of};
use super::registers::{LANES, Mask, each_lane, lanes_of};
use super::shared_access::{generic_space, resolve};
use super::warp::Warp;

/// What an atomic instruction does, apart from its lanes.
#[derive(Clone, Copy)]
pub(crate) struct Atomic {
    pub op: AtomicOp,
    pub ty: AtomicType,
    pub space: Space,
    /// Slot for the old value; none for `red`.
    pub d: Option<u16>,
    pub b: u16,
    pub c: u16,
    pub address: Address,
}

#[inline(never)]
pub(crate) fn atomic(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    atomic: Atomic,
) -> Outcome {
    let addresses = effective(&warp.regs, mask, atomic.address);
    let wide = size_of(atomic.ty) == 8;
    let operand = |slot: u16, lane: usize| {
        if wide {
            warp.regs.get64(R64(slot))[lane]
        } else {
            u64::from(warp.regs.get32(R32(slot))[lane])
        }
    };
    let mut old = [0; LANES];
    for lane in lanes_of(mask.lanes) {
        let (b, c) = (operand(atomic.b, lane), operand(atomic.c, lane));
        match one(context, &atomic, addresses[lane], b, c) {
            Ok(value) => old[lane] = value,
            Err(kind) => return lane_fault(lane as u32, kind),
        }
    }
    match atomic.d {
        Some(d) if wide => warp.regs.set64(mask, R64(d), &old),
        Some(d) => warp.regs.set32(mask, R32(d), &each_lane(|i| old[i] as u32)),
        None => {}
    }
    context.synchronised();
    Ok(())
}

/// Lanes act in turn, and element by element.
#[inline(never)]
pub(crate) fn atomic_vector(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    op: &AtomicVector,
) -> Outcome {
    let addresses = effective(&warp.regs, mask, op.address);
    let (size, count) = (size_of(op.ty), op.b.len());
    let element = Atomic {
        op: AtomicOp::Add,
        ty: op.ty,
        space: Space::Global,
        d: None,
        b: 0,
        c: 0,
        address: op.address,
    };
    check_alignment(mask.lanes, &addresses, size * count as u32, Space::Global)?;
    let mut old = [[0; LANES]; 8];
    for lane in lanes_of(mask.lanes) {
        for (i, b) in op.b.iter().enumerate() {
            let address = addresses[lane] + u64::from(size) * i as u64;
            let b = u64::from(warp.regs.get32(*b)[lane]);
            match one(context, &element, address, b, b) {
                Ok(value) => old[i][lane] = value as u32,
                Err(kind) => return lane_fault(lane as u32, kind),
            }
        }
    }
    for (d, old) in op.d.iter().zip(&old) {
        warp.regs.set32(mask, *d, old);
    }
    context.synchronised();
    Ok(())
}

/// One lane's operation; returns the old value.
fn one(
    context: &mut Context,
    atomic: &Atomic,
    address: u64,
    b: u64,
    c: u64,
) -> Result<u64, FaultKind> {
    let (space, address) = match atomic.space {
        Space::Generic => {
            let space = space_of(address);
            let model = context.kernel.shared.model;
            let inside = address - window_base(model, space);
            match space {
                Space::Shared => (generic_space(model), inside),
                _ => (space, inside),
            }
        }
        space => (space, address),
    };
    let how = (atomic.op, atomic.ty);
    let size = size_of(atomic.ty);
    if address % u64::from(size) != 0 {
        let space = space_name(space);
        return Err(FaultKind::Misaligned {
            space,
            address,
            alignment: size,
        });
    }
    match space {
        Space::Shared | Space::SharedCluster => {
            let (rank, offset) = resolve(context, space, address, size)?;
            let shared = &mut context.blocks[rank as usize].shared;
            shared.check_writable(offset, size as usize)?;
            Ok(reduce::shared(shared.bytes_mut(), how, offset, (b, c)))
        }
        Space::Global => {
            let allocation = context
                .global
                .allocation(address)
                .filter(|a| address - a.base <= a.bytes)
                .filter(|a| u64::from(size) <= a.bytes - (address - a.base))
                .ok_or_else(|| out_of_bounds(address, size, space))?;
            let offset = (address - allocation.base) as usize;
            Ok(reduce::global(&allocation.words, how, offset, (b, c)))
        }
        Space::Const | Space::Param => Err(FaultKind::ReadOnly {
            space: space_name(space),
            address,
        }),
        // The ISA has atomics on global and shared memory only.
        Space::Local | Space::Generic => Err(FaultKind::WrongSpace {
            expected: "global or shared",
            address: address.wrapping_add(window_base(context.kernel.shared.model, space)),
        }),
    }
}
