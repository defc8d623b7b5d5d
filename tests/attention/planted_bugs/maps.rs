//! What kernels for Hopper are told: the parameters of the others, and tensor maps of contiguous matrices of one head of
//! one batch entry.

use abi::{
    BwdParams, Dtype, FwdParams, HopperBwdParams, HopperBwdVariant, HopperFwdParams,
    HopperFwdVariant, Strided, TensorBox,
};
use ptx_emulator::{
    TensorFill, TensorInterleave, TensorL2Promotion, TensorMap, TensorSwizzle, TensorTile,
    TensorType,
};

/// All tiles of a forward pass without packed heads.
pub fn forward(variant: &HopperFwdVariant, forward: FwdParams) -> HopperFwdParams {
    let map = |matrix, rows, tile| map(variant.dtype, matrix, [rows, forward.head_dim], tile);
    let (q_box, kv_box) = (variant.query_box(1), variant.key_box());
    HopperFwdParams {
        q: map(&forward.q, forward.seqlen_q, q_box),
        k: map(&forward.k, forward.seqlen_k, kv_box),
        v: map(&forward.v, forward.seqlen_k, kv_box),
        out: map(&forward.out, forward.seqlen_q, q_box),
        tiles: forward.m_blocks,
        forward,
        packed_heads: 1,
        reserved: [0; 2],
    }
}

/// What the main kernel of a backward pass is told.
pub fn backward(variant: &HopperBwdVariant, backward: BwdParams) -> HopperBwdParams {
    let forward = &backward.forward;
    let map = |matrix, rows, tile| map(variant.dtype, matrix, [rows, forward.head_dim], tile);
    let (q_box, kv_box) = (variant.query_box(), variant.key_box());
    HopperBwdParams {
        q: map(&forward.q, forward.seqlen_q, q_box),
        k: map(&forward.k, forward.seqlen_k, kv_box),
        v: map(&forward.v, forward.seqlen_k, kv_box),
        d_out: map(&backward.d_out, forward.seqlen_q, q_box),
        backward,
        reserved: [0; 2],
    }
}

fn map(
    dtype: Dtype,
    matrix: &Strided,
    [rows, head_dim]: [u32; 2],
    tile: TensorBox,
) -> abi::TensorMap {
    let map = TensorMap::encode_tiled(&TensorTile {
        data_type: match dtype {
            Dtype::F16 => TensorType::F16,
            Dtype::Bf16 => TensorType::Bf16,
        },
        address: matrix.ptr,
        dims: &[u64::from(head_dim), u64::from(rows), 1, 1],
        strides: &[u64::from(2 * head_dim); 3],
        box_dims: &[tile.cols, tile.rows, 1, 1],
        element_strides: &[1; 4],
        interleave: TensorInterleave::None,
        swizzle: match tile.cols {
            64 => TensorSwizzle::B128,
            32 => TensorSwizzle::B64,
            _ => TensorSwizzle::B32,
        },
        l2_promotion: TensorL2Promotion::B128,
        fill: TensorFill::Zero,
    });
    let words = map.unwrap().as_bytes().as_chunks().0.to_owned();
    abi::TensorMap(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
}
