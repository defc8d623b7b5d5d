//! Where attention runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use abi::Arch;

use crate::backend::{Backend, BackendError};
use crate::emulated::{Emulated, EmulatorOptions};

/// Something that executes PTX and owns memory. Cheap to clone; clones are the same device.
#[derive(Clone)]
pub struct Device {
    backend: Arc<dyn Backend>,
}

impl Device {
    /// A CPU that executes PTX, all cores, memory of its own. It passes as a GPU of sm_80.
    pub fn emulated() -> Device {
        Device::emulated_with(EmulatorOptions::default())
    }

    /// As [`emulated`](Device::emulated), passing as a GPU of `arch`, so that its kernels run.
    pub fn emulated_as(arch: Arch) -> Device {
        Device::emulated_with(EmulatorOptions {
            arch,
            ..EmulatorOptions::default()
        })
    }

    /// An emulated device with an architecture, a schedule, thread count and rounding of your choice.
    pub fn emulated_with(options: EmulatorOptions) -> Device {
        Device {
            backend: Arc::new(Emulated::new(options)),
        }
    }

    /// The GPU with this number, in its primary context. Runs the best kernel for it.
    ///
    /// # Errors
    ///
    /// [`BackendError::NoCuda`] in a build without the feature `cuda`, `BackendError::Cuda` when there is no driver, no
    /// such device, or the driver fails.
    pub fn cuda(ordinal: u32) -> Result<Device, BackendError> {
        Device::open_cuda(ordinal, None)
    }

    /// As [`cuda`](Device::cuda), passing as the oldest GPU that runs kernels of `arch`: to test or compare them on a
    /// newer one.
    ///
    /// # Errors
    ///
    /// As [`cuda`](Device::cuda); `BackendError::Cuda` also when the GPU does not run kernels of `arch`.
    pub fn cuda_as(ordinal: u32, arch: Arch) -> Result<Device, BackendError> {
        Device::open_cuda(ordinal, Some(arch))
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(ordinal: u32, arch: Option<Arch>) -> Result<Device, BackendError> {
        Ok(Device {
            backend: Arc::new(crate::cuda::Cuda::new(ordinal, arch)?),
        })
    }

    #[cfg(not(feature = "cuda"))]
    fn open_cuda(ordinal: u32, _arch: Option<Arch>) -> Result<Device, BackendError> {
        Err(BackendError::NoCuda { ordinal })
    }

    /// The device of a name as [`name`](Device::name) begins with; see [`DeviceName`].
    ///
    /// # Errors
    ///
    /// [`BackendError::DeviceName`] for any other name, and those of [`Device::cuda_as`].
    pub fn from_name(name: &str) -> Result<Device, BackendError> {
        match name.parse()? {
            DeviceName::Emulated { arch } => Ok(Device::emulated_as(arch)),
            DeviceName::Cuda { ordinal, arch } => Device::open_cuda(ordinal, arch),
        }
    }

    /// What to call it in messages: `emulated`, `emulated:sm_90a`, or `cuda:0` and the name of the GPU.
    pub fn name(&self) -> &str {
        self.backend.name()
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }
}

/// A device by name: `emulated` or `cuda:N`, as it is or with the architecture of the kernels that it is to run, as in
/// `emulated:sm_90a` and `cuda:0:sm_80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// The emulated device.
    Emulated {
        /// What it passes as; sm_80 if the name does not say.
        arch: Arch,
    },
    /// A GPU.
    Cuda {
        /// Its number.
        ordinal: u32,
        /// What it passes as; as itself if the name does not say.
        arch: Option<Arch>,
    },
}

impl FromStr for DeviceName {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<DeviceName, BackendError> {
        let unknown = || BackendError::DeviceName {
            name: name.to_owned(),
        };
        let find = |text: &str| Arch::ALL.iter().copied().find(|arch| arch.name() == text);
        let parts: Vec<&str> = name.split(':').collect();
        let (device, arch) = match &parts[..] {
            ["emulated", arch @ ..] => (None, arch),
            ["cuda", ordinal, arch @ ..] => (Some(ordinal.parse().map_err(|_| unknown())?), arch),
            _ => return Err(unknown()),
        };
        let arch = match arch {
            [] => None,
            [arch] => Some(find(arch).ok_or_else(unknown)?),
            _ => return Err(unknown()),
        };
        Ok(match device {
            None => DeviceName::Emulated {
                arch: arch.unwrap_or(EmulatorOptions::default().arch),
            },
            Some(ordinal) => DeviceName::Cuda { ordinal, arch },
        })
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.backend, &other.backend)
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_device_and_which_kernels() {
        let parse = |name: &str| name.parse::<DeviceName>().ok();
        let emulated = |arch| Some(DeviceName::Emulated { arch });
        assert_eq!(parse("emulated"), emulated(Arch::Sm80));
        assert_eq!(parse("emulated:sm_80"), emulated(Arch::Sm80));
        assert_eq!(parse("emulated:sm_90a"), emulated(Arch::Sm90a));
        let cuda = |ordinal, arch| Some(DeviceName::Cuda { ordinal, arch });
        assert_eq!(parse("cuda:0"), cuda(0, None));
        assert_eq!(parse("cuda:12:sm_80"), cuda(12, Some(Arch::Sm80)));
        for refused in [
            "",
            "emulated:",
            "emulated:sm_90",
            "emulated:sm_80:sm_80",
            "cuda",
            "cuda:",
            "cuda:-1",
            "cuda:0:",
            "cuda:0:sm_70",
            "cpu",
        ] {
            let error = refused.parse::<DeviceName>().unwrap_err().to_string();
            assert!(error.contains("sm_80 or :sm_90a"), "{refused}: {error}");
        }
    }

    #[test]
    fn an_emulated_device_is_named_after_what_was_asked_for() {
        let name = |name: &str| Device::from_name(name).unwrap().name().to_owned();
        assert_eq!(name("emulated"), "emulated");
        assert_eq!(name("emulated:sm_80"), "emulated");
        assert_eq!(name("emulated:sm_90a"), "emulated:sm_90a");
    }
}
