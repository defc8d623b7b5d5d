//! Where attention runs.

use std::fmt;
use std::sync::Arc;

use crate::backend::{Backend, BackendError};
use crate::emulated::{Emulated, EmulatorOptions};

/// Something that executes PTX and owns memory. Cheap to clone; clones are the same device.
#[derive(Clone)]
pub struct Device {
    backend: Arc<dyn Backend>,
}

impl Device {
    /// A CPU that executes PTX, all cores, memory of its own.
    pub fn emulated() -> Device {
        Device::emulated_with(EmulatorOptions::default())
    }

    /// An emulated device with a schedule, thread count and rounding of your choice.
    pub fn emulated_with(options: EmulatorOptions) -> Device {
        Device {
            backend: Arc::new(Emulated::new(options)),
        }
    }

    /// The GPU with this number, in its primary context.
    ///
    /// # Errors
    ///
    /// [`BackendError::NoCuda`] in a build without the feature `cuda`, `BackendError::Cuda` when there is no driver, no
    /// such device, or the driver fails.
    pub fn cuda(ordinal: u32) -> Result<Device, BackendError> {
        #[cfg(feature = "cuda")]
        return Ok(Device {
            backend: Arc::new(crate::cuda::Cuda::new(ordinal)?),
        });
        #[cfg(not(feature = "cuda"))]
        return Err(BackendError::NoCuda { ordinal });
    }

    /// The device of a name as [`name`](Device::name) begins with: `emulated` or `cuda:N`.
    ///
    /// # Errors
    ///
    /// [`BackendError::DeviceName`] for any other name, and those of [`Device::cuda`].
    pub fn from_name(name: &str) -> Result<Device, BackendError> {
        let ordinal = name.strip_prefix("cuda:").and_then(|n| n.parse().ok());
        match (name, ordinal) {
            ("emulated", _) => Ok(Device::emulated()),
            (_, Some(ordinal)) => Device::cuda(ordinal),
            _ => Err(BackendError::DeviceName {
                name: name.to_owned(),
            }),
        }
    }

    /// What to call it in messages: `emulated`, or `cuda:0` and the name of the GPU.
    pub fn name(&self) -> &str {
        self.backend.name()
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
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
