//! Counters.

use std::sync::Arc;

use super::{Access, Exchange, Step};
use crate::ir::Kernel;
use crate::machine::Launch;
use crate::machine::address::GlobalView;
use crate::machine::context::Context;
use crate::machine::warp::Warp;

/// What to count, and of which machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterOptions {}

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Counters {}

/// The counts of a launch, and the part of the machine that its blocks share.
pub(crate) struct SharedCounters {}

impl SharedCounters {
    pub fn new(
        _kernel: &Kernel,
        _launch: &Launch,
        _memory: &GlobalView,
        _options: CounterOptions,
    ) -> Self {
        Self {}
    }

    pub fn total(&self) -> Counters {
        Counters {}
    }
}

/// Counts one block at a time.
pub(crate) struct CounterSink {}

impl CounterSink {
    pub fn new(_shared: Arc<SharedCounters>) -> Self {
        Self {}
    }

    pub fn block_start(&mut self, _context: &Context) {}

    pub fn before(&mut self, _step: &Step) {}

    pub fn access(&mut self, _context: &Context, _step: &Step, _access: &Access) {}

    pub fn exchange(&mut self, _exchange: &Exchange) {}

    pub fn arrive(&mut self, _warp: &Warp) {}
}
