//! Accesses and values that a report names beside the instruction that found the fault.

use std::fmt;

/// Two accesses to the same bytes that nothing orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Space of the bytes: `shared` or `global`.
    pub space: &'static str,
    /// First byte that both touch.
    pub address: u64,
    /// The access that the launch executed first.
    pub first: Party,
    /// The one that found the conflict.
    pub second: Party,
    /// What is missing between them, as a half sentence.
    pub missing: &'static str,
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// What it did.
    pub access: AccessKind,
    /// Block index.
    pub block: [u32; 3],
    /// Warp inside the block.
    pub warp: u32,
    /// Lane inside the warp.
    pub lane: u32,
    /// One-based PTX line.
    pub line: u32,
    /// Source file and one-based line, when the text carries `.loc` directives.
    pub source: Option<(String, u32)>,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A load through the non-coherent path.
    NonCoherentRead,
    /// A store.
    Write,
    /// A read-modify-write.
    Atomic,
    /// The exit of a block, with which its shared memory ends.
    Exit,
    /// The read of a `cp.async`.
    CopyRead,
    /// The write of a `cp.async`.
    CopyWrite,
    /// The read of a bulk or tensor copy.
    BulkRead,
    /// The write of a bulk or tensor copy.
    BulkWrite,
    /// The read of a matrix operand by `wgmma`.
    MatrixRead,
    /// An operation on an mbarrier.
    Mbarrier,
}

/// Where a value that nobody has written comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A register that is read before it is written.
    Register {
        /// PTX line of the first instruction that read it.
        line: u32,
    },
    /// Memory that was never written.
    Memory {
        /// Its space.
        space: &'static str,
        /// First byte that was read and never written.
        address: u64,
        /// PTX line of that access.
        line: u32,
    },
    /// `shfl.sync` from a lane that did not take part.
    Shuffle {
        /// The lane that was read from.
        lane: u32,
        /// PTX line of the shuffle.
        line: u32,
    },
}

/// Where an uninitialised value matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is stored to shared or global memory, or combined with it by an atomic.
    Store,
    /// It decides where lanes go: a branch, a guard, a barrier's or a warp's reduction.
    Branch,
    /// It is part of an address or a size.
    Address,
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessKind::Read => "read",
            AccessKind::NonCoherentRead => "non-coherent read",
            AccessKind::Write => "write",
            AccessKind::Atomic => "atomic",
            AccessKind::Exit => "exit",
            AccessKind::CopyRead => "cp.async read",
            AccessKind::CopyWrite => "cp.async write",
            AccessKind::BulkRead => "bulk copy read",
            AccessKind::BulkWrite => "bulk copy write",
            AccessKind::MatrixRead => "wgmma read",
            AccessKind::Mbarrier => "mbarrier operation",
        })
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        let (access, warp, lane) = (self.access, self.warp, self.lane);
        write!(
            f,
            "{access} by block ({x}, {y}, {z}) warp {warp} lane {lane} at PTX line {}",
            self.line
        )?;
        match &self.source {
            Some((file, line)) => write!(f, " ({file}:{line})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(1) {} and (2) {} of {} address {:#x}, {}",
            self.first, self.second, self.space, self.address, self.missing
        )
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Register { line } => {
                write!(
                    f,
                    "a register that PTX line {line} read before anything wrote it"
                )
            }
            Origin::Memory {
                space,
                address,
                line,
            } => write!(
                f,
                "{space} address {address:#x}, which PTX line {line} read and nothing has written"
            ),
            Origin::Shuffle { lane, line } => write!(
                f,
                "lane {lane}, which took no part in the shuffle of PTX line {line}"
            ),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Use::Store => "a stored value",
            Use::Branch => "a branch or guard",
            Use::Address => "an address",
        })
    }
}
