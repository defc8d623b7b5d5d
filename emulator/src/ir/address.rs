//! State spaces, addresses and how values sit in memory.

use super::{R32, R64};

/// State space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Device memory.
    Global,
    /// The block's shared memory, offsets from 0.
    Shared,
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

/// Generic addresses of the spaces that are not global. Bases have a non-zero low word, so that a
/// forgotten `cvta` does not work by accident.
pub mod window {
    /// Bytes of each window.
    pub const BYTES: u64 = 0x0100_0000;
    /// First generic address of shared memory.
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
