//! Counted traffic with device memory beside what inputs and outputs make compulsory.

use flash_attention::profile::{CounterOptions, LaunchProfile, Recorder};
use flash_attention::{Arch, Attention, Device, EmulatorOptions, Tensor};

use super::Plan;
use super::inputs::{name_of, random, tensors};
use crate::SuiteError;
use crate::results::Traffic;

/// Both passes of every architecture, head_dim with kernels of its own, and with and without the causal mask.
pub(super) fn count(plan: &Plan) -> Result<Vec<Traffic>, SuiteError> {
    let mut rows = Vec::new();
    for &arch in Arch::ALL {
        for &head_dim in &plan.counted_head_dims {
            for is_causal in [false, true] {
                rows.extend(passes(arch, plan.shape(head_dim), is_causal)?);
            }
        }
    }
    Ok(rows)
}

fn passes(arch: Arch, shape: [usize; 4], is_causal: bool) -> Result<[Traffic; 2], SuiteError> {
    let recorder = Recorder::new(CounterOptions::default());
    let device = Device::emulated_with(EmulatorOptions {
        arch,
        record: Some(recorder.clone()),
        ..EmulatorOptions::default()
    });
    let [q, k, v] = tensors(&device, shape)?;
    let d_out = Tensor::from_slice(&device, shape, &random(4, shape.iter().product()))?;
    let (attention, mask) = match is_causal {
        true => (Attention::new().causal(), "causal"),
        false => (Attention::new(), "full"),
    };
    let forward = attention.forward(&q, &k, &v)?;
    let forward_launches = recorder.take();
    attention.backward([&q, &k, &v], &forward, &d_out, None)?;
    let backward_launches = recorder.take();

    let [batch, seqlen, heads, _] = shape;
    let tensor = 2 * shape.iter().product::<usize>() as u64;
    let lse = 4 * (batch * seqlen * heads) as u64;
    let row = |pass: &str, launches: &[LaunchProfile], compulsory_bytes| Traffic {
        work: format!("{pass}, {mask}, {}, bf16", name_of(shape)),
        arch: arch.name().to_owned(),
        kernels: launches.iter().map(|launch| launch.entry.clone()).collect(),
        hbm_bytes: sum(launches, |l| {
            l.counters.hbm.read_bytes + l.counters.hbm.write_bytes
        }),
        compulsory_bytes,
        bank_conflicts: sum(launches, |l| l.counters.total.shared.sum().conflicts()),
    };
    Ok([
        // q, k, v; out, lse.
        row("forward", &forward_launches, 4 * tensor + lse),
        // q, k, v, out, d_out, lse; d_q, d_k, d_v.
        row("backward", &backward_launches, 8 * tensor + lse),
    ])
}

fn sum(launches: &[LaunchProfile], value: fn(&LaunchProfile) -> u64) -> u64 {
    launches.iter().map(value).sum()
}
