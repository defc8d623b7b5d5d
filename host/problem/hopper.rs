//! What kernels for Hopper are told beyond the rest: tensor maps, how heads are packed, how many tiles there are.

use abi::{FwdParams, HopperBwdVariant, HopperFwdVariant, Strided};

use super::{Problem, count_blocks};
use crate::error::ProblemError;
use crate::tensor_map::TiledMatrix;

/// What the maps of a kernel describe, in the order of its parameters: q, k, v, and out or its gradient.
pub(crate) type HopperMaps = [TiledMatrix; 4];

/// Everything that a forward kernel for Hopper is told, its maps to be encoded.
pub(crate) struct HopperForward {
    pub maps: HopperMaps,
    pub forward: FwdParams,
    /// Query tiles of all heads and batch entries.
    pub tiles: u32,
    pub packed_heads: u32,
}

impl Problem {
    /// Cuts the problem into tiles of a kernel that dispatch has found eligible.
    pub(crate) fn hopper_forward(
        &self,
        variant: &HopperFwdVariant,
    ) -> Result<HopperForward, ProblemError> {
        let FwdParams { q, k, v, out, .. } = &self.params;
        let packed_heads = self.packed_heads(variant.block_m);
        let rows = u64::from(self.params.seqlen_q) * u64::from(packed_heads);
        // Fits: at most 64 heads are packed, and a tile has at least 64 rows.
        let m_blocks = rows.div_ceil(variant.block_m.into()) as u32;
        let (forward, _) = self.launch_params(m_blocks, 1)?;
        let heads = self.params.num_heads / packed_heads;
        let tile = |tensor, shape, boxed| TiledMatrix::new(self.dtype, tensor, shape, boxed);
        Ok(HopperForward {
            maps: [
                tile(q, self.q_shape, variant.query_box(packed_heads)),
                tile(k, self.k_shape, variant.key_box()),
                tile(v, self.k_shape, variant.key_box()),
                tile(out, self.q_shape, variant.query_box(packed_heads)),
            ],
            forward,
            tiles: count_blocks(&[m_blocks, heads, self.batch])?,
            packed_heads,
        })
    }

    /// What the maps of a main backward kernel describe.
    pub(crate) fn backward_maps(&self, variant: &HopperBwdVariant, d_out: &Strided) -> HopperMaps {
        let FwdParams { q, k, v, .. } = &self.params;
        let tile = |tensor, shape, boxed| TiledMatrix::new(self.dtype, tensor, shape, boxed);
        [
            tile(q, self.q_shape, variant.query_box()),
            tile(k, self.k_shape, variant.key_box()),
            tile(v, self.k_shape, variant.key_box()),
            tile(d_out, self.q_shape, variant.query_box()),
        ]
    }

    /// Query heads in one tile. Heads that share a key head are packed where one of them alone would leave tiles of
    /// `block_m` rows mostly empty: below 0.9 of what packed tiles hold (the rule of FlashAttention-3). A warpgroup's
    /// 64 rows then hold whole groups of heads, so that a box of O has them.
    fn packed_heads(&self, block_m: u32) -> u32 {
        let group = self.params.heads_per_group;
        let in_use = |rows: u64| rows as f64 / rows.next_multiple_of(block_m.into()) as f64;
        let rows = u64::from(self.params.seqlen_q);
        let is_packable = group > 1 && 64u32.is_multiple_of(group);
        match is_packable && in_use(rows) < 0.9 * in_use(rows * u64::from(group)) {
            true => group,
            false => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;
    use crate::raw::{RawForward, RawTensor};
    use abi::{Dtype, HOPPER_FWD_VARIANTS};

    fn variant() -> &'static HopperFwdVariant {
        let is_meant = |v: &&HopperFwdVariant| (v.dtype, v.head_dim) == (Dtype::Bf16, 128);
        HOPPER_FWD_VARIANTS.iter().find(is_meant).unwrap()
    }

    fn problem(batch: usize, seqlen_q: usize, num_heads: usize, num_heads_k: usize) -> Problem {
        fn tensor<const N: usize>(number: u64, shape: [usize; N]) -> RawTensor<N> {
            RawTensor {
                ptr: number << 40,
                shape,
                strides: layout::contiguous_strides(&shape),
            }
        }
        let queries = [batch, seqlen_q, num_heads, 80];
        let keys = [batch, 1000, num_heads_k, 80];
        let inputs = [tensor(1, queries), tensor(2, keys), tensor(3, keys)];
        let lse = tensor(5, [batch, num_heads, seqlen_q]);
        let args = RawForward::new(Dtype::Bf16, inputs, tensor(4, queries), lse);
        Problem::new(&args).unwrap()
    }

    #[test]
    fn tiles_cover_every_row_of_every_head() {
        let plan = problem(2, 380, 6, 3).hopper_forward(variant()).unwrap();
        assert_eq!((plan.packed_heads, plan.forward.m_blocks), (1, 3));
        assert_eq!(plan.tiles, 3 * 6 * 2);
        let [q, k, v, out] = plan.maps;
        assert_eq!(q.dims, [80, 380, 6, 2]);
        assert_eq!(q.strides, [6 * 160, 160, 380 * 6 * 160]);
        assert_eq!(q.box_dims, [64, 64, 1, 1]);
        assert_eq!(
            (k.dims, k.box_dims),
            ([80, 1000, 3, 2], [64, variant().block_n, 1, 1])
        );
        assert_eq!((v.address, v.dims), (3 << 40, k.dims));
        assert_eq!(
            (out.address, out.dims, out.box_dims),
            (4 << 40, q.dims, q.box_dims)
        );
    }

    #[test]
    fn short_queries_of_a_group_share_a_tile() {
        let plan = problem(3, 1, 8, 2).hopper_forward(variant()).unwrap();
        assert_eq!((plan.packed_heads, plan.forward.m_blocks), (4, 1));
        assert_eq!(plan.tiles, 2 * 3);
        let [q, _, _, out] = plan.maps;
        assert_eq!((q.dims, q.box_dims), ([80, 8, 1, 3], [64, 4, 16, 1]));
        assert_eq!(out.box_dims, q.box_dims);
    }

    #[test]
    fn heads_are_packed_only_where_tiles_get_fuller() {
        let packed = |seqlen_q, group| problem(1, seqlen_q, group, 1).packed_heads(128);
        assert_eq!(packed(1, 1), 1, "one head has nothing to share a tile with");
        assert_eq!(packed(1, 64), 64);
        assert_eq!(packed(1, 3), 1, "64 rows do not hold whole groups of 3");
        assert_eq!(packed(128, 8), 1, "tiles are full");
        assert_eq!(packed(129, 8), 8);
        assert_eq!(packed(117, 2), 1, "0.914 of a tile is enough");
        assert_eq!(packed(1000, 4), 1);
    }
}
