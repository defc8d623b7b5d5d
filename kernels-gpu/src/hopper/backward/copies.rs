//! The thread that starts all copies of a block: lines 6 and 9 of the algorithm.

use crate::backward::block::{KeyHead, QueryTiles};
use crate::backward::rows::{row_statistics, scratch_row};
use crate::hopper::backward::storage::Storage;
use crate::hopper::backward::{KeyTile, Maps, SLOTS, Variant, n_blocks};
use crate::hopper::pipeline::Turn;
use crate::hopper::tile;
use crate::ptx::{self, CachePolicy};
use crate::tile::{Keys, Queries, Shape};
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
        keys: Turn::FIRST,
        queries: Turn::FIRST,
    };
    let block = &KeyHead::current(params);
    // Line 5.
    let mut n_block = block.first_tile;
    while n_block < n_blocks::<V>(block) {
        let tile = &KeyTile {
            params,
            block,
            n_block,
        };
        // SAFETY: the caller's promise.
        unsafe { copies.key_tile(tile) };
        n_block += params.n_stride;
    }
}

struct Copies<V> {
    maps: Maps,
    storage: Storage<V>,
    keys: Turn<1>,
    queries: Turn<SLOTS>,
}

impl<V: Variant> Copies<V> {
    /// K and V, then the query tiles of every head that shares them.
    ///
    /// # Safety
    /// As [`copy`].
    #[inline(always)]
    unsafe fn key_tile(&mut self, tile: &KeyTile) {
        let storage = self.storage;
        let block = tile.block;
        let row = block.sequence.first_k + tile.first_key::<V>();
        let at = [row, block.head_k, map_batch(tile)];
        let ring = storage.keys_ring();
        // SAFETY: the boxes are pages of the tiles, whose slot is free.
        unsafe {
            let full = ring.begin_fill(self.keys, 2 * Keys::<V>::BYTES);
            tile::load(storage.k(), self.maps.k, at, full, CachePolicy::EvictFirst);
            tile::load(storage.v(), self.maps.v, at, full, CachePolicy::EvictFirst);
        }
        self.keys = self.keys.next();
        let tiles = QueryTiles::new::<V>(&block.sequence.keys, tile.n_block);
        let mut member = 0;
        while member < tile.params.forward.heads_per_group {
            let mut m_block = tiles.end;
            while m_block > tiles.begin {
                m_block -= 1;
                // SAFETY: the caller's promise; the query tile exists.
                unsafe { self.query_tile(tile, tile.head(member), m_block) };
            }
            member += 1;
        }
    }

    /// Q, dO and row statistics of query tile `m_block` of `head`.
    ///
    /// # Safety
    /// As [`copy`]; the tile exists.
    #[inline(always)]
    unsafe fn query_tile(&mut self, tile: &KeyTile, head: u32, m_block: u32) {
        let (storage, turn) = (self.storage, self.queries);
        let sequence = &tile.block.sequence;
        let at = [
            sequence.first_q + m_block * V::BLOCK_M,
            head,
            map_batch(tile),
        ];
        let row = scratch_row(tile.params, sequence, head, m_block, V::BLOCK_M);
        let statistics = row_statistics(tile.params, row);
        let bytes = Storage::<V>::STATISTICS_BYTES;
        // SAFETY: the boxes are pages of the tiles, whose slots are free; the statistics of a tile are multiples of 16
        // bytes.
        unsafe {
            let full = storage.q_ring().begin_fill(turn, Queries::<V>::BYTES);
            let to = storage.q(turn.slot);
            tile::load(to, self.maps.q, at, full, CachePolicy::EvictLast);
            let ring = storage.d_out_ring();
            let full = ring.begin_fill(turn, Queries::<V>::BYTES + bytes);
            let to = storage.d_out(turn.slot);
            tile::load(to, self.maps.d_out, at, full, CachePolicy::EvictLast);
            ptx::load_bytes(storage.statistics(turn.slot), statistics, bytes, full);
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
