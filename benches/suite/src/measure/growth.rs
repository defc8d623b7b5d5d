//! Times and traffic with device memory as the sequence grows, for three algorithms.

use flash_attention::baseline::{self, Algorithm};
use flash_attention::growth::{count, exponent, inputs};
use flash_attention::{Arch, Attention, Sanitizers, bf16};

use super::Plan;
use super::inputs::device;
use crate::SuiteError;
use crate::results::{Growing, Growth, GrowthPoint};
use crate::timing::{Contender, Timing, interleave};

const HEADS: usize = 1;
const HEAD_DIM: usize = 64;

/// The algorithms take turns at each length.
pub(super) fn measure(plan: &Plan) -> Result<Growth, SuiteError> {
    let mut points = Algorithm::ALL.map(|_| Vec::new());
    for &seqlen in &plan.growth_seqlens {
        let timings = times(plan.rounds, seqlen)?;
        for ((algorithm, timing), points) in
            Algorithm::ALL.into_iter().zip(timings).zip(&mut points)
        {
            let counted = count::<bf16>(algorithm, &Attention::new(), [seqlen, HEADS, HEAD_DIM])?;
            points.push(GrowthPoint {
                seqlen,
                hbm_bytes: counted.hbm_bytes,
                seconds: timing.seconds,
            });
        }
    }
    let algorithms = Algorithm::ALL.into_iter().zip(points);
    Ok(Growth {
        work: format!(
            "forward, batch 1, {HEADS} head, head_dim {HEAD_DIM}, bf16, emulated as sm_80"
        ),
        algorithms: algorithms
            .map(|(algorithm, points)| grown(algorithm, points))
            .collect(),
    })
}

fn times(rounds: usize, seqlen: usize) -> Result<Vec<Timing>, SuiteError> {
    let device = device(Arch::Sm80, Sanitizers::NONE);
    let [q, k, v] = inputs::<bf16>(&device, [1, seqlen, HEADS, HEAD_DIM])?;
    let (q, k, v) = (&q, &k, &v);
    let contender = |algorithm: Algorithm| {
        Contender::new(algorithm.name(), move || {
            baseline::forward(algorithm, &Attention::new(), q, k, v)?;
            Ok(())
        })
    };
    interleave(rounds, Algorithm::ALL.map(contender).into())
}

fn grown(algorithm: Algorithm, points: Vec<GrowthPoint>) -> Growing {
    let fit = |value: fn(&GrowthPoint) -> f64| {
        let pairs = points
            .iter()
            .map(|point| (point.seqlen as f64, value(point)));
        exponent(&pairs.collect::<Vec<_>>())
    };
    Growing {
        algorithm: algorithm.name().to_owned(),
        hbm_exponent: fit(|point| point.hbm_bytes as f64),
        time_exponent: fit(|point| point.seconds.median),
        points,
    }
}
