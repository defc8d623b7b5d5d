//! The emulated device: [`Backend`] on `ptx_emulator`. Runs the same PTX text that a GPU would get.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use abi::{Arch, Dtype, KernelSpec, TensorMap};
use ptx_emulator::{
    GlobalMemory, Launch, MmaNumerics, Module, Options, Sanitizers, Schedule, TensorFill,
    TensorInterleave, TensorL2Promotion, TensorSwizzle, TensorTile, TensorType,
};

use crate::backend::{Backend, BackendError, DeviceLimits, RawStream};
use crate::kernels;
use crate::profile::{LaunchProfile, Recorder};
use crate::tensor_map::{Swizzle, TiledMatrix};

/// Told `(blocks done, blocks in total)` while a launch runs, from any thread.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// How an emulated device executes. The default is the fastest: in order, on every core.
#[derive(Clone)]
pub struct EmulatorOptions {
    /// What it passes as: the first GPU that runs kernels of this architecture, so that they are preferred.
    pub arch: Arch,
    /// Multiprocessors that it seems to have; `None` for as many as that GPU has. A persistent kernel is launched with
    /// one block for each.
    pub multiprocessors: Option<NonZeroU32>,
    /// Order of warps and blocks and landing time of asynchronous copies. No order may change a result.
    pub schedule: Schedule,
    /// Threads of the host to use; `None` for all cores.
    pub threads: Option<usize>,
    /// Rounding inside `mma.sync`, which the PTX ISA leaves open.
    pub mma: MmaNumerics,
    /// What to check while a kernel runs; a finding is a [`BackendError::Fault`]. Costs time, changes no result.
    pub sanitizers: Sanitizers,
    /// Called as blocks finish.
    pub progress: Option<Progress>,
    /// Keeps what every launch did. Blocks then run on one thread, so that traffic does not depend on the machine.
    pub record: Option<Recorder>,
}

impl Default for EmulatorOptions {
    fn default() -> EmulatorOptions {
        EmulatorOptions {
            arch: Arch::Sm80,
            multiprocessors: None,
            schedule: Schedule::InOrder,
            threads: None,
            mma: MmaNumerics::F32,
            sanitizers: Sanitizers::NONE,
            progress: None,
            record: None,
        }
    }
}

impl fmt::Debug for EmulatorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorOptions")
            .field("arch", &self.arch)
            .field("multiprocessors", &self.multiprocessors)
            .field("schedule", &self.schedule)
            .field("threads", &self.threads)
            .field("mma", &self.mma)
            .field("sanitizers", &self.sanitizers)
            .field("progress", &self.progress.is_some())
            .field("record", &self.record.is_some())
            .finish()
    }
}

/// Memory of its own and the way it executes.
pub(crate) struct Emulated {
    memory: GlobalMemory,
    options: EmulatorOptions,
}

impl Emulated {
    pub(crate) fn new(options: EmulatorOptions) -> Emulated {
        Emulated {
            memory: GlobalMemory::new(),
            options,
        }
    }
}

/// Decoded kernels by entry, shared by all emulated devices: decoding takes longer than a small launch.
static MODULES: LazyLock<Mutex<HashMap<&'static str, Arc<Module>>>> = LazyLock::new(Mutex::default);

fn module(entry: &'static str) -> Result<Arc<Module>, BackendError> {
    // The map stays valid when a thread panics while holding it: entries are inserted whole.
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(entry) {
        return Ok(Arc::clone(module));
    }
    let module =
        Module::parse(kernels::ptx(entry)).map_err(|source| BackendError::Ptx { entry, source })?;
    let module = Arc::new(module);
    modules.insert(entry, Arc::clone(&module));
    Ok(module)
}

impl Backend for Emulated {
    fn name(&self) -> &str {
        match self.options.arch {
            Arch::Sm80 => "emulated",
            Arch::Sm90a => "emulated:sm_90a",
        }
    }

    fn limits(&self) -> DeviceLimits {
        let limits = DeviceLimits::emulated(self.options.arch);
        let multiprocessors = self.options.multiprocessors.map(NonZeroU32::get);
        DeviceLimits {
            multiprocessors: multiprocessors.unwrap_or(limits.multiprocessors),
            ..limits
        }
    }

    fn alloc(&self, bytes: usize) -> Result<u64, BackendError> {
        Ok(self.memory.alloc(bytes)?)
    }

    unsafe fn free(&self, ptr: u64) {
        let freed = self.memory.free(ptr);
        debug_assert!(freed.is_ok(), "free of {ptr:#x}: {freed:?}");
    }

    unsafe fn upload(&self, ptr: u64, data: &[u8]) -> Result<(), BackendError> {
        Ok(self.memory.write(ptr, data)?)
    }

    unsafe fn download(&self, ptr: u64, data: &mut [u8]) -> Result<(), BackendError> {
        Ok(self.memory.read(ptr, data)?)
    }

    fn encode(&self, matrix: &TiledMatrix) -> Result<TensorMap, BackendError> {
        let map = ptx_emulator::TensorMap::encode_tiled(&TensorTile {
            data_type: match matrix.dtype {
                Dtype::F16 => TensorType::F16,
                Dtype::Bf16 => TensorType::Bf16,
            },
            address: matrix.address,
            dims: &matrix.dims,
            strides: &matrix.strides,
            box_dims: &matrix.box_dims,
            element_strides: &[1; 4],
            interleave: TensorInterleave::None,
            swizzle: match matrix.swizzle {
                Swizzle::Bytes32 => TensorSwizzle::B32,
                Swizzle::Bytes64 => TensorSwizzle::B64,
                Swizzle::Bytes128 => TensorSwizzle::B128,
            },
            l2_promotion: TensorL2Promotion::B256,
            fill: TensorFill::Zero,
        })?;
        Ok(TensorMap(bytemuck::cast(*map.as_bytes())))
    }

    unsafe fn launch(
        &self,
        kernel: &KernelSpec,
        params: &[u8],
        blocks: u32,
        stream: RawStream,
    ) -> Result<(), BackendError> {
        if !stream.is_null() {
            return Err(BackendError::NoStreams(stream.addr()));
        }
        let entry = kernel.entry;
        let module = module(entry)?;
        let program = module
            .kernel(entry)
            .map_err(|source| BackendError::Ptx { entry, source })?;
        let launch = Launch {
            grid: [blocks, 1, 1],
            block: [kernel.threads, 1, 1],
            cluster: None,
            dynamic_shared_bytes: kernel.shared_bytes,
            params,
        };
        let options = Options {
            schedule: self.options.schedule,
            threads: self.options.threads,
            mma: self.options.mma,
            sanitizers: self.options.sanitizers,
            progress: self
                .options
                .progress
                .as_deref()
                .map(|f| f as &(dyn Fn(u64, u64) + Sync)),
            counters: self.options.record.as_ref().map(Recorder::options),
            ..Options::default()
        };
        let report = ptx_emulator::launch(program, &self.memory, &launch, &options)
            .map_err(|fault| BackendError::Fault(Box::new(fault)))?;
        if let (Some(recorder), Some(counters)) = (&self.options.record, report.counters) {
            recorder.push(LaunchProfile {
                entry: kernel.entry.to_owned(),
                grid: launch.grid,
                block: launch.block,
                shared_bytes: launch.dynamic_shared_bytes,
                counters,
            });
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<(), BackendError> {
        // A launch returns when its last block has finished.
        Ok(())
    }
}
