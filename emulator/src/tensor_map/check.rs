//! The rules for the arguments of a tensor map.

use super::{MAX_RANK, TensorFill, TensorInterleave, TensorMapError, TensorTile};

/// Largest number of elements along a dimension.
const MAX_DIM: u64 = 1 << 32;
/// Strides are below this many bytes.
const STRIDE_LIMIT: u64 = 1 << 40;
/// Strides and the address are multiples of this many bytes, and so is a row of a box.
const GRAIN: u64 = 16;

/// Refuses what breaks a rule.
pub(super) fn check(tile: &TensorTile) -> Result<(), TensorMapError> {
    lengths(tile)?;
    if tile.interleave != TensorInterleave::None {
        return Err(TensorMapError::Interleave);
    }
    if !tile.address.is_multiple_of(GRAIN) {
        let address = tile.address;
        return Err(TensorMapError::Address { address });
    }
    let dims = tile.dims.iter().enumerate();
    for (axis, &value) in dims {
        if !(1..=MAX_DIM).contains(&value) {
            return Err(TensorMapError::Dim { axis, value });
        }
    }
    for (axis, &value) in (1..).zip(tile.strides) {
        if !value.is_multiple_of(GRAIN) || value >= STRIDE_LIMIT {
            return Err(TensorMapError::Stride { axis, value });
        }
    }
    boxes(tile)?;
    if tile.fill == TensorFill::NotANumber && !tile.data_type.is_float() {
        return Err(TensorMapError::Fill);
    }
    Ok(())
}

fn lengths(tile: &TensorTile) -> Result<(), TensorMapError> {
    let rank = tile.dims.len();
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(TensorMapError::Rank { rank });
    }
    let lists = [
        ("strides", tile.strides.len(), rank - 1),
        ("box_dims", tile.box_dims.len(), rank),
        ("element_strides", tile.element_strides.len(), rank),
    ];
    for (list, found, expected) in lists {
        if found != expected {
            return Err(TensorMapError::Length {
                list,
                found,
                expected,
            });
        }
    }
    Ok(())
}

fn boxes(tile: &TensorTile) -> Result<(), TensorMapError> {
    for (axis, &value) in tile.box_dims.iter().enumerate() {
        if !(1..=256).contains(&value) {
            return Err(TensorMapError::Box { axis, value });
        }
    }
    for (axis, &value) in tile.element_strides.iter().enumerate() {
        if !(1..=8).contains(&value) {
            return Err(TensorMapError::ElementStride { axis, value });
        }
    }
    let bytes = tile.box_dims[0] * tile.data_type.bytes();
    let width = tile.swizzle.width();
    if !u64::from(bytes).is_multiple_of(GRAIN) {
        return Err(TensorMapError::BoxRow { bytes });
    }
    if width > 0 && bytes > width {
        return Err(TensorMapError::SwizzleRow { bytes, width });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{TensorL2Promotion, TensorMap, TensorSwizzle, TensorType};
    use super::*;

    const GOOD: TensorTile = TensorTile {
        data_type: TensorType::Bf16,
        address: 0x1000,
        dims: &[100, 200],
        strides: &[256],
        box_dims: &[64, 64],
        element_strides: &[1, 1],
        interleave: TensorInterleave::None,
        swizzle: TensorSwizzle::B128,
        l2_promotion: TensorL2Promotion::B128,
        fill: TensorFill::Zero,
    };

    fn refusal(tile: &TensorTile) -> TensorMapError {
        TensorMap::encode_tiled(tile).expect_err("a broken rule")
    }

    #[test]
    fn each_rule_is_checked_with_its_value() {
        use TensorMapError as E;
        assert!(TensorMap::encode_tiled(&GOOD).is_ok());
        let no_dims = TensorTile { dims: &[], ..GOOD };
        assert_eq!(refusal(&no_dims), E::Rank { rank: 0 });
        let six = TensorTile {
            dims: &[1; 6],
            ..GOOD
        };
        assert_eq!(refusal(&six), E::Rank { rank: 6 });
        let two_strides = TensorTile {
            strides: &[256, 256],
            ..GOOD
        };
        assert!(matches!(refusal(&two_strides), E::Length { found: 2, .. }));
        let address = 0x1008;
        assert_eq!(
            refusal(&TensorTile { address, ..GOOD }),
            E::Address { address }
        );
        let empty = TensorTile {
            dims: &[100, 0],
            ..GOOD
        };
        assert_eq!(refusal(&empty), E::Dim { axis: 1, value: 0 });
        for value in [264, 1 << 40] {
            let strides = &[value];
            let tile = TensorTile { strides, ..GOOD };
            assert_eq!(refusal(&tile), E::Stride { axis: 1, value });
        }
    }

    #[test]
    fn each_rule_of_boxes_is_checked_with_its_value() {
        use TensorMapError as E;
        let boxed = |box_dims: &'static [u32]| TensorTile { box_dims, ..GOOD };
        let (axis, value) = (1, 257);
        assert_eq!(refusal(&boxed(&[64, 257])), E::Box { axis, value });
        assert_eq!(refusal(&boxed(&[60, 64])), E::BoxRow { bytes: 120 });
        let (bytes, width) = (256, 128);
        let wide = E::SwizzleRow { bytes, width };
        assert_eq!(refusal(&boxed(&[128, 64])), wide);
        let strided = TensorTile {
            element_strides: &[1, 9],
            ..GOOD
        };
        assert_eq!(refusal(&strided), E::ElementStride { axis: 1, value: 9 });
        let nan = TensorTile {
            data_type: TensorType::U16,
            fill: TensorFill::NotANumber,
            ..GOOD
        };
        assert_eq!(refusal(&nan), E::Fill);
        let interleaved = TensorTile {
            interleave: TensorInterleave::B16,
            ..GOOD
        };
        assert_eq!(refusal(&interleaved), E::Interleave);
    }
}
