//! Operands: for each kind the values at which implementations go wrong, and random ones.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integer or bits of 16, 32 or 64 bits.
    Int(u32),
    /// As `Int`, never 0.
    NonZero(u32),
    /// A number below the bound, often near it or near a power of two.
    Below(u64),
    /// An IEEE format by its bits of exponent and fraction.
    Float(u32, u32),
    /// Two of them in 32 bits.
    Pair(u32, u32),
}

pub const F16: Kind = Kind::Float(5, 10);
pub const BF16: Kind = Kind::Float(8, 7);
pub const F32: Kind = Kind::Float(8, 23);
pub const F64: Kind = Kind::Float(11, 52);
pub const PREDICATE: Kind = Kind::Below(2);

/// Random rows besides the combinations of corners.
const RANDOM: usize = 1500;

/// All pairs of corners of the first two operands, all edge values of an only one, and [`RANDOM`] rows of edge values and
/// random ones mixed. Always the same rows for the same kinds. Operands that are not asked for are 0.
pub fn rows(kinds: &[Kind]) -> Vec<[u64; 4]> {
    let mut runner = TestRunner::deterministic();
    let strategies: Vec<_> = kinds.iter().map(|kind| kind.strategy()).collect();
    let mut random_row = || {
        let mut row = [0; 4];
        for (place, strategy) in row.iter_mut().zip(&strategies) {
            let tree = strategy.new_tree(&mut runner);
            *place = tree.expect("no value is ever rejected").current();
        }
        row
    };
    let mut rows = Vec::new();
    if let [only] = kinds {
        rows.extend(only.edges().iter().map(|&a| [a, 0, 0, 0]));
    } else {
        for a in kinds[0].corners() {
            for b in kinds[1].corners() {
                let [_, _, c, d] = random_row();
                rows.push([a, b, c, d]);
            }
        }
    }
    rows.extend((0..RANDOM).map(|_| random_row()));
    rows
}

fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

impl Kind {
    fn strategy(self) -> BoxedStrategy<u64> {
        let edges = proptest::sample::select(self.edges());
        match self {
            Kind::Int(bits) => {
                // As many short numbers as long ones.
                let short = (any::<u64>(), 0..bits).prop_map(move |(x, n)| (x & mask(bits)) >> n);
                prop_oneof![edges, short].boxed()
            }
            Kind::NonZero(bits) => Kind::Int(bits).strategy().prop_map(|x| x.max(1)).boxed(),
            Kind::Below(bound) => prop_oneof![edges, 0..bound].boxed(),
            Kind::Float(exponent, fraction) => {
                let bits = 1 + exponent + fraction;
                // Numbers close to 1, whose sums cancel and whose products stay in range.
                let one = mask(exponent - 1) << fraction;
                let near = any::<u64>().prop_map(move |x| {
                    let sign = x >> 63 << (bits - 1);
                    let scale = (x >> 48 & 7) << fraction;
                    sign | (one - (3 << fraction) + scale + (x & mask(fraction)))
                });
                let wild = any::<u64>().prop_map(move |x| x & mask(bits));
                prop_oneof![2 => edges, 1 => near, 1 => wild].boxed()
            }
            Kind::Pair(exponent, fraction) => {
                let half = || Kind::Float(exponent, fraction).strategy();
                (half(), half())
                    .prop_map(|(low, high)| high << 16 | low)
                    .boxed()
            }
        }
    }

    /// The edge values of which every pair is tried.
    fn corners(self) -> Vec<u64> {
        let edges = self.edges();
        let step = edges.len().div_ceil(40).max(1);
        match self {
            Kind::Float(exponent, fraction) => float_corners(exponent, fraction),
            _ => edges.into_iter().step_by(step).collect(),
        }
    }

    fn edges(self) -> Vec<u64> {
        match self {
            Kind::Int(bits) => {
                let min = 1 << (bits - 1);
                let low: Vec<u64> = vec![0, 1, 2, 3, 7, 31, 32, 33, 0x55, 0x80, 0xff, 0x100];
                let wide = [
                    min - 2,
                    min - 1,
                    min,
                    min + 1,
                    min >> 1,
                    min >> 7,
                    mask(bits / 2),
                ];
                let negative = low.iter().map(|x| x.wrapping_neg() & mask(bits));
                let all = low.iter().copied().chain(wide).chain(negative.skip(1));
                all.collect()
            }
            Kind::NonZero(bits) => {
                let all = Kind::Int(bits).edges();
                all.into_iter().filter(|&x| x != 0).collect()
            }
            Kind::Below(bound) => {
                let powers = (0..64).map(|n| 1u64 << n);
                let near = powers.flat_map(|p| [p - 1, p, p + 1]);
                let mut all: Vec<u64> = near.chain([bound - 1]).filter(|&x| x < bound).collect();
                all.sort_unstable();
                all.dedup();
                all
            }
            Kind::Float(exponent, fraction) => float_edges(exponent, fraction),
            Kind::Pair(exponent, fraction) => {
                let halves = float_edges(exponent, fraction);
                let others = halves.iter().cycle().skip(11);
                let pairs = halves.iter().zip(others);
                pairs.map(|(&low, &high)| high << 16 | low).collect()
            }
        }
    }
}

/// Zeros, subnormals, the ends of the normal numbers, 1, infinities and NaNs, with both signs.
fn float_corners(exponent: u32, fraction: u32) -> Vec<u64> {
    let infinity = mask(exponent) << fraction;
    let one = mask(exponent - 1) << fraction;
    let smallest = 1 << fraction;
    let positive = [
        0,
        1,
        smallest - 1,
        smallest,
        one,
        one + 1,
        infinity - 1,
        infinity,
    ];
    let nan = [
        infinity + 1,
        infinity | smallest >> 1,
        infinity | mask(fraction),
    ];
    both_signs(positive.into_iter().chain(nan), exponent + fraction)
}

fn both_signs(positive: impl Iterator<Item = u64>, sign_bit: u32) -> Vec<u64> {
    positive
        .flat_map(|bits| [bits, bits | 1 << sign_bit])
        .collect()
}

/// The corners, and numbers around those at which other formats and integers end.
fn float_edges(exponent: u32, fraction: u32) -> Vec<u64> {
    let bias = mask(exponent - 1) as i64;
    let powers = [
        -149, -133, -126, -25, -24, -15, -14, -1, 0, 1, 7, 8, 11, 15, 16, 24, 31, 32, 63, 64,
    ];
    let biased = powers.into_iter().map(|power| power + bias);
    let normal = biased.filter(|&biased| biased > 1 && biased < mask(exponent) as i64);
    // The numbers next to each, and the one half-way to the next power.
    let near = normal.flat_map(|biased| {
        let bits = (biased as u64) << fraction;
        [bits - 1, bits, bits + 1, bits | 1 << (fraction - 1)]
    });
    let mut edges = float_corners(exponent, fraction);
    edges.extend(both_signs(near, exponent + fraction));
    edges
}
