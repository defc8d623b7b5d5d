//! What is counted: numbers that add up over instructions, blocks and launches.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::class::InstructionClass;

/// Bytes of a sector, the unit in which device memory is read and written (CUDA programming guide,
/// "Device Memory Accesses").
pub const SECTOR_BYTES: u64 = 32;

/// What one launch did, or several of one kernel.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// Launches added up.
    pub launches: u64,
    /// Blocks executed.
    pub blocks: u64,
    /// Sum over all lines.
    pub total: Counts,
    /// The lines that executed, by ascending PTX line.
    pub lines: Vec<LineCounters>,
    /// Bytes between L2 and device memory.
    pub hbm: HbmCounts,
    /// The same for each allocation that was touched, by ascending address.
    pub allocations: Vec<AllocationCounters>,
}

/// What the instructions of one PTX line did. A line that was inlined several times is one line.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LineCounters {
    /// One-based PTX line.
    pub line: u32,
    /// Source file and one-based line, when the text carries `.loc` directives.
    pub source: Option<(String, u32)>,
    /// Its share.
    pub counts: Counts,
}

/// What instructions did. They are counted as decoded: a PTX instruction that stands for several
/// (`setp` with a boolean operator, an acquire) counts as several, and a move that only renames a
/// constant or a special register as none. Serialized, zeros are left out.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Instructions of each class that occurs.
    pub instructions: BTreeMap<InstructionClass, Executed>,
    /// Arithmetic that they performed.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub operations: Operations,
    /// Accesses to device memory.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub global: GlobalCounts,
    /// Accesses to shared memory.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub shared: SharedCounts,
    /// Accesses to local memory (stack and spills), which no cache model follows.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub local: LocalCounts,
    /// Arrivals of a warp at a barrier of its block or cluster.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub barrier_arrivals: u64,
    /// Branches that some lane took.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub branches: u64,
    /// Those of them at which lanes that stood together went separate ways.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub divergent_branches: u64,
}

/// Executions of instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Executed {
    /// Once per group of lanes that stood at it, also when the guard let none execute.
    pub warp: u64,
    /// Once per lane that executed it.
    pub thread: u64,
}

/// Arithmetic, once per executing lane (and per element of packed numbers). An addition,
/// subtraction, product, quotient, square root, minimum or maximum is one FLOP, a fused multiply-add
/// two; comparisons, signs and moves are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Operations {
    /// FLOPs of `mma`, 2 · 16 · 8 · k for each warp, and of `wgmma`, 2 · 16 · n · 16.
    pub tensor_flops: u64,
    /// FLOPs in f32 outside `mma`.
    pub f32_flops: u64,
    /// FLOPs in f64.
    pub f64_flops: u64,
    /// FLOPs in f16 and bf16 outside `mma`.
    pub half_flops: u64,
    /// Values from the multi-function unit: approximate `ex2`, `lg2`, `rcp`, `sqrt`, `rsqrt`, `sin`,
    /// `cos`, `tanh` and the reciprocal inside an approximate `div`.
    pub mufu: u64,
}

/// Accesses to device memory, by what made them. No L1 cache is modelled: every sector goes to L2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GlobalCounts {
    /// `ld`.
    pub loads: SectorCounts,
    /// `st`.
    pub stores: SectorCounts,
    /// `atom` and `red`.
    pub atomics: SectorCounts,
    /// Sources of `cp.async`.
    pub copies: SectorCounts,
    /// Sources of bulk and tensor copies into shared memory.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub bulk_loads: SectorCounts,
    /// Destinations of bulk and tensor copies from shared memory.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub bulk_stores: SectorCounts,
    /// Destinations of bulk and tensor reductions.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub bulk_reductions: SectorCounts,
}

/// Accesses to device memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SectorCounts {
    /// Warp instructions that touched device memory.
    pub requests: u64,
    /// Bytes that their lanes asked for, each lane by itself.
    pub lane_bytes: u64,
    /// Different bytes among those of one request.
    pub bytes: u64,
    /// Different sectors of [`SECTOR_BYTES`] that a request touched.
    pub sectors: u64,
}

/// Accesses to shared memory, by what made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SharedCounts {
    /// `ld`.
    pub loads: BankCounts,
    /// `st` and `stmatrix`.
    pub stores: BankCounts,
    /// `ldmatrix`.
    pub matrix_loads: BankCounts,
    /// `atom` and `red`.
    pub atomics: BankCounts,
    /// Destinations of `cp.async`.
    pub copies: BankCounts,
    /// Bytes that `wgmma` read as operands: of A and B, or of B alone, once for each warpgroup. They do
    /// not go through the banks as accesses of lanes do.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub operand_bytes: u64,
    /// Sources of bulk and tensor copies.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub bulk_reads: BankCounts,
    /// Destinations of bulk and tensor copies.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub bulk_writes: BankCounts,
    /// `ld`, `st`, `atom` and `red` to other blocks of the cluster, which are not among those above; the banks are
    /// those of the other block.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub peers: BankCounts,
}

/// Accesses to shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BankCounts {
    /// Warp instructions that touched shared memory.
    pub requests: u64,
    /// Bytes that their lanes asked for, each lane by itself.
    pub lane_bytes: u64,
    /// Passes through the 32 banks that the requests took.
    pub wavefronts: u64,
    /// Passes that they would have taken without conflicts.
    pub ideal_wavefronts: u64,
}

/// Accesses to local memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LocalCounts {
    /// Warp instructions that touched local memory.
    pub requests: u64,
    /// Bytes that their lanes asked for.
    pub lane_bytes: u64,
}

/// Bytes between L2 and device memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HbmCounts {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written, those that are still in L2 when the launch ends included.
    pub write_bytes: u64,
    /// What an L2 without bounds would have read: each sector once, unless it was written first.
    pub min_read_bytes: u64,
    /// What an L2 without bounds would have written: each sector once.
    pub min_write_bytes: u64,
}

/// Traffic of one allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AllocationCounters {
    /// Its device address.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
    /// Its share.
    pub hbm: HbmCounts,
}

impl Counts {
    /// Instructions of all classes.
    pub fn executed(&self) -> Executed {
        let mut sum = Executed::default();
        for executed in self.instructions.values() {
            sum += *executed;
        }
        sum
    }

    /// Instructions of one class.
    pub fn class(&self, class: InstructionClass) -> Executed {
        self.instructions.get(&class).copied().unwrap_or_default()
    }
}

impl Operations {
    /// The arithmetic of `lanes` lanes that do this each.
    pub(super) fn times(self, lanes: u64) -> Operations {
        Operations {
            tensor_flops: lanes * self.tensor_flops,
            f32_flops: lanes * self.f32_flops,
            f64_flops: lanes * self.f64_flops,
            half_flops: lanes * self.half_flops,
            mufu: lanes * self.mufu,
        }
    }
}

impl Executed {
    /// Share of the 32 lanes that took part on average, from 0 to 1; `None` when nothing executed.
    pub fn lane_use(&self) -> Option<f64> {
        (self.warp > 0).then(|| self.thread as f64 / (32.0 * self.warp as f64))
    }
}

impl GlobalCounts {
    /// Accesses of every kind.
    pub fn sum(&self) -> SectorCounts {
        let mut sum = self.loads;
        let others = [
            self.stores,
            self.atomics,
            self.copies,
            self.bulk_loads,
            self.bulk_stores,
            self.bulk_reductions,
        ];
        for part in others {
            sum += part;
        }
        sum
    }
}

impl SectorCounts {
    /// Bytes between L1 and L2.
    pub fn sector_bytes(&self) -> u64 {
        SECTOR_BYTES * self.sectors
    }

    /// Share of the sectors' bytes that somebody asked for, from 0 to 1; `None` without sectors.
    pub fn efficiency(&self) -> Option<f64> {
        (self.sectors > 0).then(|| self.bytes as f64 / self.sector_bytes() as f64)
    }
}

impl SharedCounts {
    /// Accesses of every kind.
    pub fn sum(&self) -> BankCounts {
        let mut sum = self.loads;
        let others = [
            self.stores,
            self.matrix_loads,
            self.atomics,
            self.copies,
            self.bulk_reads,
            self.bulk_writes,
            self.peers,
        ];
        for part in others {
            sum += part;
        }
        sum
    }
}

impl BankCounts {
    /// Passes that only conflicts between banks made necessary.
    pub fn conflicts(&self) -> u64 {
        self.wavefronts.saturating_sub(self.ideal_wavefronts)
    }
}

impl HbmCounts {
    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.read_bytes + self.write_bytes
    }

    /// Bytes in both directions that no L2 could have saved.
    pub fn min_bytes(&self) -> u64 {
        self.min_read_bytes + self.min_write_bytes
    }
}

#[cfg(feature = "serde")]
fn is_zero<T: Default + PartialEq>(counts: &T) -> bool {
    *counts == T::default()
}

/// Adds a struct up field by field; a field that is forgotten does not compile.
macro_rules! sums {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl AddAssign for $type {
            fn add_assign(&mut self, other: Self) {
                let Self { $($field),* } = other;
                $(self.$field += $field;)*
            }
        }
    )*};
}

sums! {
    Executed { warp, thread }
    Operations { tensor_flops, f32_flops, f64_flops, half_flops, mufu }
    GlobalCounts { loads, stores, atomics, copies, bulk_loads, bulk_stores, bulk_reductions }
    SectorCounts { requests, lane_bytes, bytes, sectors }
    SharedCounts {
        loads, stores, matrix_loads, atomics, copies, bulk_reads, bulk_writes, operand_bytes, peers
    }
    BankCounts { requests, lane_bytes, wavefronts, ideal_wavefronts }
    LocalCounts { requests, lane_bytes }
    HbmCounts { read_bytes, write_bytes, min_read_bytes, min_write_bytes }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        let Counts {
            instructions,
            operations,
            global,
            shared,
            local,
            barrier_arrivals,
            branches,
            divergent_branches,
        } = other;
        for (class, executed) in instructions {
            *self.instructions.entry(*class).or_default() += *executed;
        }
        self.operations += *operations;
        self.global += *global;
        self.shared += *shared;
        self.local += *local;
        self.barrier_arrivals += barrier_arrivals;
        self.branches += branches;
        self.divergent_branches += divergent_branches;
    }
}

/// Adds another launch. Lines are told apart by number, so both must be launches of one kernel for
/// the lines to mean anything; allocations are told apart by address.
impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        let Counters {
            launches,
            blocks,
            total,
            lines,
            hbm,
            allocations,
        } = other;
        self.launches += launches;
        self.blocks += blocks;
        self.total += total;
        for line in lines {
            match self.lines.binary_search_by_key(&line.line, |own| own.line) {
                Ok(index) => self.lines[index].counts += &line.counts,
                Err(index) => self.lines.insert(index, line.clone()),
            }
        }
        self.hbm += *hbm;
        for other in allocations {
            let found = self
                .allocations
                .binary_search_by_key(&other.address, |own| own.address);
            match found {
                Ok(index) => self.allocations[index].hbm += other.hbm,
                Err(index) => self.allocations.insert(index, *other),
            }
        }
    }
}
