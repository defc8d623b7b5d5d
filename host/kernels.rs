//! The compiled kernels that are part of this library: one PTX text per row of the manifest.

use abi::{FWD_VARIANTS, FwdVariant};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// A kernel of this library.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Its row of the manifest.
    pub variant: &'static FwdVariant,
    /// Its PTX: one self-contained module with one entry.
    pub ptx: &'static str,
}

/// Every kernel, in manifest order.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    FWD_VARIANTS.iter().map(|variant| Kernel {
        variant,
        ptx: ptx(variant),
    })
}

/// The text of one variant.
pub(crate) fn ptx(variant: &FwdVariant) -> &'static str {
    KERNELS
        .iter()
        .find(|(entry, _)| *entry == variant.entry)
        .map(|(_, ptx)| *ptx)
        .expect("the build script embeds every row of the manifest or fails")
}
