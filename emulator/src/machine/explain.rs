//! What an access outside of all memory has missed, found out once the fault is known.

use crate::fault::{Extent, FaultKind, space_name};
use crate::ir::{Kernel, SharedModel, Space};
use crate::memory::GlobalMemory;

/// The memory of a launch.
pub(crate) struct Surroundings<'a> {
    pub kernel: &'a Kernel,
    pub memory: &'a GlobalMemory,
    /// Shared memory of a block.
    pub shared_bytes: u32,
}

impl Surroundings<'_> {
    /// The same fault with what is known about its address.
    pub fn explain(&self, kind: FaultKind) -> FaultKind {
        let FaultKind::OutOfBounds {
            space,
            address,
            bytes,
            nearest: None,
        } = kind
        else {
            return kind;
        };
        if space == space_name(Space::Global) {
            return self.global(address, bytes);
        }
        if self.memory.holds(address) {
            return FaultKind::WrongSpace {
                expected: space,
                address,
            };
        }
        let model = self.kernel.shared.model;
        let base = match model.rank(address) {
            Some(rank)
                if space == space_name(Space::Shared)
                    || space == space_name(Space::SharedCluster) =>
            {
                rank << SharedModel::RANK_SHIFT | u64::from(model.first())
            }
            _ => 0,
        };
        let nearest = Some(Box::new(Extent {
            base,
            bytes: self.bytes_of(space),
        }));
        FaultKind::OutOfBounds {
            space,
            address,
            bytes,
            nearest,
        }
    }

    fn global(&self, address: u64, bytes: u32) -> FaultKind {
        if let Some(allocation) = self.memory.freed(address) {
            return FaultKind::Freed {
                address,
                bytes,
                allocation: Box::new(allocation),
            };
        }
        FaultKind::OutOfBounds {
            space: space_name(Space::Global),
            address,
            bytes,
            nearest: self.memory.nearest(address).map(Box::new),
        }
    }

    /// Size of a space that is not global.
    fn bytes_of(&self, space: &str) -> u64 {
        let is = |other| space == space_name(other);
        if is(Space::Shared) || is(Space::SharedCluster) {
            u64::from(self.shared_bytes)
        } else if is(Space::Local) {
            u64::from(self.kernel.local_bytes)
        } else if is(Space::Const) {
            self.kernel.constants.len() as u64
        } else {
            u64::from(self.kernel.param_bytes)
        }
    }
}
