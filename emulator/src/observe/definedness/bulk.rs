//! Undefined bytes on their way through bulk copies.
//!
//! A load brings what the source is; device memory gets defined bytes only: who stores undefined ones, or adds to them,
//! is told.

use crate::fault::FaultKind;
use crate::fault::{Origin, Outcome, Use, lane_fault, space_name};
use crate::ir::Space;
use crate::machine::bulk::{End, Flight};
use crate::machine::context::Context;
use crate::machine::tensor_box::Run;
use crate::memory::written::ones;

use super::Definedness;
use super::bytes::UndefinedBytes;

/// Bytes that are looked at together: chunks that a swizzle leaves whole.
const CHUNK: u32 = 16;

impl Definedness {
    /// A bulk copy is issued: its destination counts as written now, because nobody may look at it before.
    pub fn bulk_issued(&mut self, context: &mut Context, flight: &Flight) -> Outcome {
        for run in &flight.runs {
            let mut at = 0;
            while at < run.bytes {
                let len = (CHUNK - (run.shared + at) % CHUNK).min(run.bytes - at);
                self.chunk(context, flight, *run, (at, len))?;
                at += len;
            }
        }
        Ok(())
    }

    /// `len` bytes of a run from `at` on.
    fn chunk(
        &mut self,
        context: &mut Context,
        flight: &Flight,
        run: Run,
        (at, len): (u32, u32),
    ) -> Outcome {
        let place = |start: u32| flight.swizzle.apply(start + run.shared + at) as usize;
        let global = run.global.map(|global| global + u64::from(at));
        let line = self.effects.line(flight.issuer.pc);
        match (flight.from, flight.to) {
            (End::Global, End::Shared { rank, start }) => {
                let undefined = global.map_or(0, |global| self.missing(context, global, len));
                let bytes = &mut self.shared[rank as usize];
                bytes.set(place(start), len, undefined);
                for byte in (0..len as usize).filter(|byte| undefined >> byte & 1 != 0) {
                    let origin = Origin::Memory {
                        space: space_name(Space::Global),
                        address: global.unwrap_or_default() + byte as u64,
                        line,
                    };
                    bytes.set_origin(place(start) + byte, origin);
                }
                Ok(())
            }
            (End::Shared { rank, start }, End::Global) => {
                let Some(global) = global else { return Ok(()) };
                let base = context.blocks[rank as usize].shared.base();
                let shared = (&self.shared[rank as usize], base);
                refuse(shared, place(start), len, (flight.issuer.lane, line))?;
                if flight.reduction.is_some() {
                    self.refuse_missing(context, global, len, (flight.issuer.lane, line))?;
                }
                mark(context, global, len);
                Ok(())
            }
            (
                End::Shared { rank, start },
                End::Shared {
                    rank: to,
                    start: dst,
                },
            ) => {
                let undefined = self.shared[rank as usize].get(place(start), len);
                self.shared[to as usize].set(place(dst), len, undefined);
                Ok(())
            }
            // No copy stays in device memory.
            (End::Global, End::Global) => Ok(()),
        }
    }

    /// The bytes of device memory that nobody has written.
    fn missing(&self, context: &mut Context, address: u64, len: u32) -> u64 {
        if !self.effects.unwritten {
            return 0;
        }
        let allocation = context.global.allocation(address);
        allocation.map_or(0, |a| a.written.missing(address - a.base, len))
    }

    fn refuse_missing(
        &self,
        context: &mut Context,
        address: u64,
        len: u32,
        (lane, line): (u32, u32),
    ) -> Outcome {
        let missing = self.missing(context, address, len);
        if missing == 0 {
            return Ok(());
        }
        let origin = Origin::Memory {
            space: space_name(Space::Global),
            address: address + u64::from(missing.trailing_zeros()),
            line,
        };
        let used = Use::Store;
        lane_fault(lane, FaultKind::Uninitialised { origin, used })
    }

    /// An operation of the asynchronous proxy reads ranges of the shared memory of the block of a rank.
    pub fn async_read(
        &self,
        context: &Context,
        (pc, lane): (u32, u32),
        rank: u32,
        ranges: &[(u32, u32)],
    ) -> Outcome {
        let bytes = &self.shared[rank as usize];
        if !bytes.any() {
            return Ok(());
        }
        let line = self.effects.line(pc);
        let shared = (bytes, context.blocks[rank as usize].shared.base());
        for &(start, size) in ranges {
            let mut at = start;
            while at < start + size {
                let len = (start + size - at).min(64);
                refuse(shared, at as usize, len, (lane, line))?;
                at += len;
            }
        }
        Ok(())
    }
}

/// Reports the first undefined one of some bytes of shared memory.
fn refuse(
    (bytes, base): (&UndefinedBytes, u64),
    start: usize,
    len: u32,
    (lane, line): (u32, u32),
) -> Outcome {
    let undefined = bytes.get(start, len) & ones(len);
    if undefined == 0 {
        return Ok(());
    }
    let at = start + undefined.trailing_zeros() as usize;
    let origin = bytes.origin(at).unwrap_or(Origin::Memory {
        space: space_name(Space::Shared),
        address: base + at as u64,
        line,
    });
    let used = Use::Store;
    lane_fault(lane, FaultKind::Uninitialised { origin, used })
}

fn mark(context: &mut Context, address: u64, len: u32) {
    if let Some(allocation) = context.global.allocation(address) {
        let offset = address - allocation.base;
        allocation.written.mark(offset, len.into());
    }
}
