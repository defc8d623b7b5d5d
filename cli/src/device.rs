//! `--device`: what attention runs on.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, bail};
use flash_attention::{BackendError, Device, EmulatorOptions, Progress, Sanitizers, Schedule};
#[cfg(feature = "cuda")]
use flash_attention::{CudaError, DriverError};
use indicatif::{ProgressBar, ProgressStyle};

/// A device as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU when there is one, else the emulator.
    Auto,
    /// The PTX emulator.
    Emulated,
    /// The f64 reference on the host: no kernel at all.
    Reference,
    /// A GPU by number.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "emulated" => Ok(DeviceChoice::Emulated),
            "reference" => Ok(DeviceChoice::Reference),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| "expected auto, emulated, reference or cuda:N".to_owned()),
        }
    }
}

impl DeviceChoice {
    /// Opens the device; `None` for the reference, which needs none.
    pub fn open(self) -> Result<Option<Device>> {
        let emulated = || emulated(EmulatorOptions::default());
        match self {
            DeviceChoice::Reference => Ok(None),
            DeviceChoice::Emulated => Ok(Some(emulated())),
            DeviceChoice::Auto => Ok(Some(Device::cuda(0).unwrap_or_else(|_| emulated()))),
            DeviceChoice::Cuda(ordinal) => Device::cuda(ordinal)
                .map(Some)
                .map_err(|error| cannot_open(ordinal, error)),
        }
    }

    /// Opens the emulated device with all sanitizers, which no other device has.
    pub fn open_sanitized(self, schedule: Schedule) -> Result<Device> {
        let options = EmulatorOptions {
            schedule,
            sanitizers: Sanitizers::ALL,
            ..EmulatorOptions::default()
        };
        match self {
            DeviceChoice::Auto | DeviceChoice::Emulated => Ok(emulated(options)),
            DeviceChoice::Reference => {
                bail!(
                    "--sanitize watches kernels and the reference runs none: use --device emulated"
                )
            }
            DeviceChoice::Cuda(ordinal) => bail!(
                "--sanitize watches the emulated device, not cuda:{ordinal}: use --device emulated"
            ),
        }
    }
}

/// The library's advice names its functions; users of the command need its options.
fn cannot_open(ordinal: u32, error: BackendError) -> Error {
    match error {
        BackendError::NoCuda { .. } => anyhow!(
            "cuda:{ordinal}: this command was built without CUDA: build it with --features cuda, or use --device emulated"
        ),
        #[cfg(feature = "cuda")]
        BackendError::Cuda(CudaError::Driver(DriverError { reason })) => anyhow!(
            "cuda:{ordinal}: no CUDA driver ({reason}): install the NVIDIA driver, or use --device emulated"
        ),
        #[cfg(feature = "cuda")]
        BackendError::Cuda(CudaError::NoSuchDevice { count, .. }) => anyhow!(
            "cuda:{ordinal} does not exist: this machine has {count} CUDA device(s); use a lower number or --device emulated"
        ),
        other => anyhow!(
            "cuda:{ordinal}: {other}; see `flash-attention doctor`, or use --device emulated"
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
