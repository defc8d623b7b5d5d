//! A decoded kernel: its program and everything a launch needs to know about it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Instruction, Location, Pred, R32, R64, SharedModel, SourceLine};
use crate::error::MemoryError;

/// A decoded kernel, ready to launch.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Entry name.
    pub(crate) entry: String,
    /// Instructions; a program counter is an index into them.
    pub(crate) program: Vec<Instruction>,
    /// Where each instruction comes from; as long as `program`.
    pub(crate) locations: Vec<Location>,
    /// Lines that [`Location::source`] counts.
    pub(crate) source_lines: Vec<SourceLine>,
    /// Files that [`SourceLine::file`] counts.
    pub(crate) source_files: Arc<[String]>,
    /// Sizes of the three register files.
    pub(crate) slots: SlotCounts,
    /// Slots filled before a warp's first instruction.
    pub(crate) preloads: Vec<Preload>,
    /// Jump tables of [`Op::BranchIndexed`].
    pub(crate) branch_tables: Vec<Vec<u32>>,
    /// Size of the entry's parameter buffer in bytes.
    pub(crate) param_bytes: u32,
    /// Shared memory declared in the text.
    pub(crate) shared: SharedLayout,
    /// Local memory of one thread in bytes, at local addresses 0 and up.
    pub(crate) local_bytes: u32,
    /// The `.const` bank, at constant addresses 0 and up.
    pub(crate) constants: Arc<[u8]>,
    /// The module's `.global` variables.
    pub(crate) globals: Arc<Globals>,
    /// Launch bounds of the entry.
    pub(crate) block_shape: BlockShape,
    /// What the entry says of its clusters.
    pub(crate) cluster: ClusterBounds,
    /// Registers of each thread when a block starts, as far as the entry's directives say.
    pub(crate) registers: Option<u32>,
    /// What instructions do to registers of products ([`Op::Wgmma`](super::Op::Wgmma)), for those
    /// with [`Instruction::touches_products`].
    pub(crate) touches: HashMap<u32, Touches>,
    /// Registers that [`Touches::marks`] counts.
    pub(crate) product_marks: u16,
}

/// What an instruction does to registers that may belong to a product in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touches {
    /// Slots that it reads and that may hold a result in flight.
    pub reads: Vec<R32>,
    /// Slots that it writes and that may hold a result or an input in flight.
    pub writes: Vec<R32>,
    /// Registers that it uses, numbered, in a kernel that may lack a `wgmma.fence`: of a product those
    /// of D, then those of A.
    pub marks: Vec<u16>,
}

/// Number of slots per register file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Slots of [`R32`].
    pub r32: u16,
    /// Slots of [`R64`].
    pub r64: u16,
    /// Slots of [`Pred`], at least 1 for [`Pred::TRUE`].
    pub pred: u16,
}

/// Shared memory of one block as the text declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedLayout {
    /// How it is addressed.
    pub model: SharedModel,
    /// Offset behind the static variables, which start at the model's first.
    pub static_end: u32,
    /// Alignment of the `.extern .shared` array, a power of two; `None` when there is none.
    pub dynamic_align: Option<u32>,
}

impl SharedLayout {
    /// Offset of the dynamic array: one of the places after the static variables that have exactly the
    /// declared alignment and no better one, so that a kernel relying on more than it asked for is
    /// caught. Step 0 is the first of them.
    pub fn dynamic_offset(&self, step: u32) -> u32 {
        let Some(align) = self.dynamic_align else {
            return self.static_end;
        };
        // Saturated, a layout is too large to launch.
        let offset = self
            .static_end
            .checked_next_multiple_of(align)
            .unwrap_or(u32::MAX);
        let first = if offset & align != 0 {
            offset
        } else {
            offset.saturating_add(align)
        };
        first.saturating_add(align.saturating_mul(2 * step))
    }
}

/// Launch bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockShape {
    /// None declared.
    Any,
    /// `.reqntid`.
    Exactly([u32; 3]),
    /// `.maxntid`: no more threads than this in all.
    AtMost(u32),
}

/// What an entry says of the clusters that it is launched with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterBounds {
    /// `.reqnctapercluster`: blocks of a cluster along x, y, z.
    pub required: Option<[u32; 3]>,
    /// `.maxclusterrank`: blocks of a cluster at most.
    pub max_blocks: Option<u32>,
    /// `.explicitcluster`: the entry is launched with clusters only.
    pub explicit: bool,
}

/// The `.global` variables of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Variables in declaration order.
    pub variables: Vec<GlobalVariable>,
}

/// One `.global` variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalVariable {
    /// Its name.
    pub name: String,
    /// Alignment in bytes, a power of two up to 256.
    pub align: u32,
    /// Its size.
    pub bytes: u64,
    /// Initial contents of its first bytes; the rest is zero.
    pub initial: Vec<u8>,
    /// Addresses to be stored into it once the variables have their places.
    pub relocations: Vec<Relocation>,
}

impl GlobalVariable {
    /// All of its bytes.
    ///
    /// # Errors
    /// [`MemoryError::OutOfMemory`] when the host cannot hold them.
    pub fn contents(&self) -> Result<Vec<u8>, MemoryError> {
        let bytes = self.bytes as usize;
        let mut contents = Vec::new();
        contents
            .try_reserve_exact(bytes)
            .map_err(|_| MemoryError::OutOfMemory { bytes })?;
        contents.extend_from_slice(&self.initial);
        contents.resize(bytes, 0);
        Ok(contents)
    }
}

/// A 64-bit address inside an initialiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Byte offset of the address in the variable.
    pub offset: u32,
    /// Index of the variable pointed to.
    pub variable: u32,
    /// Bytes added to that variable's address.
    pub addend: i64,
}

/// A slot filled before a warp's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    /// The same 32 bits in every lane.
    Const32(R32, u32),
    /// The same 64 bits in every lane.
    Const64(R64, u64),
    /// The same truth value in every lane.
    ConstPred(Pred, bool),
    /// A special register.
    Special(R32, Special),
    /// A special register, zero-extended.
    Special64(R64, Special),
    /// A special register that is a predicate.
    SpecialPred(Pred, Special),
    /// Address of a byte of the block's shared memory.
    Shared32(R32, SharedPlace, i64),
    /// The same in 64 bits.
    Shared64(R64, SharedPlace, i64),
    /// Address of a `.global` variable plus bytes: slot, variable, offset.
    Global(R64, u32, i64),
}

/// What an offset in shared memory is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedPlace {
    /// Offset 0.
    Start,
    /// The `.extern .shared` array.
    Dynamic,
}

/// Special registers that do not change while a thread runs (PTX ISA, "Special Registers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// `%tid`, axis 0 to 2.
    Tid(Axis),
    /// `%ntid`.
    Ntid(Axis),
    /// `%ctaid`.
    Ctaid(Axis),
    /// `%nctaid`.
    Nctaid(Axis),
    /// `%clusterid`.
    ClusterId(Axis),
    /// `%nclusterid`.
    NumClusters(Axis),
    /// `%cluster_ctaid`.
    BlockInCluster(Axis),
    /// `%cluster_nctaid`.
    ClusterShape(Axis),
    /// `%cluster_ctarank`.
    ClusterRank,
    /// `%cluster_nctarank`.
    ClusterBlocks,
    /// `%is_explicit_cluster`.
    IsExplicitCluster,
    /// `%laneid`.
    LaneId,
    /// `%warpid`.
    WarpId,
    /// `%nwarpid`.
    NumWarps,
    /// `%smid`.
    SmId,
    /// `%nsmid`.
    NumSms,
    /// `%gridid`.
    GridId,
    /// `%lanemask_eq`.
    LaneMaskEq,
    /// `%lanemask_lt`.
    LaneMaskLt,
    /// `%lanemask_le`.
    LaneMaskLe,
    /// `%lanemask_gt`.
    LaneMaskGt,
    /// `%lanemask_ge`.
    LaneMaskGe,
    /// `%dynamic_smem_size`.
    DynamicSharedBytes,
    /// `%total_smem_size`.
    TotalSharedBytes,
}

/// An axis of a grid or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// x, fastest.
    X,
    /// y.
    Y,
    /// z, slowest.
    Z,
}
