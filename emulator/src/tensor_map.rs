//! Tensor maps: what `cp.async.bulk.tensor` has to know of a tensor in device memory (CUDA driver API,
//! `cuTensorMapEncodeTiled`; PTX ISA, "Tensors").
//!
//! A map is 128 opaque bytes. Those made here have an encoding of their own with a checksum, so that bytes which
//! are no map are found out when a kernel uses them.

mod check;
mod encoding;

pub(crate) use encoding::Decoded;

/// Dimensions of a tensor at most.
pub(crate) const MAX_RANK: usize = 5;

/// A tensor map: 128 bytes to be put, 64-byte aligned, into a kernel's parameters or into device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct TensorMap(pub(crate) [u8; 128]);

/// Type of the elements. Those that round or flush what they copy are not emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// 8-bit unsigned integers.
    U8,
    /// 16-bit unsigned integers.
    U16,
    /// 32-bit unsigned integers.
    U32,
    /// 32-bit signed integers.
    S32,
    /// 64-bit unsigned integers.
    U64,
    /// 64-bit signed integers.
    S64,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// bfloat16.
    Bf16,
}

/// How 16-byte chunks of a row are permuted in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorSwizzle {
    /// Not at all.
    None,
    /// Within 32 bytes.
    B32,
    /// Within 64 bytes.
    B64,
    /// Within 128 bytes.
    B128,
}

/// Layout of channels. Only the plain one is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorInterleave {
    /// Rows lie as they are.
    None,
    /// Slices of 16 bytes.
    B16,
    /// Slices of 32 bytes.
    B32,
}

/// Granularity of fetches into L2: a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorL2Promotion {
    /// None.
    None,
    /// 64 bytes.
    B64,
    /// 128 bytes.
    B128,
    /// 256 bytes.
    B256,
}

/// What a load puts where the box sticks out of the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorFill {
    /// Zeros.
    Zero,
    /// Not-a-number; for floating-point types.
    NotANumber,
}

/// The arguments of `cuTensorMapEncodeTiled`, dimensions innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorTile<'a> {
    /// Type of an element.
    pub data_type: TensorType,
    /// Device address of element (0, 0, ..).
    pub address: u64,
    /// Elements along each dimension; their number, 1 to 5, is the rank.
    pub dims: &'a [u64],
    /// Bytes from one element to the next along each dimension but the innermost, which is dense.
    pub strides: &'a [u64],
    /// Elements of a box along each dimension.
    pub box_dims: &'a [u32],
    /// Every so many elements of the box are copied, along each dimension but the innermost.
    pub element_strides: &'a [u32],
    /// Layout of channels.
    pub interleave: TensorInterleave,
    /// Permutation in shared memory.
    pub swizzle: TensorSwizzle,
    /// Hint for L2.
    pub l2_promotion: TensorL2Promotion,
    /// What lies outside.
    pub fill: TensorFill,
}

impl TensorMap {
    /// Makes the map of a tensor and of the boxes that are copied from and to it.
    ///
    /// # Errors
    /// [`TensorMapError`] when an argument breaks a rule of the driver, or asks for what is not emulated.
    pub fn encode_tiled(tile: &TensorTile) -> Result<Self, TensorMapError> {
        check::check(tile)?;
        Ok(encoding::encode(tile))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 128] {
        &self.0
    }
}

impl TensorType {
    /// Bytes of an element.
    pub fn bytes(self) -> u32 {
        match self {
            TensorType::U8 => 1,
            TensorType::U16 | TensorType::F16 | TensorType::Bf16 => 2,
            TensorType::U32 | TensorType::S32 | TensorType::F32 => 4,
            TensorType::U64 | TensorType::S64 | TensorType::F64 => 8,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        use TensorType::{Bf16, F16, F32, F64};
        matches!(self, F16 | Bf16 | F32 | F64)
    }
}

impl TensorSwizzle {
    /// Bytes of a row of the pattern; 0 without one.
    pub(crate) fn width(self) -> u32 {
        match self {
            TensorSwizzle::None => 0,
            TensorSwizzle::B32 => 32,
            TensorSwizzle::B64 => 64,
            TensorSwizzle::B128 => 128,
        }
    }
}

/// An argument of a tensor map that breaks a rule (CUDA driver API, `cuTensorMapEncodeTiled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorMapError {
    /// Not 1 to 5 dimensions.
    #[error("a tensor of rank {rank} has no map: merge or split dimensions until there are 1 to 5")]
    Rank {
        /// The rank.
        rank: usize,
    },
    /// A list of the wrong length.
    #[error("{list} has {found} entries and needs {expected} at this rank")]
    Length {
        /// The list.
        list: &'static str,
        /// Its length.
        found: usize,
        /// Its length at this rank.
        expected: usize,
    },
    /// The address is not aligned.
    #[error("the tensor's address {address:#x} must be a multiple of 16: align the buffer")]
    Address {
        /// The address.
        address: u64,
    },
    /// A dimension of 0 or more than 2^32 elements.
    #[error("dimension {axis} has {value} elements and may have 1 to 2^32")]
    Dim {
        /// The dimension, 0 innermost.
        axis: usize,
        /// Its elements.
        value: u64,
    },
    /// A stride that is not a multiple of 16 bytes or too large.
    #[error(
        "the stride of dimension {axis} is {value} bytes; it must be a multiple of 16 below 2^40: pad the rows"
    )]
    Stride {
        /// The dimension, 1 or more.
        axis: usize,
        /// Its stride in bytes.
        value: u64,
    },
    /// A box of 0 or more than 256 elements along a dimension.
    #[error("the box has {value} elements along dimension {axis} and may have 1 to 256: split it")]
    Box {
        /// The dimension.
        axis: usize,
        /// Elements of the box.
        value: u32,
    },
    /// The innermost row of a box is not a multiple of 16 bytes.
    #[error("the innermost row of the box is {bytes} bytes and must be a multiple of 16: widen it")]
    BoxRow {
        /// Its bytes.
        bytes: u32,
    },
    /// The innermost row of a box is wider than the swizzle.
    #[error(
        "the innermost row of the box is {bytes} bytes, more than the {width} of the swizzle: copy narrower boxes"
    )]
    SwizzleRow {
        /// Its bytes.
        bytes: u32,
        /// Bytes of the pattern.
        width: u32,
    },
    /// An element stride outside 1 to 8.
    #[error("the element stride of dimension {axis} is {value} and may be 1 to 8")]
    ElementStride {
        /// The dimension.
        axis: usize,
        /// Its element stride.
        value: u32,
    },
    /// A fill of not-a-number for integers.
    #[error("integers have no not-a-number to fill with: use zeros")]
    Fill,
    /// An interleaved layout, which is not emulated.
    #[error("interleaved layouts are not emulated: use TensorInterleave::None")]
    Interleave,
}
