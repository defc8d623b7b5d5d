//! What a tensor map is made of: a matrix, and the boxes in which a kernel copies it. Pure; a device encodes it.
//!
//! A map addresses a matrix by multiples of 16 bytes, forwards only (CUDA driver API, `cuTensorMapEncodeTiled`):
//! [`check`] says whether a matrix is like that.

use abi::{Dtype, Strided, TensorBox};

use crate::dispatch::Rule;

/// Bytes of an element.
const ELEMENT: u64 = 2;
/// Strides have less than this many bytes.
const STRIDE_LIMIT: u64 = 1 << 40;

/// A matrix and its boxes: the arguments of `cuTensorMapEncodeTiled` in which maps of this library differ, innermost
/// dimension first. What lies outside of the matrix is read as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TiledMatrix {
    pub dtype: Dtype,
    /// Device address of the first element.
    pub address: u64,
    /// Elements along each dimension.
    pub dims: [u64; 4],
    /// Bytes from one index to the next, of all dimensions but the innermost.
    pub strides: [u64; 3],
    /// Elements of a box along each dimension.
    pub box_dims: [u32; 4],
    /// Bytes in which the 16-byte chunks of a row are swizzled: those of a row of the box.
    pub swizzle: Swizzle,
}

/// How the chunks of a row of a box change places in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swizzle {
    Bytes32,
    Bytes64,
    Bytes128,
}

/// Checks that a map can describe `tensor`, `[batch, rows, heads, head_dim]`.
pub(crate) fn check(tensor: &Strided, shape: [u32; 4]) -> Result<(), Rule> {
    if shape.contains(&0) {
        return Err(Rule::Empty);
    }
    if !tensor.ptr.is_multiple_of(16) {
        return Err(Rule::Alignment);
    }
    let strides = [tensor.batch_stride, tensor.row_stride, tensor.head_stride];
    for (stride, extent) in strides.into_iter().zip(shape) {
        match u64::try_from(stride) {
            _ if extent == 1 => {}
            Ok(stride) if !stride.is_multiple_of(16 / ELEMENT) => return Err(Rule::Alignment),
            Ok(1..) if (stride as u64) < STRIDE_LIMIT / ELEMENT => {}
            _ => return Err(Rule::Stride(stride)),
        }
    }
    Ok(())
}

impl TiledMatrix {
    /// The description of a tensor that [`check`] accepts. Dimensions are head_dim, rows, heads, batch; with several heads
    /// in a box head_dim, heads, rows, batch.
    pub(crate) fn new(
        dtype: Dtype,
        tensor: &Strided,
        shape: [u32; 4],
        tile: TensorBox,
    ) -> TiledMatrix {
        let [batch, rows, heads, head_dim] = shape;
        // Where only index 0 exists a stride is never used, but still has to keep the rules.
        let bytes = |stride: i64, extent: u32| match extent {
            1 => ELEMENT * u64::from(head_dim),
            _ => ELEMENT * stride.unsigned_abs(),
        };
        let rows = (rows, bytes(tensor.row_stride, rows), tile.rows);
        let heads = (heads, bytes(tensor.head_stride, heads), tile.heads);
        let (second, third) = match tile.heads {
            1 => (rows, heads),
            _ => (heads, rows),
        };
        TiledMatrix {
            dtype,
            address: tensor.ptr,
            dims: [head_dim, second.0, third.0, batch].map(u64::from),
            strides: [second.1, third.1, bytes(tensor.batch_stride, batch)],
            box_dims: [tile.cols, second.2, third.2, 1],
            swizzle: match tile.cols {
                0..=16 => Swizzle::Bytes32,
                17..=32 => Swizzle::Bytes64,
                _ => Swizzle::Bytes128,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [u32; 4] = [2, 100, 4, 64];
    const CONTIGUOUS: Strided = Strided {
        ptr: 0x1000,
        batch_stride: 100 * 256,
        row_stride: 256,
        head_stride: 64,
    };

    #[test]
    fn each_rule_of_a_map_is_checked() {
        assert_eq!(check(&CONTIGUOUS, SHAPE), Ok(()));
        let with = |change: fn(&mut Strided)| {
            let mut tensor = CONTIGUOUS;
            change(&mut tensor);
            check(&tensor, SHAPE)
        };
        assert_eq!(with(|t| t.ptr += 8), Err(Rule::Alignment));
        assert_eq!(with(|t| t.row_stride = 260), Err(Rule::Alignment));
        assert_eq!(with(|t| t.row_stride = -256), Err(Rule::Stride(-256)));
        assert_eq!(with(|t| t.head_stride = 0), Err(Rule::Stride(0)));
        assert_eq!(with(|t| t.batch_stride = (1 << 39) - 8), Ok(()));
        assert_eq!(
            with(|t| t.batch_stride = 1 << 39),
            Err(Rule::Stride(1 << 39))
        );
        assert_eq!(check(&CONTIGUOUS, [2, 0, 4, 64]), Err(Rule::Empty));
    }

    #[test]
    fn strides_of_a_single_index_do_not_matter_and_keep_the_rules() {
        let tensor = Strided {
            batch_stride: 0,
            head_stride: -3,
            ..CONTIGUOUS
        };
        let shape = [1, 100, 1, 40];
        assert_eq!(check(&tensor, shape), Ok(()));
        let tile = TensorBox {
            cols: 64,
            heads: 1,
            rows: 128,
        };
        let matrix = TiledMatrix::new(Dtype::F16, &tensor, shape, tile);
        assert_eq!(matrix.dims, [40, 100, 1, 1]);
        assert_eq!(matrix.strides, [512, 80, 80]);
        assert_eq!(matrix.box_dims, [64, 128, 1, 1]);
    }

    #[test]
    fn packed_heads_come_before_rows() {
        let tile = TensorBox {
            cols: 32,
            heads: 2,
            rows: 64,
        };
        let matrix = TiledMatrix::new(Dtype::Bf16, &CONTIGUOUS, SHAPE, tile);
        assert_eq!(matrix.dims, [64, 4, 100, 2]);
        assert_eq!(matrix.strides, [128, 512, 100 * 512]);
        assert_eq!(matrix.box_dims, [32, 2, 64, 1]);
        assert_eq!(matrix.swizzle, Swizzle::Bytes64);
    }
}
