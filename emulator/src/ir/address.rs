//! State spaces, addresses and how values sit in memory.

use super::{R32, R64};

/// State space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Device memory.
    Global,
    /// The block's own shared memory, addresses as [`SharedModel`] says.
    Shared,
    /// Shared memory of any block of the cluster.
    SharedCluster,
    /// The thread's own memory, offsets from 0.
    Local,
    /// The constant bank, offsets from 0; read-only.
    Const,
    /// The entry's parameter buffer, offsets from 0; read-only.
    Param,
    /// A generic address: one of the windows below, else global.
    Generic,
}

/// Threads that a strong access or a fence has to do with (PTX ISA, "Memory Consistency Model: Scope").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Those of the block.
    Cta,
    /// Those of the cluster.
    Cluster,
    /// Those of the device.
    Gpu,
    /// All, the host's included.
    Sys,
}

/// How a load or store takes part in the memory model (PTX ISA, "Memory Consistency Model").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Ordered by synchronisation only; to race with it is an error.
    Weak,
    /// `.nc`: the memory must not be written while the kernel runs.
    NonCoherent,
    /// `.volatile` and `.relaxed`, and what is left of `.acquire` and `.release` beside their fence.
    Strong(Scope),
}

/// How shared memory is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedModel {
    /// Before sm_90: offsets from 0.
    Flat,
    /// From sm_90 on: the block's rank in its cluster from bit [`SharedModel::RANK_SHIFT`] on, an offset below.
    Ranked,
}

impl SharedModel {
    /// Place of the rank in an address (machine code of `mapa` and of addresses of variables).
    pub const RANK_SHIFT: u32 = 24;
    /// Bits of an address that are the offset.
    pub const OFFSET: u32 = (1 << Self::RANK_SHIFT) - 1;

    /// The model of a `.target`.
    pub fn of(target: u32) -> Self {
        if target >= 90 {
            SharedModel::Ranked
        } else {
            SharedModel::Flat
        }
    }

    /// Offset of the first byte that a program may use: the system keeps the first KiB from sm_90 on
    /// (`%reserved_smem_offset_cap`).
    pub fn first(self) -> u32 {
        match self {
            SharedModel::Flat => 0,
            SharedModel::Ranked => 0x400,
        }
    }

    /// The address of offset 0 in the block of this rank.
    pub fn base(self, rank: u32) -> u32 {
        match self {
            SharedModel::Flat => 0,
            SharedModel::Ranked => rank << Self::RANK_SHIFT,
        }
    }

    /// The rank that an address names; none where addresses name none.
    pub fn rank(self, address: u64) -> Option<u64> {
        (self == SharedModel::Ranked).then_some(address >> Self::RANK_SHIFT)
    }

    /// Generic address of shared address 0.
    pub fn window(self) -> u64 {
        match self {
            SharedModel::Flat => window::SHARED,
            SharedModel::Ranked => window::SHARED_RANKS,
        }
    }
}

/// Generic addresses of the spaces that are not global. Bases have a non-zero low word, but for that of sm_90, so
/// that a forgotten `cvta` does not work by accident.
pub mod window {
    /// Bytes of each window.
    pub const BYTES: u64 = 0x0100_0000;
    /// First generic address of shared memory with ranks: its low word is a shared address, as on sm_90.
    pub const SHARED_RANKS: u64 = 0x0000_1d51_0000_0000;
    /// Bytes of that window: 16 blocks are the most that a cluster can have on any device.
    pub const SHARED_RANKS_BYTES: u64 = 16 * BYTES;
    /// First generic address of shared memory without ranks, inside the window with them.
    pub const SHARED: u64 = 0x0000_1d51_0100_0000;
    /// First generic address of local memory.
    pub const LOCAL: u64 = 0x0000_1d52_0200_0000;
    /// First generic address of the constant bank.
    pub const CONST: u64 = 0x0000_1d53_0300_0000;
    /// First generic address of the parameter buffer.
    pub const PARAM: u64 = 0x0000_1d54_0400_0000;
}

/// `[base + offset]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Register that holds the base.
    pub base: AddressBase,
    /// Bytes added to it.
    pub offset: i32,
}

/// The register of an [`Address`]. Symbols and absolute addresses are preloaded constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressBase {
    /// A 32-bit register, zero-extended (shared, local, const and param only).
    R32(R32),
    /// A 64-bit register.
    R64(R64),
}

/// How one element of a load or store sits in memory and in its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Size in memory: 1, 2, 4 or 8 bytes.
    pub bytes: u8,
    /// Loads extend the sign up to the register's width; else they zero-extend.
    pub signed: bool,
    /// Width of the register, which tells the file: [`Width::W64`] is [`R64`], the others [`R32`].
    /// At least `bytes` for a load; a store takes the low bytes.
    pub register: Width,
}

/// Width of a value or register in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 8 bits.
    W8,
    /// 16 bits.
    W16,
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
}
