//! `atom` and `red` (PTX ISA, "Parallel Synchronization and Communication Instructions: atom, red").
//!
//! Lanes act one after the other in lane order. Operations on device memory are atomic with respect
//! to blocks on other threads; 64-bit ones exclude each other by a lock.

use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::fault::{FaultKind, Outcome, lane_fault, space_name};
use crate::ir::{Address, AtomicOp, AtomicType, R32, R64, Space};

use super::address::{effective, out_of_bounds};
use super::context::Context;
use super::data_movement::{space_of, window_base};
use super::float::{Exact, bits32, bits64, flush};
use super::half::{Format, from_f32, round_to_odd, to_f32};
use super::registers::{LANES, Mask, each_lane, lanes_of};
use super::shared_access::{generic_space, resolve};
use super::storage::{Words, Write};
use super::warp::Warp;

/// Makes 64-bit read-modify-write of device memory one step.
static WIDE_ATOMICS: Mutex<()> = Mutex::new(());

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

fn size_of(ty: AtomicType) -> u32 {
    match ty {
        AtomicType::U16 | AtomicType::F16 | AtomicType::Bf16 => 2,
        AtomicType::U64 | AtomicType::S64 | AtomicType::F64 => 8,
        _ => 4,
    }
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
            shared.check_landed(offset, size as usize)?;
            Ok(plain(shared.bytes_mut(), atomic, offset, b, c, false))
        }
        Space::Global => {
            let allocation = context
                .global
                .allocation(address)
                .filter(|a| address - a.base <= a.bytes)
                .filter(|a| u64::from(size) <= a.bytes - (address - a.base))
                .ok_or_else(|| out_of_bounds(address, size, space))?;
            let offset = (address - allocation.base) as usize;
            Ok(in_words(&allocation.words, atomic, offset, b, c))
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

/// Read, compute, write, where nobody else can come between.
fn plain(
    memory: &mut (impl Write + ?Sized),
    atomic: &Atomic,
    offset: usize,
    b: u64,
    c: u64,
    global: bool,
) -> u64 {
    let old = match size_of(atomic.ty) {
        2 => memory.get::<2>(offset),
        4 => memory.get::<4>(offset),
        _ => memory.get::<8>(offset),
    };
    let new = result(atomic.op, atomic.ty, old, b, c, global);
    match size_of(atomic.ty) {
        2 => memory.put::<2>(offset, new),
        4 => memory.put::<4>(offset, new),
        _ => memory.put::<8>(offset, new),
    }
    old
}

fn in_words(words: &[AtomicU32], atomic: &Atomic, offset: usize, b: u64, c: u64) -> u64 {
    if size_of(atomic.ty) == 8 {
        let _guard = WIDE_ATOMICS.lock().unwrap_or_else(PoisonError::into_inner);
        return plain(&mut Words(words), atomic, offset, b, c, true);
    }
    let (shift, ones) = match size_of(atomic.ty) {
        2 => (8 * (offset as u32 & 2), 0xffff),
        _ => (0, u32::MAX),
    };
    let word = &words[offset / 4];
    let mut current = word.load(Relaxed);
    loop {
        let old = u64::from(current >> shift & ones);
        let new = result(atomic.op, atomic.ty, old, b, c, true) as u32 & ones;
        let next = current & !(ones << shift) | new << shift;
        match word.compare_exchange_weak(current, next, AcqRel, Relaxed) {
            Ok(_) => return old,
            Err(seen) => current = seen,
        }
    }
}

/// The value to store.
fn result(op: AtomicOp, ty: AtomicType, old: u64, b: u64, c: u64, global: bool) -> u64 {
    let signed = |x: u64| match ty {
        AtomicType::S32 => i64::from(x as i32),
        _ => x as i64,
    };
    let is_signed = matches!(ty, AtomicType::S32 | AtomicType::S64);
    match op {
        AtomicOp::Add => add(ty, old, b, global),
        AtomicOp::And => old & b,
        AtomicOp::Or => old | b,
        AtomicOp::Xor => old ^ b,
        AtomicOp::Exch => b,
        AtomicOp::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomicOp::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        AtomicOp::Min if is_signed => signed(old).min(signed(b)) as u64,
        AtomicOp::Min => old.min(b),
        AtomicOp::Max if is_signed => signed(old).max(signed(b)) as u64,
        AtomicOp::Max => old.max(b),
    }
}

fn add(ty: AtomicType, old: u64, b: u64, global: bool) -> u64 {
    match ty {
        AtomicType::F32 => {
            // Device memory adds with subnormals flushed, shared memory keeps them.
            let value = |bits: u64| flush(f32::from_bits(bits as u32), global);
            u64::from(bits32(flush(value(old) + value(b), global)))
        }
        AtomicType::F64 => bits64(f64::from_bits(old) + f64::from_bits(b)),
        AtomicType::F16 => add_half(Format::F16, old, b),
        AtomicType::Bf16 => add_half(Format::Bf16, old, b),
        AtomicType::F16x2 => {
            add_half(Format::F16, old, b) | add_half(Format::F16, old >> 16, b >> 16) << 16
        }
        AtomicType::Bf16x2 => {
            add_half(Format::Bf16, old, b) | add_half(Format::Bf16, old >> 16, b >> 16) << 16
        }
        _ => old.wrapping_add(b),
    }
}

fn add_half(format: Format, x: u64, y: u64) -> u64 {
    let value = |bits: u64| f64::from(to_f32(format, bits as u32 & 0xffff));
    u64::from(from_f32(
        format,
        round_to_odd(Exact::sum(value(x), value(y))),
    ))
}
