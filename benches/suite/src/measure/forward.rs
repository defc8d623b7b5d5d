//! Forward attention: our bf16 kernels on the emulated device beside candle-nn's native CPU flash attention.

#[cfg(feature = "peers")]
mod candle;

use flash_attention::{Arch, Attention, Sanitizers};

use super::Plan;
use super::inputs::{device, difference, emulated, name_of, tensors};
use crate::SuiteError;
use crate::results::Comparison;
use crate::timing::{Contender, interleave};

/// Outputs in bf16 below 1 in magnitude, of which two may be rounded to different sides.
const LIMIT: f32 = 4e-3;

/// The same inputs for all; results are compared once, before the clock starts.
pub(super) fn compare(plan: &Plan, head_dim: usize) -> Result<Comparison, SuiteError> {
    let shape = plan.shape(head_dim);
    let work = format!("forward attention, {}", name_of(shape));
    let mut outputs = Vec::new();
    let mut contenders = Vec::new();
    for &arch in Arch::ALL {
        let [q, k, v] = tensors(&device(arch, Sanitizers::NONE), shape)?;
        let out = Attention::new().forward(&q, &k, &v)?.out.to_vec()?;
        let out: Vec<f32> = out.iter().map(|x| x.to_f32()).collect();
        outputs.push((emulated(arch), out));
        contenders.push(Contender::new(emulated(arch), move || {
            Attention::new().forward(&q, &k, &v)?.out.to_vec()?;
            Ok(())
        }));
    }
    #[cfg(feature = "peers")]
    {
        let candle = candle::contenders(shape)?;
        outputs.push((candle.name, candle.out));
        contenders.extend(candle.contenders);
    }
    let agreement = agreement(&work, &outputs)?;
    Ok(Comparison {
        work,
        timings: interleave(plan.rounds, contenders)?,
        agreement: Some(agreement),
        thread_instructions: None,
    })
}

/// Compares all outputs with the first.
fn agreement(work: &str, outputs: &[(String, Vec<f32>)]) -> Result<String, SuiteError> {
    let mut largest = 0.0;
    for (name, out) in outputs {
        let difference = difference(&outputs[0].1, out);
        if difference.is_nan() || difference > LIMIT {
            return Err(SuiteError::Differ {
                work: work.to_owned(),
                name: name.clone(),
                difference,
                limit: LIMIT,
            });
        }
        largest = difference.max(largest);
    }
    Ok(format!("largest difference {largest:.1e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_differ_end_the_comparison() {
        let output = |name: &str, value: f32| (name.to_owned(), vec![0.5, value]);
        let outputs = [output("a", 0.5), output("b", 0.501)];
        assert_eq!(
            agreement("work", &outputs).unwrap(),
            "largest difference 1.0e-3"
        );
        let outputs = [output("a", 0.5), output("b", 0.6)];
        let error = agreement("work", &outputs).unwrap_err().to_string();
        assert!(error.starts_with("work: b is off by 1.0e-1"), "{error}");
    }
}
