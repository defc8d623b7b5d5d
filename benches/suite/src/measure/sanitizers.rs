//! What watching costs: forward attention plain and under each sanitizer.

use flash_attention::{Arch, Attention, Sanitizers};

use super::Plan;
use super::inputs::{device, emulated, name_of, tensors};
use crate::SuiteError;
use crate::results::Comparison;
use crate::timing::{Contender, interleave};

const CHOICES: [(&str, Sanitizers); 5] = [
    ("plain (memcheck is always on)", Sanitizers::NONE),
    (
        "initcheck",
        Sanitizers {
            initcheck: true,
            ..Sanitizers::NONE
        },
    ),
    (
        "racecheck",
        Sanitizers {
            racecheck: true,
            ..Sanitizers::NONE
        },
    ),
    (
        "synccheck",
        Sanitizers {
            synccheck: true,
            ..Sanitizers::NONE
        },
    ),
    ("all four", Sanitizers::ALL),
];

/// At the smallest head_dim of the plan. A finding ends it: the kernels are clean.
pub(super) fn compare(plan: &Plan, arch: Arch) -> Result<Comparison, SuiteError> {
    let head_dim = plan.head_dims.iter().min().copied().unwrap_or(64);
    let shape = plan.shape(head_dim);
    let mut contenders = Vec::new();
    for (name, sanitizers) in CHOICES {
        let [q, k, v] = tensors(&device(arch, sanitizers), shape)?;
        contenders.push(Contender::new(name, move || {
            Attention::new().forward(&q, &k, &v)?;
            Ok(())
        }));
    }
    Ok(Comparison {
        work: format!(
            "forward attention, {}, {}, watched",
            name_of(shape),
            emulated(arch)
        ),
        timings: interleave(plan.rounds, contenders)?,
        agreement: None,
        thread_instructions: None,
    })
}
