//! What the host and the kernels agree on: the parameter blocks of launches and the manifest of compiled kernels, one
//! table each for the [forward kernels](variants), the [backward kernels](backward), those for [Hopper](hopper) and the
//! [baselines](baseline), and the [dropout] mask. No dependencies, `no_std`, the same source on both sides of the launch.
#![cfg_attr(not(test), no_std)]

pub mod backward;
pub mod baseline;
pub mod dropout;
pub mod hopper;
mod params;
pub mod spec;
pub mod variants;

pub use backward::{BWD_VARIANTS, BwdStep, BwdVariant};
pub use baseline::{
    BASELINE_VARIANTS, BaselineStep, BaselineVariant, Flash1Params, StandardParams,
};
pub use hopper::backward::{HOPPER_BWD_VARIANTS, HopperBwdParams, HopperBwdVariant};
pub use hopper::forward::{HOPPER_FWD_VARIANTS, HopperFwdParams, HopperFwdVariant};
pub use hopper::{HopperScores, HopperVariant, TensorBox, TensorMap};
pub use params::{BwdParams, FwdParams, RowValues, ScoreParams, Sequences, Strided};
pub use spec::{KernelSpec, KernelVariant};
pub use variants::{Arch, CopyKind, Dtype, FWD_VARIANTS, FwdVariant, ScoreKind};
