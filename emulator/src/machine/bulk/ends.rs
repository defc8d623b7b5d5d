//! From the operands of a bulk copy to runs of bytes that lie inside live memory.

use crate::fault::{BulkRule, FaultKind};
use crate::ir::{
    Address, AtomicOp, AtomicType, BulkCopy, BulkEnd, SharedOperand, Space, TensorPlace,
};
use crate::tensor_map::{TensorMap, TensorType};

use super::super::address::{effective, out_of_bounds};
use super::super::context::Context;
use super::super::data_movement::{space_of, window_base};
use super::super::registers::Mask;
use super::super::shared_access::locate;
use super::super::storage::Words;
use super::super::swizzle::Swizzle;
use super::super::tensor_box::{Run, TensorBox};
use super::super::warp::Warp;
use super::flight::{End, Flight, Issuer, Signal};
use super::is_load;

/// Bulk copies are aligned to this, and sized in it.
const GRAIN: u32 = 16;
/// Alignment of a tensor copy in shared memory, and of a tensor map.
const TENSOR_ALIGNMENT: u32 = 128;
const MAP_ALIGNMENT: u64 = 64;
/// Bytes that move at once at most.
const PIECE: u32 = 1024;

/// What a copy moves.
#[derive(Clone)]
pub(super) struct Transfer {
    pub from: End,
    pub to: End,
    runs: Vec<Run>,
    swizzle: Swizzle,
    fill: [u8; 8],
    bytes: u32,
    reduction: Option<(AtomicOp, AtomicType)>,
}

impl Transfer {
    /// Sends it to the block of another rank.
    pub fn aim(&mut self, to: u32) {
        if let End::Shared { rank, .. } = &mut self.to {
            *rank = to;
        }
    }

    pub fn into_flight(self, issuer: Issuer, signal: Option<Signal>, group: u32) -> Flight {
        Flight::new(
            issuer,
            (self.from, self.to),
            (self.runs, self.bytes),
            (self.swizzle, self.fill),
            self.reduction,
            (signal, group),
        )
    }
}

/// The copy that `issuer` asks for, checked, to the block that its destination names.
pub(super) fn transfer(
    warp: &Warp,
    context: &mut Context,
    issuer: Issuer,
    copy: &BulkCopy,
) -> Result<Transfer, FaultKind> {
    let lane = Lane { warp, issuer };
    let boxed = match (&copy.to, &copy.from) {
        (BulkEnd::Tensor(place), _) | (_, BulkEnd::Tensor(place)) => {
            Some(lane.tensor(context, place, is_load(copy))?)
        }
        _ => None,
    };
    let alignment = match boxed {
        Some(_) => TENSOR_ALIGNMENT,
        None => GRAIN,
    };
    let bytes = match (&boxed, copy.bytes) {
        (Some(boxed), _) => boxed.bytes(),
        (None, Some(size)) => lane.size(warp.regs.get32(size)[issuer.lane as usize])?,
        (None, None) => return Err(FaultKind::NotExecuted),
    };
    let mut global = None;
    let mut ends = [End::Global; 2];
    for (end, operand) in ends.iter_mut().zip([&copy.to, &copy.from]) {
        match operand {
            BulkEnd::Shared(place) => *end = lane.shared(context, place, (bytes, alignment))?,
            BulkEnd::Global(address) => global = Some(lane.global(*address)?),
            BulkEnd::Tensor(_) => {}
        }
    }
    let [to, from] = ends;
    // A block has less shared memory than 32 bits can count, so that the size fits now.
    let bytes = bytes as u32;
    let runs = match &boxed {
        Some(boxed) => {
            let mut runs = Vec::new();
            boxed.runs(|run| runs.push(run));
            runs
        }
        None => contiguous(global, bytes),
    };
    check_runs(context, &runs)?;
    let element = boxed.as_ref().map(TensorBox::element_type);
    Ok(Transfer {
        from,
        to,
        runs,
        swizzle: boxed.as_ref().map_or(Swizzle::None, TensorBox::swizzle),
        fill: boxed.as_ref().map_or([0; 8], TensorBox::fill),
        bytes,
        reduction: reduction(copy, element)?,
    })
}

/// A plain copy in pieces.
fn contiguous(global: Option<u64>, bytes: u32) -> Vec<Run> {
    let starts = (0..bytes).step_by(PIECE as usize);
    let run = |shared: u32| Run {
        shared,
        global: global.map(|global| global + u64::from(shared)),
        bytes: PIECE.min(bytes - shared),
    };
    starts.map(run).collect()
}

/// Every run inside of the tensor lies in one live allocation.
fn check_runs(context: &mut Context, runs: &[Run]) -> Result<(), FaultKind> {
    for run in runs {
        let Some(global) = run.global else { continue };
        context
            .global
            .allocation(global)
            .filter(|a| global - a.base <= a.bytes)
            .filter(|a| u64::from(run.bytes) <= a.bytes - (global - a.base))
            .ok_or_else(|| out_of_bounds(global, run.bytes, Space::Global))?;
    }
    Ok(())
}

/// Operation and type of a reduction; a tensor's elements have the type of its map.
fn reduction(
    copy: &BulkCopy,
    element: Option<TensorType>,
) -> Result<Option<(AtomicOp, AtomicType)>, FaultKind> {
    let Some(reduction) = copy.reduction else {
        return Ok(None);
    };
    let ty = match (reduction.ty, element) {
        (Some(ty), _) => Some(ty),
        (None, Some(element)) => tensor_reduction(reduction.op, element),
        (None, None) => None,
    };
    match ty {
        Some(ty) => Ok(Some((reduction.op, ty))),
        None => Err(FaultKind::Bulk(BulkRule::Reduction)),
    }
}

/// The reductions that exist for the elements of a tensor.
fn tensor_reduction(op: AtomicOp, element: TensorType) -> Option<AtomicType> {
    use AtomicOp::{Add, And, Dec, Inc, Max, Min, Or, Xor};
    use TensorType as T;
    match (op, element) {
        (Add | Min | Max | Inc | Dec | And | Or | Xor, T::U32) => Some(AtomicType::U32),
        (And | Or | Xor, T::S32) => Some(AtomicType::U32),
        (Add | Min | Max, T::S32) => Some(AtomicType::S32),
        (Add | Min | Max | And | Or | Xor, T::U64) => Some(AtomicType::U64),
        (And | Or | Xor, T::S64) => Some(AtomicType::U64),
        (Min | Max, T::S64) => Some(AtomicType::S64),
        (Add, T::F32) => Some(AtomicType::F32),
        (Add, T::F64) => Some(AtomicType::F64),
        (Add, T::F16) => Some(AtomicType::F16),
        (Add, T::Bf16) => Some(AtomicType::Bf16),
        _ => None,
    }
}

/// One lane of the issuing warp.
struct Lane<'a> {
    warp: &'a Warp,
    issuer: Issuer,
}

impl Lane<'_> {
    fn address(&self, address: Address) -> u64 {
        let mask = Mask {
            lanes: 1 << self.issuer.lane,
            whole: false,
        };
        effective(&self.warp.regs, mask, address)[self.issuer.lane as usize]
    }

    fn size(&self, bytes: u32) -> Result<u64, FaultKind> {
        if bytes == 0 || !bytes.is_multiple_of(GRAIN) {
            return Err(FaultKind::Bulk(BulkRule::Size { bytes }));
        }
        Ok(bytes.into())
    }

    fn global(&self, address: Address) -> Result<u64, FaultKind> {
        let address = self.address(address);
        check_alignment("global", address, GRAIN)?;
        Ok(address)
    }

    fn shared(
        &self,
        context: &Context,
        place: &SharedOperand,
        (bytes, alignment): (u64, u32),
    ) -> Result<End, FaultKind> {
        let address = self.address(place.address);
        // The bounds need a size that fits; a larger one fails as well at the largest.
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (rank, start) = locate(context, place.space, address, size)?;
        check_alignment("shared", address, alignment)?;
        Ok(End::Shared { rank, start })
    }

    /// The box of a tensor, through the map at a generic address.
    fn tensor(
        &self,
        context: &mut Context,
        place: &TensorPlace,
        is_load: bool,
    ) -> Result<TensorBox, FaultKind> {
        let address = self.address(place.map);
        if !address.is_multiple_of(MAP_ALIGNMENT) {
            return Err(FaultKind::Bulk(BulkRule::MapAlignment { address }));
        }
        let map = TensorMap(read_map(context, address)?);
        let corrupt = |_| FaultKind::Bulk(BulkRule::MapCorrupt { address });
        let map = map.decode().map_err(corrupt)?;
        if map.rank != usize::from(place.rank) {
            return Err(FaultKind::Bulk(BulkRule::Rank {
                instruction: place.rank.into(),
                map: map.rank as u32,
            }));
        }
        let mut start = [0; 5];
        for (axis, slot) in place.start.iter().enumerate().take(map.rank) {
            start[axis] = self.warp.regs.get32(*slot)[self.issuer.lane as usize] as i32;
            if !is_load && start[axis] < 0 {
                return Err(FaultKind::Bulk(BulkRule::NegativeCoordinate {
                    axis: axis as u32,
                    value: start[axis],
                }));
            }
        }
        TensorBox::new(map, start).map_err(FaultKind::Bulk)
    }
}

fn check_alignment(space: &'static str, address: u64, alignment: u32) -> Result<(), FaultKind> {
    if address.is_multiple_of(alignment.into()) {
        return Ok(());
    }
    Err(FaultKind::Bulk(BulkRule::Alignment {
        space,
        address,
        alignment,
    }))
}

/// The 128 bytes at a generic address in global, constant or parameter memory.
fn read_map(context: &mut Context, address: u64) -> Result<[u8; 128], FaultKind> {
    let mut bytes = [0; 128];
    let len = bytes.len();
    let space = space_of(address);
    let offset = address.wrapping_sub(window_base(context.kernel.shared.model, space));
    let missing = || out_of_bounds(address, len as u32, Space::Global);
    let from = |memory: &[u8]| memory.get(offset as usize..)?.first_chunk().copied();
    match space {
        Space::Param => from(context.params).ok_or(FaultKind::OutOfBounds {
            space: "param",
            address: offset,
            bytes: len as u32,
            nearest: None,
        }),
        Space::Const => from(&context.kernel.constants).ok_or_else(missing),
        Space::Global => {
            let allocation = context.global.allocation(address);
            let allocation = allocation
                .filter(|a| address - a.base <= a.bytes)
                .filter(|a| len as u64 <= a.bytes - (address - a.base))
                .ok_or_else(missing)?;
            Words(&allocation.words).read((address - allocation.base) as usize, &mut bytes);
            Ok(bytes)
        }
        _ => Err(FaultKind::WrongSpace {
            expected: "global, const or param",
            address,
        }),
    }
}
