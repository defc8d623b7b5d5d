//! Number types a tensor may hold.

use std::fmt::Debug;

use abi::Dtype;
use half::{bf16, f16};

mod sealed {
    pub trait Sealed {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
}

/// A number that device memory may hold: `f16`, `bf16`, `f32` or `i32`. Sealed: kernels exist for these only.
pub trait Element: bytemuck::Pod + Debug + PartialEq + Send + Sync + sealed::Sealed {}

impl Element for f16 {}
impl Element for bf16 {}
impl Element for f32 {}
impl Element for i32 {}

/// A type of Q, K, V and O: `f16` or `bf16`.
pub trait AttentionElement: Element {
    /// What the manifest of kernels calls it.
    const DTYPE: Dtype;

    /// The value, exactly.
    fn to_f64(self) -> f64;

    /// The nearest value, ties to even; beyond the range, infinity.
    fn from_f64(value: f64) -> Self;

    /// Its 16 bits.
    fn to_bits(self) -> u16;

    /// The value with these 16 bits.
    fn from_bits(bits: u16) -> Self;
}

impl AttentionElement for f16 {
    const DTYPE: Dtype = Dtype::F16;

    fn to_f64(self) -> f64 {
        f16::to_f64(self)
    }

    fn from_f64(value: f64) -> f16 {
        f16::from_f64(value)
    }

    fn to_bits(self) -> u16 {
        f16::to_bits(self)
    }

    fn from_bits(bits: u16) -> f16 {
        f16::from_bits(bits)
    }
}

impl AttentionElement for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;

    fn to_f64(self) -> f64 {
        bf16::to_f64(self)
    }

    fn from_f64(value: f64) -> bf16 {
        bf16::from_f64(value)
    }

    fn to_bits(self) -> u16 {
        bf16::to_bits(self)
    }

    fn from_bits(bits: u16) -> bf16 {
        bf16::from_bits(bits)
    }
}
