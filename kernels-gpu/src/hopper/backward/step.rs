//! One query tile against the key tile: lines 10 to 16 of the algorithm.

use crate::backward::probabilities::combine;
use crate::fragment::{Acc, acc_col, acc_row, rows_first};
use crate::hopper::backward::dq::{self, DqCursor};
use crate::hopper::backward::keys::Warpgroup;
use crate::hopper::backward::storage::Keys;
use crate::hopper::backward::{KeyTile, Variant, ends, sync_computing};
use crate::hopper::descriptor::Descriptor;
use crate::hopper::product::{
    add_product, add_transposed, multiply_columns, multiply_transposed, operand,
};
use crate::mask::hide_outside;
use crate::ptx::{self, Accumulators};
use crate::scores;
use crate::tile::{KeysByQueries, Queries, Shape};
use core::f32::consts::LOG2_E;

/// Keys of a warpgroup.
const GROUP_KEYS: u32 = 64;

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
        // Addresses and descriptors are cheaper to compute in each step than to keep.
        let (storage, turn) = (self.storage.anew(), self.turn);
        let group = ptx::opaque(self.group);
        let (q, d_out) = (storage.q(turn.slot()), storage.d_out(turn.slot()));
        let (q_ring, d_out_ring) = (storage.q_ring(), storage.d_out_ring());
        let keys = group * GROUP_KEYS * Keys::<V>::ROW_BYTES;
        let [k, v] = [storage.k(), storage.v()].map(|tile| Descriptor::k_major(tile).after(keys));
        let lane = ptx::thread_index() % 32;
        let statistics = storage.statistics(turn.slot());

        // SAFETY: in this function, as the caller promises: tiles are in shared memory once their barriers are passed, and
        // accumulators and operands are left alone while products are under way.
        unsafe {
            q_ring.wait_full(turn);
            if MASK {
                let rows = tile.block.sequence.keys.seqlen_q - m_block * V::BLOCK_M;
                if rows < V::BLOCK_M {
                    d_out_ring.wait_full(turn);
                    ends::clear::<V, _>([q, d_out], rows);
                }
            }
            // Line 10.
            ptx::begin_products();
            let mut s: Acc<M> = multiply_transposed::<V::Element, Keys<V>, Queries<V>, _>(
                k,
                Descriptor::k_major(q),
            );
            ptx::commit_products();

            // Line 13, which begins with -D.
            d_out_ring.wait_full(turn);
            let mut d_p = neg_delta::<V, M>(statistics, lane);
            d_p.settle();
            ptx::begin_products();
            add_transposed::<V::Element, Keys<V>, Queries<V>, _>(
                &mut d_p,
                v,
                Descriptor::k_major(d_out),
            );
            ptx::commit_products();

            // Line 11.
            ptx::wait_products::<1>();
            s.settle();
            let forward = &tile.params.forward;
            let (mut scale, softcap) = (forward.softmax_scale, forward.scores.softcap);
            if !V::IS_PLAIN {
                scores::cap(&mut s, scale, softcap);
                scale = 1.0;
            }
            let capped = s;
            let neg_lse_log2 = neg_lse_log2::<M>(statistics, lane);
            combine(&mut s, &neg_lse_log2, |s, l| ptx::fma(s, scale * LOG2_E, l));
            if MASK {
                self.hide(tile, m_block, &mut s);
            }
            s.map(|exponent, _, _| ptx::exp2(exponent));

            // Line 12.
            let mut p = operand::<V::Element, M, STEPS>(&s);
            settle_operands(&mut p);
            if !V::IS_PLAIN {
                // What is left of P for dS: times the derivative of the cap.
                combine(&mut s, &capped, |p, x| {
                    p * scores::cap_derivative(x, softcap)
                });
                s.settle();
            }
            ptx::begin_products();
            add_product::<V::Element, Queries<V>, _, STEPS>(
                &mut self.d_v,
                &p,
                Descriptor::mn_major(d_out),
            );
            ptx::commit_products();

            // Line 14.
            ptx::wait_products::<1>();
            d_p.settle();
            combine(&mut d_p, &s, |d_p, p| d_p * p);
            let mut d_s = operand::<V::Element, M, STEPS>(&d_p);
            let to = storage.d_s(turn.slot());
            self.share(to, &d_s);

            // Lines 15 and 16.
            settle_operands(&mut d_s);
            ptx::begin_products();
            let (row, col) = dq::corner::<V>(group, C);
            let mut part: Acc<C> = multiply_columns::<V::Element, KeysByQueries<V>, Keys<V>, _>(
                Descriptor::mn_major(to).after(page_of::<KeysByQueries<V>>(row)),
                Descriptor::mn_major(storage.k()).after(page_of::<Keys<V>>(col)),
            );
            ptx::commit_products();
            add_product::<V::Element, Queries<V>, _, STEPS>(
                &mut self.d_k,
                &d_s,
                Descriptor::mn_major(q),
            );
            ptx::commit_products();

            ptx::wait_products::<2>();
            self.d_v.settle();
            d_out_ring.give_back(turn);
            ptx::wait_products::<1>();
            part.settle();
            d_q.add(&part);
            ptx::wait_products::<0>();
            self.d_k.settle();
            q_ring.give_back(turn);
        }
        self.turn = turn.next();
    }

    /// Hides what the mask hides, and keys beyond the end. What is hidden is the exponent and not the score, which may have
    /// any sign before it is scaled.
    #[inline(always)]
    fn hide(&self, tile: &KeyTile, m_block: u32, s: &mut Acc<M>) {
        let thread = ptx::opaque(ptx::thread_index());
        let (warp, lane) = (thread / 32 % 4, thread % 32);
        let keys = &tile.block.sequence.keys;
        let first_key = tile.first_key::<V>() + self.group * GROUP_KEYS + 16 * warp;
        let key = [0, 2].map(|i| first_key + acc_row(lane, i));
        let begin = key.map(|key| keys.first_row(key));
        let end = key.map(|key| {
            if key < keys.seqlen_k {
                keys.end_row(key)
            } else {
                0
            }
        });
        hide_outside(s, lane, m_block * V::BLOCK_M, begin, end);
    }

    /// Writes the warpgroup's keys of dSᵀ to shared memory and waits for those of the others.
    ///
    /// # Safety
    /// No product of this step or the one before reads or will read the slot.
    #[inline(always)]
    unsafe fn share(&self, to: crate::tile::SharedTile<KeysByQueries<V>>, d_s: &[[u32; 4]; STEPS]) {
        let thread = ptx::opaque(ptx::thread_index());
        let row = self.group * GROUP_KEYS + thread / 32 % 4 * 16;
        let at = to.lane(row, rows_first(thread % 32));
        let mut step = 0;
        while step < STEPS {
            // SAFETY: inside the warp's rows.
            unsafe { ptx::store_matrix(at.piece(0, step as u32), d_s[step]) };
            step += 1;
        }
        ptx::fence_proxy_async();
        sync_computing::<V>();
    }
}

/// -L · log2(e) of each query, for the lane's columns: as an accumulator of Sᵀ has it.
///
/// # Safety
/// The row statistics are in shared memory.
#[inline(always)]
unsafe fn neg_lse_log2<const M: usize>(statistics: u32, lane: u32) -> Acc<M> {
    let mut acc = Acc::zero();
    let mut n = 0;
    while n < M {
        let at = statistics + 4 * acc_col(lane, 0) + 32 * n as u32;
        // SAFETY: the caller's promise; a multiple of 8 bytes.
        let [a, b] = unsafe { ptx::load_shared_pair(at) }.map(f32::from_bits);
        acc.0[n] = [a, b, a, b];
        n += 1;
    }
    acc
}

/// What dPᵀ is added to: -D of each query, for the lane's columns.
///
/// # Safety
/// The row statistics are in shared memory.
#[inline(always)]
unsafe fn neg_delta<V: Variant, const M: usize>(statistics: u32, lane: u32) -> Acc<M> {
    let mut acc = Acc::zero();
    let mut n = 0;
    while n < M {
        let at = statistics + 4 * V::BLOCK_M + 8 * acc_col(lane, 0) + 64 * n as u32;
        // SAFETY: the caller's promise; a multiple of 16 bytes.
        acc.0[n] = unsafe { ptx::load_shared(at) }.map(f32::from_bits);
        n += 1;
    }
    acc
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
const fn page_of<S: Shape>(col: u32) -> u32 {
    col / S::PAGE_COLS * S::PAGE_BYTES
}
