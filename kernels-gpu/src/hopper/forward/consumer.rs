//! A warpgroup that computes 64 rows of a tile of O: FlashAttention-3, Algorithm 2.
//!
//! S = Q·Kᵀ of a step and P·V of the step before are started together. The softmax of S then runs beside P·V, and
//! beside the products of the other warpgroups, which take turns to start theirs. Keys are walked from last to first:
//! the tiles cut by the mask come first, and all others run without mask code.

use crate::block_info::Tiles;
use crate::fragment::{Acc, acc_col, acc_row};
use crate::hopper::descriptor::Descriptor;
use crate::hopper::forward::kernel::{Block, Rows, Variant};
use crate::hopper::forward::work::Work;
use crate::hopper::forward::{amend, epilogue};
use crate::hopper::pipeline::Turn;
use crate::hopper::product::{add_product, multiply_transposed, operand};
use crate::hopper::roles::{Pingpong, WARPGROUP};
use crate::mask::{hide_before, hide_from};
use crate::ptx::{self, Accumulators};
use crate::scores;
use crate::softmax::{MASKED, OnlineSoftmax, UNMASKED};
use crate::tile::{Keys, Shape};

/// A warpgroup that computes.
pub struct Consumer<'a, V: Variant, const STAGES: u32> {
    block: &'a Block<'a, V, STAGES>,
    /// Which one, 1 or more.
    warpgroup: u32,
    /// First row of the warpgroup's rows in the tile.
    first_row: u32,
    pingpong: Pingpong,
    /// Turn of Q.
    q: Turn<1>,
    /// Turn of V; the next one of K is used with it.
    kv: Turn<STAGES>,
}

/// What a step of the main loop hands to the next.
struct State<const STEPS: usize, const D: usize> {
    o: Acc<D>,
    /// P of the step before, rounded.
    p: [[u32; 4]; STEPS],
    softmax: OnlineSoftmax<1>,
}

impl<'a, V: Variant, const STAGES: u32> Consumer<'a, V, STAGES> {
    /// Warpgroup `warpgroup` of the block, 1 or more.
    #[inline(always)]
    pub fn new(block: &'a Block<'a, V, STAGES>, warpgroup: u32) -> Self {
        Consumer {
            block,
            warpgroup,
            first_row: (warpgroup - 1) * 64,
            pingpong: Pingpong::start(ptx::thread_index() / WARPGROUP, V::CONSUMERS),
            q: Turn::FIRST,
            kv: Turn::FIRST,
        }
    }

    /// Computes the warpgroup's rows of all tiles of the block.
    ///
    /// # Safety
    /// The launch is what its parameters say, the barriers are made, and all threads of the warpgroup call it.
    #[inline(always)]
    pub unsafe fn run<const N: usize, const STEPS: usize, const D: usize>(mut self)
    where
        Acc<N>: Accumulators,
        Acc<D>: Accumulators,
    {
        // SAFETY: the launch says where the lengths of packed sequences are. All lanes read the same, see `uniform`.
        let read = |address| ptx::of_first_lane(unsafe { ptx::load_global_u32(address) });
        let (mut round, mut rank) = (0, Block::<V, STAGES>::rank(0));
        while self.block.has_tile(rank) {
            let work = self.block.work(rank, read);
            if !work.is_empty() {
                let tiles = uniform(work.tiles());
                if tiles.is_empty() {
                    // SAFETY: the caller's promise.
                    unsafe { epilogue::store_unseen(self.block, &work, self.first_row) };
                } else {
                    // SAFETY: the caller's promise.
                    unsafe { self.attend::<N, STEPS, D>(&work, tiles) };
                }
            }
            round += 1;
            rank = Block::<V, STAGES>::rank(round);
        }
        self.pingpong.finish();
    }

    /// One tile of O, which sees `tiles`.
    ///
    /// # Safety
    /// As [`run`](Consumer::run).
    #[inline(always)]
    unsafe fn attend<const N: usize, const STEPS: usize, const D: usize>(
        &mut self,
        work: &Work<V>,
        tiles: Tiles,
    ) where
        Acc<N>: Accumulators,
        Acc<D>: Accumulators,
    {
        let full = uniform(work.full_tiles());
        // SAFETY: the caller's promise.
        let mut state = unsafe { self.first_step::<N, STEPS, D>(work, tiles.end - 1, full) };
        // The masked step is compiled once: the first pass takes the tiles that are cut on the right and the full ones,
        // the second one the tiles that are cut on the left only.
        let (mut n_block, mut masked_end) = (tiles.end - 1, full.end);
        while n_block > tiles.begin {
            while n_block > masked_end && n_block > tiles.begin {
                n_block -= 1;
                // SAFETY: the caller's promise.
                unsafe { self.step::<MASKED, N, STEPS, D>(work, n_block, full, &mut state) };
            }
            while n_block > full.begin {
                n_block -= 1;
                // SAFETY: the caller's promise.
                unsafe { self.step::<UNMASKED, N, STEPS, D>(work, n_block, full, &mut state) };
            }
            masked_end = tiles.begin;
        }
        // SAFETY: the caller's promise.
        unsafe { self.last_product(&mut state) };
        // Line 20: O = O / l, L = m + ln l.
        let mut o = [state.o];
        let [lse] = state.softmax.finish(&mut o, 1.0);
        // SAFETY: the caller's promise; all products are complete.
        unsafe { epilogue::store(self.block, work, self.warpgroup, &o[0], lse) };
        // SAFETY: this warp has read the last Q and O from the tile.
        unsafe { self.block.q_ring().give_back(self.q) };
        self.q = self.q.next();
    }

    /// Lines 2 to 6: O = 0 and P of the last key tile.
    ///
    /// # Safety
    /// As [`run`](Consumer::run).
    #[inline(always)]
    unsafe fn first_step<const N: usize, const STEPS: usize, const D: usize>(
        &self,
        work: &Work<V>,
        n_block: u32,
        full: Tiles,
    ) -> State<STEPS, D>
    where
        Acc<N>: Accumulators,
    {
        let (k, v) = (self.block.k_ring(), self.block.v_ring());
        // SAFETY: turns are taken in order.
        unsafe { self.block.q_ring().wait_full(self.q) };
        let scale = self.block.params.forward.softmax_scale;
        if V::IS_PLAIN && scale <= 0.0 {
            let q = self.block.q(self.warpgroup);
            // SAFETY: the tile is loaded and not used yet.
            unsafe { amend::move_sign_into_queries(q, scale, self.warpgroup) };
        }
        // SAFETY: turns are taken in order.
        let one = unsafe { k.wait_full(self.kv) };
        ptx::begin_products();
        // SAFETY: both tiles are loaded.
        let mut s: Acc<N> = unsafe { self.multiply_queries(self.kv.slot(), one) };
        ptx::commit_products();
        if work.has_foreign_keys(n_block) {
            // SAFETY: turns are taken in order.
            unsafe { v.wait_full(self.kv) };
            let v = self.block.v(self.kv.slot());
            // SAFETY: the tile is loaded; all warpgroups have the same work.
            unsafe { amend::clear_values(v, work.keys_left(n_block)) };
        }
        ptx::wait_products::<0>();
        s.settle();
        // SAFETY: the product is complete.
        unsafe { k.give_back(self.kv) };
        let mut softmax = OnlineSoftmax::new(softmax_scale::<V>(scale));
        self.shape_scores::<MASKED, N>(work, n_block, full, &mut s);
        let raise = softmax.raise::<MASKED, N>(0, &s);
        softmax.exponentiate(0, &mut s, raise, 0, N);
        State {
            o: Acc::zero(),
            p: operand::<V::Element, N, STEPS>(&s),
            softmax,
        }
    }

    /// Lines 8 to 16: S of key tile `n_block`, O += P·V of the one before, P of this one.
    ///
    /// # Safety
    /// As [`run`](Consumer::run).
    #[inline(always)]
    unsafe fn step<const MASK: bool, const N: usize, const STEPS: usize, const D: usize>(
        &mut self,
        work: &Work<V>,
        n_block: u32,
        full: Tiles,
        state: &mut State<STEPS, D>,
    ) where
        Acc<N>: Accumulators,
        Acc<D>: Accumulators,
    {
        let (k, v) = (self.block.k_ring(), self.block.v_ring());
        let (before, this) = (self.kv, self.kv.next());
        state.settle();
        // Lines 8 and 9: K is loaded, S = Q·Kᵀ starts.
        // SAFETY: turns are taken in order.
        let one = unsafe { k.wait_full(this) };
        self.pingpong.wait();
        ptx::begin_products();
        // SAFETY: both tiles are loaded.
        let mut s: Acc<N> = unsafe { self.multiply_queries(this.slot(), one) };
        ptx::commit_products();
        // Lines 10 and 11: V is loaded, O += P·V of the step before starts.
        // SAFETY: turns are taken in order.
        unsafe { v.wait_full(before) };
        ptx::begin_products();
        // SAFETY: the tile is loaded.
        unsafe { self.add_values(before.slot(), state) };
        ptx::commit_products();
        self.pingpong.pass_on();
        // Lines 12 and 13: m, P and l follow from S.
        ptx::wait_products::<1>();
        s.settle();
        self.shape_scores::<MASK, N>(work, n_block, full, &mut s);
        let raise = state.softmax.raise::<MASK, N>(0, &s);
        // The product of line 11 is waited for when a quarter of P is left: rounding P and shrinking O then fill the
        // gaps between its exponentials.
        let most = N * 3 / 4;
        state.softmax.exponentiate(0, &mut s, raise, 0, most);
        // SAFETY: the product with K is complete.
        unsafe { k.give_back_after(this, state.softmax.row_sum(0)) };
        state.softmax.exponentiate(0, &mut s, raise, most, N);
        s.settle();
        // Lines 14 to 16: O shrinks to the new m.
        ptx::wait_products::<0>();
        state.settle();
        // SAFETY: the product with V is complete.
        unsafe { v.give_back(before) };
        state.p = operand::<V::Element, N, STEPS>(&s);
        state.o.map(|x, half, _| x * raise.shrink[half]);
        self.kv = this;
    }

    /// Lines 18 and 19: O += P·V of the first key tile.
    ///
    /// # Safety
    /// As [`run`](Consumer::run).
    #[inline(always)]
    unsafe fn last_product<const STEPS: usize, const D: usize>(
        &mut self,
        state: &mut State<STEPS, D>,
    ) where
        Acc<D>: Accumulators,
    {
        let v = self.block.v_ring();
        state.settle();
        // SAFETY: turns are taken in order.
        unsafe { v.wait_full(self.kv) };
        ptx::begin_products();
        // SAFETY: the tile is loaded.
        unsafe { self.add_values(self.kv.slot(), state) };
        ptx::commit_products();
        ptx::wait_products::<0>();
        state.settle();
        // SAFETY: the product is complete.
        unsafe { v.give_back(self.kv) };
        self.kv = self.kv.next();
    }

    /// Starts S = Q·Kᵀ of the warpgroup's rows.
    ///
    /// # Safety
    /// The tiles of Q and K are loaded; [`Accumulators::add_f16`].
    #[inline(always)]
    unsafe fn multiply_queries<C: Accumulators>(&self, slot: u32, one: u32) -> C {
        let q = Descriptor::k_major(self.block.q(1))
            .before(2 * Rows::<V>::BYTES)
            .times_after(self.warpgroup + one, Rows::<V>::BYTES);
        let k = Descriptor::k_major(self.block.k(0))
            .before(Keys::<V>::BYTES)
            .times_after(slot + one, Keys::<V>::BYTES);
        // SAFETY: the caller's promise.
        unsafe { multiply_transposed::<V::Element, Rows<V>, Keys<V>, C>(q.opaque(), k.opaque()) }
    }

    /// Starts O += P·V.
    ///
    /// # Safety
    /// The tile of V is loaded; [`Accumulators::add_rs_f16`].
    #[inline(always)]
    unsafe fn add_values<const STEPS: usize, const D: usize>(
        &self,
        slot: u32,
        state: &mut State<STEPS, D>,
    ) where
        Acc<D>: Accumulators,
    {
        let v = Descriptor::mn_major(self.block.v(0)).times_after(slot, Keys::<V>::BYTES);
        // SAFETY: the caller's promise.
        unsafe {
            add_product::<V::Element, Keys<V>, Acc<D>, STEPS>(&mut state.o, &state.p, v.opaque());
        }
    }

    /// Products become scores: softcap and mask.
    #[inline(always)]
    fn shape_scores<const MASK: bool, const N: usize>(
        &self,
        work: &Work<V>,
        n_block: u32,
        full: Tiles,
        s: &mut Acc<N>,
    ) {
        if !V::IS_PLAIN {
            let forward = &self.block.params.forward;
            scores::cap(s, forward.softmax_scale, forward.scores.softcap);
        }
        if MASK {
            let lane = ptx::opaque(ptx::thread_index()) % 32;
            let rows = [0, 2].map(|i| work.query(self.strip_row() + acc_row(lane, i)));
            let first_key = n_block * V::BLOCK_N + acc_col(lane, 0);
            let keys = &work.sequence.keys;
            if n_block < full.begin {
                hide_before(s, first_key, rows.map(|row| keys.begin(row)));
            }
            if n_block >= full.end {
                hide_from(s, first_key, rows.map(|row| keys.end(row)));
            }
        }
    }

    /// First row of the warp's rows in the tile.
    #[inline(always)]
    fn strip_row(&self) -> u32 {
        self.first_row + ptx::thread_index() % WARPGROUP / 32 * 16
    }
}

impl<const STEPS: usize, const D: usize> State<STEPS, D>
where
    Acc<D>: Accumulators,
{
    /// O and P cross here, see [`Accumulators::settle`].
    #[inline(always)]
    fn settle(&mut self) {
        self.o.settle();
        let mut step = 0;
        while step < STEPS {
            ptx::settle_operand(&mut self.p[step]);
            step += 1;
        }
    }
}

/// What the softmax multiplies scores by: for plain ones |scale|, or 1 for 0, which is left of the scale when its sign
/// has moved into Q.
#[inline(always)]
fn softmax_scale<V: Variant>(scale: f32) -> f32 {
    if !V::IS_PLAIN || scale == 0.0 {
        1.0
    } else {
        scale.abs()
    }
}

/// The same, and the assembler knows that they are those of the whole warp: products stay asynchronous only where all
/// warps are seen to take the same way.
#[inline(always)]
fn uniform(tiles: Tiles) -> Tiles {
    Tiles {
        begin: ptx::of_first_lane(tiles.begin),
        end: ptx::of_first_lane(tiles.end),
    }
}
