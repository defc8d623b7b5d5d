//! What a computation did on the emulated device: instructions, memory traffic and bank conflicts of every launch.
//!
//! Counts are exact for the PTX that ran and the same on every machine; they are no times. What they assume about
//! caches and banks is said at their fields.
//!
//! ```
//! use flash_attention::profile::{self, CounterOptions};
//! use flash_attention::{Attention, EmulatorOptions, bf16};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shape = [1, 64, 1, 64]; // [batch, seqlen, heads, head_dim]
//! let x = vec![bf16::ONE; 64 * 64];
//! let profile = profile::forward(&Attention::new(), [(shape, &x); 3], CounterOptions::default(), EmulatorOptions::default())?;
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

use crate::attention::{Attention, Forward};
use crate::device::Device;
use crate::element::{AttentionElement, Element};
use crate::emulated::EmulatorOptions;
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
/// block after the other, and returns what that took. `device` says what it passes as and how it executes; its recorder
/// is replaced by one that counts as `counters` say.
///
/// # Errors
///
/// As [`Attention::forward`] and [`Tensor::from_slice`].
pub fn forward<T: AttentionElement>(
    attention: &Attention,
    inputs: [([usize; 4], &[T]); 3],
    counters: CounterOptions,
    device: EmulatorOptions,
) -> Result<Profile, Error> {
    let run = Run::new(attention, inputs, counters, device)?;
    Ok(Profile {
        launches: run.recorder.take(),
        tensors: run.tensors(),
    })
}

/// As [`forward`], for the gradients of q, k and v from `d_out`, row-major and shaped as q. The forward pass before is not
/// counted.
///
/// # Errors
///
/// As [`Attention::backward`] and [`Tensor::from_slice`].
pub fn backward<T: AttentionElement>(
    attention: &Attention,
    inputs: [([usize; 4], &[T]); 3],
    d_out: &[T],
    counters: CounterOptions,
    device: EmulatorOptions,
) -> Result<Profile, Error> {
    let run = Run::new(attention, inputs, counters, device)?;
    let [q, k, v] = &run.inputs;
    let d_out = Tensor::from_slice(q.device(), q.shape(), d_out)?;
    run.recorder.take();
    let gradients = attention.backward([q, k, v], &run.forward, &d_out, None)?;
    let launches = run.recorder.take();
    let mut tensors = run.tensors();
    for (name, tensor) in [
        ("d_out", &d_out),
        ("d_q", &gradients.d_q),
        ("d_k", &gradients.d_k),
        ("d_v", &gradients.d_v),
    ] {
        tensors.push(TensorName::new(name, tensor));
    }
    let allocations = launches.iter().flat_map(|it| &it.counters.allocations);
    let unknown = allocations
        .map(|allocation| allocation.address)
        .find(|address| tensors.iter().all(|tensor| tensor.address != *address));
    // The only memory that the caller does not know.
    tensors.extend(unknown.map(|address| TensorName {
        name: "workspace".to_owned(),
        address,
    }));
    Ok(Profile { launches, tensors })
}

/// A forward pass on a device that counts.
struct Run<T: AttentionElement> {
    recorder: Recorder,
    inputs: [Tensor<T>; 3],
    forward: Forward<T>,
}

impl<T: AttentionElement> Run<T> {
    fn new(
        attention: &Attention,
        inputs: [([usize; 4], &[T]); 3],
        counters: CounterOptions,
        device: EmulatorOptions,
    ) -> Result<Run<T>, Error> {
        let [q, k, v] = inputs;
        attention.check(q.0, k.0, v.0)?;
        let recorder = Recorder::new(counters);
        let device = Device::emulated_with(EmulatorOptions {
            record: Some(recorder.clone()),
            ..device
        });
        let tensor = |(shape, data)| Tensor::from_slice(&device, shape, data);
        let (q, k, v) = (tensor(q)?, tensor(k)?, tensor(v)?);
        let forward = attention.forward(&q, &k, &v)?;
        Ok(Run {
            recorder,
            inputs: [q, k, v],
            forward,
        })
    }

    fn tensors(&self) -> Vec<TensorName> {
        let [q, k, v] = &self.inputs;
        vec![
            TensorName::new("q", q),
            TensorName::new("k", k),
            TensorName::new("v", v),
            TensorName::new("out", &self.forward.out),
            TensorName::new("lse", &self.forward.lse),
        ]
    }
}

impl TensorName {
    fn new<T: Element, const N: usize>(name: &str, tensor: &Tensor<T, N>) -> TensorName {
        TensorName {
            name: name.to_owned(),
            address: tensor.device_ptr(),
        }
    }
}
