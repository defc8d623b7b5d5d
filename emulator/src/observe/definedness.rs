//! initcheck.

use std::sync::Arc;

use super::{Access, Exchange, Step};
use crate::fault::Outcome;
use crate::ir::Kernel;
use crate::machine::Options;
use crate::machine::context::Context;
use crate::machine::warp::Warp;

/// What each instruction reads and writes.
pub(crate) struct Effects {}

impl Effects {
    pub fn new(_kernel: &Kernel, _options: &Options) -> Self {
        Self {}
    }
}

/// Which values of a block are defined.
pub(crate) struct Definedness {}

impl Definedness {
    pub fn new(_effects: Arc<Effects>, _num_warps: u32, _shared_bytes: u32) -> Self {
        Self {}
    }

    pub fn block_start(&mut self) {}

    /// Guard, operands and results of an instruction; only the guard unless `step.executes`.
    pub fn before(&mut self, _warp: &Warp, _step: &Step) -> Outcome {
        Ok(())
    }

    /// An access of the instruction that [`Self::before`] was told of last.
    pub fn access(
        &mut self,
        _warp: &Warp,
        _context: &mut Context,
        _step: &Step,
        _access: &Access,
    ) -> Outcome {
        Ok(())
    }

    pub fn exchange(&mut self, _warp: &Warp, _exchange: &Exchange) -> Outcome {
        Ok(())
    }

    pub fn arrive(&mut self, _warp: &Warp, _context: &Context) -> Outcome {
        Ok(())
    }
}
