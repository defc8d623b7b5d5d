//! A decoded PTX module.

use crate::decode;
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::Kernel;
use crate::parser;

/// A PTX text, decoded: all of its entries, ready to [`launch`](crate::launch).
#[derive(Clone, Debug)]
pub struct Module {
    kernels: Vec<Kernel>,
}

impl Module {
    /// Parses and decodes a module.
    ///
    /// # Errors
    /// [`PtxError`] with the line of the first thing that is not PTX, that the declared `.target` and `.version` do
    /// not have, or that this emulator does not execute.
    pub fn parse(text: &str) -> Result<Module, PtxError> {
        let tree = parser::parse(text)?;
        Ok(Module {
            kernels: decode::kernels(&tree)?,
        })
    }

    /// Names of the entries, in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(|kernel| kernel.entry.as_str())
    }

    /// The kernel called `entry`.
    ///
    /// # Errors
    /// [`PtxErrorKind::NoSuchEntry`] with the names there are.
    pub fn kernel(&self, entry: &str) -> Result<&Kernel, PtxError> {
        self.kernels
            .iter()
            .find(|kernel| kernel.entry == entry)
            .ok_or_else(|| {
                let available = self.entries().collect::<Vec<_>>().join(", ");
                let entry = entry.to_string();
                PtxError::new(0, PtxErrorKind::NoSuchEntry { entry, available })
            })
    }
}
