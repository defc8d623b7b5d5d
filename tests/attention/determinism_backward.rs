//! FlashAttention's tests `deterministic` and `race`: which bits of a backward pass may depend on the order of things.
//!
//! Deterministic mode: none. Otherwise only those of dQ, to which blocks add in the order in which they finish, and dQ
//! then moves by two rounding steps of its type at most. Orders are seeds of the emulator's schedule and numbers of
//! threads. Lengths are those of FlashAttention; head dimensions and options come in turns, where FlashAttention has all
//! with all.

use crate::common::{Case, Packed, Training, is_full_run, rotated, sanitized};
use flash_attention::{
    Arch, AttentionElement, Device, Dtype, EmulatorOptions, Schedule, bf16, f16,
};

const HEAD_DIMS: [usize; 10] = [32, 40, 64, 80, 96, 128, 160, 192, 224, 256];

const DETERMINISTIC_LENGTHS: [(usize, usize); 9] = [
    (1, 239),
    (3, 799),
    (127, 512),
    (127, 513),
    (113, 203),
    (128, 217),
    (113, 211),
    (108, 256),
    (256, 512),
];

const RACE_LENGTHS: [(usize, usize); 11] = [
    (1, 239),
    (239, 1),
    (3, 799),
    (799, 3),
    (97, 97),
    (128, 128),
    (200, 200),
    (256, 256),
    (257, 257),
    (384, 384),
    (512, 512),
];

/// In order on one thread, on three threads, and by seeds, on a device that passes as `arch`.
fn orders(arch: Arch) -> Vec<EmulatorOptions> {
    let base = || EmulatorOptions {
        arch,
        ..sanitized()
    };
    let on = |threads| EmulatorOptions {
        threads: Some(threads),
        ..base()
    };
    let seeded = |seed| EmulatorOptions {
        schedule: Schedule::Seeded(seed),
        ..base()
    };
    let seeds = match (is_full_run(), arch) {
        (true, _) => 48,
        (false, Arch::Sm80) => 3,
        (false, Arch::Sm90a) => 2,
    };
    [on(1), on(3)]
        .into_iter()
        .chain((1..=seeds).map(seeded))
        .collect()
}

/// What the case gives in each order on a device that passes as `arch`.
fn in_every_order<T: AttentionElement>(
    arch: Arch,
    run: impl Fn(&Device) -> Training<T>,
) -> Vec<Training<T>> {
    let devices = orders(arch).into_iter().map(Device::emulated_with);
    devices.map(|device| run(&device)).collect()
}

fn deterministic(case: Case) {
    let case = case.deterministic();
    for &arch in case.archs() {
        let same = match case.dtype {
            Dtype::F16 => is_constant(&in_every_order(arch, |device| case.train::<f16>(device))),
            Dtype::Bf16 => is_constant(&in_every_order(arch, |device| case.train::<bf16>(device))),
        };
        assert!(same, "{arch:?}, {case:?}");
    }
}

fn is_constant<T: PartialEq>(x: &[T]) -> bool {
    x.windows(2).all(|pair| pair[0] == pair[1])
}

#[test]
fn deterministic_gradients_have_the_same_bits_in_every_order() {
    let swapped = DETERMINISTIC_LENGTHS.map(|(seqlen_q, seqlen_k)| (seqlen_k, seqlen_q));
    let lengths = DETERMINISTIC_LENGTHS.into_iter().chain(swapped);
    for (i, (seqlen_q, seqlen_k)) in lengths.enumerate() {
        let head_dim = HEAD_DIMS[i * 3 % 10];
        deterministic(rotated(seqlen_q, seqlen_k, head_dim, 5 * i).batch(2));
        let masked = rotated(seqlen_q, seqlen_k, HEAD_DIMS[(i * 3 + 5) % 10], i);
        deterministic(masked.causal(true));
    }
}

#[test]
fn deterministic_gradients_of_packed_sequences_have_the_same_bits_in_every_order() {
    let lengths = [(113, 203), (256, 100), (0, 7), (64, 0), (3, 399)];
    for (i, head_dim) in HEAD_DIMS.into_iter().enumerate() {
        let case = Case {
            dtype: Dtype::F16,
            ..rotated(0, 0, head_dim, 7 * i)
        };
        let packed = Packed::new(case.deterministic(), &lengths);
        for &arch in case.archs() {
            let results = in_every_order(arch, |device| packed.train::<f16>(device));
            assert!(is_constant(&results), "{arch:?}, {packed:?}");
        }
    }
}

/// Largest rounding step of a type near the numbers: |(x + 0.3 - 0.3) - x| in its arithmetic.
fn rounding_step<T: AttentionElement>(x: &[T]) -> f64 {
    let add = |x: f64, y: f64| T::from_f64(x + T::from_f64(y).to_f64()).to_f64();
    let step = |x: &T| (add(add(x.to_f64(), 0.3), -0.3) - x.to_f64()).abs();
    x.iter().map(step).fold(0.0, f64::max)
}

fn race<T: AttentionElement>(case: Case, arch: Arch) {
    let results = in_every_order(arch, |device| case.train::<T>(device));
    let first = &results[0];
    let tolerance = 2.0 * rounding_step(&first.gradients.d_q);
    for other in &results[1..] {
        assert!(other.out == first.out && other.lse == first.lse, "{case:?}");
        let (d, other) = (&first.gradients, &other.gradients);
        assert!(other.d_k == d.d_k && other.d_v == d.d_v, "{case:?}");
        assert!(other.d_bias == d.d_bias, "{case:?}");
        let distance = |(a, b): (&T, &T)| (a.to_f64() - b.to_f64()).abs();
        let worst = d
            .d_q
            .iter()
            .zip(&other.d_q)
            .map(distance)
            .fold(0.0, f64::max);
        assert!(
            worst <= tolerance,
            "dq moved by {worst}, at most {tolerance}: {case:?}"
        );
    }
}

#[test]
fn only_the_last_bits_of_dq_depend_on_the_order() {
    for (i, (seqlen_q, seqlen_k)) in RACE_LENGTHS.into_iter().enumerate() {
        for turn in 0..2 {
            let head_dim = HEAD_DIMS[(3 * i + 5 * turn) % 10];
            let case = Case::new(Dtype::F16, seqlen_q, seqlen_k, head_dim)
                .batch(if seqlen_q * seqlen_k > 1 << 16 { 1 } else { 3 })
                .causal((i + turn) % 2 == 0)
                .seed(i as u64);
            let is_dropped = (i / 2 + turn) % 2 == 0;
            let case = if is_dropped { case.dropout(0.17) } else { case };
            case.archs()
                .iter()
                .for_each(|&arch| race::<f16>(case, arch));
        }
    }
    let case = Case::new(Dtype::Bf16, 150, 200, 64).heads(4, 2);
    let case = case.bias(crate::common::BiasKind::number(0)).d_lse();
    race::<bf16>(case, Arch::Sm80);
}
