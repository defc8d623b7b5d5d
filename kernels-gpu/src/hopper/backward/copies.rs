//! The thread that starts all copies of a block: lines 6 and 9 of the algorithm.

use crate::backward::block::QueryTiles;
use crate::backward::rows::{row_statistics, scratch_row};
use crate::hopper::backward::storage::{Keys, Queries, Storage};
use crate::hopper::backward::{KeyTile, Maps, SLOTS, Variant};
use crate::hopper::pipeline::Turn;
use crate::hopper::tile;
use crate::ptx::{self, CachePolicy};
use crate::tile::Shape;
use abi::BwdParams;

/// Everything that the block computes with, in that order.
///
/// # Safety
/// As [`flash_bwd`](super::flash_bwd); the barriers are initialised, and one thread of the block calls it.
#[inline(always)]
pub unsafe fn copy<V: Variant>(params: &BwdParams, maps: Maps, storage: Storage<V>) {
    let mut copies = Copies {
        maps,
        storage,
        queries: Turn::FIRST,
    };
    let mut nth = 0;
    while KeyTile::anew(params, nth).exists::<V>() {
        // SAFETY: the caller's promise.
        unsafe {
            copies.keys(&KeyTile::anew(params, nth), Turn::nth(nth));
            let mut member = 0;
            while member < params.forward.heads_per_group {
                copies.queries(&KeyTile::anew(params, nth), member);
                member += 1;
            }
        }
        nth += 1;
    }
}

struct Copies<V> {
    maps: Maps,
    storage: Storage<V>,
    queries: Turn<SLOTS>,
}

impl<V: Variant> Copies<V> {
    /// Line 6: K and V.
    ///
    /// # Safety
    /// As [`copy`].
    #[inline(always)]
    unsafe fn keys(&self, tile: &KeyTile, turn: Turn<1>) {
        let (storage, ring, maps) = (self.storage, self.storage.keys_ring(), self.maps);
        let row = tile.block.sequence.first_k + tile.first_key::<V>();
        let at = [row, tile.block.head_k, map_batch(tile)];
        // SAFETY: the boxes are pages of the tiles, whose slot is free.
        unsafe {
            let full = ring.begin_fill(turn, 2 * Keys::<V>::BYTES);
            tile::load(storage.k(), maps.k, at, full, CachePolicy::EvictFirst);
            tile::load(storage.v(), maps.v, at, full, CachePolicy::EvictFirst);
        }
    }

    /// Line 9: Q, dO and row statistics of the query tiles of a head that see the key tile, from last to first.
    ///
    /// # Safety
    /// As [`copy`].
    #[inline(always)]
    unsafe fn queries(&mut self, tile: &KeyTile, member: u32) {
        let sequence = &tile.block.sequence;
        let tiles = QueryTiles::new::<V>(&sequence.keys, tile.n_block);
        let head = tile.head(member);
        let end_row = scratch_row(tile.params, sequence, head, tiles.end, V::BLOCK_M);
        let mut statistics = row_statistics(tile.params, end_row);
        let mut at = [
            sequence.first_q + tiles.end * V::BLOCK_M,
            head,
            map_batch(tile),
        ];
        let first_row = sequence.first_q + tiles.begin * V::BLOCK_M;
        while at[0] > first_row {
            at[0] -= V::BLOCK_M;
            statistics -= Storage::<V>::STATISTICS_BYTES as u64;
            // SAFETY: the caller's promise; the query tile exists.
            unsafe { self.query_tile(at, statistics) };
        }
    }

    /// The query tile that begins `at` this row, head and batch entry, and its statistics in device memory.
    ///
    /// # Safety
    /// As [`copy`]; the tile exists.
    #[inline(always)]
    unsafe fn query_tile(&mut self, at: [u32; 3], statistics: u64) {
        let (storage, turn, maps) = (self.storage, self.queries, self.maps);
        let bytes = Storage::<V>::STATISTICS_BYTES;
        // SAFETY: the boxes are pages of the tiles, whose slots are free; the statistics of a tile are multiples of 16
        // bytes.
        unsafe {
            let full = storage.queries_ring().begin_fill(turn, Queries::<V>::BYTES);
            let to = storage.q(turn.slot());
            tile::load(to, maps.q, at, full, CachePolicy::EvictLast);
            let arrivals = storage.d_out_arrivals();
            let full = arrivals.expect(turn, Queries::<V>::BYTES + bytes);
            let to = storage.d_out(turn.slot());
            tile::load(to, maps.d_out, at, full, CachePolicy::EvictLast);
            ptx::load_bytes(storage.statistics(turn.slot()), statistics, bytes, full);
        }
        self.queries = turn.next();
    }
}

/// Batch entry as the maps count: packed sequences are all in entry 0.
#[inline(always)]
const fn map_batch(tile: &KeyTile) -> u32 {
    if tile.params.forward.sequences.cu_seqlens_q == 0 {
        tile.block.sequence.batch
    } else {
        0
    }
}
