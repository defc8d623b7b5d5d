//! The CUDA driver's functions, found at run time.
//!
//! `cust` declares the driver API as functions of a dynamic library `cuda`, which ties a program that merely *can* use a
//! GPU to machines that have the driver. This module defines those symbols itself: each is a jump through a slot, and
//! [`load`] fills the slots from `libcuda.so.1`. So the feature `cuda` builds and starts everywhere, and a machine
//! without a driver answers with [`DriverError`].
//!
//! Before [`load`] has succeeded, and where a driver lacks a function, a call returns `CUDA_ERROR_NOT_INITIALIZED`.
//!
//! A library that links the driver would be given these symbols as well, and would call them before [`load`]: programs
//! with such a library turn on the feature `cuda-linked`, and `linked_driver.rs` stands in the place of this file.

use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use cust::sys::cudaError_enum;

use super::error::DriverError;

/// Loads `libcuda.so.1` and points every slot at its function; once per process, then remembered.
pub fn load() -> Result<(), DriverError> {
    static LOADED: OnceLock<Result<(), DriverError>> = OnceLock::new();
    LOADED.get_or_init(resolve).clone()
}

fn resolve() -> Result<(), DriverError> {
    let not_found = |error: libloading::Error| DriverError {
        reason: std::error::Error::source(&error)
            .unwrap_or(&error)
            .to_string(),
    };
    // SAFETY: loading runs the initialisers of the NVIDIA driver, which may run in any thread at any time.
    let library = unsafe { libloading::Library::new("libcuda.so.1") }.map_err(not_found)?;
    for (name, slot) in FUNCTIONS {
        // SAFETY: the symbol is taken as a plain address; whoever calls through the slot declares its signature.
        if let Ok(address) = unsafe { library.get::<*mut c_void>(name.as_bytes()) } {
            slot.store(*address, Ordering::Release);
        }
    }
    // The slots point into the library for as long as the process lives.
    std::mem::forget(library);
    Ok(())
}

extern "C" fn not_loaded() -> cudaError_enum {
    cudaError_enum::CUDA_ERROR_NOT_INITIALIZED
}

/// Defines each symbol as a jump through a slot of its own, which leaves arguments and stack untouched.
macro_rules! driver_functions {
    ($($name:ident)*) => {
        #[expect(non_upper_case_globals, reason = "each slot is named after its function")]
        mod slots {
            use super::{AtomicPtr, c_void, not_loaded};
            $(pub static $name: AtomicPtr<c_void> = AtomicPtr::new(not_loaded as *mut c_void);)*
        }

        static FUNCTIONS: &[(&str, &AtomicPtr<c_void>)] =
            &[$((stringify!($name), &slots::$name)),*];

        mod symbols {
            use super::slots;
            $(
                // SAFETY: no other definition of the symbol is linked statically; the real one lives in a library
                // that is opened at run time and looked up by handle.
                #[unsafe(no_mangle)]
                #[unsafe(naked)]
                unsafe extern "C" fn $name() {
                    #[cfg(target_arch = "x86_64")]
                    core::arch::naked_asm!("jmp qword ptr [rip + {slot}]", slot = sym slots::$name);
                    #[cfg(target_arch = "aarch64")]
                    core::arch::naked_asm!(
                        "adrp x16, {slot}",
                        "ldr x16, [x16, :lo12:{slot}]",
                        "br x16",
                        slot = sym slots::$name
                    );
                }
            )*
        }
    };
}

// Every driver function that cust 0.3.2 refers to, and those that this crate and its programs for GPUs add.
driver_functions! {
    cuArray3DCreate_v2 cuArray3DGetDescriptor_v2 cuArrayDestroy cuCtxCreate_v2 cuCtxDestroy_v2
    cuCtxGetApiVersion cuCtxGetCacheConfig cuCtxGetCurrent cuCtxGetDevice cuCtxGetFlags
    cuCtxGetLimit cuCtxGetSharedMemConfig cuCtxGetStreamPriorityRange cuCtxPopCurrent_v2
    cuCtxPushCurrent_v2 cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetLimit cuCtxSetSharedMemConfig
    cuCtxSynchronize cuDestroyExternalMemory cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount
    cuDeviceGetName cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxReset_v2
    cuDevicePrimaryCtxRetain cuDevicePrimaryCtxSetFlags_v2 cuDeviceTotalMem_v2 cuDriverGetVersion
    cuEventCreate cuEventDestroy_v2 cuEventElapsedTime cuEventQuery cuEventRecord
    cuEventSynchronize cuExternalMemoryGetMappedBuffer cuFuncGetAttribute cuFuncSetAttribute
    cuFuncSetCacheConfig cuFuncSetSharedMemConfig cuGetErrorName cuGetErrorString
    cuGraphAddKernelNode cuGraphCreate cuGraphDebugDotPrint cuGraphDestroy cuGraphGetEdges
    cuGraphGetNodes cuGraphKernelNodeGetParams cuGraphNodeGetType cuImportExternalMemory cuInit
    cuLaunchHostFunc cuLaunchKernel cuLaunchKernelEx cuLinkAddData_v2 cuLinkComplete cuLinkCreate_v2 cuLinkDestroy
    cuMemAdvise cuMemAllocAsync cuMemAllocHost_v2 cuMemAllocManaged cuMemAlloc_v2 cuMemFreeAsync
    cuMemFreeHost cuMemFree_v2 cuMemGetInfo_v2 cuMemPrefetchAsync cuMemcpy2D_v2 cuMemcpyAtoH_v2
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoH_v2 cuMemcpyHtoA_v2
    cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2 cuMemsetD16Async cuMemsetD16_v2 cuMemsetD32Async
    cuMemsetD32_v2 cuMemsetD8Async cuMemsetD8_v2 cuModuleGetFunction cuModuleGetGlobal_v2
    cuModuleLoad cuModuleLoadData cuModuleLoadDataEx cuModuleUnload
    cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxPotentialBlockSize cuPointerGetAttribute cuStreamCreateWithPriority
    cuStreamDestroy_v2 cuStreamGetFlags cuStreamGetPriority cuStreamSynchronize cuStreamWaitEvent
    cuSurfObjectCreate cuSurfObjectDestroy cuSurfObjectGetResourceDesc cuTexObjectCreate
    cuTensorMapEncodeTiled cuTexObjectDestroy cuTexObjectGetResourceDesc cuTexObjectGetResourceViewDesc
}
