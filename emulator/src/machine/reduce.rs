//! Read-modify-write of single values, by atomics and by bulk reductions.

use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::ir::{AtomicOp, AtomicType};

use super::float::{Exact, bits32, bits64, flush};
use super::half::{Format, from_f32, round_to_odd, to_f32};
use super::storage::{Words, Write};

/// Makes 64-bit read-modify-write of device memory one step.
static WIDE_ATOMICS: Mutex<()> = Mutex::new(());

/// What happens to a value, and its type.
pub(crate) type How = (AtomicOp, AtomicType);

/// Bytes of a value.
pub(crate) fn size_of(ty: AtomicType) -> u32 {
    match ty {
        AtomicType::U16 | AtomicType::F16 | AtomicType::Bf16 => 2,
        AtomicType::U64 | AtomicType::S64 | AtomicType::F64 => 8,
        _ => 4,
    }
}

/// Read, compute, write in shared memory, where nobody else can come between. Returns the old value.
pub(crate) fn shared(memory: &mut [u8], how: How, offset: usize, (b, c): (u64, u64)) -> u64 {
    plain(memory, how, offset, (b, c), false)
}

fn plain(
    memory: &mut (impl Write + ?Sized),
    (op, ty): How,
    offset: usize,
    (b, c): (u64, u64),
    global: bool,
) -> u64 {
    let old = match size_of(ty) {
        2 => memory.get::<2>(offset),
        4 => memory.get::<4>(offset),
        _ => memory.get::<8>(offset),
    };
    let new = result(op, ty, old, b, c, global);
    match size_of(ty) {
        2 => memory.put::<2>(offset, new),
        4 => memory.put::<4>(offset, new),
        _ => memory.put::<8>(offset, new),
    }
    old
}

/// The same in device memory, as one step for blocks on other threads of the host.
pub(crate) fn global(words: &[AtomicU32], how: How, offset: usize, (b, c): (u64, u64)) -> u64 {
    let (op, ty) = how;
    if size_of(ty) == 8 {
        let _guard = WIDE_ATOMICS.lock().unwrap_or_else(PoisonError::into_inner);
        return plain(&mut Words(words), how, offset, (b, c), true);
    }
    let (shift, ones) = match size_of(ty) {
        2 => (8 * (offset as u32 & 2), 0xffff),
        _ => (0, u32::MAX),
    };
    let word = &words[offset / 4];
    let mut current = word.load(Relaxed);
    loop {
        let old = u64::from(current >> shift & ones);
        let new = result(op, ty, old, b, c, true) as u32 & ones;
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
