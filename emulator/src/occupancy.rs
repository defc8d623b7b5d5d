//! How many blocks of a kernel one multiprocessor holds at once, and what stands in the way of more.
//!
//! Limits: CUDA C++ Programming Guide, "Compute Capabilities". Registers are granted to warps in
//! units of 256, in four equal parts of the multiprocessor; shared memory in units of 128 bytes, of
//! which the system keeps 1 KiB per block (cuda_occupancy.h of the CUDA toolkit).

use thiserror::Error;

/// Registers of a multiprocessor, and of a block at most.
const REGISTERS: u32 = 65536;
/// Parts of a multiprocessor that have a scheduler and registers of their own.
const PARTS: u32 = 4;
const REGISTER_UNIT: u32 = 256;
const MAX_REGISTERS_PER_THREAD: u32 = 255;
const SHARED_UNIT: u32 = 128;
const RESERVED_SHARED_BYTES: u32 = 1024;
const MAX_BLOCK_THREADS: u32 = 1024;

/// What one block asks of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockNeeds {
    /// Threads, at least 1.
    pub threads: u32,
    /// Static and dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// Registers of each thread; `None` when nobody knows, which then count as no limit.
    pub registers: Option<u32>,
}

/// What a multiprocessor can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Places for warps.
    Warps,
    /// Places for blocks.
    Blocks,
    /// Bytes of shared memory.
    SharedMemory,
    /// Registers.
    Registers,
}

/// What one multiprocessor holds at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks; 0 when not even one fits.
    pub blocks: u32,
    /// Their warps.
    pub warps: u32,
    /// Warps that it has places for.
    pub max_warps: u32,
    /// What forbids one block more.
    pub limits: Vec<Resource>,
}

/// A question about occupancy without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OccupancyError {
    /// The limits of this architecture are not known here.
    #[error("compute capability {0}.{1} is not known: ask for 8.0, 8.6, 8.9 or 9.0")]
    ComputeCapability(u32, u32),
    /// There are no such blocks.
    #[error("a block has at least 1 thread, got 0")]
    NoThreads,
}

/// Limits of one multiprocessor.
struct Multiprocessor {
    warps: u32,
    blocks: u32,
    shared_bytes: u32,
    /// What it grants a single block, less than all by what the system reserves.
    block_shared_bytes: u32,
}

impl Multiprocessor {
    fn new(compute_capability: (u32, u32)) -> Result<Self, OccupancyError> {
        let (warps, blocks, shared_kib) = match compute_capability {
            (8, 0) => (64, 32, 164),
            (8, 6) => (48, 16, 100),
            (8, 9) => (48, 24, 100),
            (9, 0) => (64, 32, 228),
            (major, minor) => return Err(OccupancyError::ComputeCapability(major, minor)),
        };
        Ok(Self {
            warps,
            blocks,
            shared_bytes: shared_kib * 1024,
            block_shared_bytes: shared_kib * 1024 - RESERVED_SHARED_BYTES,
        })
    }

    /// Blocks that its warps, shared memory and registers have room for.
    fn room(&self, needs: &BlockNeeds) -> [(Resource, u32); 4] {
        let warps = needs.threads.div_ceil(32);
        let by_warps = match needs.threads {
            0..=MAX_BLOCK_THREADS => self.warps / warps,
            _ => 0,
        };
        let by_shared = if needs.shared_bytes > self.block_shared_bytes {
            0
        } else {
            let bytes = needs.shared_bytes + RESERVED_SHARED_BYTES;
            self.shared_bytes / bytes.next_multiple_of(SHARED_UNIT)
        };
        [
            (Resource::Warps, by_warps),
            (Resource::Blocks, self.blocks),
            (Resource::SharedMemory, by_shared),
            (
                Resource::Registers,
                needs
                    .registers
                    .map_or(u32::MAX, |registers| room_for_registers(registers, warps)),
            ),
        ]
    }
}

/// Blocks of `warps` warps that the registers suffice for.
fn room_for_registers(registers: u32, warps: u32) -> u32 {
    if registers == 0 {
        return u32::MAX;
    }
    if registers > MAX_REGISTERS_PER_THREAD {
        return 0;
    }
    let per_warp = (32 * registers).next_multiple_of(REGISTER_UNIT);
    // The launch is checked as if warps came in fours, one for each part.
    if warps.saturating_mul(per_warp) > REGISTERS
        || warps.next_multiple_of(PARTS) * per_warp > REGISTERS
    {
        return 0;
    }
    REGISTERS / PARTS / per_warp * PARTS / warps
}

/// What a multiprocessor of a compute capability, `(major, minor)`, holds of such blocks.
///
/// # Errors
/// [`OccupancyError`] for capabilities other than 8.0, 8.6, 8.9 and 9.0, and for blocks without
/// threads.
pub fn occupancy(
    compute_capability: (u32, u32),
    needs: &BlockNeeds,
) -> Result<Occupancy, OccupancyError> {
    let multiprocessor = Multiprocessor::new(compute_capability)?;
    if needs.threads == 0 {
        return Err(OccupancyError::NoThreads);
    }
    let room = multiprocessor.room(needs);
    let blocks = room.iter().map(|(_, blocks)| *blocks).min().unwrap_or(0);
    let limits = room.iter().filter(|(_, room)| *room == blocks);
    Ok(Occupancy {
        blocks,
        warps: blocks * needs.threads.div_ceil(32),
        max_warps: multiprocessor.warps,
        limits: limits.map(|(resource, _)| *resource).collect(),
    })
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Resource::Warps => "warps",
            Resource::Blocks => "blocks",
            Resource::SharedMemory => "shared memory",
            Resource::Registers => "registers",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Resource::{Blocks, Registers, SharedMemory, Warps};

    #[test]
    fn the_scarcest_resource_decides() {
        for (capability, threads, shared_bytes, registers, blocks, limits) in [
            ((8, 0), 128, 0, None, 16, &[Warps][..]),
            ((8, 0), 32, 0, None, 32, &[Blocks]),
            ((8, 6), 32, 0, None, 16, &[Blocks]),
            ((8, 9), 32, 0, None, 24, &[Blocks]),
            ((9, 0), 64, 0, None, 32, &[Warps, Blocks]),
            // 32 KiB and 1 KiB reserved: 33 of 164, 100 and 228 KiB.
            ((8, 0), 128, 32 << 10, None, 4, &[SharedMemory]),
            ((8, 6), 128, 32 << 10, None, 3, &[SharedMemory]),
            ((9, 0), 128, 32 << 10, None, 6, &[SharedMemory]),
            ((8, 0), 128, 163 << 10, None, 1, &[SharedMemory]),
            ((8, 0), 128, (163 << 10) + 1, None, 0, &[SharedMemory]),
            ((8, 9), 128, 99 << 10, None, 1, &[SharedMemory]),
            // 1 byte takes 128: 1152 of 100 KiB.
            ((8, 6), 32, 1, None, 16, &[Blocks]),
            // 255 registers are granted as 256 * 32: two warps in each part.
            ((8, 0), 128, 0, Some(255), 2, &[Registers]),
            ((8, 0), 32, 0, Some(255), 8, &[Registers]),
            ((8, 0), 256, 0, Some(255), 1, &[Registers]),
            ((8, 0), 288, 0, Some(255), 0, &[Registers]),
            // 40 * 32 = 1280: 12 warps in each part, 48 in all.
            ((8, 0), 128, 0, Some(40), 12, &[Registers]),
            ((8, 0), 160, 0, Some(40), 9, &[Registers]),
            ((8, 0), 128, 0, Some(32), 16, &[Warps, Registers]),
            ((8, 0), 128, 0, Some(256), 0, &[Registers]),
            ((8, 0), 1025, 0, Some(1), 0, &[Warps]),
        ] {
            let needs = BlockNeeds {
                threads,
                shared_bytes,
                registers,
            };
            let found = occupancy(capability, &needs).unwrap();
            assert_eq!(found.blocks, blocks, "{capability:?}, {needs:?}");
            assert_eq!(found.limits, limits, "{capability:?}, {needs:?}");
            assert_eq!(found.warps, blocks * threads.div_ceil(32));
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let needs = |threads| BlockNeeds {
            threads,
            shared_bytes: 0,
            registers: None,
        };
        let error = occupancy((7, 5), &needs(32)).unwrap_err();
        assert_eq!(error, OccupancyError::ComputeCapability(7, 5));
        assert!(error.to_string().contains("7.5 is not known"), "{error}");
        assert_eq!(occupancy((8, 0), &needs(0)), Err(OccupancyError::NoThreads));
        // Absurd numbers do not overflow.
        let absurd = BlockNeeds {
            threads: u32::MAX,
            shared_bytes: u32::MAX,
            registers: Some(u32::MAX),
        };
        assert_eq!(occupancy((8, 0), &absurd).unwrap().blocks, 0);
    }
}
