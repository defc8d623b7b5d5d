//! Values that Rust and Python compute alike: a hash of seed and index.

use std::collections::HashMap;

use flash_attention::{AttentionElement, Device, Tensor};

use crate::Error;

/// Values by seed. They depend on seed and index alone, so a longer tensor begins as a shorter one.
pub struct Inputs<T> {
    by_seed: HashMap<u32, Vec<T>>,
}

impl<T> Default for Inputs<T> {
    fn default() -> Self {
        Inputs {
            by_seed: HashMap::new(),
        }
    }
}

impl<T: AttentionElement> Inputs<T> {
    /// A tensor of the values of `seed`, row-major.
    pub fn tensor(
        &mut self,
        device: &Device,
        shape: [usize; 4],
        seed: u32,
    ) -> Result<Tensor<T>, Error> {
        let count = shape.iter().product();
        let values = self.by_seed.entry(seed).or_default();
        for index in values.len()..count {
            values.push(T::from_f64(value(seed, index as u32).into()));
        }
        Ok(Tensor::from_slice(device, shape, &values[..count])?)
    }
}

/// Uniform with mean 0 and variance 1: a mixed counter, its upper 24 bits scaled to [-√3, √3).
fn value(seed: u32, index: u32) -> f32 {
    let mut x = index
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(seed.wrapping_mul(0x85eb_ca77));
    x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
    x = (x ^ (x >> 12)).wrapping_mul(0x297a_2d39);
    x ^= x >> 15;
    ((x >> 8) as f32 / (1 << 23) as f32 - 1.0) * 1.732_050_8
}
