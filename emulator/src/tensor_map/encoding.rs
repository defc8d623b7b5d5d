//! The 128 bytes of a map.
//!
//! ```text
//! 0   magic            24  elements per dimension - 1, u32 x 5     86  element strides, u8 x 5
//! 8   address          44  strides in bytes, u64 x 4               91  zeros
//! 16  type, swizzle,   76  box, u16 x 5                            120 checksum
//!     fill, L2, rank
//! ```

use super::{
    MAX_RANK, TensorFill, TensorL2Promotion, TensorMap, TensorSwizzle, TensorTile, TensorType,
};

const MAGIC: u64 = 0x3150_614d_726f_736e;
const CHECKSUM: usize = 120;

const TYPES: [TensorType; 10] = [
    TensorType::U8,
    TensorType::U16,
    TensorType::U32,
    TensorType::S32,
    TensorType::U64,
    TensorType::S64,
    TensorType::F16,
    TensorType::F32,
    TensorType::F64,
    TensorType::Bf16,
];
const SWIZZLES: [TensorSwizzle; 4] = [
    TensorSwizzle::None,
    TensorSwizzle::B32,
    TensorSwizzle::B64,
    TensorSwizzle::B128,
];
const FILLS: [TensorFill; 2] = [TensorFill::Zero, TensorFill::NotANumber];
const PROMOTIONS: [TensorL2Promotion; 4] = [
    TensorL2Promotion::None,
    TensorL2Promotion::B64,
    TensorL2Promotion::B128,
    TensorL2Promotion::B256,
];

/// Bytes that no [`TensorMap::encode_tiled`] has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorMapCorrupt;

/// The arguments of a map, with lists of full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub data_type: TensorType,
    pub address: u64,
    pub rank: usize,
    pub dims: [u64; MAX_RANK],
    pub strides: [u64; MAX_RANK - 1],
    pub box_dims: [u32; MAX_RANK],
    pub element_strides: [u32; MAX_RANK],
    pub swizzle: TensorSwizzle,
    pub fill: TensorFill,
}

fn index<T: PartialEq>(table: &[T], value: &T) -> u8 {
    // Every table lists all values of its type.
    table.iter().position(|entry| entry == value).unwrap_or(0) as u8
}

/// Writes arguments that have been checked.
pub(super) fn encode(tile: &TensorTile) -> TensorMap {
    let mut bytes = [0; 128];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &MAGIC.to_le_bytes());
    put(8, &tile.address.to_le_bytes());
    let head = [
        index(&TYPES, &tile.data_type),
        index(&SWIZZLES, &tile.swizzle),
        index(&FILLS, &tile.fill),
        index(&PROMOTIONS, &tile.l2_promotion),
        tile.dims.len() as u8,
    ];
    put(16, &head);
    for (axis, &elements) in tile.dims.iter().enumerate() {
        put(24 + 4 * axis, &((elements - 1) as u32).to_le_bytes());
    }
    for (axis, stride) in tile.strides.iter().enumerate() {
        put(44 + 8 * axis, &stride.to_le_bytes());
    }
    for (axis, &elements) in tile.box_dims.iter().enumerate() {
        put(76 + 2 * axis, &(elements as u16).to_le_bytes());
    }
    for (axis, &stride) in tile.element_strides.iter().enumerate() {
        put(86 + axis, &[stride as u8]);
    }
    let sum = checksum(&bytes);
    bytes[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
    TensorMap(bytes)
}

/// FNV-1a of everything before the checksum.
fn checksum(bytes: &[u8; 128]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes[..CHECKSUM].iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

impl TensorMap {
    /// What the map says.
    pub(crate) fn decode(&self) -> Result<Decoded, TensorMapCorrupt> {
        let bytes = &self.0;
        let number = |at: usize, len: usize| {
            let digits = bytes[at..at + len].iter().rev();
            digits.fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        if number(0, 8) != MAGIC || number(CHECKSUM, 8) != checksum(bytes) {
            return Err(TensorMapCorrupt);
        }
        let rank = usize::from(bytes[20]);
        let entry = |at: usize| usize::from(bytes[at]);
        let (data_type, swizzle, fill) = (
            TYPES.get(entry(16)),
            SWIZZLES.get(entry(17)),
            FILLS.get(entry(18)),
        );
        let (Some(&data_type), Some(&swizzle), Some(&fill)) = (data_type, swizzle, fill) else {
            return Err(TensorMapCorrupt);
        };
        if !(1..=MAX_RANK).contains(&rank) {
            return Err(TensorMapCorrupt);
        }
        Ok(Decoded {
            data_type,
            address: number(8, 8),
            rank,
            dims: std::array::from_fn(|axis| number(24 + 4 * axis, 4) + 1),
            strides: std::array::from_fn(|axis| number(44 + 8 * axis, 8)),
            box_dims: std::array::from_fn(|axis| number(76 + 2 * axis, 2).max(1) as u32),
            element_strides: std::array::from_fn(|axis| number(86 + axis, 1).max(1) as u32),
            swizzle,
            fill,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::TensorInterleave;
    use super::*;

    fn map() -> TensorMap {
        let tile = TensorTile {
            data_type: TensorType::F32,
            address: 0x2_0000_0010,
            dims: &[1 << 32, 7, 1],
            strides: &[(1 << 40) - 16, 0],
            box_dims: &[8, 256, 1],
            element_strides: &[1, 8, 2],
            interleave: TensorInterleave::None,
            swizzle: TensorSwizzle::B32,
            l2_promotion: TensorL2Promotion::B256,
            fill: TensorFill::NotANumber,
        };
        TensorMap::encode_tiled(&tile).expect("a map")
    }

    #[test]
    fn a_map_says_what_it_was_made_of() {
        let decoded = map().decode().expect("a map");
        assert_eq!(decoded.data_type, TensorType::F32);
        assert_eq!(decoded.address, 0x2_0000_0010);
        assert_eq!(decoded.rank, 3);
        assert_eq!(decoded.dims[..3], [1 << 32, 7, 1]);
        assert_eq!(decoded.strides[..2], [(1 << 40) - 16, 0]);
        assert_eq!(decoded.box_dims[..3], [8, 256, 1]);
        assert_eq!(decoded.element_strides[..3], [1, 8, 2]);
        assert_eq!(decoded.swizzle, TensorSwizzle::B32);
        assert_eq!(decoded.fill, TensorFill::NotANumber);
    }

    #[test]
    fn a_map_with_any_bit_changed_is_none() {
        let map = map();
        for bit in 0..8 * 128 {
            let mut other = map;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(other.decode(), Err(TensorMapCorrupt), "bit {bit}");
        }
        assert_eq!(TensorMap([0; 128]).decode(), Err(TensorMapCorrupt));
        assert_eq!(TensorMap([0xff; 128]).decode(), Err(TensorMapCorrupt));
    }
}
