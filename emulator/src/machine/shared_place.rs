//! Which block's shared memory an address of the asynchronous instructions names, and where in it.

use crate::fault::{FaultKind, space_name};
use crate::ir::{SharedWindow, Space};

use super::context::Context;
use super::data_movement::space_of;
use super::shared_access::{self, generic_space};

/// Bytes of an mbarrier.
const BARRIER_BYTES: u32 = 8;

/// Rank of the block, and offset of the mbarrier in its shared memory, that an address names in the block of rank
/// `from.0`.
pub(crate) fn resolve_barrier(
    context: &Context,
    from: (u32, SharedWindow),
    address: u64,
) -> Result<(u32, u32), FaultKind> {
    let (rank, offset) = resolve(context, from, address, BARRIER_BYTES)?;
    if !offset.is_multiple_of(BARRIER_BYTES) {
        return Err(FaultKind::Misaligned {
            space: space_name(Space::Shared),
            address,
            alignment: BARRIER_BYTES,
        });
    }
    Ok((rank, offset))
}

/// The same for `bytes` bytes in its shared memory.
pub(crate) fn resolve(
    context: &Context,
    (rank, window): (u32, SharedWindow),
    address: u64,
    bytes: u32,
) -> Result<(u32, u32), FaultKind> {
    let model = context.kernel.shared.model;
    let (space, address) = match window {
        SharedWindow::Block => (Space::Shared, address),
        SharedWindow::Cluster => (Space::SharedCluster, address),
        SharedWindow::Generic if space_of(address) == Space::Shared => {
            (generic_space(model), address - model.window())
        }
        SharedWindow::Generic => {
            return Err(FaultKind::WrongSpace {
                expected: "shared",
                address,
            });
        }
    };
    let (rank, offset) = shared_access::resolve(context, rank, space, address, bytes)?;
    Ok((rank, offset as u32))
}
