//! What can go wrong between this library and the NVIDIA driver.

use abi::Arch;
use cust::sys::{CUresult, cudaError_enum};

/// The CUDA driver could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no CUDA driver ({reason}): install the NVIDIA driver, or use Device::emulated()")]
pub struct DriverError {
    /// What the dynamic loader said.
    pub reason: String,
}

/// A CUDA device could not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// There is no driver on this machine.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// There are fewer devices than that.
    #[error(
        "cuda:{ordinal} does not exist: this machine has {count} CUDA device(s); use a lower number or Device::emulated()"
    )]
    NoSuchDevice {
        /// The device that was asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// The device is older than the kernels that it was told to run.
    #[error(
        "cuda:{ordinal} has compute capability {}.{} and does not run kernels of {}: leave the architecture out for \
         those that it runs best", compute_capability.0, compute_capability.1, arch.name()
    )]
    Arch {
        /// The device.
        ordinal: u32,
        /// `(major, minor)`.
        compute_capability: (u32, u32),
        /// The architecture that was asked for.
        arch: Arch,
    },
    /// The driver is older than tensor maps.
    #[error(
        "the CUDA driver has no cuTensorMapEncodeTiled: update it to 525 or newer (CUDA 12.0), or name the device with \
         :sm_80, as in cuda:0:sm_80"
    )]
    NoTensorMaps,
    /// The driver's compiler refused a kernel.
    #[error("the CUDA driver cannot compile {entry} ({code}); its log says: {log}")]
    Compile {
        /// PTX symbol of the kernel.
        entry: &'static str,
        /// The driver's error code.
        code: String,
        /// What the driver's compiler wrote.
        log: String,
    },
    /// A driver function failed. Errors of a kernel surface in the first call after it.
    #[error("the CUDA driver could not {action}: {code}")]
    Call {
        /// What it was asked to do.
        action: &'static str,
        /// The driver's error code.
        code: String,
    },
}

/// Turns a failure of `cust` into ours, told what was going on.
pub(super) fn during(action: &'static str) -> impl Fn(cust::error::CudaError) -> CudaError {
    move |code| CudaError::Call {
        action,
        code: format!("{code:?}"),
    }
}

/// The outcome of a driver call.
pub(super) fn returned(result: CUresult, action: &'static str) -> Result<(), CudaError> {
    match result {
        cudaError_enum::CUDA_SUCCESS => Ok(()),
        code => Err(CudaError::Call {
            action,
            code: format!("{code:?}"),
        }),
    }
}
