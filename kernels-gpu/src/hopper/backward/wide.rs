//! The step of head dimensions above 128, where dK and dV of 64 keys do not fit in the registers of one warpgroup.
//!
//! Both warpgroups have all 64 keys of the tile and half of the columns of dK, dV and dQ. Of the scores each has half of
//! the queries, and so both Pᵀ and dSᵀ go through shared memory and are first operands there.

use crate::backward::probabilities::combine;
use crate::fragment::Acc;
use crate::hopper::backward::dq::{self, DqCursor};
use crate::hopper::backward::keys::Warpgroup;
use crate::hopper::backward::step::{Place, page_of, show, start_d_q};
use crate::hopper::backward::storage::Queries;
use crate::hopper::backward::{KeyTile, Variant};
use crate::hopper::descriptor::Descriptor;
use crate::hopper::product::{add_tile_product, operand};
use crate::ptx::{self, Accumulators};
use crate::tile::{KeysByQueries, SharedTile};

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
    /// As [`step`](Self::step).
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn step_wide<const MASK: bool>(
        &mut self,
        tile: &KeyTile,
        m_block: u32,
        d_q: &DqCursor,
    ) {
        let at = Place::new(self.storage, self.turn, self.group);
        let p_tile = at.storage.p(at.turn.slot());
        // SAFETY: as in `step`.
        unsafe {
            let (mut s, mut d_p) = self.start_scores::<MASK>(tile, m_block, &at);
            // Line 11.
            ptx::wait_products::<1>();
            s.settle();
            let p = self.exponentiate::<MASK>(tile, m_block, &at, &mut s);
            at.store(p_tile, &p);
            // Line 14.
            ptx::wait_products::<0>();
            d_p.settle();
            combine(&mut d_p, &s, |d_p, p| d_p * p);
            at.store(at.d_s(), &operand::<V::Element, M, STEPS>(&d_p));
            show::<V>();
            // Lines 12, 15 and 16.
            ptx::begin_products();
            add_half(&at, p_tile, at.d_out(), &mut self.d_v);
            let part = start_d_q(&at);
            ptx::commit_products();
            add_half(&at, at.d_s(), at.q(), &mut self.d_k);
            ptx::commit_products();
            self.finish(&at, part, d_q);
        }
    }
}

/// Starts to add to the warpgroup's columns of dV = Pᵀ·dO or dK = dSᵀ·Q.
///
/// # Safety
/// Both tiles are in shared memory, as [`Accumulators::add_f16`] asks.
#[inline(always)]
unsafe fn add_half<V: Variant, const D: usize>(
    at: &Place<V>,
    a: SharedTile<KeysByQueries<V>>,
    b: SharedTile<Queries<V>>,
    acc: &mut Acc<D>,
) where
    Acc<D>: Accumulators,
{
    let (_, col) = dq::corner::<V>(at.group, D);
    let b = Descriptor::mn_major(b).after(page_of::<Queries<V>>(col));
    // SAFETY: the caller's promise.
    unsafe {
        add_tile_product::<V::Element, KeysByQueries<V>, Queries<V>, _>(
            acc,
            Descriptor::k_major(a),
            b,
        );
    }
}
