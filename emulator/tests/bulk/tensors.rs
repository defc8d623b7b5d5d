//! Tensor copies against a model that goes through the box element by element.

use proptest::prelude::*;
use ptx_emulator::{Options, Sanitizers, Schedule};

use crate::common::fixtures::Map;
use crate::launched::{INIT, WAIT, kernel, map, pattern, run, tile_out, under_many_schedules};

const SWIZZLES: [u32; 4] = [0, 32, 64, 128];
const TYPES: [(&str, u64); 3] = [("bf16", 2), ("f32", 4), ("u8", 1)];

/// A tensor, a box in it and where the box begins.
#[derive(Clone, Debug)]
struct Case {
    ty: usize,
    swizzle: usize,
    dims: Vec<u64>,
    strides: Vec<u64>,
    boxed: Vec<u32>,
    steps: Vec<u32>,
    start: Vec<i32>,
    not_a_number: bool,
}

impl Case {
    fn rank(&self) -> usize {
        self.dims.len()
    }

    fn element(&self) -> u64 {
        TYPES[self.ty].1
    }

    fn fills_with_nan(&self) -> bool {
        self.not_a_number && self.ty < 2
    }

    fn map(&self) -> Map {
        Map {
            swizzle: SWIZZLES[self.swizzle],
            fills_with_nan: self.fills_with_nan(),
            ..map(
                TYPES[self.ty].0,
                &self.dims,
                &self.strides,
                &self.boxed,
                &self.steps,
            )
        }
    }

    fn step(&self, axis: usize) -> u32 {
        if axis == 0 { 1 } else { self.steps[axis] }
    }

    fn count(&self, axis: usize) -> u32 {
        self.boxed[axis].div_ceil(self.step(axis))
    }

    fn elements(&self) -> u32 {
        (0..self.rank()).map(|axis| self.count(axis)).product()
    }

    fn bytes(&self) -> u32 {
        self.elements() * self.element() as u32
    }

    /// Byte offset in the tensor of an element of the box, none outside.
    fn offset(&self, mut linear: u32) -> Option<u64> {
        let mut offset = 0;
        for axis in 0..self.rank() {
            let index = linear % self.count(axis) * self.step(axis);
            linear /= self.count(axis);
            let at = i64::from(self.start[axis]) + i64::from(index);
            if at < 0 || at as u64 >= self.dims[axis] {
                return None;
            }
            let stride = match axis {
                0 => self.element(),
                _ => self.strides[axis - 1],
            };
            offset += at as u64 * stride;
        }
        Some(offset)
    }

    /// Where a byte of the linear box lies in shared memory: rows of the swizzle's width exchange their 16-byte chunks by
    /// the bits above the lowest seven (PTX ISA, "Swizzling Modes").
    fn place(&self, linear: u32) -> u32 {
        let bits = match SWIZZLES[self.swizzle] {
            128 => 7,
            64 => 3,
            32 => 1,
            _ => 0,
        };
        linear ^ ((linear >> 7) & bits) << 4
    }

    /// What a load puts into shared memory.
    fn loaded(&self, tensor: &[u8]) -> Vec<u8> {
        let size = self.element() as usize;
        let mut bytes = vec![0; self.bytes() as usize];
        for element in 0..self.elements() {
            let place = self.place(element * size as u32) as usize;
            let value = match (self.offset(element), self.fills_with_nan(), size) {
                (Some(offset), _, _) => tensor[offset as usize..][..size].to_vec(),
                (None, false, _) => vec![0; size],
                (None, _, 2) => vec![0xff, 0x7f],
                (None, _, _) => vec![0xff, 0xff, 0xff, 0x7f],
            };
            bytes[place..place + size].copy_from_slice(&value);
        }
        bytes
    }

    /// Moves the coordinates into registers and names them: `{%r8, %r9}`.
    fn coordinates(&self) -> (String, String) {
        let moves = self.start.iter().zip(8..);
        let moves = moves.map(|(at, r)| format!("mov.b32 %r{r}, {at};"));
        let names: Vec<String> = (8..8 + self.rank()).map(|r| format!("%r{r}")).collect();
        (moves.collect(), format!("{{{}}}", names.join(", ")))
    }

    fn load_kernel(&self) -> String {
        let (moves, names) = self.coordinates();
        let (bytes, rank) = (self.bytes(), self.rank());
        kernel(&format!(
            "{INIT} @%p0 bra WAIT; {moves}
            mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {bytes};
            cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes \
             [%r1], [%rd2, {names}], [%r2];
            {WAIT} {}",
            tile_out(bytes)
        ))
    }

    /// The tile holds the input's first bytes, and is stored or added to the tensor that begins at the input.
    fn store_kernel(&self, how: &str) -> String {
        let (moves, names) = self.coordinates();
        let (bytes, rank) = (self.bytes(), self.rank());
        let operation = match how {
            "store" => format!("cp.async.bulk.tensor.{rank}d.global.shared::cta.tile.bulk_group"),
            op => format!(
                "cp.reduce.async.bulk.tensor.{rank}d.global.shared::cta.{op}.tile.bulk_group"
            ),
        };
        kernel(&format!(
            "mov.u32 %r20, %r0;
            FILL: setp.ge.u32 %p6, %r20, {};
            @%p6 bra FILLED;
            mad.lo.u32 %r21, %r20, 4, %r1; mad.lo.u32 %r22, %r20, 65537, 65536; st.shared.b32 [%r21], %r22;
            add.u32 %r20, %r20, 64; bra FILL;
            FILLED: fence.proxy.async.shared::cta; bar.sync 0;
            @%p0 bra DONE; {moves}
            {operation} [%rd2, {names}], [%r1];
            cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
            DONE:",
            bytes / 4
        ))
    }
}

/// Cases whose innermost box is as wide as the swizzle, and whose tensor fits the buffer.
fn cases() -> impl Strategy<Value = Case> {
    let shape = (1usize..=5, 0usize..3, 0usize..4, any::<bool>());
    let axes = prop::collection::vec((1u64..7, 1u32..5, 1u32..4, -3i32..6), 5);
    let inner = (1u32..4, 1u64..200, -20i32..40, 0u64..3);
    (shape, axes, inner).prop_map(|((rank, ty, swizzle, not_a_number), axes, inner)| {
        let element = TYPES[ty].1;
        let width = match SWIZZLES[swizzle] {
            0 => 16 * inner.0,
            width => width,
        };
        let mut case = Case {
            ty,
            swizzle,
            dims: vec![inner.1],
            strides: Vec::new(),
            boxed: vec![width / element as u32],
            steps: vec![1],
            start: vec![inner.2],
            not_a_number,
        };
        let mut pitch = (inner.1 * element).next_multiple_of(16) + 16 * inner.3;
        for &(dim, boxed, step, start) in &axes[1..rank] {
            case.dims.push(dim.min(5));
            case.strides.push(pitch);
            case.boxed.push(boxed);
            case.steps.push(step);
            case.start.push(start);
            // Tensors of five dimensions must not outgrow the buffer.
            pitch = (pitch * dim.min(5)).min(1 << 13);
        }
        case
    })
}

fn options(seed: u64) -> Options<'static> {
    Options {
        schedule: Schedule::Seeded(seed),
        threads: Some(1),
        sanitizers: Sanitizers::ALL,
        ..Options::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loads_are_those_of_the_model((case, seed) in (cases(), any::<u64>())) {
        let input = pattern(1 << 16);
        let done = run(&case.load_kernel(), &input, &case.map(), &options(seed));
        let expected = case.loaded(&input);
        prop_assert_eq!(&done.output[..expected.len()], &expected[..], "{:?}", case);
    }

    #[test]
    fn stores_are_those_of_the_model((mut case, seed, adds) in (cases(), any::<u64>(), any::<bool>())) {
        // Rows that lie in one another would be written twice; so would be elements of one copy.
        for (axis, stride) in case.strides.clone().iter().enumerate() {
            let below = if axis == 0 { case.dims[0] * case.element() } else { case.strides[axis - 1] * case.dims[axis] };
            prop_assume!(*stride >= below);
        }
        case.start.iter_mut().for_each(|at| *at = (*at).max(0));
        prop_assume!(!adds || case.ty == 1);
        let input = pattern(1 << 16);
        let how = if adds { "add" } else { "store" };
        let done = run(&case.store_kernel(how), &input, &case.map(), &options(seed));
        let tile: Vec<u8> = (0..case.bytes() / 4)
            .flat_map(|word| word.wrapping_mul(65537).wrapping_add(65536).to_le_bytes())
            .collect();
        let mut expected = input.clone();
        for element in 0..case.elements() {
            let size = case.element() as usize;
            let from = case.place(element * size as u32) as usize;
            let Some(offset) = case.offset(element) else { continue };
            let place = &mut expected[offset as usize..][..size];
            if adds {
                let value = |bytes: &[u8]| f32::from_bits(u32::from_le_bytes(bytes.try_into().unwrap()));
                let flush = |x: f32| if x.is_subnormal() { 0.0f32.copysign(x) } else { x };
                let sum = flush(flush(value(place)) + flush(value(&tile[from..from + size])));
                let bits = if sum.is_nan() { 0x7fff_ffff } else { sum.to_bits() };
                place.copy_from_slice(&bits.to_le_bytes());
            } else {
                place.copy_from_slice(&tile[from..from + size]);
            }
        }
        prop_assert!(done.input == expected, "{:?}", case);
    }
}

#[test]
fn a_swizzled_box_at_an_edge_arrives_under_every_schedule() {
    let case = Case {
        ty: 0,
        swizzle: 3,
        dims: vec![100, 200],
        strides: vec![256],
        boxed: vec![64, 64],
        steps: vec![1, 1],
        start: vec![64, 90],
        not_a_number: false,
    };
    let input = pattern(1 << 16);
    let expected = case.loaded(&input);
    // Element (5, 3): in bounds, at 0x5d8a of the tensor, at 0x1ba of the tile. Element (40, 3) is filled.
    assert_eq!(case.offset(3 * 64 + 5), Some(0x5d8a));
    assert_eq!(case.place(3 * 128 + 10), 0x1ba);
    assert_eq!(case.offset(3 * 64 + 40), None);
    under_many_schedules(&case.load_kernel(), &input, &case.map(), |done| {
        assert_eq!(done.output[..8192], expected);
    });
}

#[test]
fn a_map_in_device_memory_is_found_by_its_address() {
    let case = Case {
        ty: 1,
        swizzle: 0,
        dims: vec![16, 16],
        strides: vec![64],
        boxed: vec![16, 4],
        steps: vec![1, 1],
        start: vec![0, 14],
        not_a_number: true,
    };
    // The map's bytes stand at 4096 in the tensor's own buffer; the address of the buffer is always the same.
    let text = case
        .load_kernel()
        .replace("cvta.param.u64 %rd2, %rd2;", "add.u64 %rd2, %rd0, 4096;");
    let mut input = pattern(8192);
    input[4096..4224].copy_from_slice(
        case.map()
            .encode(0x7000_0000_0000)
            .expect("a map")
            .as_bytes(),
    );
    let expected = case.loaded(&input);
    under_many_schedules(&text, &input, &case.map(), |done| {
        assert_eq!(done.output[..256], expected);
    });
}
