//! How long the driver takes to compile a kernel.

use std::ffi::CString;
use std::time::Instant;

use cust::sys;

use crate::Error;
use crate::clock::done;

/// Milliseconds of loading a module into the context that is current in this thread. With `CUDA_CACHE_DISABLE=1` in the
/// environment the driver compiles it anew.
pub fn milliseconds(ptx: &str) -> Result<f64, Error> {
    let image = CString::new(ptx)?;
    let mut module = std::ptr::null_mut();
    let start = Instant::now();
    // SAFETY: the text ends in a zero byte, the handle is writable; without a current context the driver says so.
    let result = unsafe { sys::cuModuleLoadData(&mut module, image.as_ptr().cast()) };
    let elapsed = start.elapsed();
    done(result, "compile a kernel")?;
    // SAFETY: the module was just loaded and nothing refers to it.
    done(unsafe { sys::cuModuleUnload(module) }, "unload a kernel")?;
    Ok(elapsed.as_secs_f64() * 1e3)
}
