//! Numbers to compute with where no file has any.

use flash_attention::AttentionElement;

/// Uniform numbers from -1 to 1, the same ones for the same seed.
pub fn numbers<T: AttentionElement>(len: usize, seed: u64) -> Vec<T> {
    let element = |index: u64| {
        // splitmix64, whose upper 53 bits are a number from 0 to 1.
        let mut z = (seed << 40 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64;
        T::from_f64(2.0 * unit - 1.0)
    };
    (0..len as u64).map(element).collect()
}
