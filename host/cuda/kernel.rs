//! A kernel that the driver has compiled from PTX.

use std::ffi::{CString, c_void};

use cust::sys::{self, CUjit_option, cudaError_enum};

use super::error::{CudaError, returned};

/// Bytes that the driver's compiler may fill with its complaints.
const LOG_BYTES: usize = 16 * 1024;

/// One entry of one module in the context that was current when it was loaded.
pub(super) struct LoadedKernel {
    module: sys::CUmodule,
    function: sys::CUfunction,
}

// SAFETY: the handles are names that the driver, which is thread-safe, looks up; no memory of ours hangs on them.
unsafe impl Send for LoadedKernel {}

impl LoadedKernel {
    /// Compiles `ptx` for the current context's device and lets `entry` use `shared_bytes` of dynamic shared memory,
    /// which above 48 KiB has to be asked for.
    pub(super) fn new(
        entry: &'static str,
        ptx: &str,
        shared_bytes: u32,
    ) -> Result<Self, CudaError> {
        let kernel = LoadedKernel {
            module: compile(entry, ptx)?,
            function: std::ptr::null_mut(),
        };
        kernel.resolve(entry, shared_bytes)
    }

    fn resolve(mut self, entry: &'static str, shared_bytes: u32) -> Result<Self, CudaError> {
        let name = c_string(entry);
        // SAFETY: the module is loaded and the name ends in a zero byte.
        let result =
            unsafe { sys::cuModuleGetFunction(&mut self.function, self.module, name.as_ptr()) };
        returned(result, "find the kernel in its module")?;
        let attribute =
            sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function handle was just obtained.
        let result = unsafe {
            sys::cuFuncSetAttribute(self.function, attribute, shared_bytes.cast_signed())
        };
        returned(result, "grant the kernel its shared memory")?;
        Ok(self)
    }

    pub(super) fn function(&self) -> sys::CUfunction {
        self.function
    }
}

impl Drop for LoadedKernel {
    fn drop(&mut self) {
        // SAFETY: this is the only owner of the module; the device's Drop has made its context current.
        let result = unsafe { sys::cuModuleUnload(self.module) };
        debug_assert!(result == cudaError_enum::CUDA_SUCCESS, "{result:?}");
    }
}

fn compile(entry: &'static str, ptx: &str) -> Result<sys::CUmodule, CudaError> {
    let image = c_string(ptx);
    let mut log = vec![0u8; LOG_BYTES];
    let mut options = [
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    // The second value is a number in the place of a pointer: so the driver API wants it.
    let mut values = [
        log.as_mut_ptr().cast::<c_void>(),
        std::ptr::without_provenance_mut(LOG_BYTES),
    ];
    let mut module = std::ptr::null_mut();
    // SAFETY: the text ends in a zero byte; the two options have two values, of which the first is a writable buffer
    // of the length that the second says; all of them outlive the call.
    let result = unsafe {
        sys::cuModuleLoadDataEx(
            &mut module,
            image.as_ptr().cast(),
            2,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    match result {
        cudaError_enum::CUDA_SUCCESS => Ok(module),
        code => {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(LOG_BYTES);
            let log = String::from_utf8_lossy(&log[..end]).trim().to_owned();
            Err(CudaError::Compile {
                entry,
                code: format!("{code:?}"),
                log,
            })
        }
    }
}

/// Kernel texts and names come from our own build and contain no zero byte.
fn c_string(text: &str) -> CString {
    CString::new(text).expect("generated PTX has no zero byte")
}
