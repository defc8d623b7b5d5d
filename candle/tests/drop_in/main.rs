//! What the drop-in promises about attention on candle's CPU tensors, against the plain formula in candle's own
//! operations in f32, which candle also differentiates. Everything emulated runs under all sanitizers, but the ten
//! functions themselves, which choose their device: they must give the same bits.

mod case;
mod errors;
mod forward;
mod functions;
mod gradients;
mod known_answer;
mod lse;
mod strides;
mod varlen;

use candle_core::{DType, Device, Result, Tensor};
use flash_attention::{Arch, EmulatorOptions, Sanitizers};
use flash_attention_candle::EmulatedDevice;

/// The emulated device that passes as a GPU of `arch`, under all sanitizers.
fn emulated(arch: Arch) -> EmulatedDevice {
    EmulatedDevice::emulated_with(EmulatorOptions {
        arch,
        sanitizers: Sanitizers::ALL,
        ..EmulatorOptions::default()
    })
}

/// Numbers in -1 .. 1 by seed, already rounded to `dtype`, as f32.
fn random(seed: u64, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let data: Vec<f32> = (0..shape.iter().product())
        .map(|_| rng.f32() * 2. - 1.)
        .collect();
    Tensor::from_vec(data, shape, &Device::Cpu)?
        .to_dtype(dtype)?
        .to_dtype(DType::F32)
}

/// Half of a unit in the last place of numbers just below 1.
fn epsilon(dtype: DType) -> f32 {
    match dtype {
        DType::F16 => 1. / 2048.,
        _ => 1. / 256.,
    }
}

/// Asserts that no element of `got` is further from `want` than `bound` times the largest magnitude in `want`.
#[track_caller]
fn assert_close(what: &str, got: &Tensor, want: &Tensor, bound: f32) {
    let distance = distance(got, want).unwrap();
    let largest = largest(want).unwrap();
    assert!(
        distance <= bound * largest,
        "{what}: distance {distance}, largest {largest}, bound {}",
        bound * largest
    );
}

fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    assert_eq!(a.dims(), b.dims());
    largest(&(a.to_dtype(DType::F32)? - b.to_dtype(DType::F32)?)?)
}

fn largest(x: &Tensor) -> Result<f32> {
    let data = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    // Not `max` alone, which would pass over NaN.
    Ok(data.iter().fold(0., |most, x| {
        if x.is_nan() {
            f32::NAN
        } else {
            x.abs().max(most)
        }
    }))
}

/// The bits of a tensor.
fn bits(x: &Tensor) -> Vec<u32> {
    let x = x.to_dtype(DType::F32).and_then(|x| x.flatten_all());
    let data = x.and_then(|x| x.to_vec1::<f32>()).unwrap();
    data.into_iter().map(f32::to_bits).collect()
}
