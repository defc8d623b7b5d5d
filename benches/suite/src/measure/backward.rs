//! Gradients of q, k and v on the emulated device, by the kernels of each architecture.

use flash_attention::{Arch, Attention, Sanitizers, Tensor};

use super::Plan;
use super::inputs::{device, difference, emulated, name_of, random, tensors};
use crate::SuiteError;
use crate::results::Comparison;
use crate::timing::{Contender, interleave};

/// dQ of normal inputs is below 1 in magnitude: bf16 of both sides, and P in bf16 on the way.
const LIMIT: f32 = 2e-2;

/// The forward pass is done before; it has a comparison of its own.
pub(super) fn compare(plan: &Plan, head_dim: usize) -> Result<Comparison, SuiteError> {
    let shape = plan.shape(head_dim);
    let work = format!("backward attention, {}", name_of(shape));
    let mut gradients: Vec<Vec<f32>> = Vec::new();
    let mut contenders = Vec::new();
    for &arch in Arch::ALL {
        let device = device(arch, Sanitizers::NONE);
        let [q, k, v] = tensors(&device, shape)?;
        let d_out = Tensor::from_slice(&device, shape, &random(4, shape.iter().product()))?;
        let attention = Attention::new();
        let forward = attention.forward(&q, &k, &v)?;
        let d_q = attention
            .backward([&q, &k, &v], &forward, &d_out, None)?
            .d_q;
        gradients.push(d_q.to_vec()?.iter().map(|x| x.to_f32()).collect());
        contenders.push(Contender::new(emulated(arch), move || {
            attention.backward([&q, &k, &v], &forward, &d_out, None)?;
            Ok(())
        }));
    }
    let others = gradients.iter().map(|d_q| difference(&gradients[0], d_q));
    let difference = others.fold(0.0, f32::max);
    if difference > LIMIT {
        let name = "the other architecture's d_q".to_owned();
        return Err(SuiteError::Differ {
            work,
            name,
            difference,
            limit: LIMIT,
        });
    }
    Ok(Comparison {
        work,
        timings: interleave(plan.rounds, contenders)?,
        agreement: Some(format!("largest difference of d_q {difference:.1e}")),
        thread_instructions: None,
    })
}
