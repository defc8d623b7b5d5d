//! `--device`: what attention runs on.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use flash_attention::{Device, EmulatorOptions};
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
            "cuda" => Ok(DeviceChoice::Cuda(0)),
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
        match self {
            DeviceChoice::Reference => Ok(None),
            DeviceChoice::Emulated => Ok(Some(emulated())),
            DeviceChoice::Auto => Ok(Some(Device::cuda(0).unwrap_or_else(|_| emulated()))),
            DeviceChoice::Cuda(ordinal) => Ok(Some(Device::cuda(ordinal)?)),
        }
    }
}

fn emulated() -> Device {
    let started = Instant::now();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} blocks, {eta} left");
    // Hidden by indicatif itself when stderr is no terminal.
    let bar =
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let progress = move |done, total| {
        // Short runs finish before a bar would help.
        if started.elapsed() < Duration::from_secs(1) {
            return;
        }
        bar.set_length(total);
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    };
    Device::emulated_with(EmulatorOptions {
        progress: Some(Arc::new(progress)),
        ..EmulatorOptions::default()
    })
}
