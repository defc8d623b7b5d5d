//! The stream of K and V tiles through shared memory, one tile of each at a time.
//!
//! ```text
//! copies    K3 | V3     | K2          | V2     | K1          | V1     | ...
//! products     | Q·K3ᵀ  | softmax P·V3 | Q·K2ᵀ  | softmax P·V2 | Q·K1ᵀ  | ...
//! ```
//!
//! Each bar is a wait for the copy on its left and a barrier of the block. The barrier does two things: it shows
//! every thread's copies to the others, and it ends all reads of the tile that the next copy overwrites.

use crate::block_info::{BlockInfo, Tiles};
use crate::copy::TileCopy;
use crate::flash_fwd::Variant;
use crate::fragment::LanePoint;
use crate::global_tile::{Extent, GlobalTile, Rows};
use crate::ptx;
use crate::tile::{Keys, LaneAddress, Shape, SharedTile};
use abi::Strided;

/// One shared tile, the matrix that is streamed through it, and where this lane reads it.
pub struct Stage<V: Variant> {
    matrix: GlobalTile,
    tile: SharedTile<Keys<V>>,
    lane: LaneAddress<Keys<V>>,
}

impl<V: Variant> Stage<V> {
    /// Streams `matrix`, K or V, of the block's key head through `tile`; the lane reads it from `point` on.
    #[inline(always)]
    pub fn new(
        matrix: &Strided,
        block: &BlockInfo<V>,
        tile: SharedTile<Keys<V>>,
        point: LanePoint,
    ) -> Self {
        Stage {
            matrix: block.keys_of(matrix),
            tile,
            lane: tile.lane(0, point),
        }
    }

    /// Starts to load tile `n_block`.
    ///
    /// # Safety
    /// All warps have passed a barrier since they last read this stage.
    #[inline(always)]
    unsafe fn start(&self, n_block: u32, extent: Extent) {
        let from = self.matrix.tile_below(n_block, Keys::<V>::ROWS);
        // SAFETY: the caller's promise; the extent ends where the keys and the head dimension do.
        unsafe { V::Copy::load(self.tile, &from, extent) }
    }
}

/// The two stages. A step is `wait_k`, Q·Kᵀ, `wait_v`, P·V, in this order, for n_block = `last`, `last` - 1, ..., `first`.
pub struct KvPipeline<V: Variant> {
    k: Stage<V>,
    v: Stage<V>,
    head_dim: u32,
    first: u32,
}

impl<V: Variant> KvPipeline<V> {
    /// Streams `tiles` of K and V: starts to load the last K tile, of which `keys` keys exist.
    #[inline(always)]
    pub fn start(k: Stage<V>, v: Stage<V>, head_dim: u32, tiles: Tiles, keys: u32) -> Self {
        let extent = Extent {
            rows: Rows::First(keys),
            cols: head_dim,
        };
        // SAFETY: nobody has read the stage before.
        unsafe { k.start(tiles.end - 1, extent) };
        KvPipeline {
            k,
            v,
            head_dim,
            first: tiles.begin,
        }
    }

    /// Waits for K of step `n_block`, of which `keys` keys exist, and starts to load V of the same step.
    #[inline(always)]
    pub fn wait_k<const MASK: bool>(&self, n_block: u32, keys: u32) -> &LaneAddress<Keys<V>> {
        let rows = if MASK { Rows::First(keys) } else { Rows::All };
        let cols = self.head_dim;
        V::Copy::wait();
        ptx::barrier();
        // SAFETY: the reads of V by the previous step are before the barrier.
        unsafe { self.v.start(n_block, Extent { rows, cols }) };
        &self.k.lane
    }

    /// Waits for V of step `n_block` and starts to load K of the next step, if there is one.
    #[inline(always)]
    pub fn wait_v(&self, n_block: u32) -> &LaneAddress<Keys<V>> {
        V::Copy::wait();
        ptx::barrier();
        if n_block > self.first {
            // Only the last tile of the keys can be ragged, and that one was the first to be loaded.
            let (rows, cols) = (Rows::All, self.head_dim);
            // SAFETY: the reads of K by this step are before the barrier.
            unsafe { self.k.start(n_block - 1, Extent { rows, cols }) };
        }
        &self.v.lane
    }
}
