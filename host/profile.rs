//! What a computation did on the emulated device: instructions, memory traffic and bank conflicts of every launch.
//!
//! Counts are exact for the PTX that ran and the same on every machine; they are no times. What they assume about
//! caches and banks is said at their fields.
//!
//! ```
//! use flash_attention::profile::{self, CounterOptions};
//! use flash_attention::{Attention, bf16};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shape = [1, 64, 1, 64]; // [batch, seqlen, heads, head_dim]
//! let x = vec![bf16::ONE; 64 * 64];
//! let profile = profile::forward(&Attention::new(), [(shape, &x); 3], CounterOptions::default(), None)?;
//! let counters = &profile.launches[0].counters;
//! assert_eq!(counters.hbm.min_read_bytes, 3 * 64 * 64 * 2); // q, k and v once
//! assert_eq!(counters.total.shared.matrix_loads.conflicts(), 0);
//! # Ok(())
//! # }
//! ```

use std::sync::{Arc, Mutex, PoisonError};

pub use ptx_emulator::{
    AllocationCounters, BankCounts, BlockNeeds, CounterOptions, Counters, Counts, Executed,
    GlobalCounts, HbmCounts, InstructionClass, L2Cache, L2CacheError, LineCounters, LocalCounts,
    Occupancy, OccupancyError, Operations, Resource, SECTOR_BYTES, SectorCounts, SharedCounts,
    occupancy,
};

use crate::attention::Attention;
use crate::device::Device;
use crate::element::AttentionElement;
use crate::emulated::{EmulatorOptions, Progress};
use crate::error::Error;
use crate::tensor::Tensor;

/// What was launched for one computation, in order.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Profile {
    /// The launches; none when the output has no element.
    pub launches: Vec<LaunchProfile>,
    /// Names of the allocations that the caller knows.
    pub tensors: Vec<TensorName>,
}

/// The name of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TensorName {
    /// As in `q`, `out`, `lse`.
    pub name: String,
    /// Device address of its first byte.
    pub address: u64,
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LaunchProfile {
    /// PTX symbol of the kernel.
    pub entry: String,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// What it did.
    pub counters: Counters,
}

impl Profile {
    /// Sum over the launches. Its lines mean nothing when the launches are of different kernels.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for launch in &self.launches {
            total += &launch.counters;
        }
        total
    }

    /// The tensor at an address.
    pub fn tensor_at(&self, address: u64) -> Option<&str> {
        let tensor = self.tensors.iter().find(|t| t.address == address)?;
        Some(&tensor.name)
    }
}

/// Keeps what the launches of a device did. Clones keep the same.
///
/// ```
/// use flash_attention::profile::{CounterOptions, Recorder};
/// use flash_attention::{Attention, Device, EmulatorOptions, Tensor, f16};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let recorder = Recorder::new(CounterOptions::default());
/// let options = EmulatorOptions { record: Some(recorder.clone()), ..EmulatorOptions::default() };
/// let q = Tensor::<f16>::zeros(&Device::emulated_with(options), [1, 20, 1, 32])?;
/// Attention::new().forward(&q, &q, &q)?;
/// Attention::new().causal().forward(&q, &q, &q)?;
/// assert_eq!(recorder.take().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Recorder {
    options: CounterOptions,
    launches: Arc<Mutex<Vec<LaunchProfile>>>,
}

impl Recorder {
    /// A recorder without launches, which counts as `options` say.
    pub fn new(options: CounterOptions) -> Recorder {
        Recorder {
            options,
            launches: Arc::default(),
        }
    }

    /// The launches since the last call, in order.
    pub fn take(&self) -> Vec<LaunchProfile> {
        // Launches are pushed whole: the list stays valid when a thread panics while holding it.
        std::mem::take(&mut self.launches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn options(&self) -> CounterOptions {
        self.options
    }

    pub(crate) fn push(&self, launch: LaunchProfile) {
        let mut launches = self.launches.lock().unwrap_or_else(PoisonError::into_inner);
        launches.push(launch);
    }
}

/// Computes attention of row-major q, k and v, each a shape and its elements, on an emulated device of its own, one
/// block after the other, and returns what that took. `progress` is told of finished blocks.
///
/// # Errors
///
/// As [`Attention::forward`] and [`Tensor::from_slice`].
pub fn forward<T: AttentionElement>(
    attention: &Attention,
    inputs: [([usize; 4], &[T]); 3],
    counters: CounterOptions,
    progress: Option<Progress>,
) -> Result<Profile, Error> {
    let [q, k, v] = inputs;
    attention.check(q.0, k.0, v.0)?;
    let recorder = Recorder::new(counters);
    let device = Device::emulated_with(EmulatorOptions {
        record: Some(recorder.clone()),
        progress,
        ..EmulatorOptions::default()
    });
    let tensor = |(shape, data)| Tensor::from_slice(&device, shape, data);
    let (q, k, v) = (tensor(q)?, tensor(k)?, tensor(v)?);
    let result = attention.forward(&q, &k, &v)?;
    let tensors = [
        ("q", q.device_ptr()),
        ("k", k.device_ptr()),
        ("v", v.device_ptr()),
        ("out", result.out.device_ptr()),
        ("lse", result.lse.device_ptr()),
    ];
    Ok(Profile {
        launches: recorder.take(),
        tensors: tensors
            .map(|(name, address)| TensorName {
                name: name.to_owned(),
                address,
            })
            .into(),
    })
}
