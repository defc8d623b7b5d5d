//! The seam between this library and whatever executes PTX.

use abi::{Arch, KernelSpec, TensorMap};
use ptx_emulator::{Fault, MemoryError, PtxError, TensorMapError};
use thiserror::Error;

use crate::tensor_map::TiledMatrix;

/// A raw stream: a `CUstream` on a CUDA device, null for the default stream. The emulated device has only that one.
pub type RawStream = *mut std::ffi::c_void;

/// What dispatch must know of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceLimits {
    /// `(major, minor)`.
    pub compute_capability: (u32, u32),
    /// Dynamic shared memory that one block may ask for, in bytes.
    pub max_shared_bytes: u32,
    /// Multiprocessors: blocks that a persistent kernel is launched with, at most.
    pub multiprocessors: u32,
}

impl DeviceLimits {
    /// What the emulated device passes as: of each architecture the first GPU, an A100 and an H100 SXM, but with the
    /// shared memory that all of its later ones grant as well.
    pub(crate) const fn emulated(arch: Arch) -> DeviceLimits {
        let (max_shared_bytes, multiprocessors) = match arch {
            Arch::Sm80 => (abi::variants::MAX_SHARED_BYTES, 108),
            Arch::Sm90a => (abi::hopper::HOPPER_MAX_SHARED_BYTES, 132),
        };
        DeviceLimits {
            compute_capability: arch.compute_capability(),
            max_shared_bytes,
            multiprocessors,
        }
    }
}

/// Device memory and one launch.
///
/// # Safety
///
/// All `unsafe` methods share one contract: every address range handed over lies inside one live allocation of this
/// backend, and nothing else writes to it (or, where the method writes, touches it) until the work is done.
pub(crate) trait Backend: Send + Sync {
    /// What a user calls this device, as in "cuda:0 (NVIDIA H200)".
    fn name(&self) -> &str;

    /// Bounds for dispatch.
    fn limits(&self) -> DeviceLimits;

    /// A new allocation of `bytes` > 0 bytes with unspecified contents, aligned to 256 bytes.
    fn alloc(&self, bytes: usize) -> Result<u64, BackendError>;

    /// Ends an allocation made by [`Backend::alloc`].
    unsafe fn free(&self, ptr: u64);

    /// Copies host memory to the device and waits for it.
    unsafe fn upload(&self, ptr: u64, data: &[u8]) -> Result<(), BackendError>;

    /// Copies device memory to the host after all work enqueued on the default stream.
    unsafe fn download(&self, ptr: u64, data: &mut [u8]) -> Result<(), BackendError>;

    /// The tensor map of a matrix, for kernels that this device runs.
    fn encode(&self, matrix: &TiledMatrix) -> Result<TensorMap, BackendError>;

    /// Enqueues `blocks` blocks of a kernel of the manifest on a stream. `params` is its parameter, byte for byte; the
    /// contract covers every element that it describes.
    unsafe fn launch(
        &self,
        kernel: &KernelSpec,
        params: &[u8],
        blocks: u32,
        stream: RawStream,
    ) -> Result<(), BackendError>;

    /// Waits for the default stream and reports what went wrong on it.
    fn synchronize(&self) -> Result<(), BackendError>;
}

/// A device could not do what it was asked to.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The emulated device refused an allocation or a copy.
    #[error("emulated device memory: {0}")]
    Memory(#[from] MemoryError),
    /// The emulator does not accept the text of a kernel.
    #[error("kernel {entry} cannot be emulated: {source}")]
    Ptx {
        /// PTX symbol of the kernel.
        entry: &'static str,
        /// What the emulator says about the text.
        source: PtxError,
    },
    /// The emulator does not accept a tensor map.
    #[error("tensor map for the emulated device: {0}")]
    TensorMap(#[from] TensorMapError),
    /// A kernel broke a rule of PTX while it ran on the emulated device.
    #[error("emulated kernel stopped: {0}")]
    Fault(Box<Fault>),
    /// A CUDA device failed, or there is none.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] crate::cuda::CudaError),
    /// The host cannot hold a copy of the data.
    #[error("a host buffer of {bytes} bytes does not fit in memory; copy a smaller view")]
    HostMemory {
        /// Size of the buffer.
        bytes: u128,
    },
    /// A GPU was asked for in a build that cannot use one.
    #[error(
        "cuda:{ordinal}: built without CUDA; build with the feature `cuda`, or use the emulated device"
    )]
    NoCuda {
        /// The device that was asked for.
        ordinal: u32,
    },
    /// There is no such kind of device.
    #[error(
        "unknown device {name:?}: expected `emulated` or `cuda:N`, as it is or with the architecture of its kernels, \
         {}",
        arch_suffixes()
    )]
    DeviceName {
        /// The name that was asked for.
        name: String,
    },
    /// Only CUDA devices have streams.
    #[error("the emulated device has no streams, got stream {0:#x}: pass a null stream")]
    NoStreams(usize),
}

/// `:sm_80 or :sm_90a`
fn arch_suffixes() -> String {
    let suffixes: Vec<String> = Arch::ALL
        .iter()
        .map(|arch| format!(":{}", arch.name()))
        .collect();
    suffixes.join(" or ")
}
