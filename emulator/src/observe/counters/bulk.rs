//! Bulk and tensor copies: bytes between L2 and shared memory, and those of them that L2 has to fetch.

use crate::machine::bulk::{End, Flight};
use crate::machine::context::Context;

use super::CounterSink;
use super::counts::{BankCounts, SectorCounts};
use super::l2::Purpose;
use super::sectors::{Part, parts_of};

/// Bytes that shared memory moves in one pass through its banks.
const PASS: u32 = 128;

impl CounterSink {
    /// A bulk copy is issued.
    pub fn bulk_issued(&mut self, context: &mut Context, flight: &Flight) {
        let pc = flight.issuer.pc as usize;
        let passes = BankCounts {
            requests: 1,
            lane_bytes: flight.bytes.into(),
            wavefronts: flight.bytes.div_ceil(PASS).into(),
            ideal_wavefronts: flight.bytes.div_ceil(PASS).into(),
        };
        let shared = &mut self.counts[pc].shared;
        if let End::Shared { .. } = flight.from {
            shared.bulk_reads += passes;
        }
        if let End::Shared { .. } = flight.to {
            shared.bulk_writes += passes;
        }
        // A multicast reads device memory once, whatever the number of its destinations.
        if !flight.is_repeated {
            self.bulk_global(context, flight);
        }
    }

    fn bulk_global(&mut self, context: &mut Context, flight: &Flight) {
        let mut sum = SectorCounts {
            requests: 1,
            ..SectorCounts::default()
        };
        let purpose = match (flight.to, flight.reduction) {
            (End::Shared { .. }, _) => Purpose::Read,
            (End::Global, None) => Purpose::Write,
            (End::Global, Some(_)) => Purpose::Update,
        };
        for run in &flight.runs {
            let Some(address) = run.global else { continue };
            let Some(index) = context.global.locate(address) else {
                continue;
            };
            let offset = address - context.global.get(index).base;
            parts_of(offset, run.bytes.into(), |part: Part| {
                sum.sectors += 1;
                self.memory.serve(index, part, purpose);
            });
            sum.lane_bytes += u64::from(run.bytes);
            sum.bytes += u64::from(run.bytes);
        }
        if sum.bytes == 0 {
            // Between two blocks, or all outside of the tensor.
            return;
        }
        let global = &mut self.counts[flight.issuer.pc as usize].global;
        let counts = match purpose {
            Purpose::Read => &mut global.bulk_loads,
            Purpose::Write => &mut global.bulk_stores,
            Purpose::Update => &mut global.bulk_reductions,
        };
        *counts += sum;
    }
}
