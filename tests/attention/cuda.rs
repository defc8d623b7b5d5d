//! The CUDA device as seen from a machine that may have none: whatever is missing is an error that says so.
use crate::common::Case;
use flash_attention::{BackendError, CudaError, Device, Dtype};

/// Whether the dynamic loader finds the NVIDIA driver here.
fn has_driver() -> bool {
    // SAFETY: loading the driver's library is what the device does, too.
    unsafe { libloading::Library::new("libcuda.so.1") }.is_ok()
}

#[test]
fn without_a_driver_the_error_says_what_to_do_and_with_one_the_gpu_computes() {
    match Device::cuda(0) {
        Ok(device) => Case::new(Dtype::F16, 129, 257, 64)
            .causal(true)
            .assert_exact(&device),
        Err(error) => {
            let text = error.to_string();
            assert!(
                !has_driver() || !text.contains("no CUDA driver"),
                "the driver is there: {text}"
            );
            assert!(matches!(error, BackendError::Cuda(_)), "{text}");
            if !has_driver() {
                assert!(
                    text.contains("libcuda.so.1"),
                    "names what is missing: {text}"
                );
                assert!(
                    text.contains("Device::emulated()"),
                    "names the way out: {text}"
                );
            }
        }
    }
}

#[test]
fn a_device_number_beyond_the_last_never_opens() {
    match Device::cuda(4096) {
        Err(BackendError::Cuda(CudaError::NoSuchDevice { ordinal, count })) => {
            assert!(has_driver() && ordinal == 4096 && count < 4096);
        }
        Err(BackendError::Cuda(CudaError::Driver(_))) => assert!(!has_driver()),
        Err(BackendError::Cuda(CudaError::Call { .. })) => assert!(has_driver()),
        other => panic!("{other:?}"),
    }
}
