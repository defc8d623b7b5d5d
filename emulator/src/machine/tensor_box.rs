//! Which bytes of a tensor a box copies, and where in shared memory they go (PTX ISA, "Tensors: Tiled Mode").
//!
//! A box is a stack of rows along dimension 0. In shared memory the rows follow each other, and the swizzle then
//! exchanges 16-byte chunks. A row lies inside the tensor, outside, or sticks out at its ends.

use crate::fault::BulkRule;
use crate::tensor_map::{Decoded, MAX_RANK, TensorFill, TensorSwizzle, TensorType};

use super::swizzle::Swizzle;

/// Bytes that follow each other in shared memory, before the swizzle, and in the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Offset from the start of the box in shared memory.
    pub shared: u32,
    /// Address in device memory of the first byte; none outside of the tensor.
    pub global: Option<u64>,
    pub bytes: u32,
}

/// A box at a place in its tensor.
pub(crate) struct TensorBox {
    map: Decoded,
    start: [i32; MAX_RANK],
    /// Elements copied along each dimension.
    counts: [u32; MAX_RANK],
}

impl TensorBox {
    /// The box that begins at `start`, innermost coordinate first.
    pub fn new(map: Decoded, start: [i32; MAX_RANK]) -> Result<Self, BulkRule> {
        let counts = std::array::from_fn(|axis| match axis {
            0 => map.box_dims[0],
            _ if axis < map.rank => map.box_dims[axis].div_ceil(map.element_strides[axis]),
            _ => 1,
        });
        let boxed = Self { map, start, counts };
        let (row, width) = (boxed.row_bytes(), boxed.swizzle().width());
        if width != 0 && row != width {
            return Err(BulkRule::PartialSwizzleRow { row, width });
        }
        Ok(boxed)
    }

    pub fn element_type(&self) -> TensorType {
        self.map.data_type
    }

    pub fn swizzle(&self) -> Swizzle {
        match self.map.swizzle {
            TensorSwizzle::None => Swizzle::None,
            TensorSwizzle::B32 => Swizzle::B32,
            TensorSwizzle::B64 => Swizzle::B64,
            TensorSwizzle::B128 => Swizzle::B128,
        }
    }

    fn row_bytes(&self) -> u32 {
        self.counts[0] * self.map.data_type.bytes()
    }

    /// Bytes of the whole box, what sticks out of the tensor included. At most 2^43 by the limits of a map.
    pub fn bytes(&self) -> u64 {
        let rows = self.counts[1..].iter().map(|count| u64::from(*count));
        u64::from(self.row_bytes()) * rows.product::<u64>()
    }

    /// The bytes of one element that fill what lies outside, repeated to eight.
    pub fn fill(&self) -> [u8; 8] {
        match (self.map.fill, self.map.data_type) {
            (TensorFill::Zero, _) => [0; 8],
            (_, TensorType::F64) => f64::NAN.to_le_bytes(),
            (_, TensorType::F32) => [0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f],
            (_, _) => [0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f],
        }
    }

    /// Calls `each` for all runs, by ascending place in shared memory.
    pub fn runs(&self, mut each: impl FnMut(Run)) {
        let mut index = [0u32; MAX_RANK];
        let mut shared = 0;
        loop {
            self.row(&index, shared, &mut each);
            shared += self.row_bytes();
            // The next row: an odometer over the dimensions above 0.
            let Some(axis) = (1..MAX_RANK).find(|&axis| index[axis] + 1 < self.counts[axis]) else {
                return;
            };
            index[axis] += 1;
            index[1..axis].fill(0);
        }
    }

    fn row(&self, index: &[u32; MAX_RANK], shared: u32, each: &mut impl FnMut(Run)) {
        let element = self.map.data_type.bytes();
        let mut address = self.map.address;
        let mut is_inside = true;
        for (axis, &step) in index.iter().enumerate().take(self.map.rank).skip(1) {
            let along = i64::from(step) * i64::from(self.map.element_strides[axis]);
            let at = i64::from(self.start[axis]) + along;
            is_inside &= at >= 0 && (at as u64) < self.map.dims[axis];
            address = address.wrapping_add((at as u64).wrapping_mul(self.map.strides[axis - 1]));
        }
        let (start, count) = (i64::from(self.start[0]), i64::from(self.counts[0]));
        let len = self.map.dims[0] as i64;
        let (first, end) = match is_inside {
            true => ((-start).clamp(0, count), (len - start).clamp(0, count)),
            false => (0, 0),
        };
        let mut run = |from: i64, to: i64, inside: bool| {
            if from < to {
                let offset = (start + from).wrapping_mul(i64::from(element)) as u64;
                each(Run {
                    shared: shared + from as u32 * element,
                    global: inside.then(|| address.wrapping_add(offset)),
                    bytes: (to - from) as u32 * element,
                });
            }
        };
        let end = end.max(first);
        run(0, first, false);
        run(first, end, true);
        run(end, count, false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small(swizzle: TensorSwizzle) -> Decoded {
        Decoded {
            data_type: TensorType::Bf16,
            address: 0x1_0000,
            rank: 2,
            dims: [100, 200, 1, 1, 1],
            strides: [256, 0, 0, 0],
            box_dims: [64, 64, 1, 1, 1],
            element_strides: [1; 5],
            swizzle,
            fill: TensorFill::Zero,
        }
    }

    /// The run that holds a byte of the box.
    fn run_of(boxed: &TensorBox, shared: u32) -> Run {
        let mut found = None;
        boxed.runs(|run| {
            if (run.shared..run.shared + run.bytes).contains(&shared) {
                found = Some(run);
            }
        });
        found.expect("every byte of the box is in a run")
    }

    #[test]
    fn the_example_of_a_box_at_the_right_edge() {
        let map = small(TensorSwizzle::B128);
        let boxed = TensorBox::new(map, [64, 90, 0, 0, 0]).unwrap();
        assert_eq!(boxed.bytes(), 8192);
        let inside = 3 * 128 + 2 * 5;
        let run = run_of(&boxed, inside);
        let global = run.global.unwrap() + u64::from(inside - run.shared);
        assert_eq!(global - map.address, 0x5d8a);
        assert_eq!(boxed.swizzle().apply(0x2000 + inside), 0x21ba);
        assert_eq!(run_of(&boxed, 3 * 128 + 2 * 40).global, None);
    }

    #[test]
    fn a_row_narrower_than_its_swizzle_is_refused() {
        let mut map = small(TensorSwizzle::B128);
        map.box_dims[0] = 32;
        assert!(TensorBox::new(map, [0; 5]).is_err());
        map.swizzle = TensorSwizzle::B64;
        assert!(TensorBox::new(map, [0; 5]).is_ok());
    }

    const TYPES: [TensorType; 4] = [
        TensorType::U8,
        TensorType::Bf16,
        TensorType::F32,
        TensorType::U64,
    ];

    fn maps() -> impl Strategy<Value = (Decoded, [i32; 5])> {
        let dims = prop::array::uniform5(1u64..12);
        let boxes = prop::array::uniform5(1u32..6);
        let steps = prop::array::uniform5(1u32..4);
        let start = prop::array::uniform5(-6i32..14);
        let strides = prop::array::uniform4(0u64..9);
        (1usize..=5, 0usize..4, dims, boxes, steps, start, strides).prop_map(
            |(rank, ty, dims, box_dims, element_strides, start, strides)| {
                let map = Decoded {
                    data_type: TYPES[ty],
                    address: 0x4000,
                    rank,
                    dims,
                    strides: strides.map(|stride| 16 * stride),
                    box_dims,
                    element_strides,
                    swizzle: TensorSwizzle::None,
                    fill: TensorFill::Zero,
                };
                (map, start)
            },
        )
    }

    /// Address of each element of the box in the order of shared memory, as the formulas of the ISA give them.
    fn naive(map: &Decoded, start: [i32; 5]) -> Vec<Option<u64>> {
        let step = |axis: usize| {
            if axis == 0 {
                1
            } else {
                map.element_strides[axis]
            }
        };
        let count = |axis: usize| {
            if axis < map.rank {
                map.box_dims[axis].div_ceil(step(axis))
            } else {
                1
            }
        };
        let total = (0..5).map(count).product::<u32>();
        let element = |mut linear: u32| {
            let mut address = map.address;
            for (axis, &first) in start.iter().enumerate().take(map.rank) {
                let at = i64::from(first) + i64::from(linear % count(axis) * step(axis));
                linear /= count(axis);
                if at < 0 || at as u64 >= map.dims[axis] {
                    return None;
                }
                let stride = match axis {
                    0 => u64::from(map.data_type.bytes()),
                    _ => map.strides[axis - 1],
                };
                address += at as u64 * stride;
            }
            Some(address)
        };
        (0..total).map(element).collect()
    }

    proptest! {
        #[test]
        fn runs_are_what_the_formulas_say((map, start) in maps()) {
            let boxed = TensorBox::new(map, start).unwrap();
            let bytes = map.data_type.bytes();
            let mut elements = Vec::new();
            boxed.runs(|run| {
                assert_eq!(run.shared as usize, elements.len() * bytes as usize);
                for index in 0..run.bytes / bytes {
                    elements.push(run.global.map(|global| global + u64::from(index * bytes)));
                }
            });
            prop_assert_eq!(elements.len() as u64 * u64::from(bytes), boxed.bytes());
            prop_assert_eq!(elements, naive(&map, start));
        }
    }
}
