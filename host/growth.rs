//! What an attention algorithm moves and holds, counted on the emulated device, and how that grows with the sequence:
//! the claim of the FlashAttention papers (Dao et al. 2022, arXiv:2205.14135, Theorem 2; Dao 2023, arXiv:2307.08691,
//! Section 3).
//!
//! ```
//! use flash_attention::baseline::Algorithm;
//! use flash_attention::{Attention, bf16, growth};
//! # fn main() -> Result<(), flash_attention::Error> {
//! let mut points = Vec::new();
//! for seqlen in [64, 128] {
//!     let counted = growth::count::<bf16>(Algorithm::Standard, &Attention::new(), [seqlen, 1, 64])?;
//!     points.push((seqlen as f64, counted.workspace_bytes as f64));
//! }
//! let exponent = growth::exponent(&points).unwrap();
//! assert!((exponent - 2.0).abs() < 0.1, "S and P are squares of the sequence");
//! # Ok(())
//! # }
//! ```

use crate::attention::Attention;
use crate::baseline::{self, Algorithm};
use crate::device::Device;
use crate::element::AttentionElement;
use crate::emulated::EmulatorOptions;
use crate::error::Error;
use crate::profile::{CounterOptions, Counters, Recorder};
use crate::tensor::{Tensor, TensorError};

/// What one algorithm did on one problem. The same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counted {
    /// Length of queries and keys.
    pub seqlen: usize,
    /// Bytes between the multiprocessors and L2.
    pub l2_bytes: u64,
    /// Bytes between L2 and device memory.
    pub hbm_bytes: u64,
    /// Device memory held beside inputs and outputs, in bytes.
    pub workspace_bytes: u64,
    /// Bytes into and out of shared memory.
    pub shared_bytes: u64,
    /// Floating-point operations outside the tensor cores, exponentials included.
    pub other_flops: u64,
}

/// Runs `algorithm` forward on batch 1 of `[seqlen, heads, head_dim]` and counts.
///
/// # Errors
///
/// As [`baseline::forward`].
pub fn count<T: AttentionElement>(
    algorithm: Algorithm,
    attention: &Attention,
    [seqlen, heads, head_dim]: [usize; 3],
) -> Result<Counted, Error> {
    let recorder = Recorder::new(CounterOptions::default());
    let device = Device::emulated_with(EmulatorOptions {
        record: Some(recorder.clone()),
        ..EmulatorOptions::default()
    });
    let [q, k, v] = inputs::<T>(&device, [1, seqlen, heads, head_dim])?;
    let result = baseline::forward(algorithm, attention, &q, &k, &v)?;
    let mut total = Counters::default();
    for launch in recorder.take() {
        total += &launch.counters;
    }
    let operations = total.total.operations;
    Ok(Counted {
        seqlen,
        l2_bytes: total.total.global.sum().sector_bytes(),
        hbm_bytes: total.hbm.read_bytes + total.hbm.write_bytes,
        workspace_bytes: result.workspace_bytes as u64,
        shared_bytes: total.total.shared.sum().lane_bytes,
        other_flops: operations.f32_flops + operations.half_flops + operations.mufu,
    })
}

/// q, k and v of `[batch, seqlen, heads, head_dim]` with values in [-1, 1], the same in every run.
///
/// # Errors
///
/// As [`Tensor::from_slice`].
pub fn inputs<T: AttentionElement>(
    device: &Device,
    shape: [usize; 4],
) -> Result<[Tensor<T>; 3], TensorError> {
    let tensor = |step: usize| {
        let values: Vec<T> = (0..shape.iter().product())
            .map(|i| T::from_f64((i * step % 101) as f64 / 50.0 - 1.0))
            .collect();
        Tensor::from_slice(device, shape, &values)
    };
    Ok([tensor(37)?, tensor(43)?, tensor(59)?])
}

/// Slope of the least-squares line through the logarithms of points (x, y): 1 is linear growth, 2 quadratic. `None`
/// where there is no such line: a coordinate that is not positive, or no two different x.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let logs = || points.iter().map(|(x, y)| (x.ln(), y.ln()));
    let mean_x = logs().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = logs().map(|(_, y)| y).sum::<f64>() / n;
    let covariance: f64 = logs().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = logs().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = covariance / variance;
    slope.is_finite().then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::exponent;

    #[test]
    fn the_exponent_is_that_of_the_power_law() {
        let linear = exponent(&[(10.0, 30.0), (100.0, 300.0), (1000.0, 3000.0)]).unwrap();
        let quadratic = exponent(&[(10.0, 5.0), (20.0, 20.0), (40.0, 80.0)]).unwrap();
        assert!((linear - 1.0).abs() < 1e-9);
        assert!((quadratic - 2.0).abs() < 1e-9);
    }

    #[test]
    fn no_line_has_no_exponent() {
        assert_eq!(exponent(&[(10.0, 0.0), (100.0, 0.0)]), None);
        assert_eq!(exponent(&[(10.0, 5.0), (10.0, 6.0)]), None);
        assert_eq!(exponent(&[]), None);
    }
}
