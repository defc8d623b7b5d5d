//! racecheck.

use std::sync::Arc;

use super::{Access, Arrival, Exchange, Landing, Step};
use crate::fault::Outcome;
use crate::ir::Kernel;
use crate::machine::Launch;
use crate::machine::address::GlobalView;
use crate::machine::context::Context;
use crate::machine::warp::Warp;

/// What the blocks of a launch share.
pub(crate) struct RaceGrid {}

impl RaceGrid {
    pub fn new(_kernel: &Kernel, _launch: &Launch, _memory: &GlobalView) -> Self {
        Self {}
    }

    /// Whether blocks of this kernel can synchronise with each other.
    pub fn has_edges(&self) -> bool {
        false
    }
}

/// Who knows of which accesses in one block.
pub(crate) struct Races {}

impl Races {
    pub fn new(_grid: Arc<RaceGrid>, _num_warps: u32, _shared_bytes: u32) -> Self {
        Self {}
    }

    pub fn block_start(&mut self, _number: u64) {}

    /// Fences.
    pub fn before(&mut self, _warp: &Warp, _step: &Step) {}

    pub fn access(
        &mut self,
        _warp: &Warp,
        _context: &mut Context,
        _step: &Step,
        _access: &Access,
    ) -> Outcome {
        Ok(())
    }

    /// `bar.warp.sync` orders memory; the other exchanges do not.
    pub fn exchange(&mut self, _warp: &Warp, _exchange: &Exchange) {}

    pub fn arrive(&mut self, _warp: u32, _arrival: &Arrival) {}

    pub fn complete(&mut self, _id: u32, _waiting: u32) {}

    pub fn landed(&mut self, _landing: &Landing) {}
}
