//! The stream of Q and dO tiles through shared memory: two stages of Q, one of dO.
//!
//! ```text
//! copies     Q2 dO2 |  Q1             | dO1          |  Q0             | dO0          |
//! products          |  S dP dV of 2   | dK dQ of 2   |  S dP dV of 1   | dK dQ of 1   | ...
//! ```
//!
//! Each bar is a barrier of the block, and those before S also wait for the copies on their left. The step that
//! starts with S reads Q to its end, so the next Q goes to the other stage; dO is free when dV has it.

use crate::backward::key_tile::Variant;
use crate::copy::TileCopy;
use crate::fragment::{chunks_first, rows_first};
use crate::ptx;
use crate::tile::{Extent, GlobalTile, LaneAddress, Queries, Rows, Shape, SharedTile};

/// The rows of Q and dO of one head, and where in shared memory their tiles go.
pub struct QueryPipeline<V: Variant> {
    /// Stage 0 of Q; stage 1 follows.
    q: SharedTile<Queries<V>>,
    d_out: SharedTile<Queries<V>>,
    /// Bytes from stage 0 to the stage of the current step.
    stage: u32,
    lane: u32,
    head_dim: u32,
}

/// The rows of one head that are streamed.
pub struct Head {
    /// Q from the first row of the sequence on.
    pub q: GlobalTile,
    /// dO from the first row of the sequence on.
    pub d_out: GlobalTile,
}

impl<V: Variant> QueryPipeline<V> {
    /// Nothing in flight. Stages begin at the shared address `base`.
    #[inline(always)]
    pub fn new(base: u32, lane: u32, head_dim: u32) -> Self {
        QueryPipeline {
            q: SharedTile::at(base),
            d_out: SharedTile::at(base + 2 * Queries::<V>::BYTES),
            stage: 0,
            lane,
            head_dim,
        }
    }

    /// Starts to load the first tile of `head` that is visited, `m_block`, of which `rows` rows exist.
    ///
    /// # Safety
    /// Every thread has passed a barrier since Q of the step before the last one was read, and since dO was.
    #[inline(always)]
    pub unsafe fn start(&self, head: &Head, m_block: u32, rows: u32) {
        // SAFETY: the caller's promise.
        unsafe {
            self.load(self.current_q(), &head.q, m_block, Rows::First(rows));
            self.load(self.d_out, &head.d_out, m_block, Rows::First(rows));
        }
    }

    /// Waits for Q and dO of this step.
    #[inline(always)]
    pub fn wait(&self) {
        V::Copy::wait();
        ptx::barrier();
    }

    /// Starts to load Q of the next step, which is that of a whole tile.
    ///
    /// # Safety
    /// Called between [`wait`](Self::wait) and the barrier before [`start_d_out`](Self::start_d_out).
    #[inline(always)]
    pub unsafe fn start_q(&self, head: &Head, m_block: u32) {
        let other = SharedTile::at(self.q.base() + (self.stage ^ Queries::<V>::BYTES));
        // SAFETY: the step before was the last to read the other stage, and `wait` has passed a barrier since.
        unsafe { self.load(other, &head.q, m_block, Rows::All) };
    }

    /// Starts to load dO of the next step, which is that of a whole tile.
    ///
    /// # Safety
    /// Every thread has passed a barrier since it read dO of this step.
    #[inline(always)]
    pub unsafe fn start_d_out(&self, head: &Head, m_block: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.load(self.d_out, &head.d_out, m_block, Rows::All) };
    }

    /// Ends the step: the other stage of Q becomes the current one.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.stage ^= Queries::<V>::BYTES;
    }

    /// Q of this step as second operand of a product over head_dim.
    #[inline(always)]
    pub fn q(&self) -> LaneAddress<Queries<V>> {
        self.current_q().lane(0, chunks_first(self.lane))
    }

    /// Q of this step as second operand of a product over queries.
    #[inline(always)]
    pub fn q_rows(&self) -> LaneAddress<Queries<V>> {
        self.current_q().lane(0, rows_first(self.lane))
    }

    /// dO of this step as second operand of a product over head_dim.
    #[inline(always)]
    pub fn d_out(&self) -> LaneAddress<Queries<V>> {
        self.d_out.lane(0, chunks_first(self.lane))
    }

    /// dO of this step as second operand of a product over queries.
    #[inline(always)]
    pub fn d_out_rows(&self) -> LaneAddress<Queries<V>> {
        self.d_out.lane(0, rows_first(self.lane))
    }

    #[inline(always)]
    fn current_q(&self) -> SharedTile<Queries<V>> {
        SharedTile::at(self.q.base() + self.stage)
    }

    /// # Safety
    /// No thread reads `to` before the next [`wait`](Self::wait), nor since the last barrier.
    #[inline(always)]
    unsafe fn load(&self, to: SharedTile<Queries<V>>, from: &GlobalTile, m_block: u32, rows: Rows) {
        let from = from.tile_below(m_block, V::BLOCK_M);
        let cols = self.head_dim;
        // SAFETY: the caller's promise; the extent ends where the queries and the head dimension do.
        unsafe { V::Copy::load(to, &from, Extent { rows, cols }) }
    }
}
