//! One query tile against the key tile: lines 10 to 16 of the algorithm.

use crate::backward::probabilities::combine;
use crate::fragment::{Acc, STRIP_ROWS, acc_col, acc_row, rows_first};
use crate::hopper::backward::dq::{self, DqCursor};
use crate::hopper::backward::keys::Warpgroup;
use crate::hopper::backward::storage::{Keys, Queries, Storage};
use crate::hopper::backward::{KeyTile, SLOTS, Variant, ends};
use crate::hopper::descriptor::Descriptor;
use crate::hopper::pipeline::Turn;
use crate::hopper::product::{
    add_product, add_transposed, multiply_columns, multiply_transposed, operand,
};
use crate::hopper::roles;
use crate::mask::hide_outside;
use crate::ptx::{self, Accumulators};
use crate::scores;
use crate::tile::{KeysByQueries, Shape, SharedTile};
use core::f32::consts::LOG2_E;

/// Where a step has its tiles, and which of its scores are the warpgroup's. Addresses and descriptors are cheaper to
/// compute in each step than to keep.
pub struct Place<V> {
    /// Places in shared memory.
    pub storage: Storage<V>,
    /// The slots of Q, dO and row statistics.
    pub turn: Turn<SLOTS>,
    /// Which of the warpgroups that compute.
    pub group: u32,
    /// First key of the warpgroup's scores, in the key tile.
    first_key: u32,
    /// First query of them, in the query tile.
    first_query: u32,
}

impl<V: Variant> Place<V> {
    /// Of a warpgroup in the step of `turn`.
    #[inline(always)]
    pub fn new(storage: Storage<V>, turn: Turn<SLOTS>, group: u32) -> Self {
        let group = ptx::opaque(group);
        let (first_key, first_query) = match V::IS_WIDE {
            true => (0, group * (V::BLOCK_M / 2)),
            false => (group * (V::BLOCK_N / 2), 0),
        };
        Place {
            storage: storage.anew(),
            turn,
            group,
            first_key,
            first_query,
        }
    }

    /// Q of the step.
    #[inline(always)]
    pub const fn q(&self) -> SharedTile<Queries<V>> {
        self.storage.q(self.turn.slot())
    }

    /// dO of the step.
    #[inline(always)]
    pub const fn d_out(&self) -> SharedTile<Queries<V>> {
        self.storage.d_out(self.turn.slot())
    }

    /// dSᵀ of the step.
    #[inline(always)]
    pub const fn d_s(&self) -> SharedTile<KeysByQueries<V>> {
        self.storage.d_s(self.turn.slot())
    }

    /// The warpgroup's keys of `tile`, K or V, as first operand of a product over head_dim.
    #[inline(always)]
    const fn keys_of(&self, tile: SharedTile<Keys<V>>) -> Descriptor {
        Descriptor::k_major(tile).after(self.first_key * Keys::<V>::ROW_BYTES)
    }

    /// The warpgroup's queries of `tile`, Q or dO, as second operand of a product over head_dim.
    #[inline(always)]
    const fn queries_of(&self, tile: SharedTile<Queries<V>>) -> Descriptor {
        Descriptor::k_major(tile).after(self.first_query * Queries::<V>::ROW_BYTES)
    }

    /// -L · log2(e) of each query, for the lane's columns: as an accumulator of Sᵀ has it.
    ///
    /// # Safety
    /// The row statistics are in shared memory.
    #[inline(always)]
    unsafe fn neg_lse_log2<const M: usize>(&self) -> Acc<M> {
        let col = self.first_query + acc_col(ptx::thread_index() % 32, 0);
        let first = self.storage.statistics(self.turn.slot()) + 4 * col;
        let mut acc = Acc::zero();
        let mut n = 0;
        while n < M {
            // SAFETY: the caller's promise; a multiple of 8 bytes.
            let [a, b] = unsafe { ptx::load_shared_pair(first + 32 * n as u32) };
            acc.0[n] = [a, b, a, b].map(f32::from_bits);
            n += 1;
        }
        acc
    }

    /// What dPᵀ is added to: -D of each query, for the lane's columns.
    ///
    /// # Safety
    /// The row statistics are in shared memory.
    #[inline(always)]
    unsafe fn neg_delta<const M: usize>(&self) -> Acc<M> {
        let col = self.first_query + acc_col(ptx::thread_index() % 32, 0);
        let first = self.storage.statistics(self.turn.slot()) + 4 * V::BLOCK_M + 8 * col;
        let mut acc = Acc::zero();
        let mut n = 0;
        while n < M {
            // SAFETY: the caller's promise; a multiple of 16 bytes.
            acc.0[n] = unsafe { ptx::load_shared(first + 64 * n as u32) }.map(f32::from_bits);
            n += 1;
        }
        acc
    }

    /// Writes the warpgroup's part of Pᵀ or dSᵀ to shared memory.
    ///
    /// # Safety
    /// Nobody reads the part before [`show`].
    #[inline(always)]
    pub unsafe fn store<const STEPS: usize>(
        &self,
        to: SharedTile<KeysByQueries<V>>,
        words: &[[u32; 4]; STEPS],
    ) {
        let thread = ptx::opaque(ptx::thread_index());
        let row = self.first_key + thread / 32 % 4 * STRIP_ROWS;
        let at = to.lane(row, rows_first(thread % 32));
        let first_step = self.first_query / STRIP_ROWS;
        let mut step = 0;
        while step < STEPS {
            let piece = at.piece(0, first_step + step as u32);
            // SAFETY: inside the warp's part.
            unsafe { ptx::store_matrix(piece, words[step]) };
            step += 1;
        }
    }
}

/// Shows all warpgroups and their products what each has stored.
#[inline(always)]
pub fn show<V: Variant>() {
    ptx::fence_proxy_async();
    roles::sync_consumers(V::CONSUMERS);
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
    /// Query tile `m_block`.
    ///
    /// # Safety
    /// The launch is truthful; K and V are in shared memory, and the copies of the turn are of this tile, as is `d_q`.
    /// Called by all warpgroups that compute.
    #[inline(always)]
    pub unsafe fn step<const MASK: bool>(&mut self, tile: &KeyTile, m_block: u32, d_q: &DqCursor) {
        let at = Place::new(self.storage, self.turn, self.group);
        // SAFETY: as the caller promises: tiles are in shared memory once their barriers are passed, and accumulators and
        // operands are left alone while products are under way.
        unsafe {
            let (mut s, mut d_p) = self.start_scores::<MASK>(tile, m_block, &at);
            // Line 11.
            ptx::wait_products::<1>();
            s.settle();
            let mut p = self.exponentiate::<MASK>(tile, m_block, &at, &mut s);
            // Line 12.
            settle_operands(&mut p);
            ptx::begin_products();
            let d_out = Descriptor::mn_major(at.d_out());
            add_product::<V::Element, Queries<V>, _, STEPS>(&mut self.d_v, &p, d_out);
            ptx::commit_products();
            // Line 14.
            ptx::wait_products::<1>();
            d_p.settle();
            combine(&mut d_p, &s, |d_p, p| d_p * p);
            let mut d_s = operand::<V::Element, M, STEPS>(&d_p);
            at.store(at.d_s(), &d_s);
            show::<V>();
            // Lines 15 and 16.
            settle_operands(&mut d_s);
            ptx::begin_products();
            let part = start_d_q(&at);
            ptx::commit_products();
            let q = Descriptor::mn_major(at.q());
            add_product::<V::Element, Queries<V>, _, STEPS>(&mut self.d_k, &d_s, q);
            ptx::commit_products();
            self.finish(&at, part, d_q);
        }
    }

    /// Lines 10 and 13: starts Sᵀ, and dPᵀ behind it, which begins with -D.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    #[inline(always)]
    pub unsafe fn start_scores<const MASK: bool>(
        &self,
        tile: &KeyTile,
        m_block: u32,
        at: &Place<V>,
    ) -> (Acc<M>, Acc<M>) {
        let d_out_arrivals = at.storage.d_out_arrivals();
        let (k, v) = (at.keys_of(at.storage.k()), at.keys_of(at.storage.v()));
        // SAFETY: the caller's promise.
        unsafe {
            at.storage.queries_ring().wait_full(at.turn);
            if MASK {
                let rows = tile.block.sequence.keys.seqlen_q - m_block * V::BLOCK_M;
                if rows < V::BLOCK_M {
                    d_out_arrivals.wait(at.turn);
                    ends::clear::<V, _>([at.q(), at.d_out()], rows);
                }
            }
            ptx::begin_products();
            let q = at.queries_of(at.q());
            let s = multiply_transposed::<V::Element, Keys<V>, Queries<V>, _>(k, q);
            ptx::commit_products();

            d_out_arrivals.wait(at.turn);
            let mut d_p = at.neg_delta::<M>();
            d_p.settle();
            ptx::begin_products();
            let d_out = at.queries_of(at.d_out());
            add_transposed::<V::Element, Keys<V>, Queries<V>, _>(&mut d_p, v, d_out);
            ptx::commit_products();
            (s, d_p)
        }
    }

    /// Line 11: products become P, which is returned rounded, and what is left of it for dS: with a softcap times the
    /// derivative of the cap.
    ///
    /// # Safety
    /// The row statistics are in shared memory.
    #[inline(always)]
    pub unsafe fn exponentiate<const MASK: bool>(
        &self,
        tile: &KeyTile,
        m_block: u32,
        at: &Place<V>,
        s: &mut Acc<M>,
    ) -> [[u32; 4]; STEPS] {
        let forward = &tile.params.forward;
        let (mut scale, softcap) = (forward.softmax_scale, forward.scores.softcap);
        if !V::IS_PLAIN {
            scores::cap(s, scale, softcap);
            scale = 1.0;
        }
        let capped = *s;
        // SAFETY: the caller's promise.
        let neg_lse_log2 = unsafe { at.neg_lse_log2::<M>() };
        combine(s, &neg_lse_log2, |s, l| ptx::fma(s, scale * LOG2_E, l));
        if MASK {
            hide(tile, m_block, at, s);
        }
        s.map(|exponent, _, _| ptx::exp2(exponent));
        let p = operand::<V::Element, M, STEPS>(s);
        if !V::IS_PLAIN {
            combine(s, &capped, |p, x| p * scores::cap_derivative(x, softcap));
            // Not later: the capped scores take registers.
            s.settle();
        }
        p
    }

    /// Waits for dQ and adds it, waits for dK, and gives Q and dO back.
    ///
    /// # Safety
    /// As [`step`](Self::step); under way are a group with dK, one with dQ before it, and dV in that one or before.
    #[inline(always)]
    pub unsafe fn finish(&mut self, at: &Place<V>, mut part: Acc<C>, d_q: &DqCursor) {
        // SAFETY: the caller's promise.
        unsafe {
            ptx::wait_products::<1>();
            self.d_v.settle();
            part.settle();
            d_q.add(&part);
            ptx::wait_products::<0>();
            self.d_k.settle();
            at.storage.queries_ring().give_back(at.turn);
        }
        self.turn = at.turn.next();
    }
}

/// Line 15: starts the warpgroup's part of dS·K.
///
/// # Safety
/// dSᵀ and K are in shared memory, as [`Accumulators::add_f16`] asks.
#[inline(always)]
pub unsafe fn start_d_q<V: Variant, const C: usize>(at: &Place<V>) -> Acc<C>
where
    Acc<C>: Accumulators,
{
    let (row, col) = dq::corner::<V>(at.group, C);
    let d_s = Descriptor::mn_major(at.d_s()).after(page_of::<KeysByQueries<V>>(row));
    let k = Descriptor::mn_major(at.storage.k()).after(page_of::<Keys<V>>(col));
    // SAFETY: the caller's promise.
    unsafe { multiply_columns::<V::Element, KeysByQueries<V>, Keys<V>, _>(d_s, k) }
}

/// Hides what the mask hides, and keys beyond the end. What is hidden is the exponent and not the score, which may have
/// any sign before it is scaled.
#[inline(always)]
fn hide<V: Variant, const M: usize>(tile: &KeyTile, m_block: u32, at: &Place<V>, s: &mut Acc<M>) {
    let thread = ptx::opaque(ptx::thread_index());
    let (warp, lane) = (thread / 32 % 4, thread % 32);
    let keys = &tile.block.sequence.keys;
    let first_key = tile.first_key::<V>() + at.first_key + STRIP_ROWS * warp;
    let key = [0, 2].map(|i| first_key + acc_row(lane, i));
    let begin = key.map(|key| keys.first_row(key));
    let end = key.map(|key| match key < keys.seqlen_k {
        true => keys.end_row(key),
        false => 0,
    });
    hide_outside(s, lane, m_block * V::BLOCK_M + at.first_query, begin, end);
}

/// Keeps operands where they are: see [`ptx::settle_operand`].
#[inline(always)]
fn settle_operands<const STEPS: usize>(words: &mut [[u32; 4]; STEPS]) {
    let mut step = 0;
    while step < STEPS {
        ptx::settle_operand(&mut words[step]);
        step += 1;
    }
}

/// Bytes from the first page of a tile to the one that begins with column `col`.
#[inline(always)]
pub const fn page_of<S: Shape>(col: u32) -> u32 {
    col / S::PAGE_COLS * S::PAGE_BYTES
}
