//! What a launch must know of a kernel, whatever table of the manifest its row is in.

use crate::{
    Arch, BASELINE_VARIANTS, BWD_VARIANTS, BaselineVariant, BwdVariant, FWD_VARIANTS, FwdVariant,
};

/// A compiled kernel as the build, a device and an assembler see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelSpec {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Oldest architecture it runs on.
    pub arch: Arch,
    /// Threads of one block (`.reqntid`).
    pub threads: u32,
    /// Dynamic shared memory of one block in bytes.
    pub shared_bytes: u32,
    /// Blocks that the register budget lets share one multiprocessor (`.minnctapersm`).
    pub blocks_per_sm: u32,
}

impl KernelSpec {
    /// Registers per thread that the launch bounds leave: 64 Ki per multiprocessor, 255 at most, granted in eights.
    pub const fn register_budget(&self) -> u32 {
        let share = 65536 / (self.threads * self.blocks_per_sm) / 8 * 8;
        if share > 255 { 255 } else { share }
    }
}

/// A row of any table of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelVariant {
    /// A row of [`FWD_VARIANTS`].
    Forward(&'static FwdVariant),
    /// A row of [`BWD_VARIANTS`].
    Backward(&'static BwdVariant),
    /// A row of [`BASELINE_VARIANTS`].
    Baseline(&'static BaselineVariant),
}

impl KernelVariant {
    /// Every row, table after table.
    pub fn all() -> impl Iterator<Item = KernelVariant> {
        let forward = FWD_VARIANTS.iter().map(KernelVariant::Forward);
        let baselines = BASELINE_VARIANTS.iter().map(KernelVariant::Baseline);
        let backward = BWD_VARIANTS.iter().map(KernelVariant::Backward);
        forward.chain(backward).chain(baselines)
    }

    /// What a launch must know of it.
    pub const fn spec(&self) -> KernelSpec {
        match self {
            KernelVariant::Forward(variant) => variant.spec(),
            KernelVariant::Backward(variant) => variant.spec(),
            KernelVariant::Baseline(variant) => variant.spec(),
        }
    }
}
