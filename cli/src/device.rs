//! `--device`: what attention runs on.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, bail};
use flash_attention::{
    BackendError, Device, DeviceName, EmulatorOptions, Progress, Sanitizers, Schedule,
};
#[cfg(feature = "cuda")]
use flash_attention::{CudaError, DriverError};
use indicatif::{ProgressBar, ProgressStyle};

/// A device as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU when there is one, else the emulator.
    Auto,
    /// The PTX emulator or a GPU, and which kernels are to run.
    Named(DeviceName),
    /// The f64 reference on the host: no kernel at all.
    Reference,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "reference" => Ok(DeviceChoice::Reference),
            name => name.parse().map(DeviceChoice::Named).map_err(|_| {
                "expected auto, emulated, reference or cuda:N; emulated and cuda:N may end in :sm_80 or :sm_90a, the \
                 kernels to run"
                    .to_owned()
            }),
        }
    }
}

impl DeviceChoice {
    /// Opens the device; `None` for the reference, which needs none.
    pub fn open(self) -> Result<Option<Device>> {
        match self {
            DeviceChoice::Reference => Ok(None),
            DeviceChoice::Auto => Ok(Some(
                Device::cuda(0).unwrap_or_else(|_| emulated(EmulatorOptions::default())),
            )),
            DeviceChoice::Named(DeviceName::Emulated { arch }) => {
                Ok(Some(emulated(EmulatorOptions {
                    arch,
                    ..EmulatorOptions::default()
                })))
            }
            DeviceChoice::Named(DeviceName::Cuda { ordinal, arch }) => {
                let device = match arch {
                    None => Device::cuda(ordinal),
                    Some(arch) => Device::cuda_as(ordinal, arch),
                };
                device
                    .map(Some)
                    .map_err(|error| cannot_open(ordinal, error))
            }
        }
    }

    /// How the emulated device executes; refuses other devices, for `option`, which only that one has.
    pub fn emulator(self, option: &str) -> Result<EmulatorOptions> {
        match self {
            DeviceChoice::Auto => Ok(EmulatorOptions::default()),
            DeviceChoice::Named(DeviceName::Emulated { arch }) => Ok(EmulatorOptions {
                arch,
                ..EmulatorOptions::default()
            }),
            DeviceChoice::Reference => {
                bail!("{option} watches kernels and the reference runs none: use --device emulated")
            }
            DeviceChoice::Named(DeviceName::Cuda { ordinal, .. }) => bail!(
                "{option} watches the emulated device, not cuda:{ordinal}: use --device emulated"
            ),
        }
    }

    /// Opens the emulated device with all sanitizers, which no other device has.
    pub fn open_sanitized(self, schedule: Schedule) -> Result<Device> {
        Ok(emulated(EmulatorOptions {
            schedule,
            sanitizers: Sanitizers::ALL,
            ..self.emulator("--sanitize")?
        }))
    }
}

/// The library's advice names its functions; users of the command need names of devices, for whichever option.
fn cannot_open(ordinal: u32, error: BackendError) -> Error {
    match error {
        BackendError::NoCuda { .. } => anyhow!(
            "cuda:{ordinal}: this command was built without CUDA: build it with --features cuda, or use the device emulated"
        ),
        #[cfg(feature = "cuda")]
        BackendError::Cuda(CudaError::Driver(DriverError { reason })) => anyhow!(
            "cuda:{ordinal}: no CUDA driver ({reason}): install the NVIDIA driver, or use the device emulated"
        ),
        #[cfg(feature = "cuda")]
        BackendError::Cuda(error @ CudaError::Arch { .. }) => anyhow!("{error}"),
        #[cfg(feature = "cuda")]
        BackendError::Cuda(CudaError::NoSuchDevice { count, .. }) => anyhow!(
            "cuda:{ordinal} does not exist: this machine has {count} CUDA device(s); use a lower number or the device emulated"
        ),
        other => anyhow!(
            "cuda:{ordinal}: {other}; see `flash-attention doctor`, or use the device emulated"
        ),
    }
}

/// The emulated device with a progress bar.
fn emulated(options: EmulatorOptions) -> Device {
    Device::emulated_with(EmulatorOptions {
        progress: Some(progress_bar()),
        ..options
    })
}

/// A bar on stderr for what the emulated device has done.
pub fn progress_bar() -> Progress {
    let started = Instant::now();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} blocks, {eta} left");
    // Hidden by indicatif itself when stderr is no terminal.
    let bar =
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    Arc::new(move |done, total| {
        // Short runs finish before a bar would help.
        if started.elapsed() < Duration::from_secs(1) {
            return;
        }
        bar.set_length(total);
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    })
}
