//! `cuTensorMapEncodeTiled`, which is younger than `cust`: declared by hand (CUDA driver API 12.0, "Tensor Map Object
//! Management"; enumerations in the order of cuda.h).

use std::ffi::c_void;

use abi::{Dtype, TensorMap};
use cust::sys::{CUresult, cudaError_enum};

use super::error::{CudaError, returned};
use crate::tensor_map::{Swizzle, TiledMatrix};

const DATA_TYPE_FLOAT16: u32 = 6;
const DATA_TYPE_BFLOAT16: u32 = 9;
const INTERLEAVE_NONE: u32 = 0;
const SWIZZLE_32B: u32 = 1;
const SWIZZLE_64B: u32 = 2;
const SWIZZLE_128B: u32 = 3;
const L2_PROMOTION_256B: u32 = 3;
const OOB_FILL_NONE: u32 = 0;

/// `CUtensorMap`.
#[repr(C, align(64))]
struct Encoded([u64; 16]);

unsafe extern "C" {
    /// Fills `map`; reads `rank` dimensions, box extents and element strides, and one stride less.
    fn cuTensorMapEncodeTiled(
        map: *mut Encoded,
        data_type: u32,
        rank: u32,
        address: *mut c_void,
        dims: *const u64,
        strides: *const u64,
        box_dims: *const u32,
        element_strides: *const u32,
        interleave: u32,
        swizzle: u32,
        l2_promotion: u32,
        oob_fill: u32,
    ) -> CUresult;
}

/// The map of a matrix. Needs the driver, but no context.
pub(super) fn encode(matrix: &TiledMatrix) -> Result<TensorMap, CudaError> {
    let mut map = Encoded([0; 16]);
    let data_type = match matrix.dtype {
        Dtype::F16 => DATA_TYPE_FLOAT16,
        Dtype::Bf16 => DATA_TYPE_BFLOAT16,
    };
    let swizzle = match matrix.swizzle {
        Swizzle::Bytes32 => SWIZZLE_32B,
        Swizzle::Bytes64 => SWIZZLE_64B,
        Swizzle::Bytes128 => SWIZZLE_128B,
    };
    // SAFETY: the map is writable and aligned to 64 bytes; the arrays have the lengths of rank 4; the address is a
    // number to the driver, which does not touch the memory there.
    let result = unsafe {
        cuTensorMapEncodeTiled(
            &mut map,
            data_type,
            4,
            std::ptr::without_provenance_mut(matrix.address as usize),
            matrix.dims.as_ptr(),
            matrix.strides.as_ptr(),
            matrix.box_dims.as_ptr(),
            [1u32; 4].as_ptr(),
            INTERLEAVE_NONE,
            swizzle,
            L2_PROMOTION_256B,
            OOB_FILL_NONE,
        )
    };
    match result {
        // What a slot without a function answers; a driver that is loaded has been initialised.
        cudaError_enum::CUDA_ERROR_NOT_INITIALIZED => Err(CudaError::NoTensorMaps),
        result => returned(result, "encode a tensor map").map(|()| TensorMap(map.0)),
    }
}
