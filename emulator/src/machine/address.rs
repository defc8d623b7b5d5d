//! From the address operand of an instruction to checked offsets into one region of memory.
//!
//! Lanes outside the mask get the address of the first lane inside, so that every lane has a valid
//! one: checks and loads then run over all 32 without a branch.

use std::sync::Arc;

use crate::fault::{FaultKind, Outcome, lane_fault, space_name};
use crate::ir::{Address, AddressBase, Space};
use crate::memory::{Allocation, RED_ZONE, find};

use super::data_movement::space_of;
use super::registers::{LANES, Lanes, Mask, Registers, each_lane, lanes_of};

/// Allocations that a [`GlobalView`] remembers.
const RECENT: usize = 8;

/// The device memory that a block sees, with some allocations used last: kernels go to and fro between a few.
#[derive(Clone)]
pub(crate) struct GlobalView {
    allocations: Arc<[Arc<Allocation>]>,
    /// Indices of allocations, each in the place that its address gives.
    recent: [usize; RECENT],
}

impl GlobalView {
    pub fn new(allocations: Arc<[Arc<Allocation>]>) -> Self {
        Self {
            allocations,
            recent: [0; RECENT],
        }
    }

    /// The allocation that may hold `address`: no other one does.
    #[inline(always)]
    pub fn allocation(&mut self, address: u64) -> Option<&Allocation> {
        let index = self.locate(address)?;
        Some(self.get(index))
    }

    /// Its index.
    #[inline(always)]
    pub fn locate(&mut self, address: u64) -> Option<usize> {
        // Small allocations that follow each other are a red zone apart and so get places of their own.
        let index = &mut self.recent[(address / RED_ZONE) as usize % RECENT];
        let recent = self.allocations.get(*index)?;
        if address.wrapping_sub(recent.base) >= recent.bytes {
            *index = find(&self.allocations, address)?;
        }
        Some(*index)
    }

    /// All allocations, by ascending address.
    pub fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.allocations.iter().map(|allocation| &**allocation)
    }

    /// The allocation with an index from [`Self::locate`].
    #[inline(always)]
    pub fn get(&self, index: usize) -> &Allocation {
        &self.allocations[index]
    }
}

/// Effective addresses: base register plus offset.
#[inline(always)]
pub(crate) fn effective(regs: &Registers, mask: Mask, address: Address) -> Lanes<u64> {
    let offset = i64::from(address.offset) as u64;
    let mut out: Lanes<u64> = match address.base {
        AddressBase::R64(base) => {
            let base = regs.get64(base);
            each_lane(|i| base[i].wrapping_add(offset))
        }
        AddressBase::R32(base) => {
            let base = regs.get32(base);
            each_lane(|i| u64::from(base[i].wrapping_add(offset as u32)))
        }
    };
    if mask.lanes != u32::MAX {
        fill(&mut out, mask.lanes);
    }
    out
}

/// Gives lanes outside `lanes`, which is not empty, the address of the first lane inside.
pub(crate) fn fill(addresses: &mut Lanes<u64>, lanes: u32) {
    let first = addresses[lanes.trailing_zeros() as usize & (LANES - 1)];
    for (i, address) in addresses.iter_mut().enumerate() {
        if lanes >> i & 1 == 0 {
            *address = first;
        }
    }
}

/// Faults unless every address is a multiple of `size`, a power of two.
#[inline(always)]
pub(crate) fn check_alignment(
    lanes: u32,
    addresses: &Lanes<u64>,
    size: u32,
    space: Space,
) -> Outcome {
    let low_bits = addresses.iter().fold(0, |bits, address| bits | address);
    if low_bits & u64::from(size - 1) == 0 {
        return Ok(());
    }
    let lane = first_where(lanes, |lane| {
        !addresses[lane].is_multiple_of(u64::from(size))
    });
    let address = addresses[lane];
    let kind = FaultKind::Misaligned {
        space: space_name(space),
        address,
        alignment: size,
    };
    lane_fault(lane as u32, kind)
}

/// Whether every address is a multiple of `size` and `size` bytes from it lie in the `len` bytes from `base` on, which
/// is a multiple of `size` itself: both checks at once, for the accesses that pass them.
#[inline(always)]
pub(crate) fn passes(addresses: &Lanes<u64>, size: u32, base: u64, len: u64) -> bool {
    let Some(last) = len.checked_sub(u64::from(size)) else {
        return false;
    };
    // The top bit of `beyond` is set by an offset below 0 or above `last`. No lane branches, so that all run at once.
    let (mut union, mut beyond) = (0, 0);
    for address in addresses {
        let offset = address.wrapping_sub(base);
        union |= offset;
        beyond |= offset | last.wrapping_sub(offset);
    }
    union & u64::from(size - 1) == 0 && beyond >> 63 == 0
}

/// Memory that the lanes of one access fall into.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub space: Space,
    /// Its first address.
    pub base: u64,
    /// Its bytes.
    pub len: u64,
}

/// Faults unless `size` bytes from every address lie inside the region.
#[inline(always)]
pub(crate) fn check_bounds(
    lanes: u32,
    addresses: &Lanes<u64>,
    size: u32,
    region: Region,
) -> Outcome {
    let Region { space, base, len } = region;
    if all_inside(addresses, size, base, len) {
        return Ok(());
    }
    let lane = first_where(lanes, |lane| {
        let offset = addresses[lane].wrapping_sub(base);
        offset >= len || u64::from(size) > len - offset
    });
    lane_fault(lane as u32, out_of_bounds(addresses[lane], size, space))
}

/// Whether `size` bytes from every address lie in the `len` bytes from `base` on.
#[inline(always)]
pub(crate) fn all_inside(addresses: &Lanes<u64>, size: u32, base: u64, len: u64) -> bool {
    let Some(last) = len.checked_sub(u64::from(size)) else {
        return false;
    };
    // No offset is larger than the union of all their bits, which is quicker to compute than the
    // largest one and nearly always decides.
    let union = addresses
        .iter()
        .fold(0, |bits, address| bits | address.wrapping_sub(base));
    union <= last
        || addresses
            .iter()
            .all(|address| address.wrapping_sub(base) <= last)
}

/// The first of `lanes` for which `f` holds.
#[cold]
fn first_where(lanes: u32, f: impl Fn(usize) -> bool) -> usize {
    lanes_of(lanes).find(|lane| f(*lane)).unwrap_or(0)
}

/// The fault for an address that no memory of `space` holds: wrong space when it lies in the window
/// of another one.
#[cold]
pub(crate) fn out_of_bounds(address: u64, bytes: u32, space: Space) -> FaultKind {
    if space_of(address) != Space::Global {
        return FaultKind::WrongSpace {
            expected: space_name(space),
            address,
        };
    }
    FaultKind::OutOfBounds {
        space: space_name(space),
        address,
        bytes,
        nearest: None,
    }
}
