//! The gradient of the bias: P ∘ (dP - D), summed over the heads and batch entries that share an element.
//!
//! One block computes one tile of it and writes every element once, so the result does not depend on any order. P and
//! dP are recomputed, transposed as in `key_tile`: a warp owns 16 keys.

use crate::backward::block::KeyHead;
use crate::backward::key_tile::Variant;
use crate::backward::probabilities::{Derivative, ScoreTile, combine};
use crate::backward::rows::{RowStatistics, row_statistics, scratch_row};
use crate::block_info::div_rem;
use crate::copy::TileCopy;
use crate::flash_fwd::Place;
use crate::fragment::{Acc, STRIP_ROWS, acc_col, acc_row, chunks_first, rows_first};
use crate::global_tile::{Extent, Rows};
use crate::mma::{Element, mma_qk};
use crate::ptx;
use crate::sequence::Sequence;
use crate::softmax::MASKED;
use crate::tile::{ELEMENT_BYTES, Keys, LaneAddress, Queries, Shape, SharedTile};
use crate::tiling::Tiling;
use abi::BwdParams;

/// The kernel of variant `V`: tiles of `8 * M` queries.
///
/// # Safety
/// `params` is what its documentation says, every matrix is accessible as `V::Copy` asks, the delta kernel has run, and
/// the launch has `V::THREADS` threads per block, `bias_n_blocks * bias_m_blocks * bias_heads * bias_batch` blocks and
/// the variant's dynamic shared memory.
#[inline(always)]
pub unsafe fn bias<V: Variant, const M: usize>(params: &BwdParams) {
    const {
        assert!(M as u32 * 8 == V::BLOCK_M);
        assert!(V::BLOCK_N == STRIP_ROWS * V::WARPS, "a warp owns 16 keys");
    }
    let tile = BiasTile::current::<V>(params);
    let mut sum = Acc::<M>::zero();
    let (mut batch, end_batch) = sharers(tile.batch, params.bias_batch, params.batch);
    while batch < end_batch {
        // SAFETY: `params` says where the lengths of packed sequences are.
        let sequence = Sequence::new(&params.forward, batch, |address| unsafe {
            ptx::load_global_u32(address)
        });
        let (mut head, end_head) = sharers(tile.head, params.bias_heads, params.forward.num_heads);
        while tile.is_visible::<V>(&sequence) && head < end_head {
            // SAFETY: the launch is as promised.
            unsafe { tile.add_head::<V, M>(params, sequence, head, &mut sum) };
            head += 1;
        }
        batch += 1;
    }
    // SAFETY: this block alone writes the tile.
    unsafe { tile.store::<V, M>(params, &sum) };
}

/// The heads (or batch entries) that share head `own` of the bias, which has `extent` of them: one or all.
#[inline(always)]
const fn sharers(own: u32, extent: u32, all: u32) -> (u32, u32) {
    if extent == 1 {
        (0, all)
    } else {
        (own, own + 1)
    }
}

/// One tile of the bias.
struct BiasTile {
    batch: u32,
    head: u32,
    first_query: u32,
    first_key: u32,
}

/// Where a block's tiles are in shared memory, as this lane reads them.
struct Lanes<V: Variant> {
    k: LaneAddress<Keys<V>>,
    v: LaneAddress<Keys<V>>,
    q: LaneAddress<Queries<V>>,
    d_out: LaneAddress<Queries<V>>,
    rows: RowStatistics<V>,
}

impl BiasTile {
    /// Of the calling block.
    #[inline(always)]
    fn current<V: Tiling>(params: &BwdParams) -> Self {
        let (rest, n_block) = div_rem(ptx::block_index(), params.bias_n_blocks);
        let (rest, m_block) = div_rem(rest, params.bias_m_blocks);
        let (batch, head) = div_rem(rest, params.bias_heads);
        BiasTile {
            batch,
            head,
            first_query: m_block * V::BLOCK_M,
            first_key: n_block * V::BLOCK_N,
        }
    }

    /// Whether any query of the tile sees any key of it in `sequence`.
    #[inline(always)]
    fn is_visible<V: Tiling>(&self, sequence: &Sequence) -> bool {
        let keys = &sequence.keys;
        self.first_query < keys.seqlen_q
            && keys.end(self.first_query + V::BLOCK_M - 1) > self.first_key
            && keys.begin(self.first_query) < self.first_key + V::BLOCK_N
    }

    /// Adds the part of one head.
    ///
    /// # Safety
    /// As [`bias`]; the tile has a query and a key of the sequence.
    #[inline(always)]
    unsafe fn add_head<V: Variant, const M: usize>(
        &self,
        params: &BwdParams,
        sequence: Sequence,
        head: u32,
        sum: &mut Acc<M>,
    ) {
        let (head_k, _) = div_rem(head, params.forward.heads_per_group);
        let block = KeyHead {
            head_k,
            first_tile: 0,
            sequence,
        };
        // SAFETY: the caller's promise.
        let lanes = unsafe { self.load::<V>(params, &block, head) };
        let tile = ScoreTile {
            params,
            block: &block,
            head,
            first_key: self.first_key + STRIP_ROWS * Place::current().warp,
            first_query: self.first_query,
        };
        // SAFETY: everything is in shared memory.
        let acc_ds = unsafe {
            let [acc_s] = mma_qk::<V::Element, _, _, 1, M>(&lanes.k, &lanes.q);
            let (_, weights) =
                tile.probabilities::<V, MASKED, M>(acc_s, &lanes.rows, Derivative::OfScores);
            let [acc_dp] = mma_qk::<V::Element, _, _, 1, M>(&lanes.v, &lanes.d_out);
            tile.gradient::<V, M>(acc_dp, &weights, &lanes.rows)
        };
        combine(sum, &acc_ds, |sum, ds| sum + ds);
    }

    /// Loads the tiles of one head and the statistics of its rows.
    ///
    /// # Safety
    /// As [`add_head`](Self::add_head).
    #[inline(always)]
    unsafe fn load<V: Variant>(&self, params: &BwdParams, block: &KeyHead, head: u32) -> Lanes<V> {
        let forward = &params.forward;
        let k = SharedTile::<Keys<V>>::at(ptx::dynamic_shared());
        let v = SharedTile::<Keys<V>>::at(k.base() + Keys::<V>::BYTES);
        let q = SharedTile::<Queries<V>>::at(v.base() + Keys::<V>::BYTES);
        let d_out = SharedTile::<Queries<V>>::at(q.base() + Queries::<V>::BYTES);
        let rows = d_out.base() + Queries::<V>::BYTES;
        let key_extent = block.keys_extent(forward, self.first_key);
        let query_extent = Extent {
            rows: Rows::First(block.sequence.keys.seqlen_q - self.first_query),
            cols: forward.head_dim,
        };
        let keys_of = |matrix| block.keys_of(matrix).tile_below(1, self.first_key);
        let queries_of = |matrix| {
            block
                .queries_of(matrix, head)
                .tile_below(1, self.first_query)
        };
        // Ends the reads of the head before.
        ptx::barrier();
        // SAFETY: the caller's promise; shared memory is free.
        unsafe {
            V::Copy::load(k, &keys_of(&forward.k), key_extent);
            V::Copy::load(v, &keys_of(&forward.v), key_extent);
            V::Copy::load(q, &queries_of(&forward.q), query_extent);
            V::Copy::load(d_out, &queries_of(&params.d_out), query_extent);
            self.load_statistics::<V>(params, block, head, rows);
        }
        V::Copy::wait();
        ptx::barrier();
        let place = Place::current();
        let strip = STRIP_ROWS * place.warp;
        Lanes {
            k: k.lane(strip, rows_first(place.lane)),
            v: v.lane(strip, rows_first(place.lane)),
            q: q.lane(0, chunks_first(place.lane)),
            d_out: d_out.lane(0, chunks_first(place.lane)),
            rows: RowStatistics::at(rows, place.lane),
        }
    }

    /// Copies the statistics of the tile's rows, two rows at a time, from the scratch, whose tiles are those of the main
    /// kernel. Rows beyond the end get what the delta kernel gives them.
    ///
    /// # Safety
    /// As [`load`](Self::load); `to` is free.
    #[inline(always)]
    unsafe fn load_statistics<V: Variant>(
        &self,
        params: &BwdParams,
        block: &KeyHead,
        head: u32,
        to: u32,
    ) {
        let sequence = &block.sequence;
        let mut row = 2 * ptx::thread_index();
        while row < V::BLOCK_M {
            let (mut neg_lse_log2, mut neg_delta) = ([f32::NEG_INFINITY; 2], [0.0; 4]);
            if self.first_query + row < sequence.keys.seqlen_q {
                let (m_block, in_tile) = div_rem(self.first_query + row, params.tile_rows);
                let first = scratch_row(params, sequence, head, m_block, params.tile_rows);
                let from = row_statistics(params, first);
                let deltas = from + 4 * (params.tile_rows + 2 * in_tile) as u64;
                // SAFETY: the delta kernel has written the tile of this row; multiples of 8 and 16 bytes.
                unsafe {
                    neg_lse_log2 = ptx::load_global_f32x2(from + 4 * in_tile as u64);
                    neg_delta = ptx::load_global_f32x4(deltas);
                }
            }
            // SAFETY: inside the statistics, and these rows are this thread's own.
            unsafe {
                ptx::store_shared_word(to + 4 * row, neg_lse_log2[0].to_bits());
                ptx::store_shared_word(to + 4 * row + 4, neg_lse_log2[1].to_bits());
                let deltas = to + 4 * V::BLOCK_M + 8 * row;
                ptx::store_shared(deltas, neg_delta.map(f32::to_bits));
            }
            row += 2 * V::THREADS;
        }
    }

    /// Writes the elements of the tile that the bias has.
    ///
    /// # Safety
    /// d_bias is writable as `params` says, and no other block writes the tile.
    #[inline(always)]
    unsafe fn store<V: Variant, const M: usize>(&self, params: &BwdParams, sum: &Acc<M>) {
        let (forward, d_bias) = (&params.forward, &params.d_bias);
        let place = Place::current();
        let head = (d_bias.batch_stride.wrapping_mul(self.batch as i64))
            .wrapping_add(d_bias.head_stride.wrapping_mul(self.head as i64));
        let mut n = 0;
        while n < M {
            let mut i = 0;
            while i < 4 {
                let query = self.first_query + 8 * n as u32 + acc_col(place.lane, i);
                let key = self.first_key + STRIP_ROWS * place.warp + acc_row(place.lane, i);
                if query < forward.seqlen_q && key < forward.seqlen_k {
                    let element = (d_bias.row_stride.wrapping_mul(query as i64))
                        .wrapping_add(head)
                        .wrapping_add(key as i64);
                    let x = sum.0[n][i as usize];
                    // SAFETY: the element exists, and this lane alone writes it.
                    unsafe { store_element::<V::Element>(params, element, x) };
                }
                i += 1;
            }
            n += 1;
        }
    }
}

/// Writes one element of d_bias, which has the type of the bias.
///
/// # Safety
/// The element is writable and no other thread writes it.
#[inline(always)]
unsafe fn store_element<E: Element>(params: &BwdParams, element: i64, x: f32) {
    let at = |bytes: u32| {
        let offset = element.wrapping_mul(bytes as i64);
        params.d_bias.ptr.wrapping_add_signed(offset)
    };
    // SAFETY: the caller's promise.
    unsafe {
        if params.forward.scores.bias_is_f32 != 0 {
            ptx::store_global_f32(at(4), x);
        } else {
            ptx::store_global_element(at(ELEMENT_BYTES), E::pack(x, 0.0) as u16);
        }
    }
}
