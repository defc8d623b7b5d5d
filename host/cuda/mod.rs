//! CUDA devices: [`Backend`] on `cust` and the NVIDIA driver.
//!
//! Each device works in its primary context, which it shares with every other library in the process, so memory and
//! streams of candle, burn, cudarc or the CUDA runtime can be handed to [`forward_raw`](crate::forward_raw).

#[cfg_attr(feature = "cuda-linked", path = "linked_driver.rs")]
mod driver;
mod error;
mod kernel;
mod tensor_map;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use abi::{Arch, KernelSpec, TensorMap};
use cust::context::{Context, CurrentContext};
use cust::device::{Device, DeviceAttribute};
use cust::memory::{DevicePointer, cuda_free, cuda_malloc};
use cust::sys;

use crate::backend::{Backend, BackendError, DeviceLimits, RawStream};
use crate::kernels;
use crate::tensor_map::TiledMatrix;
pub use error::{CudaError, DriverError};
use error::{during, returned};
use kernel::LoadedKernel;

/// One GPU.
pub(crate) struct Cuda {
    name: String,
    limits: DeviceLimits,
    /// Kernels that the driver has compiled for this GPU, by entry. Dropped before the context they live in.
    kernels: Mutex<HashMap<&'static str, LoadedKernel>>,
    context: Context,
}

impl Cuda {
    /// The GPU `ordinal`; told an architecture, it passes as the oldest GPU that runs kernels of it.
    pub(crate) fn new(ordinal: u32, arch: Option<Arch>) -> Result<Cuda, CudaError> {
        let count = device_count()?;
        if ordinal >= count {
            return Err(CudaError::NoSuchDevice { ordinal, count });
        }
        let device = Device::get_device(ordinal).map_err(during("open the device"))?;
        let gpu = device.name().map_err(during("read the device's name"))?;
        let attribute = |attribute| {
            device
                .get_attribute(attribute)
                .map_err(during("read the device's attributes"))
        };
        let major = attribute(DeviceAttribute::ComputeCapabilityMajor)?;
        let minor = attribute(DeviceAttribute::ComputeCapabilityMinor)?;
        let multiprocessors = attribute(DeviceAttribute::MultiprocessorCount)?;
        let compute_capability = (major.unsigned_abs(), minor.unsigned_abs());
        if let Some(arch) = arch.filter(|arch| !arch.runs_on(compute_capability)) {
            return Err(CudaError::Arch {
                ordinal,
                compute_capability,
                arch,
            });
        }
        let limits = DeviceLimits {
            compute_capability: arch.map_or(compute_capability, Arch::compute_capability),
            max_shared_bytes: max_shared_bytes(device)?,
            multiprocessors: multiprocessors.unsigned_abs(),
        };
        let context = Context::new(device).map_err(during("retain the primary context"))?;
        Ok(Cuda {
            name: match arch {
                None => format!("cuda:{ordinal} ({gpu})"),
                Some(arch) => format!("cuda:{ordinal}:{} ({gpu})", arch.name()),
            },
            limits,
            kernels: Mutex::default(),
            context,
        })
    }

    /// The driver works on the context that is current in the calling thread.
    fn enter(&self) -> Result<(), CudaError> {
        CurrentContext::set_current(&self.context).map_err(during("make the context current"))
    }

    fn function(&self, spec: &KernelSpec) -> Result<sys::CUfunction, CudaError> {
        // The map stays valid when a thread panics while holding it: entries are inserted whole.
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(spec.entry) {
            return Ok(kernel.function());
        }
        let kernel = LoadedKernel::new(spec.entry, kernels::ptx(spec.entry), spec.shared_bytes)?;
        let function = kernel.function();
        kernels.insert(spec.entry, kernel);
        Ok(function)
    }
}

/// CUDA devices of this machine.
pub(crate) fn device_count() -> Result<u32, CudaError> {
    driver::load()?;
    cust::init(cust::CudaFlags::empty()).map_err(during("start"))?;
    Device::num_devices().map_err(during("count its devices"))
}

/// Shared memory that a kernel may opt in to; an attribute younger than `cust`'s list.
fn max_shared_bytes(device: Device) -> Result<u32, CudaError> {
    let mut bytes = 0;
    let attribute =
        sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    // SAFETY: the driver is loaded, the device handle is valid, and `bytes` outlives the call.
    let result = unsafe { sys::cuDeviceGetAttribute(&mut bytes, attribute, device.as_raw()) };
    returned(result, "read the device's attributes")?;
    Ok(bytes.unsigned_abs())
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // The kernels are dropped next, and unloading a module needs its context to be current.
        let entered = self.enter();
        debug_assert!(entered.is_ok(), "{entered:?}");
    }
}

impl Backend for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> DeviceLimits {
        self.limits
    }

    fn alloc(&self, bytes: usize) -> Result<u64, BackendError> {
        self.enter()?;
        // SAFETY: the memory is reached through checked copies and launches only.
        let ptr = unsafe { cuda_malloc::<u8>(bytes) }.map_err(during("allocate device memory"))?;
        Ok(ptr.as_raw())
    }

    unsafe fn free(&self, ptr: u64) {
        let freed = self.enter().and_then(|()| {
            // SAFETY: the caller hands back what `alloc` gave; the driver finishes pending work on it first.
            unsafe { cuda_free(DevicePointer::<u8>::from_raw(ptr)) }
                .map_err(during("free device memory"))
        });
        debug_assert!(freed.is_ok(), "{freed:?}");
    }

    unsafe fn upload(&self, ptr: u64, data: &[u8]) -> Result<(), BackendError> {
        self.enter()?;
        // SAFETY: the caller vouches for the device range; the slice is readable for its length.
        let result = unsafe { sys::cuMemcpyHtoD_v2(ptr, data.as_ptr().cast(), data.len()) };
        Ok(returned(result, "copy to the device")?)
    }

    unsafe fn download(&self, ptr: u64, data: &mut [u8]) -> Result<(), BackendError> {
        self.enter()?;
        // SAFETY: the caller vouches for the device range; the slice is writable for its length.
        let result = unsafe { sys::cuMemcpyDtoH_v2(data.as_mut_ptr().cast(), ptr, data.len()) };
        Ok(returned(result, "copy from the device")?)
    }

    fn encode(&self, matrix: &TiledMatrix) -> Result<TensorMap, BackendError> {
        Ok(tensor_map::encode(matrix)?)
    }

    unsafe fn launch(
        &self,
        kernel: &KernelSpec,
        params: &[u8],
        blocks: u32,
        stream: RawStream,
    ) -> Result<(), BackendError> {
        self.enter()?;
        let function = self.function(kernel)?;
        let mut arguments = [params.as_ptr().cast_mut().cast()];
        // SAFETY: the kernel takes exactly one parameter by value, as long as `params`, which the driver copies before
        // it returns, to where the kernel's alignment of it wants it; the caller vouches for the memory that it describes and for the stream.
        let result = unsafe {
            sys::cuLaunchKernel(
                function,
                blocks,
                1,
                1,
                kernel.threads,
                1,
                1,
                kernel.shared_bytes,
                stream.cast(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        Ok(returned(result, "launch the kernel")?)
    }

    fn synchronize(&self) -> Result<(), BackendError> {
        self.enter()?;
        // SAFETY: the null stream always exists in a current context.
        let result = unsafe { sys::cuStreamSynchronize(std::ptr::null_mut()) };
        Ok(returned(result, "finish the work on the default stream")?)
    }
}
