//! The compiled kernels that are part of this library: one PTX text per row of the manifest.

use abi::{KernelSpec, KernelVariant};

include!(env!("EMBEDDED_KERNELS"));

/// A kernel of this library.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Its row of the manifest.
    pub variant: KernelVariant,
    /// What a launch of it must know.
    pub spec: KernelSpec,
    /// Its PTX: one self-contained module with one entry.
    pub ptx: &'static str,
}

/// Every kernel, in manifest order.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    KernelVariant::all().map(|variant| Kernel {
        variant,
        spec: variant.spec(),
        ptx: ptx(variant.spec().entry),
    })
}

/// The text of the kernel `entry`, which is one of the manifest.
pub(crate) fn ptx(entry: &'static str) -> &'static str {
    KERNELS
        .iter()
        .find(|(name, _)| *name == entry)
        .map(|(_, ptx)| *ptx)
        .expect("the build script embeds every row of the manifest or fails")
}
