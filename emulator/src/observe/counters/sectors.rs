//! The sectors of device memory that one request touches.

use crate::machine::registers::lanes_of;

use super::counts::SECTOR_BYTES;
use crate::observe::Access;

/// A sector and the bytes of it that are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Number of the sector in its allocation.
    pub sector: u64,
    /// Bit i is byte i of the sector.
    pub bytes: u32,
}

/// Collects into `parts` each sector that the lanes of `access` touch, once.
pub(super) fn collect(access: &Access, parts: &mut Vec<Part>) {
    parts.clear();
    for lane in lanes_of(access.lanes) {
        // Aligned accesses end in the sector they start in; the others are about to be refused.
        let bytes = u64::from(access.bytes_of(lane));
        parts_of(access.offsets[lane], bytes, |part| add(parts, part));
    }
}

/// Calls `each` for the sectors of some bytes of an allocation.
pub(super) fn parts_of(mut start: u64, bytes: u64, mut each: impl FnMut(Part)) {
    let end = start + bytes;
    while start < end {
        let sector = start / SECTOR_BYTES;
        let stop = end.min((sector + 1) * SECTOR_BYTES);
        let bytes = bit_range(start % SECTOR_BYTES, stop - start);
        each(Part { sector, bytes });
        start = stop;
    }
}

/// `len` ones from bit `start` on; `start + len` is at most 32.
fn bit_range(start: u64, len: u64) -> u32 {
    (((1u64 << len) - 1) << start) as u32
}

fn add(parts: &mut Vec<Part>, part: Part) {
    // Neighbours in the warp are mostly neighbours in memory: the search begins at the end.
    match parts.iter_mut().rev().find(|p| p.sector == part.sector) {
        Some(known) => known.bytes |= part.bytes,
        None => parts.push(part),
    }
}
