//! Owned device memory. Every access through a [`Buffer`] is bounds-checked here.

use std::sync::Arc;

use crate::backend::BackendError;
use crate::device::Device;
use crate::element::Element;

/// A piece of device memory, freed when its last clone and the last tensor in it are gone.
#[derive(Clone, Debug)]
pub struct Buffer {
    allocation: Arc<Allocation>,
}

#[derive(Debug)]
struct Allocation {
    device: Device,
    /// 0 when `bytes` is 0: devices do not allocate nothing.
    ptr: u64,
    bytes: usize,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: `ptr` came from this backend's alloc and this is its only owner; safe calls wait for their work.
            unsafe { self.device.backend().free(self.ptr) };
        }
    }
}

impl Buffer {
    /// Copies `data` into new memory.
    ///
    /// # Errors
    ///
    /// [`BackendError`] when the device has no room or refuses the copy.
    pub fn from_slice<T: Element>(device: &Device, data: &[T]) -> Result<Buffer, BackendError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = Buffer::unspecified(device, bytes.len())?;
        if !bytes.is_empty() {
            // SAFETY: the allocation is new, live, exactly this long, and nobody else knows it.
            unsafe { device.backend().upload(buffer.device_ptr(), bytes)? };
        }
        Ok(buffer)
    }

    /// New memory whose contents nobody has chosen; for tensors that a kernel is about to overwrite.
    pub(crate) fn unspecified(device: &Device, bytes: usize) -> Result<Buffer, BackendError> {
        let ptr = if bytes == 0 {
            0
        } else {
            device.backend().alloc(bytes)?
        };
        Ok(Buffer {
            allocation: Arc::new(Allocation {
                device: device.clone(),
                ptr,
                bytes,
            }),
        })
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.allocation.device
    }

    /// Device address of the first byte; 0 when the buffer is empty.
    pub fn device_ptr(&self) -> u64 {
        self.allocation.ptr
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.allocation.bytes
    }

    /// Copies `data.len()` elements out, starting `offset` elements into the buffer.
    pub(crate) fn read<T: Element>(
        &self,
        offset: usize,
        data: &mut [T],
    ) -> Result<(), BackendError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(data);
        let start = offset * size_of::<T>();
        assert!(
            start + bytes.len() <= self.len_bytes(),
            "tensors are checked against their buffer when they are made"
        );
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the range was just checked against this live allocation.
        unsafe {
            self.device()
                .backend()
                .download(self.device_ptr() + start as u64, bytes)
        }
    }
}
