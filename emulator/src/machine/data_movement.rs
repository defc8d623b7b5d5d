//! Moves between registers, permutes, windows of generic addresses (PTX ISA, "Data Movement and Conversion
//! Instructions").

use crate::ir::{PrmtMode, R32, R64, SharedModel, Space, Width, window};

use super::bits;
use super::registers::{Lanes, Mask, Registers, each_lane};

#[inline(always)]
pub(crate) fn pack64(regs: &Registers, lo: R32, hi: R32) -> Lanes<u64> {
    let (lo, hi) = (regs.get32(lo), regs.get32(hi));
    each_lane(|i| u64::from(hi[i]) << 32 | u64::from(lo[i]))
}

#[inline(always)]
pub(crate) fn unpack64(regs: &mut Registers, mask: Mask, lo: R32, hi: R32, a: R64) {
    let a = *regs.get64(a);
    regs.set32(mask, lo, &each_lane(|i| a[i] as u32));
    regs.set32(mask, hi, &each_lane(|i| (a[i] >> 32) as u32));
}

#[inline(always)]
pub(crate) fn pack16x2(regs: &Registers, lo: R32, hi: R32) -> Lanes<u32> {
    regs.map2_32(lo, hi, |lo, hi| lo & 0xffff | hi << 16)
}

#[inline(always)]
pub(crate) fn unpack16x2(regs: &mut Registers, mask: Mask, lo: R32, hi: R32, a: R32) {
    let a = *regs.get32(a);
    regs.set32(mask, lo, &each_lane(|i| a[i] & 0xffff));
    regs.set32(mask, hi, &each_lane(|i| a[i] >> 16));
}

fn bits_of(width: Width) -> u32 {
    match width {
        Width::W8 => 8,
        Width::W16 => 16,
        // A 64-bit resize does not exist; 32 bits are all that a slot has.
        Width::W32 | Width::W64 => 32,
    }
}

#[inline(always)]
pub(crate) fn resize(
    regs: &Registers,
    signed: bool,
    (from, to): (Width, Width),
    a: R32,
) -> Lanes<u32> {
    let unused = 32 - bits_of(from);
    let kept = u32::MAX >> (32 - bits_of(to));
    if signed {
        regs.map1_32(a, |x| ((x << unused) as i32 >> unused) as u32 & kept)
    } else {
        regs.map1_32(a, |x| x << unused >> unused & kept)
    }
}

#[inline(always)]
pub(crate) fn widen(regs: &Registers, signed: bool, a: R32) -> Lanes<u64> {
    let a = regs.get32(a);
    if signed {
        each_lane(|i| i64::from(a[i] as i32) as u64)
    } else {
        each_lane(|i| u64::from(a[i]))
    }
}

#[inline(always)]
pub(crate) fn narrow(regs: &Registers, a: R64) -> Lanes<u32> {
    let a = regs.get64(a);
    each_lane(|i| a[i] as u32)
}

#[inline(always)]
pub(crate) fn prmt(regs: &Registers, mode: PrmtMode, abc: [R32; 3]) -> Lanes<u32> {
    if mode == PrmtMode::Index {
        regs.map3_32(abc, bits::prmt)
    } else {
        prmt_with_mode(regs, mode, abc)
    }
}

#[inline(never)]
fn prmt_with_mode(regs: &Registers, mode: PrmtMode, abc: [R32; 3]) -> Lanes<u32> {
    regs.map3_32(abc, |a, b, c| {
        bits::prmt(a, b, bits::prmt_selectors(mode, c))
    })
}

/// Generic address of address 0 of a space; global memory has the identity mapping.
pub(crate) fn window_base(model: SharedModel, space: Space) -> u64 {
    match space {
        Space::Global | Space::Generic => 0,
        Space::Shared | Space::SharedCluster => model.window(),
        Space::Local => window::LOCAL,
        Space::Const => window::CONST,
        Space::Param => window::PARAM,
    }
}

/// The space that a generic address lies in.
#[inline(always)]
pub(crate) fn space_of(address: u64) -> Space {
    let inside = |base: u64| address.wrapping_sub(base) < window::BYTES;
    if address.wrapping_sub(window::SHARED_RANKS) < window::SHARED_RANKS_BYTES {
        Space::Shared
    } else if inside(window::LOCAL) {
        Space::Local
    } else if inside(window::CONST) {
        Space::Const
    } else if inside(window::PARAM) {
        Space::Param
    } else {
        Space::Global
    }
}
