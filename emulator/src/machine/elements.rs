//! Between checked offsets and registers: the bytes that the lanes of a load or store move.

use crate::ir::{MemoryType, R32, R64, Width};

use super::memory_access::Transfer;
use super::registers::{LANES, Lanes, Mask, Registers};
use super::storage::{Read, Write};

/// Moves checked bytes into registers.
#[inline(always)]
pub(crate) fn load_elements(
    regs: &mut Registers,
    mask: Mask,
    t: &Transfer,
    from: &(impl Read + ?Sized),
    offsets: &Lanes<usize>,
) {
    match t.ty.bytes {
        1 => load_sized::<1>(regs, mask, t, from, offsets),
        2 => load_sized::<2>(regs, mask, t, from, offsets),
        4 => load_sized::<4>(regs, mask, t, from, offsets),
        _ => load_sized::<8>(regs, mask, t, from, offsets),
    }
}

#[inline(always)]
fn load_sized<const N: usize>(
    regs: &mut Registers,
    mask: Mask,
    t: &Transfer,
    from: &(impl Read + ?Sized),
    offsets: &Lanes<usize>,
) {
    let lanes = Reading {
        mask,
        by_half: mask.whole && agree_by_half(offsets),
    };
    for (element, slot) in t.slots.iter().take(usize::from(t.vector)).enumerate() {
        let get = |i: usize| from.get::<N>(offsets[i] + element * N);
        if t.ty.register == Width::W64 {
            lanes.fill(regs.get64_mut(R64(*slot)), |i| extend::<N>(t.ty, get(i)));
        } else if t.ty.signed {
            let kept = if t.ty.register == Width::W16 {
                0xffff
            } else {
                u32::MAX
            };
            let value = |i| extend::<N>(t.ty, get(i)) as u32 & kept;
            lanes.fill(regs.get32_mut(R32(*slot)), value);
        } else {
            lanes.fill(regs.get32_mut(R32(*slot)), |i| get(i) as u32);
        }
    }
}

/// Lanes that read, and whether the lanes of each half of the warp read the same bytes: a factor of a matrix product
/// that the threads of a row have in common is read like that.
#[derive(Clone, Copy)]
struct Reading {
    mask: Mask,
    by_half: bool,
}

const HALF: usize = LANES / 2;

#[inline(always)]
fn agree_by_half(offsets: &Lanes<usize>) -> bool {
    let (low, high) = (offsets[0], offsets[HALF]);
    let mut differences = 0;
    for i in 0..HALF {
        differences |= (offsets[i] ^ low) | (offsets[HALF + i] ^ high);
    }
    differences == 0
}

impl Reading {
    /// Writes lane by lane into the slot itself: a detour over vector registers would have to wait for
    /// the narrow stores before it.
    #[inline(always)]
    fn fill<T: Copy>(self, slot: &mut Lanes<T>, value: impl Fn(usize) -> T) {
        if self.by_half {
            let (low, high) = (value(0), value(HALF));
            slot[..HALF].fill(low);
            slot[HALF..].fill(high);
        } else if self.mask.whole {
            for (i, lane) in slot.iter_mut().enumerate() {
                *lane = value(i);
            }
        } else {
            for i in self.mask.iter() {
                slot[i] = value(i);
            }
        }
    }
}

#[inline(always)]
fn extend<const N: usize>(ty: MemoryType, value: u64) -> u64 {
    let unused = 64 - 8 * N as u32;
    if ty.signed {
        ((value << unused) as i64 >> unused) as u64
    } else {
        value
    }
}

/// Moves registers to checked bytes.
pub(crate) fn store_elements(
    regs: &Registers,
    mask: Mask,
    t: &Transfer,
    to: &mut (impl Write + ?Sized),
    offsets: &Lanes<usize>,
) {
    match t.ty.bytes {
        1 => store_sized::<1>(regs, mask, t, to, offsets),
        2 => store_sized::<2>(regs, mask, t, to, offsets),
        4 => store_sized::<4>(regs, mask, t, to, offsets),
        _ => store_sized::<8>(regs, mask, t, to, offsets),
    }
}

fn store_sized<const N: usize>(
    regs: &Registers,
    mask: Mask,
    t: &Transfer,
    to: &mut (impl Write + ?Sized),
    offsets: &Lanes<usize>,
) {
    for (element, slot) in t.slots.iter().take(usize::from(t.vector)).enumerate() {
        if t.ty.register == Width::W64 {
            let values = regs.get64(R64(*slot));
            for lane in mask.iter() {
                to.put::<N>(offsets[lane] + element * N, values[lane]);
            }
        } else {
            let values = regs.get32(R32(*slot));
            for lane in mask.iter() {
                to.put::<N>(offsets[lane] + element * N, u64::from(values[lane]));
            }
        }
    }
}
