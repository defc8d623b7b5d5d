//! The stream of Q, dO and row statistics through shared memory, tile by tile: two stages of Q, one of the others.
//!
//! ```text
//! copies     Q2 dO2 |               | Q1 dO1       |               | Q0 dO0       |
//! products          | S dP dV of 2  | dK dQ of 2   | S dP dV of 1  | dK dQ of 1   | ...
//! ```
//!
//! Each bar is a barrier of the block, and those before S also wait for the copies on their left. A step reads Q to
//! its end, so the next Q goes to the other stage; dO and the statistics are free when dV has been computed.

use crate::backward::key_tile::Variant;
use crate::backward::rows::RowStatistics;
use crate::copy::TileCopy;
use crate::fragment::{chunks_first, rows_first};
use crate::global_tile::{Extent, GlobalTile, Rows};
use crate::ptx;
use crate::scores::ScoreKind;
use crate::tile::{LaneAddress, Queries, Shape, SharedTile};

/// Where in device memory the tiles of Q and dO of the step come from, and where in shared memory they are.
pub struct QueryPipeline<V: Variant> {
    from_q: GlobalTile,
    from_d_out: GlobalTile,
    from_rows: u64,
    /// Stage 0 of Q; stage 1 follows.
    q: SharedTile<Queries<V>>,
    d_out: SharedTile<Queries<V>>,
    rows: u32,
    /// Bytes from stage 0 to the stage of the current step.
    stage: u32,
    /// The calling lane.
    pub lane: u32,
    head_dim: u32,
}

impl<V: Variant> QueryPipeline<V> {
    /// Nothing in flight. Stages begin at the shared address `base`.
    #[inline(always)]
    pub fn new(base: u32, lane: u32, head_dim: u32) -> Self {
        QueryPipeline {
            from_q: GlobalTile::NOWHERE,
            from_d_out: GlobalTile::NOWHERE,
            from_rows: 0,
            q: SharedTile::at(base),
            d_out: SharedTile::at(base + 2 * Queries::<V>::BYTES),
            rows: base + 3 * Queries::<V>::BYTES,
            stage: 0,
            lane,
            head_dim,
        }
    }

    /// Starts to load the first tile of a head that is visited: of `q` and `d_out`, of which `rows` rows exist, and
    /// the row statistics at `statistics`.
    ///
    /// # Safety
    /// Every thread has passed a barrier since Q of the step before the last one was read, and since dO and the
    /// statistics were.
    #[inline(always)]
    pub unsafe fn start(&mut self, q: GlobalTile, d_out: GlobalTile, statistics: u64, rows: u32) {
        (self.from_q, self.from_d_out, self.from_rows) = (q, d_out, statistics);
        // SAFETY: the caller's promise.
        unsafe {
            self.load(
                ptx::opaque(ptx::thread_index()),
                self.stage,
                Rows::First(rows),
            )
        };
    }

    /// Waits for Q and dO of this step.
    #[inline(always)]
    pub fn wait(&self) {
        V::Copy::wait();
        ptx::barrier();
    }

    /// Starts to load the next step, the tile above, which is a whole one.
    ///
    /// # Safety
    /// Every thread has passed a barrier since it read dO and the statistics of this step.
    #[inline(always)]
    pub unsafe fn start_next(&mut self) {
        self.from_q = self.from_q.tile_above(V::BLOCK_M);
        self.from_d_out = self.from_d_out.tile_above(V::BLOCK_M);
        self.from_rows -= RowStatistics::<V>::BYTES as u64;
        let mut thread = ptx::thread_index();
        if !V::Scores::IS_PLAIN {
            // What is done to scores needs the registers of what would be kept from step to step.
            thread = ptx::opaque(thread);
        }
        // SAFETY: the caller's promise; the step before was the last to read the other stage.
        unsafe { self.load(thread, self.stage ^ Queries::<V>::BYTES, Rows::All) };
    }

    /// Ends the step: the other stage of Q becomes the current one.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.stage ^= Queries::<V>::BYTES;
    }

    /// Q of this step as second operand of a product over head_dim.
    #[inline(always)]
    pub fn q(&self) -> LaneAddress<Queries<V>> {
        self.lane_of(self.q_tile())
    }

    /// Q of this step as second operand of a product over queries.
    #[inline(always)]
    pub fn q_rows(&self) -> LaneAddress<Queries<V>> {
        self.lane_rows_of(self.q_tile())
    }

    /// dO of this step as second operand of a product over head_dim.
    #[inline(always)]
    pub fn d_out(&self) -> LaneAddress<Queries<V>> {
        self.lane_of(self.d_out)
    }

    /// dO of this step as second operand of a product over queries.
    #[inline(always)]
    pub fn d_out_rows(&self) -> LaneAddress<Queries<V>> {
        self.lane_rows_of(self.d_out)
    }

    /// Q of this step.
    #[inline(always)]
    pub fn q_tile(&self) -> SharedTile<Queries<V>> {
        SharedTile::at(self.q.base() + self.stage)
    }

    /// dO of this step.
    #[inline(always)]
    pub fn d_out_tile(&self) -> SharedTile<Queries<V>> {
        self.d_out
    }

    /// `tile` as second operand of a product over head_dim.
    #[inline(always)]
    pub fn lane_of(&self, tile: SharedTile<Queries<V>>) -> LaneAddress<Queries<V>> {
        tile.lane(0, chunks_first(self.lane))
    }

    /// `tile` as second operand of a product over queries.
    #[inline(always)]
    pub fn lane_rows_of(&self, tile: SharedTile<Queries<V>>) -> LaneAddress<Queries<V>> {
        tile.lane(0, rows_first(self.lane))
    }

    /// The row statistics of this step.
    #[inline(always)]
    pub fn rows(&self) -> RowStatistics<V> {
        RowStatistics::at(self.rows, self.lane)
    }

    /// # Safety
    /// No thread reads dO or this stage of Q before the next [`wait`](Self::wait), nor since the last barrier.
    #[inline(always)]
    unsafe fn load(&self, thread: u32, stage: u32, rows: Rows) {
        let cols = self.head_dim;
        let q = SharedTile::<Queries<V>>::at(self.q.base() + stage);
        // SAFETY: the caller's promise; the extent ends where the queries and the head dimension do.
        unsafe {
            V::Copy::load_as(thread, q, &self.from_q, Extent { rows, cols });
            V::Copy::load_as(thread, self.d_out, &self.from_d_out, Extent { rows, cols });
            if thread < RowStatistics::<V>::BYTES / 16 {
                V::Copy::load_bytes(self.rows + 16 * thread, self.from_rows + 16 * thread as u64);
            }
        }
    }
}
