//! A warpgroup that computes: lines 5 to 19 of the algorithm for its 64 keys of each key tile of the block.

use crate::backward::block::QueryTiles;
use crate::backward::rows::scratch_row;
use crate::fragment::Acc;
use crate::hopper::backward::dq::DqCursor;
use crate::hopper::backward::gradients::{self, SharedCorner};
use crate::hopper::backward::storage::Storage;
use crate::hopper::backward::{KeyTile, SLOTS, Variant, ends};
use crate::hopper::pipeline::Turn;
use crate::ptx::{self, Accumulators};
use crate::softmax::{MASKED, UNMASKED};
use abi::BwdParams;

/// What a warpgroup keeps while its block works on a key tile.
pub struct Warpgroup<
    V,
    const M: usize,
    const STEPS: usize,
    const D: usize,
    const D_STEPS: usize,
    const C: usize,
> {
    /// Places in shared memory.
    pub storage: Storage<V>,
    /// Which of the warpgroups that compute.
    pub group: u32,
    /// The slot of the current step.
    pub turn: Turn<SLOTS>,
    /// dK / softmax_scale.
    pub d_k: Acc<D>,
    /// dV.
    pub d_v: Acc<D>,
}

/// All key tiles of the block, as warpgroup `group` of those that compute.
///
/// # Safety
/// As [`flash_bwd`](super::flash_bwd); the barriers are initialised. Called by whole warpgroups.
#[inline(always)]
pub unsafe fn compute<
    V: Variant,
    const M: usize,
    const STEPS: usize,
    const D: usize,
    const D_STEPS: usize,
    const C: usize,
>(
    params: &BwdParams,
    storage: Storage<V>,
    group: u32,
) where
    Acc<M>: Accumulators,
    Acc<D>: Accumulators,
    Acc<C>: Accumulators,
{
    let mut warpgroup = Warpgroup::<V, M, STEPS, D, D_STEPS, C> {
        storage,
        group,
        turn: Turn::FIRST,
        d_k: Acc::zero(),
        d_v: Acc::zero(),
    };
    let mut nth = 0;
    while is_uniform(KeyTile::anew(params, nth).exists::<V>()) {
        // SAFETY: the caller's promise.
        unsafe { warpgroup.key_tile(params, nth) };
        nth += 1;
    }
}

/// `condition`, known to the assembler to be the same for the whole warp.
#[inline(always)]
fn is_uniform(condition: bool) -> bool {
    ptx::of_first_lane(condition as u32) != 0
}

impl QueryTiles {
    /// The same, known to the assembler to be the same for the whole warp: so are then the slots of a walk through them,
    /// and what is computed from slots goes to the uniform datapath.
    #[inline(always)]
    fn uniform(self) -> Self {
        QueryTiles {
            begin: ptx::of_first_lane(self.begin),
            full_begin: ptx::of_first_lane(self.full_begin),
            full_end: ptx::of_first_lane(self.full_end),
            end: ptx::of_first_lane(self.end),
        }
    }
}

impl<
    V: Variant,
    const M: usize,
    const STEPS: usize,
    const D: usize,
    const D_STEPS: usize,
    const C: usize,
> Warpgroup<V, M, STEPS, D, D_STEPS, C>
where
    Acc<M>: Accumulators,
    Acc<D>: Accumulators,
    Acc<C>: Accumulators,
{
    /// Lines 6 to 18 for one key tile.
    ///
    /// # Safety
    /// As [`compute`].
    #[inline(always)]
    unsafe fn key_tile(&mut self, params: &BwdParams, nth: u32) {
        let (storage, ring) = (self.storage, self.storage.keys_ring());
        let turn = Turn::nth(nth);
        // Line 7.
        (self.d_k, self.d_v) = (Acc::zero(), Acc::zero());
        // SAFETY: the caller's promise; both roles take the same turns.
        unsafe {
            ring.wait_full(turn);
            let left = KeyTile::anew(params, nth).keys_left::<V>();
            if left < V::BLOCK_N {
                ends::clear::<V, _>([storage.k(), storage.v()], left);
            }
            let mut member = 0;
            while member < params.forward.heads_per_group {
                self.walk(&KeyTile::anew(params, nth), member);
                member += 1;
            }
            self.store(&KeyTile::anew(params, nth));
            ring.give_back(turn);
        }
    }

    /// Lines 8 to 17: the query tiles of one head that see the key tile, from last to first.
    ///
    /// The masked step is compiled once: the first pass takes the tiles that are cut at their end and the full ones, the
    /// second pass those that are cut at their beginning.
    ///
    /// # Safety
    /// As [`compute`]; K and V are in shared memory.
    #[inline(always)]
    unsafe fn walk(&mut self, tile: &KeyTile, member: u32) {
        let sequence = &tile.block.sequence;
        let tiles = QueryTiles::new::<V>(&sequence.keys, tile.n_block).uniform();
        let mut m_block = tiles.end;
        let head = tile.head(member);
        let end_row = scratch_row(tile.params, sequence, head, tiles.end, V::BLOCK_M);
        let slice = tile.block.first_tile;
        let mut d_q = DqCursor::new::<V>(tile.params, slice, end_row, self.group, C);
        let mut masked_end = tiles.full_end;
        while m_block > tiles.begin {
            while m_block > masked_end {
                m_block -= 1;
                d_q.step_up::<V>();
                // SAFETY: the caller's promise; both roles walk through the same tiles.
                unsafe { self.visit::<MASKED>(tile, m_block, &d_q) };
            }
            while m_block > tiles.full_begin {
                m_block -= 1;
                d_q.step_up::<V>();
                // SAFETY: the caller's promise; both roles walk through the same tiles.
                unsafe { self.visit::<UNMASKED>(tile, m_block, &d_q) };
            }
            masked_end = tiles.begin;
        }
    }

    /// One query tile.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    #[inline(always)]
    unsafe fn visit<const MASK: bool>(&mut self, tile: &KeyTile, m_block: u32, d_q: &DqCursor) {
        // SAFETY: the caller's promise.
        unsafe {
            if V::IS_WIDE {
                self.step_wide::<MASK>(tile, m_block, d_q);
            } else {
                self.step::<MASK>(tile, m_block, d_q);
            }
        }
    }

    /// Line 18.
    ///
    /// # Safety
    /// As [`compute`]; all steps of the key tile are done.
    #[inline(always)]
    unsafe fn store(&mut self, tile: &KeyTile) {
        let params = tile.params;
        let scale = params.forward.softmax_scale;
        self.d_k.map(|x, _, _| x * scale);
        let (mut row, mut col) = (self.group * 64, 0);
        if V::IS_WIDE {
            (row, col) = (0, self.group * 8 * D as u32);
        }
        let corner = SharedCorner {
            tile: self.storage.v(),
            row,
            col,
        };
        // SAFETY: the caller's promise; the warpgroup stages its own part. No product reads V any more: each warpgroup has
        // waited for its own with V before it has come to the barrier of the last step (`show`), if there was a step.
        unsafe {
            gradients::store::<V, D, D_STEPS>(tile, &params.d_v, &corner, &self.d_v);
            gradients::store::<V, D, D_STEPS>(tile, &params.d_k, &corner, &self.d_k);
        }
        // The next V is copied to where the gradients have been.
        ptx::fence_proxy_async();
    }
}
