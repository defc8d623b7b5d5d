//! What shadow memory remembers of an access.

use crate::ir::{Consistency, Instruction, MbarrierAction, Op, Scope};
use crate::observe::access::atomic_bytes;

use super::reach::Reach;

/// Which unordered accesses to its bytes an access tolerates (PTX ISA, "Morally strong operations").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    /// None, and no write even when it is ordered: `ld.global.nc`.
    NonCoherent,
    /// None.
    Weak,
    /// Strong ones to exactly the same bytes, when each is within the other's reach.
    Strong {
        /// Size of the scalar that is accessed in one step.
        bytes: u8,
        reach: Reach,
    },
}

impl Strength {
    /// The strength of the accesses of `op`.
    pub fn of(op: &Op) -> Self {
        match op {
            Op::Load {
                consistency, ty, ..
            }
            | Op::Store {
                consistency, ty, ..
            } => match consistency {
                Consistency::Weak => Strength::Weak,
                Consistency::NonCoherent => Strength::NonCoherent,
                Consistency::Strong(scope) => Strength::strong(ty.bytes, *scope),
            },
            Op::Atom { ty, scope, .. } | Op::Red { ty, scope, .. } => {
                Strength::strong(atomic_bytes(*ty) as u8, *scope)
            }
            Op::AtomicVector(atomic) => {
                Strength::strong(atomic_bytes(atomic.ty) as u8, atomic.scope)
            }
            // Elements of a tensor are taken for words: only its map knows their type.
            Op::BulkCopy(copy) => match copy.reduction {
                Some(reduction) => {
                    let bytes = reduction.ty.map_or(4, atomic_bytes);
                    Strength::strong(bytes as u8, Scope::Gpu)
                }
                None => Strength::Weak,
            },
            Op::Mbarrier(op) => match op.action {
                MbarrierAction::Init { .. } | MbarrierAction::Invalidate => Strength::Weak,
                _ => Strength::strong(8, Scope::Cluster),
            },
            Op::MbarrierWait(_) => Strength::strong(8, Scope::Cluster),
            _ => Strength::Weak,
        }
    }

    fn strong(bytes: u8, scope: Scope) -> Self {
        let reach = Reach::of(scope);
        Strength::Strong { bytes, reach }
    }

    /// Whether an access of this strength tolerates nothing that one of strength `other` does not.
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Strength::NonCoherent, _) => true,
            (Strength::Weak, other) => other != Strength::NonCoherent,
            (
                Strength::Strong { bytes, reach },
                Strength::Strong {
                    bytes: other_bytes,
                    reach: other_reach,
                },
            ) => bytes == other_bytes && reach <= other_reach,
            (Strength::Strong { .. }, _) => false,
        }
    }
}

/// The strength of every instruction of a kernel.
pub(super) struct Strengths {
    by_pc: Box<[Strength]>,
    /// Whether an instruction accesses memory through the asynchronous proxy.
    is_async: Box<[bool]>,
}

impl Strengths {
    pub fn new(program: &[Instruction]) -> Self {
        Self {
            by_pc: program.iter().map(|i| Strength::of(&i.op)).collect(),
            is_async: program.iter().map(|i| is_async(&i.op)).collect(),
        }
    }

    #[inline(always)]
    pub fn at(&self, pc: u32) -> Strength {
        // Every record was made by an instruction of the program.
        self.by_pc[pc as usize]
    }

    /// Whether an instruction accesses memory through the asynchronous proxy.
    pub fn is_async(&self, pc: u32) -> bool {
        self.is_async[pc as usize]
    }

    /// Whether whatever conflicts with `other`, and is not morally strong with it, is so with `by`.
    #[inline(always)]
    pub fn covers(&self, by: &Record, other: &Record) -> bool {
        by.place.writes() >= other.place.writes()
            && self.at(by.place.pc()).covers(self.at(other.place.pc()))
    }
}

/// Whether an operation accesses memory through the asynchronous proxy.
pub(super) fn is_async(op: &Op) -> bool {
    matches!(op, Op::BulkCopy(_) | Op::Wgmma(_))
}

/// Which instruction accesses, by which warp of the cluster, and whether it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// Program counters up to 2^23 fit, which is more instructions than a kernel can have, and the 256 warps of
    /// the largest cluster.
    pub fn new(pc: u32, warp: u32, writes: bool) -> Self {
        Self(pc << 9 | (warp & 0xff) << 1 | u32::from(writes))
    }

    pub fn pc(self) -> u32 {
        self.0 >> 9
    }

    #[inline(always)]
    pub fn warp(self) -> usize {
        (self.0 >> 1 & 0xff) as usize
    }

    #[inline(always)]
    pub fn writes(self) -> bool {
        self.0 & 1 != 0
    }
}

/// An access by some lanes of a warp at one instruction within one epoch of the warp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Number of the cluster in the grid; 0 in shared memory, which one cluster alone sees.
    pub cluster: u32,
    /// Time of the warp, which others have to know of; [`Record::NEVER`] when no knowledge helps.
    /// 0 in an empty record.
    pub epoch: u32,
    pub lanes: u32,
    pub place: Place,
}

impl Record {
    pub const EMPTY: Record = Record {
        cluster: 0,
        epoch: 0,
        lanes: 0,
        place: Place(0),
    };

    /// Epoch of an access through the non-coherent path.
    pub const NEVER: u32 = u32::MAX;

    #[inline(always)]
    pub fn is_non_coherent(&self) -> bool {
        self.epoch == Record::NEVER
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.epoch == 0
    }

    /// Same instruction, warp and epoch: the two differ in lanes only.
    #[inline(always)]
    pub fn is_moment_of(&self, other: &Record) -> bool {
        (self.cluster, self.epoch, self.place) == (other.cluster, other.epoch, other.place)
    }
}
