//! The warpgroup that copies, of which one thread works: FlashAttention-3, Algorithm 1, lines 3 to 11. K is loaded one
//! tile ahead of V, as the algorithm of the others uses them.

use crate::hopper::forward::kernel::{Block, Rows, Variant};
use crate::hopper::forward::work::Work;
use crate::hopper::pipeline::Turn;
use crate::hopper::tile;
use crate::ptx::{self, CachePolicy};
use crate::tile::{Keys, Shape};

/// The thread that starts all loads of a block.
pub struct Producer<'a, V: Variant, const STAGES: u32> {
    block: &'a Block<'a, V, STAGES>,
    /// Turn of Q.
    q: Turn<1>,
    /// Turn of the last tile of K; the same one of V is loaded after the next K.
    kv: Turn<STAGES>,
}

impl<'a, V: Variant, const STAGES: u32> Producer<'a, V, STAGES> {
    /// That has loaded nothing yet.
    #[inline(always)]
    pub fn new(block: &'a Block<'a, V, STAGES>) -> Self {
        Producer {
            block,
            q: Turn::FIRST,
            kv: Turn::FIRST,
        }
    }

    /// Loads what all tiles of the block need.
    ///
    /// # Safety
    /// The maps are what the launch says, the barriers are made, and no other thread copies.
    #[inline(always)]
    pub unsafe fn run(mut self) {
        // SAFETY: the launch says where the lengths of packed sequences are.
        let read = |address| unsafe { ptx::load_global_u32(address) };
        let (mut round, mut rank) = (0, Block::<V, STAGES>::rank(0));
        while self.block.has_tile(rank) {
            let work = self.block.work(rank, read);
            if !work.is_empty() {
                // SAFETY: the caller's promise.
                unsafe { self.load(&work) };
            }
            round += 1;
            rank = Block::<V, STAGES>::rank(round);
        }
    }

    /// Loads Q, and K and V from last to first, K one tile ahead.
    ///
    /// # Safety
    /// As [`run`](Producer::run).
    #[inline(always)]
    unsafe fn load(&mut self, work: &Work<V>) {
        let tiles = work.tiles();
        if tiles.is_empty() {
            return;
        }
        let mut n_block = tiles.end - 1;
        // SAFETY: the caller's promise.
        unsafe { self.load_k(work, n_block) };
        // SAFETY: the caller's promise.
        unsafe { self.load_q(work) };
        while n_block > tiles.begin {
            let v = self.kv;
            self.kv = v.next();
            // SAFETY: the caller's promise.
            unsafe { self.load_k(work, n_block - 1) };
            // SAFETY: the caller's promise.
            unsafe { self.load_v(work, n_block, v) };
            n_block -= 1;
        }
        // SAFETY: the caller's promise.
        unsafe { self.load_v(work, n_block, self.kv) };
        self.kv = self.kv.next();
    }

    /// # Safety
    /// As [`run`](Producer::run).
    #[inline(always)]
    unsafe fn load_q(&mut self, work: &Work<V>) {
        let bytes = V::CONSUMERS * Rows::<V>::BYTES;
        // SAFETY: the caller's promise.
        let full = unsafe { self.block.q_ring().begin_fill(self.q, bytes) };
        let mut warpgroup = 1;
        while warpgroup <= V::CONSUMERS {
            let (to, at) = (
                self.block.q(warpgroup),
                work.query_box((warpgroup - 1) * Rows::<V>::ROWS),
            );
            // SAFETY: the caller's promise; the slot is free.
            unsafe { tile::load(to, self.block.maps.q, at, full, CachePolicy::EvictFirst) };
            warpgroup += 1;
        }
        self.q = self.q.next();
    }

    /// # Safety
    /// As [`run`](Producer::run).
    #[inline(always)]
    unsafe fn load_k(&self, work: &Work<V>, n_block: u32) {
        // SAFETY: the caller's promise.
        let full = unsafe { self.block.k_ring().begin_fill(self.kv, Keys::<V>::BYTES) };
        let (to, at) = (self.block.k(self.kv.slot()), work.key_box(n_block));
        // SAFETY: the caller's promise; the slot is free.
        unsafe { tile::load(to, self.block.maps.k, at, full, CachePolicy::EvictLast) };
    }

    /// # Safety
    /// As [`run`](Producer::run).
    #[inline(always)]
    unsafe fn load_v(&self, work: &Work<V>, n_block: u32, turn: Turn<STAGES>) {
        // SAFETY: the caller's promise.
        let full = unsafe { self.block.v_ring().begin_fill(turn, Keys::<V>::BYTES) };
        let (to, at) = (self.block.v(turn.slot()), work.key_box(n_block));
        // SAFETY: the caller's promise; the slot is free.
        unsafe { tile::load(to, self.block.maps.v, at, full, CachePolicy::EvictLast) };
    }
}
