//! Undefined values on their way through memory.

use super::bytes::UndefinedBytes;
use super::matrix::ldmatrix_lane;
use super::registers::RegisterShadow;
use super::{Definedness, report};
use crate::fault::{Origin, Outcome, Use, space_name};
use crate::ir::{AtomicOp, Op, Space};
use crate::machine::context::Context;
use crate::machine::registers::{Lanes, lanes_of};
use crate::machine::warp::Warp;
use crate::memory::Allocation;
use crate::memory::written::ones;
use crate::observe::{Access, Action, Region, Step};

/// More bytes than a lane can touch at once, unless it makes a mistake that the machine reports.
const MAX_BYTES: u32 = 64;

/// The undefined bytes that a `cp.async` has read and is about to put into shared memory.
#[derive(Default)]
pub(super) struct Copied {
    /// Lanes with an undefined byte; the others' bits have no meaning.
    pub lanes: u32,
    undefined: Lanes<u64>,
    /// Device address of the first byte.
    sources: Lanes<u64>,
}

/// The bytes that an access falls into.
enum Shadow<'a> {
    /// Nothing there is ever undefined.
    Defined,
    /// Shared memory of a block, and the address of its first byte.
    Shared(&'a mut UndefinedBytes, u64),
    /// Local memory, and how much of it a lane has.
    Local(&'a mut UndefinedBytes, usize),
    Global(&'a Allocation),
}

impl Shadow<'_> {
    /// True when no byte is undefined.
    fn is_defined(&self) -> bool {
        match self {
            Shadow::Defined => true,
            Shadow::Shared(bytes, _) | Shadow::Local(bytes, _) => !bytes.any(),
            Shadow::Global(allocation) => allocation.written.is_everything(),
        }
    }

    /// Bit i is set when byte `offset + i` of a lane is undefined; `len` is at most 64.
    fn undefined(&self, lane: usize, offset: u64, len: u32) -> u64 {
        match self {
            Shadow::Defined => 0,
            Shadow::Shared(bytes, _) => bytes.get(offset as usize, len),
            Shadow::Local(bytes, stride) => bytes.get(lane * stride + offset as usize, len),
            Shadow::Global(allocation) => allocation.written.missing(offset, len),
        }
    }

    /// The bytes of a lane get defined values.
    fn define(&mut self, lane: usize, offset: u64, len: u32) {
        match self {
            Shadow::Defined => {}
            Shadow::Shared(bytes, _) => bytes.set(offset as usize, len, 0),
            Shadow::Local(bytes, stride) => bytes.set(lane * *stride + offset as usize, len, 0),
            Shadow::Global(allocation) => allocation.written.mark(offset, u64::from(len)),
        }
    }

    /// Where the undefined byte at `offset` comes from, which `line` reads.
    fn origin(&self, lane: usize, offset: u64, line: u32) -> Origin {
        let unwritten = |space, base: u64| Origin::Memory {
            space: space_name(space),
            address: base + offset,
            line,
        };
        let at = offset as usize;
        match self {
            Shadow::Defined => unwritten(Space::Generic, 0),
            Shadow::Shared(bytes, base) => bytes
                .origin(at)
                .unwrap_or_else(|| unwritten(Space::Shared, *base)),
            Shadow::Local(bytes, stride) => bytes
                .origin(lane * stride + at)
                .unwrap_or_else(|| unwritten(Space::Local, 0)),
            Shadow::Global(allocation) => unwritten(Space::Global, allocation.base),
        }
    }
}

impl Definedness {
    /// An access of the instruction that [`Self::before`] was told of last.
    pub fn access(
        &mut self,
        warp: &Warp,
        context: &mut Context,
        step: &Step,
        access: &Access,
    ) -> Outcome {
        let warp = &mut self.warps[warp.number as usize];
        let shadow = match access.region {
            Region::Shared(rank) => {
                let base = context.blocks[rank as usize].shared.base();
                Shadow::Shared(&mut self.shared[rank as usize], base)
            }
            Region::Local => Shadow::Local(&mut warp.local, self.effects.local_bytes as usize),
            Region::Global(index) if self.effects.unwritten => {
                Shadow::Global(context.global.get(index))
            }
            Region::Global(_) | Region::ReadOnly => Shadow::Defined,
        };
        let effect = self.effects.at(step.pc);
        let mut seen = Seen {
            access,
            shadow,
            registers: &mut warp.registers,
            values: self.effects.values(effect),
            results: self.effects.results(effect),
            line: self.effects.line(step.pc),
            stored: self.stored,
        };
        match access.action {
            Action::Load(_) => seen.load(),
            Action::LoadMatrixRow => {
                let transpose = matches!(
                    step.instruction.op,
                    Op::LdMatrix {
                        transpose: true,
                        ..
                    }
                );
                seen.load_rows(transpose);
            }
            Action::StoreMatrixRow { .. } => return seen.store_rows(),
            Action::Store(_) => return seen.store(),
            Action::Atomic(_) => return seen.atomic(&step.instruction.op),
            Action::CopySource => seen.copy_source(&mut self.copied),
            Action::CopyDestination => seen.copy_destination(&self.copied),
        }
        Ok(())
    }
}

/// An access together with what is known of its bytes and registers.
struct Seen<'a> {
    access: &'a Access<'a>,
    shadow: Shadow<'a>,
    registers: &'a mut RegisterShadow,
    values: &'a [u32],
    results: &'a [u32],
    line: u32,
    /// Lanes in which one of `values` is undefined.
    stored: u32,
}

impl Seen<'_> {
    /// Calls `each` for the lanes that touch undefined bytes, with a bit for each of those.
    fn undefined_lanes(&mut self, mut each: impl FnMut(&mut Self, usize, u64)) {
        if self.shadow.is_defined() {
            return;
        }
        let access = self.access;
        for lane in lanes_of(access.lanes) {
            let bytes = access.bytes_of(lane).min(MAX_BYTES);
            let undefined = self.shadow.undefined(lane, access.offsets[lane], bytes);
            if undefined != 0 {
                each(self, lane, undefined);
            }
        }
    }

    /// The origin of the first of a lane's undefined bytes, which `undefined` names.
    fn origin(&self, lane: usize, undefined: u64) -> Origin {
        let first = u64::from(undefined.trailing_zeros());
        let offset = self.access.offsets[lane] + first;
        self.shadow.origin(lane, offset, self.line)
    }

    /// Results are undefined where a byte of theirs is.
    fn load(&mut self) {
        self.undefined_lanes(|seen, lane, undefined| {
            let size = seen.access.bytes / seen.results.len() as u32;
            for (element, result) in seen.results.iter().enumerate() {
                let part = undefined & ones(size) << (size * element as u32);
                if part != 0 {
                    let origin = seen.origin(lane, part);
                    seen.registers.undefine(*result, lane, origin);
                }
            }
        });
    }

    /// `ldmatrix`: lane 8j + q names row q of matrix j, which goes to register j.
    fn load_rows(&mut self, transpose: bool) {
        self.undefined_lanes(|seen, named_by, undefined| {
            let (matrix, row) = (named_by / 8, named_by % 8);
            for column in 0..8 {
                let element = undefined & 0b11 << (2 * column);
                if element != 0 {
                    let origin = seen.origin(named_by, element);
                    let lane = ldmatrix_lane(row, column, transpose);
                    seen.registers.undefine(seen.results[matrix], lane, origin);
                }
            }
        });
    }

    fn store(&mut self) -> Outcome {
        match self.shadow {
            // The machine refuses to write there.
            Shadow::Defined if self.access.region == Region::ReadOnly => return Ok(()),
            Shadow::Local(..) => {
                self.store_to_local();
                return Ok(());
            }
            _ => {}
        }
        self.refuse_undefined_values(self.stored & self.access.lanes)?;
        self.define();
        Ok(())
    }

    /// `stmatrix`: every lane stores, also those that name no row.
    fn store_rows(&mut self) -> Outcome {
        self.refuse_undefined_values(self.stored)?;
        self.define();
        Ok(())
    }

    /// Reports the first of `lanes` that stores an undefined value.
    fn refuse_undefined_values(&mut self, lanes: u32) -> Outcome {
        let Some(lane) = lanes_of(lanes).next() else {
            return Ok(());
        };
        match self.registers.origin_among(self.values, lane, self.line) {
            Some(origin) => report(lane, origin, Use::Store),
            None => Ok(()),
        }
    }

    /// All bytes get defined values.
    fn define(&mut self) {
        if !self.shadow.is_defined() {
            for lane in lanes_of(self.access.lanes) {
                let (offset, bytes) = (self.access.offsets[lane], self.access.bytes);
                self.shadow.define(lane, offset, bytes);
            }
        }
    }

    /// Local memory is as private as a register: it keeps undefined values.
    fn store_to_local(&mut self) {
        self.define();
        let lanes = self.stored & self.access.lanes;
        let Shadow::Local(bytes, stride) = &mut self.shadow else {
            return;
        };
        let size = self.access.bytes / self.values.len() as u32;
        for lane in lanes_of(lanes) {
            let start = lane * *stride + self.access.offsets[lane] as usize;
            for (value, start) in self.values.iter().zip((start..).step_by(size as usize)) {
                let origin = self.registers.origin_among(&[*value], lane, self.line);
                if let Some(origin) = origin {
                    bytes.set(start, size, ones(size));
                    (start..start + size as usize).for_each(|at| bytes.set_origin(at, origin));
                }
            }
        }
    }

    /// Lanes act in turn. Only an exchange does not depend on what was there before.
    fn atomic(&mut self, op: &Op) -> Outcome {
        if matches!(self.shadow, Shadow::Local(..)) {
            // The machine refuses atomics there.
            return Ok(());
        }
        self.refuse_undefined_values(self.stored & self.access.lanes)?;
        if self.shadow.is_defined() {
            return Ok(());
        }
        let exchanges = matches!(
            op,
            Op::Atom {
                op: AtomicOp::Exch,
                ..
            }
        );
        let (access, bytes) = (self.access, self.access.bytes);
        for lane in lanes_of(access.lanes) {
            let offset = access.offsets[lane];
            let undefined = self.shadow.undefined(lane, offset, bytes);
            if undefined != 0 {
                let origin = self.origin(lane, undefined);
                if !exchanges {
                    return report(lane, origin, Use::Store);
                }
                for result in self.results {
                    self.registers.undefine(*result, lane, origin);
                }
                self.shadow.define(lane, offset, bytes);
            }
        }
        Ok(())
    }

    fn copy_source(&mut self, copied: &mut Copied) {
        self.undefined_lanes(|seen, lane, undefined| {
            if let Shadow::Global(allocation) = seen.shadow {
                copied.lanes |= 1 << lane;
                copied.undefined[lane] = undefined;
                copied.sources[lane] = allocation.base + seen.access.offsets[lane];
            }
        });
    }

    /// The bytes are what they will be when the copy lands; to read them earlier is another fault.
    fn copy_destination(&mut self, copied: &Copied) {
        self.define();
        let Shadow::Shared(bytes, _) = &mut self.shadow else {
            return;
        };
        for lane in lanes_of(self.access.lanes & copied.lanes) {
            let (start, len) = (self.access.offsets[lane] as usize, self.access.bytes);
            let undefined = copied.undefined[lane] & ones(len);
            bytes.set(start, len, undefined);
            for byte in (0..len as usize).filter(|byte| undefined >> byte & 1 != 0) {
                let origin = Origin::Memory {
                    space: space_name(Space::Global),
                    address: copied.sources[lane] + byte as u64,
                    line: self.line,
                };
                bytes.set_origin(start + byte, origin);
            }
        }
    }
}
