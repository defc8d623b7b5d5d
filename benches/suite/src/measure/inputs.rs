//! What is computed with.

use flash_attention::{Arch, Device, EmulatorOptions, Sanitizers, Tensor, bf16};

use crate::SuiteError;

/// q, k and v of one shape, roughly normal, the same in every run.
pub(super) fn inputs(shape: [usize; 4]) -> [Vec<bf16>; 3] {
    [1, 2, 3].map(|seed| random(seed, shape.iter().product()))
}

/// The same on a device.
pub(super) fn tensors(device: &Device, shape: [usize; 4]) -> Result<[Tensor<bf16>; 3], SuiteError> {
    let [q, k, v] = inputs(shape);
    let tensor = |values: &[bf16]| Tensor::from_slice(device, shape, values);
    Ok([tensor(&q)?, tensor(&k)?, tensor(&v)?])
}

/// The emulated device with the kernels of `arch`, on all cores.
pub(super) fn device(arch: Arch, sanitizers: Sanitizers) -> Device {
    Device::emulated_with(EmulatorOptions {
        arch,
        sanitizers,
        ..EmulatorOptions::default()
    })
}

/// What a table calls our kernels.
pub(super) fn emulated(arch: Arch) -> String {
    format!("our PTX for {}, emulated", arch.name())
}

/// As in `b1 h8 s1024 d64`.
pub(super) fn name_of([batch, seqlen, heads, head_dim]: [usize; 4]) -> String {
    format!("b{batch} h{heads} s{seqlen} d{head_dim}")
}

/// Largest difference between two results.
pub(super) fn difference(one: &[f32], other: &[f32]) -> f32 {
    let pairs = one.iter().zip(other);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Roughly normal values: sums of four uniform ones (splitmix64).
pub(super) fn random(seed: u64, count: usize) -> Vec<bf16> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|_| bf16::from_f32((uniform() + uniform() + uniform() + uniform()) * 1.732))
        .collect()
}
