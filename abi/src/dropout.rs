//! Dropout: which elements of P are kept, as a pure function of a seed and of where the element is.
//!
//! Philox4x32 with 7 rounds (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), keyed by the
//! seed. One call gives 128 random bits, 16 for each of the eight elements in rows {i, i + 8, i + 16, i + 24} and
//! columns {j, j + 8} of a 32 x 16 block of P, i and j below 8. These are elements that one lane owns in an `mma`
//! accumulator of P and in one of Pᵀ, so forward and backward kernels of any tiling regenerate the mask in registers.

/// Random values that a threshold is compared with: 16 bits.
pub const RANGE: u32 = 1 << 16;

/// The threshold for a drop probability: 16 random bits below it keep an element.
///
/// The probability is rounded to a multiple of 1/65536; `None` when it is no number in 0 .. 1 or rounds to 1.
pub fn threshold(drop_probability: f32) -> Option<u32> {
    if !(0.0..1.0).contains(&drop_probability) {
        return None;
    }
    // Exact: f64 holds the product, and adding a half and cutting rounds to nearest.
    let threshold = ((1.0 - drop_probability as f64) * RANGE as f64 + 0.5) as u32;
    if threshold == 0 {
        None
    } else {
        Some(threshold)
    }
}

/// Whether element (`row`, `column`) of P is kept. `subsequence` is the call's offset plus
/// `batch * num_heads + head`.
#[inline(always)]
pub const fn is_kept(seed: u64, subsequence: u64, row: u32, column: u32, threshold: u32) -> bool {
    let words = random_words(seed, subsequence, row, column);
    let word = words[(row / 8 % 4) as usize];
    (word >> (16 * (column / 8 % 2))) % RANGE < threshold
}

/// The random bits of the eight elements that share a call with (`row`, `column`): word w is of row
/// `row % 8 + 8 * w` of the block, its low half of column `column % 8`, its high half of column `column % 8 + 8`.
#[inline(always)]
pub const fn random_words(seed: u64, subsequence: u64, row: u32, column: u32) -> [u32; 4] {
    let counter = [
        row / 32 * 8 + row % 8,
        column / 16 * 8 + column % 8,
        subsequence as u32,
        (subsequence >> 32) as u32,
    ];
    philox([seed as u32, (seed >> 32) as u32], counter)
}

/// Philox4x32-7.
#[inline(always)]
pub const fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    const ROUNDS: u32 = 7;
    const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let [mut k0, mut k1] = key;
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let mut round = 0;
    while round < ROUNDS {
        let (a, b) = (
            MULTIPLIERS[0] as u64 * c0 as u64,
            MULTIPLIERS[1] as u64 * c2 as u64,
        );
        c0 = (b >> 32) as u32 ^ c1 ^ k0;
        c2 = (a >> 32) as u32 ^ c3 ^ k1;
        c1 = b as u32;
        c3 = a as u32;
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with Random123.
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(
            philox([0; 2], [0; 4]),
            [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]
        );
        assert_eq!(
            philox([!0; 2], [!0; 4]),
            [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]
        );
        assert_eq!(
            philox(
                [0xa409_3822, 0x299f_31d0],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]
            ),
            [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a]
        );
    }

    #[test]
    fn probabilities_are_rounded_to_multiples_of_2_to_the_minus_16() {
        assert_eq!(threshold(0.0), Some(65536));
        assert_eq!(threshold(0.5), Some(32768));
        assert_eq!(threshold(0.17), Some(54395));
        assert_eq!(threshold(1.0 - 1.0 / 65536.0), Some(1));
        for refused in [-0.1, 1.0, 0.999_999, f32::NAN, f32::INFINITY] {
            assert_eq!(threshold(refused), None, "{refused}");
        }
    }

    #[test]
    fn every_element_of_a_block_has_bits_of_its_own() {
        let mut seen = [[false; 64]; 8];
        for row in 32..64 {
            for column in 16..32 {
                let call = (row % 8 * 8 + column % 8) as usize;
                let place = (row / 8 % 4 * 2 + column / 8 % 2) as usize;
                assert!(!seen[place][call]);
                seen[place][call] = true;
                assert_eq!(
                    random_words(1, 2, row, column),
                    random_words(1, 2, 32 + row % 8, 16 + column % 8)
                );
            }
        }
        assert_ne!(random_words(1, 2, 0, 0), random_words(1, 2, 32, 0));
        assert_ne!(random_words(1, 2, 0, 0), random_words(1, 2, 0, 16));
        assert_ne!(random_words(1, 2, 0, 0), random_words(1, 3, 0, 0));
    }
}
