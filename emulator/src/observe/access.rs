//! What an instruction is about to touch: its memory accesses with their addresses resolved.
//!
//! Observers see an access before the machine checks it. Lanes whose address is misaligned or outside
//! the memory they name are left out: the machine reports those by itself.

mod request;

use crate::fault::Outcome;
use crate::ir::{AtomicType, Consistency, CpAsync, MbarrierAction, Op, Scope, Space};
use crate::machine::async_copy::source_bytes;
use crate::machine::context::Context;
use crate::machine::registers::{Lanes, ballot, each_lane};
use crate::machine::warp::Warp;

use request::Request;

/// Memory that an access falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// Shared memory of the block of a rank of the cluster; offsets from its first byte.
    Shared(u32),
    /// An allocation of device memory: its index in the launch's snapshot.
    Global(usize),
    /// The lane's own local memory.
    Local,
    /// The constant bank or the parameter buffer: written by nobody.
    ReadOnly,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Load(Consistency),
    /// `ldmatrix`: the row that a lane names is read by the whole warp.
    LoadMatrixRow,
    /// `stmatrix`: the row that a lane names is written by the lanes that hold it.
    StoreMatrixRow {
        transpose: bool,
    },
    Store(Consistency),
    /// `atom` and `red`: read and write in one step.
    Atomic(Scope),
    /// Source of a `cp.async` that is being issued.
    CopySource,
    /// Destination of a `cp.async` that is being issued.
    CopyDestination,
}

impl Action {
    pub fn writes(self) -> bool {
        matches!(
            self,
            Action::Store(_)
                | Action::StoreMatrixRow { .. }
                | Action::Atomic(_)
                | Action::CopyDestination
        )
    }
}

/// One warp-wide access to one region.
pub(crate) struct Access<'a> {
    pub action: Action,
    pub region: Region,
    /// The space that the region is in; never generic.
    pub space: Space,
    /// Lanes that take part; not empty.
    pub lanes: u32,
    /// Byte offset in the region of each lane in `lanes`; the range is inside the region.
    pub offsets: &'a Lanes<u64>,
    /// Bytes of each lane. For a copy's source, see `lane_bytes`.
    pub bytes: u32,
    /// Bytes of each lane where they differ: the source of a `cp.async`.
    pub lane_bytes: Option<&'a Lanes<u32>>,
}

impl Access<'_> {
    /// Bytes that `lane` touches.
    pub fn bytes_of(&self, lane: usize) -> u32 {
        self.lane_bytes.map_or(self.bytes, |bytes| bytes[lane])
    }
}

/// Sees the accesses of one instruction.
type Visit<'a> = dyn FnMut(&mut Context, &Access) -> Outcome + 'a;

/// Calls `visit` for every access of `op` by `lanes`: one per region that they fall into.
pub(crate) fn accesses(
    warp: &Warp,
    context: &mut Context,
    lanes: u32,
    op: &Op,
    visit: &mut Visit,
) -> Outcome {
    let request = |action, space, address, bytes| Request {
        action,
        space,
        address,
        bytes,
        lane_bytes: None,
        lanes,
    };
    let request = match op {
        &Op::Load {
            space,
            consistency,
            ty,
            vector,
            address,
            ..
        } => {
            let bytes = u32::from(ty.bytes) * u32::from(vector);
            request(Action::Load(consistency), space, address, bytes)
        }
        &Op::Store {
            space,
            consistency,
            ty,
            vector,
            address,
            ..
        } => {
            let bytes = u32::from(ty.bytes) * u32::from(vector);
            request(Action::Store(consistency), space, address, bytes)
        }
        &Op::Atom {
            ty,
            space,
            scope,
            address,
            ..
        }
        | &Op::Red {
            ty,
            space,
            scope,
            address,
            ..
        } => request(Action::Atomic(scope), space, address, atomic_bytes(ty)),
        &Op::LdMatrix {
            count,
            space,
            address,
            ..
        } => Request {
            lanes: u32::MAX >> (32 - 8 * u32::from(count)),
            ..request(Action::LoadMatrixRow, space, address, 16)
        },
        &Op::StMatrix {
            count,
            transpose,
            space,
            address,
            ..
        } => Request {
            lanes: u32::MAX >> (32 - 8 * u32::from(count)),
            ..request(Action::StoreMatrixRow { transpose }, space, address, 16)
        },
        Op::AtomicVector(atomic) => {
            let bytes = atomic_bytes(atomic.ty) * atomic.b.len() as u32;
            let action = Action::Atomic(atomic.scope);
            request(action, Space::Global, atomic.address, bytes)
        }
        // What is at the address is nobody's data; but its initialisation has to be ordered with its use.
        Op::Mbarrier(op) => {
            let action = match op.action {
                MbarrierAction::Init { .. } | MbarrierAction::Invalidate => {
                    Action::Store(Consistency::Weak)
                }
                _ => Action::Atomic(Scope::Cluster),
            };
            request(action, op.place.space, op.place.address, 8)
        }
        Op::CpAsync(copy) => return copy_accesses(warp, context, lanes, copy, visit),
        _ => return Ok(()),
    };
    request.split(warp, context, visit)
}

/// Bytes of one lane of an atomic.
pub(super) fn atomic_bytes(ty: AtomicType) -> u32 {
    match ty {
        AtomicType::U16 | AtomicType::F16 | AtomicType::Bf16 => 2,
        AtomicType::U64 | AtomicType::S64 | AtomicType::F64 => 8,
        _ => 4,
    }
}

/// Source and destination of a `cp.async`.
fn copy_accesses(
    warp: &Warp,
    context: &mut Context,
    lanes: u32,
    copy: &CpAsync,
    visit: &mut Visit,
) -> Outcome {
    let sizes = each_lane(|lane| source_bytes(&warp.regs, copy, lane));
    let source = Request {
        action: Action::CopySource,
        space: Space::Global,
        address: copy.src,
        bytes: u32::from(copy.size),
        lane_bytes: Some(sizes),
        lanes: lanes & ballot(|lane| sizes[lane] > 0),
    };
    source.split(warp, context, visit)?;
    let destination = Request {
        action: Action::CopyDestination,
        space: Space::Shared,
        address: copy.dst,
        bytes: u32::from(copy.size),
        lane_bytes: None,
        lanes,
    };
    destination.split(warp, context, visit)
}
