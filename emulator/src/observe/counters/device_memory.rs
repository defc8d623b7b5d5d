//! Traffic of device memory, for the L2 that was asked for and for one without bounds.

use super::counts::{AllocationCounters, HbmCounts, SECTOR_BYTES};
use super::l2::{L2, Purpose, Sector, Transfer};
use super::sectors::Part;

/// Allocations start at multiples of this many bytes, as those of the emulated memory do.
const ALIGNMENT: u64 = 256;

/// Device memory below its caches.
pub(super) struct DeviceMemory {
    allocations: Vec<Allocation>,
    /// None when L2 has no bounds.
    l2: Option<L2>,
}

/// One allocation and what moved between it and the caches.
struct Allocation {
    address: u64,
    bytes: u64,
    /// Number of its first sector. Allocations are numbered as if each followed the one before, not
    /// with the gaps that the emulator leaves: whole powers of two would all fall into one set.
    first_sector: u64,
    /// What the unbounded L2 holds of it; empty until the first access.
    unbounded: Vec<Sector>,
    hbm: HbmCounts,
}

impl DeviceMemory {
    /// Untouched memory; `allocations` are addresses and sizes in bytes, ascending.
    pub fn new(allocations: &[(u64, u64)], l2: Option<L2>) -> Self {
        let mut first_sector = 0;
        let allocations = allocations.iter().map(|&(address, bytes)| {
            let allocation = Allocation {
                address,
                bytes,
                first_sector,
                unbounded: Vec::new(),
                hbm: HbmCounts::default(),
            };
            first_sector += bytes.next_multiple_of(ALIGNMENT) / SECTOR_BYTES;
            allocation
        });
        Self {
            allocations: allocations.collect(),
            l2,
        }
    }

    /// A request for part of allocation `index`.
    pub fn serve(&mut self, index: usize, part: Part, purpose: Purpose) {
        let allocation = &mut self.allocations[index];
        if allocation.unbounded.is_empty() {
            let sectors = allocation.bytes.div_ceil(SECTOR_BYTES);
            allocation.unbounded = vec![Sector::default(); sectors as usize];
        }
        let hbm = &mut allocation.hbm;
        allocation.unbounded[part.sector as usize]
            .serve(part.bytes, purpose, &mut |transfer| hbm.add_min(transfer));
        let part = Part {
            sector: allocation.first_sector + part.sector,
            ..part
        };
        if let Some(l2) = &mut self.l2 {
            let allocations = &mut self.allocations;
            l2.serve(part, purpose, &mut |sector, transfer| {
                owner(allocations, sector).hbm.add(transfer);
            });
        }
    }

    /// Writes back what the caches hold, and returns the allocations that were touched.
    pub fn finish(mut self) -> Vec<AllocationCounters> {
        for allocation in &mut self.allocations {
            for sector in std::mem::take(&mut allocation.unbounded) {
                sector.leave(&mut |transfer| allocation.hbm.add_min(transfer));
            }
        }
        match &mut self.l2 {
            Some(l2) => l2.flush(&mut |sector, transfer| {
                owner(&mut self.allocations, sector).hbm.add(transfer);
            }),
            None => self.allocations.iter_mut().for_each(|allocation| {
                allocation.hbm.read_bytes = allocation.hbm.min_read_bytes;
                allocation.hbm.write_bytes = allocation.hbm.min_write_bytes;
            }),
        }
        let touched = self.allocations.iter().filter(|a| a.hbm.min_bytes() > 0);
        let counters = |allocation: &Allocation| AllocationCounters {
            address: allocation.address,
            bytes: allocation.bytes,
            hbm: allocation.hbm,
        };
        touched.map(counters).collect()
    }
}

/// The allocation that a sector belongs to.
fn owner(allocations: &mut [Allocation], sector: u64) -> &mut Allocation {
    let after = allocations.partition_point(|a| a.first_sector <= sector);
    // Empty allocations start where the next one does; the last to start there holds the sector.
    &mut allocations[after - 1]
}

impl HbmCounts {
    fn add(&mut self, transfer: Transfer) {
        match transfer {
            Transfer::Read => self.read_bytes += SECTOR_BYTES,
            Transfer::Write => self.write_bytes += SECTOR_BYTES,
        }
    }

    fn add_min(&mut self, transfer: Transfer) {
        match transfer {
            Transfer::Read => self.min_read_bytes += SECTOR_BYTES,
            Transfer::Write => self.min_write_bytes += SECTOR_BYTES,
        }
    }
}
