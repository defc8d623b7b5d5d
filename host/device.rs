//! Where attention runs.

use std::fmt;
use std::sync::Arc;

use crate::backend::Backend;
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
        Device { backend: Arc::new(Emulated::new(options)) }
    }

    /// The GPU with this number, in its primary context.
    ///
    /// # Errors
    ///
    /// [`BackendError::Cuda`](crate::BackendError::Cuda) when there is no driver, no such device, or the driver fails.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: u32) -> Result<Device, crate::BackendError> {
        Ok(Device { backend: Arc::new(crate::cuda::Cuda::new(ordinal)?) })
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
