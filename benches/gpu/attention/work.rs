//! One shape on the device: its tensors, one call, and the time of many.

use std::collections::HashMap;
use std::path::Path;

use flash_attention::{
    Attention, AttentionElement, Buffer, Device, Dtype, KernelVariant, RawBackward, RawForward,
    Tensor, backward_raw, backward_workspace, forward_raw,
};
use safetensors::tensor::TensorView;

use crate::Error;
use crate::clock::Clock;
use crate::inputs::Inputs;
use crate::shapes::{Case, Pass};

/// Calls go round over copies of the inputs that are together twice as large as the L2 of an H100, 50 MB.
const ROTATED_BYTES: f64 = 100e6;
/// Copies at most, where inputs are tiny.
const MAX_SETS: usize = 32;
/// A round is about as long, in milliseconds, so that the gap between two events does not count.
const ROUND_MS: f64 = 1.0;
/// All rounds together, in milliseconds.
const TOTAL_MS: f64 = 150.0;
const ROUNDS: std::ops::RangeInclusive<f64> = 3.0..=50.0;

/// The tensors of one call.
struct Set<T: AttentionElement> {
    q: Tensor<T>,
    k: Tensor<T>,
    v: Tensor<T>,
    out: Tensor<T>,
    lse: Tensor<f32, 3>,
    gradients: Option<Gradients<T>>,
}

struct Gradients<T: AttentionElement> {
    d_out: Tensor<T>,
    d_q: Tensor<T>,
    d_k: Tensor<T>,
    d_v: Tensor<T>,
}

/// A shape with its tensors on a device.
pub struct Work<'a, T: AttentionElement> {
    device: &'a Device,
    case: &'a Case,
    sets: Vec<Set<T>>,
    /// For a backward pass; calls on one stream follow each other and can share it.
    workspace: Option<Buffer>,
}

/// How long a call takes.
pub struct Measured {
    /// Kernels of one call.
    pub kernels: Vec<&'static str>,
    /// Shortest, median and longest round, in milliseconds per call.
    pub ms: [f64; 3],
    /// Rounds measured.
    pub rounds: usize,
    /// Calls in each.
    pub calls: usize,
    /// The very first call, with what the driver has to compile for it.
    pub first_ms: f64,
    /// What the host needs to enqueue a call; where it is not below the times, the GPU waited for it. None where calls
    /// wait for their work.
    pub host_ms: Option<f64>,
}

impl<'a, T: AttentionElement> Work<'a, T> {
    /// Allocates and fills everything; a backward pass gets the results of the forward one.
    pub fn new(device: &'a Device, case: &'a Case, inputs: &mut Inputs<T>) -> Result<Self, Error> {
        let count = match device.name().starts_with("cuda") {
            true => (ROTATED_BYTES / case.bytes()).ceil() as usize,
            false => 1,
        };
        let sets = (0..count.clamp(1, MAX_SETS)).map(|_| Set::new(device, case, inputs));
        let mut work = Work {
            device,
            case,
            sets: sets.collect::<Result<_, _>>()?,
            workspace: None,
        };
        if let Some(gradients) = &work.sets[0].gradients {
            let bytes = backward_workspace(device, &work.backward_arguments(0, gradients))?;
            work.workspace = Some(Buffer::from_slice(device, &vec![0f32; bytes.div_ceil(4)])?);
            for set in 0..work.sets.len() {
                work.forward(set)?;
            }
        }
        Ok(work)
    }

    fn forward_arguments(&self, set: usize) -> RawForward {
        let attention = match self.case.is_causal {
            true => Attention::new().causal(),
            false => Attention::new(),
        };
        let attention = match self.case.pass {
            Pass::DeterministicBackward => attention.deterministic(),
            Pass::Forward | Pass::Backward => attention,
        };
        let set = &self.sets[set];
        RawForward {
            options: *attention.options(),
            ..RawForward::new(
                T::DTYPE,
                [set.q.as_raw(), set.k.as_raw(), set.v.as_raw()],
                set.out.as_raw(),
                set.lse.as_raw(),
            )
        }
    }

    fn backward_arguments(&self, set: usize, gradients: &Gradients<T>) -> RawBackward {
        RawBackward {
            forward: self.forward_arguments(set),
            d_out: gradients.d_out.as_raw(),
            d_lse: None,
            d_q: gradients.d_q.as_raw(),
            d_k: gradients.d_k.as_raw(),
            d_v: gradients.d_v.as_raw(),
            d_bias: None,
            workspace: self.workspace.as_ref().map_or(0, Buffer::device_ptr),
        }
    }

    fn forward(&self, set: usize) -> Result<Option<KernelVariant>, Error> {
        // SAFETY: the tensors live as long as `self`, and so do the writes to them: freeing waits for the device.
        Ok(unsafe { forward_raw(self.device, &self.forward_arguments(set))? })
    }

    /// Enqueues the pass that is measured, on one set.
    fn call(&self, set: usize) -> Result<Vec<KernelVariant>, Error> {
        let Some(gradients) = &self.sets[set].gradients else {
            return Ok(self.forward(set)?.into_iter().collect());
        };
        let arguments = self.backward_arguments(set, gradients);
        // SAFETY: as for the forward pass; out and lse are its results.
        Ok(unsafe { backward_raw(self.device, &arguments)? })
    }

    /// Warms up, then measures rounds of calls over all sets in turn.
    pub fn measure(&self, clock: &Clock) -> Result<Measured, Error> {
        let mut kernels = Vec::new();
        let first_ms = clock.time(1, || {
            kernels = self.call(0)?;
            Ok(())
        })?[0];
        // The second call says how many fill a round. Emulated times are long and not noisy.
        let once = clock.time(3, || self.call(0).map(drop))?;
        let estimate = once.iter().copied().fold(f64::INFINITY, f64::min).max(1e-3);
        let calls = (ROUND_MS / estimate).ceil() as usize;
        let rounds = TOTAL_MS / (calls as f64 * estimate);
        let rounds = rounds.clamp(*ROUNDS.start(), *ROUNDS.end()) as usize;
        let mut set = 0;
        let mut round = || {
            for _ in 0..calls {
                self.call(set)?;
                set = (set + 1) % self.sets.len();
            }
            Ok(())
        };
        clock.time(rounds.div_ceil(5), &mut round)?;
        let host_ms = match clock {
            Clock::Host => None,
            #[cfg(feature = "cuda")]
            Clock::Events => Some(self.enqueue_ms(calls.min(20))?),
        };
        let mut times = clock.time(rounds, &mut round)?;
        times.sort_by(f64::total_cmp);
        let per_call = |index: usize| times[index] / calls as f64;
        Ok(Measured {
            kernels: kernels.iter().map(KernelVariant::entry).collect(),
            ms: [per_call(0), per_call(rounds / 2), per_call(rounds - 1)],
            rounds,
            calls,
            first_ms,
            host_ms,
        })
    }

    /// What the host needs for a call: few enough to fit in the queue of the device.
    #[cfg(feature = "cuda")]
    fn enqueue_ms(&self, calls: usize) -> Result<f64, Error> {
        let start = std::time::Instant::now();
        for _ in 0..calls {
            self.call(0)?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e3 / calls as f64)
    }

    /// Writes the results for batch entry 0, key head 0 and the query heads that share it: `out`, or the gradients.
    pub fn write_sample(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder)?;
        let case = self.case;
        let group = case.num_heads / case.num_heads_k;
        let set = &self.sets[0];
        let wanted = match &set.gradients {
            None => vec![("out", &set.out, case.seqlen_q, group)],
            Some(gradients) => vec![
                ("d_q", &gradients.d_q, case.seqlen_q, group),
                ("d_k", &gradients.d_k, case.seqlen_k, 1),
                ("d_v", &gradients.d_v, case.seqlen_k, 1),
            ],
        };
        let mut tensors = HashMap::new();
        for (name, tensor, rows, heads) in wanted {
            let shape = vec![rows, heads, case.head_dim];
            tensors.insert(name, (shape, corner(tensor, rows, heads)?));
        }
        let dtype = match T::DTYPE {
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::Bf16 => safetensors::Dtype::BF16,
        };
        let views = tensors
            .iter()
            .map(|(name, (shape, bytes))| {
                Ok((*name, TensorView::new(dtype, shape.clone(), bytes)?))
            })
            .collect::<Result<HashMap<_, _>, Error>>()?;
        let file = folder.join(case.name() + ".safetensors");
        safetensors::serialize_to_file(views, None, &file)?;
        Ok(())
    }
}

/// The first heads of the first rows of batch entry 0, as bytes.
fn corner<T: AttentionElement>(
    tensor: &Tensor<T>,
    rows: usize,
    heads: usize,
) -> Result<Vec<u8>, Error> {
    let [_, _, all_heads, head_dim] = tensor.shape();
    let elements = tensor.to_vec()?;
    let rows = elements.chunks_exact(all_heads * head_dim).take(rows);
    let kept = rows.flat_map(|row| &row[..heads * head_dim]);
    Ok(kept.flat_map(|x| x.to_bits().to_le_bytes()).collect())
}

impl<T: AttentionElement> Set<T> {
    fn new(device: &Device, case: &Case, inputs: &mut Inputs<T>) -> Result<Set<T>, Error> {
        let q = [case.batch, case.seqlen_q, case.num_heads, case.head_dim];
        let k = [case.batch, case.seqlen_k, case.num_heads_k, case.head_dim];
        let gradients = match case.pass {
            Pass::Forward => None,
            _ => Some(Gradients {
                d_out: inputs.tensor(device, q, 4)?,
                d_q: Tensor::zeros(device, q)?,
                d_k: Tensor::zeros(device, k)?,
                d_v: Tensor::zeros(device, k)?,
            }),
        };
        Ok(Set {
            q: inputs.tensor(device, q, 1)?,
            k: inputs.tensor(device, k, 2)?,
            v: inputs.tensor(device, k, 3)?,
            out: Tensor::zeros(device, q)?,
            lse: Tensor::zeros(device, [case.batch, case.num_heads, case.seqlen_q])?,
            gradients,
        })
    }
}
