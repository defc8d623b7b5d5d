//! What all numeric tests share: inputs by seed, the device, cases that fit on one line and the rule they must hold.

mod case;
mod check;
mod packed;
mod rotation;

use flash_attention::{
    Arch, AttentionElement, CopyKind, Device, DeviceName, Dtype, EmulatorOptions, KernelVariant,
    Sanitizers,
};

pub use case::{Alibi, BiasKind, Case};
pub use check::{GradientsOnHost, Training};
pub use packed::Packed;
pub use rotation::{OPTIONS, rotated};

pub const DTYPES: [Dtype; 2] = [Dtype::F16, Dtype::Bf16];

/// Calls `$f::<f16>($args..)` or `$f::<bf16>($args..)`.
macro_rules! in_dtype {
    ($dtype:expr, $self:ident.$method:ident($($argument:expr),*)) => {
        match $dtype {
            flash_attention::Dtype::F16 => $self.$method::<flash_attention::f16>($($argument),*),
            flash_attention::Dtype::Bf16 => $self.$method::<flash_attention::bf16>($($argument),*),
        }
    };
}
pub(crate) use in_dtype;

/// Normally distributed numbers by seed (SplitMix64, then Box and Muller), rounded to `T`.
pub fn randn<T: AttentionElement>(seed: u64, len: usize, spread: f32) -> Vec<T> {
    let mut state = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x1234_5678);
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal =
        move || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..len)
        .map(|_| T::from_f64(normal() * f64::from(spread)))
        .collect()
}

/// How every emulated test runs: under all sanitizers, so that a wrong kernel is found even where its numbers are right.
pub fn sanitized() -> EmulatorOptions {
    EmulatorOptions {
        sanitizers: Sanitizers::ALL,
        ..EmulatorOptions::default()
    }
}

/// The emulated device that passes as a GPU of `arch`, under all sanitizers.
pub fn emulated(arch: Arch) -> Device {
    Device::emulated_with(EmulatorOptions {
        arch,
        ..sanitized()
    })
}

/// The device that `FLASH_ATTENTION_DEVICE` names, if it names one; an emulated one under all sanitizers.
fn named_device() -> Option<Device> {
    let name = std::env::var("FLASH_ATTENTION_DEVICE").ok()?;
    let device = match name.parse() {
        Ok(DeviceName::Emulated { arch }) => Ok(emulated(arch)),
        _ => Device::from_name(&name),
    };
    Some(device.unwrap_or_else(|error| panic!("{error}")))
}

/// What tests run on that concern no kernel for Hopper: `FLASH_ATTENTION_DEVICE`, or the emulated device as sm_80.
pub fn device() -> Device {
    named_device().unwrap_or_else(|| emulated(Arch::Sm80))
}

/// What the numeric tests run on: `FLASH_ATTENTION_DEVICE`, or the emulated device as each architecture.
pub fn devices() -> Vec<Device> {
    match named_device() {
        Some(device) => vec![device],
        None => Arch::ALL.iter().map(|&arch| emulated(arch)).collect(),
    }
}

/// One device, or several.
pub trait Devices {
    fn all(&self) -> &[Device];
}

impl Devices for Device {
    fn all(&self) -> &[Device] {
        std::slice::from_ref(self)
    }
}

impl Devices for [Device] {
    fn all(&self) -> &[Device] {
        self
    }
}

impl Devices for Vec<Device> {
    fn all(&self) -> &[Device] {
        self
    }
}

/// Whether a kernel moves tiles element by element, as only those for unaligned tensors do.
pub fn copies_elements(kernel: KernelVariant) -> bool {
    match kernel {
        KernelVariant::Forward(variant) => variant.copy == CopyKind::Element,
        KernelVariant::Backward(variant) => variant.copy == CopyKind::Element,
        _ => false,
    }
}

/// Whether the long grids were asked for.
pub fn is_full_run() -> bool {
    std::env::var_os("FLASH_ATTENTION_FULL").is_some_and(|value| value == "1")
}
