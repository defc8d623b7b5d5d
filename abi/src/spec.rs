//! What a launch must know of a kernel, whatever table of the manifest its row is in.

use crate::{
    Arch, BASELINE_VARIANTS, BWD_VARIANTS, BaselineVariant, BwdVariant, FWD_VARIANTS, FwdVariant,
    HOPPER_BWD_VARIANTS, HOPPER_FWD_VARIANTS, HopperBwdVariant, HopperFwdVariant, TensorMap,
};

/// A compiled kernel as the build, a device and an assembler see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelSpec {
    /// PTX symbol of the kernel, and name of its file when it is written out.
    pub entry: &'static str,
    /// Architecture it is compiled for.
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

    /// Alignment of its parameter block in bytes (`.param .align`); `None` for that of the type.
    pub const fn param_align(&self) -> Option<u32> {
        match self.arch {
            Arch::Sm80 => None,
            Arch::Sm90a => Some(TensorMap::ALIGN),
        }
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
    /// A row of [`HOPPER_FWD_VARIANTS`].
    HopperForward(&'static HopperFwdVariant),
    /// A row of [`HOPPER_BWD_VARIANTS`].
    HopperBackward(&'static HopperBwdVariant),
}

impl KernelVariant {
    /// Every row, table after table.
    pub fn all() -> impl Iterator<Item = KernelVariant> {
        let forward = FWD_VARIANTS.iter().map(KernelVariant::Forward);
        let baselines = BASELINE_VARIANTS.iter().map(KernelVariant::Baseline);
        let backward = BWD_VARIANTS.iter().map(KernelVariant::Backward);
        let hopper_forward = HOPPER_FWD_VARIANTS.iter().map(KernelVariant::HopperForward);
        let hopper_backward = HOPPER_BWD_VARIANTS
            .iter()
            .map(KernelVariant::HopperBackward);
        forward
            .chain(backward)
            .chain(baselines)
            .chain(hopper_forward)
            .chain(hopper_backward)
    }

    /// PTX symbol of the kernel.
    pub const fn entry(&self) -> &'static str {
        self.spec().entry
    }

    /// What a launch must know of it.
    pub const fn spec(&self) -> KernelSpec {
        match self {
            KernelVariant::Forward(variant) => variant.spec(),
            KernelVariant::Backward(variant) => variant.spec(),
            KernelVariant::Baseline(variant) => variant.spec(),
            KernelVariant::HopperForward(variant) => variant.spec(),
            KernelVariant::HopperBackward(variant) => variant.spec(),
        }
    }
}
