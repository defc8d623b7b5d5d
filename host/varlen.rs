//! Sequences of different lengths, packed one after the other: `[total, heads, head_dim]` and where each one begins.

use crate::attention::{self, Attention, on_one_device};
use crate::bias::Bias;
use crate::device::Device;
use crate::element::AttentionElement;
use crate::error::{Error, ProblemError};
use crate::gradients::{self, Gradients};
use crate::raw::{RawForward, RawSequences, RawTensor};
use crate::raw_backward::RawBackward;
use crate::tensor::{Tensor, TensorError};
use abi::KernelVariant;

/// How packed queries and keys are cut into sequences, checked and on a device. Made once, used by every layer.
///
/// Entry b of the batch has query rows `cu_seqlens_q[b] .. cu_seqlens_q[b + 1]` and keys
/// `cu_seqlens_k[b] .. cu_seqlens_k[b + 1]`; lengths of 0 are fine.
#[derive(Clone, Debug)]
pub struct CuSeqlens {
    q: Packed,
    k: Packed,
}

/// One of the two sides.
#[derive(Clone, Debug)]
struct Packed {
    cu_seqlens: Tensor<i32, 1>,
    seqused: Option<Tensor<i32, 1>>,
    /// The last offset.
    end: usize,
    /// First row and rows of each entry.
    entries: Vec<(usize, usize)>,
}

/// Result of a forward pass over packed sequences.
#[derive(Clone, Debug)]
pub struct ForwardVarlen<T: AttentionElement> {
    /// Output, `[total_q, num_heads, head_dim]`. Rows without visible keys and rows of no sequence are 0.
    pub out: Tensor<T, 3>,
    /// Log-sum-exp, `[num_heads, total_q]`; -inf for rows without visible keys and rows of no sequence.
    pub lse: Tensor<f32, 2>,
    /// The kernel that ran; `None` when there is no row.
    pub variant: Option<KernelVariant>,
}

/// Gradients over packed sequences, as [`Gradients`]; those of rows of no sequence are 0.
#[derive(Clone, Debug)]
pub struct GradientsVarlen<T: AttentionElement> {
    /// With respect to q, `[total_q, num_heads, head_dim]`.
    pub d_q: Tensor<T, 3>,
    /// With respect to k, `[total_k, num_heads_k, head_dim]`.
    pub d_k: Tensor<T, 3>,
    /// With respect to v, `[total_k, num_heads_k, head_dim]`.
    pub d_v: Tensor<T, 3>,
    /// With respect to the bias, if there is one.
    pub d_bias: Option<Bias>,
    /// The kernels that ran, in order.
    pub variants: Vec<KernelVariant>,
}

impl CuSeqlens {
    /// Offsets of queries and keys, each `[batch + 1]`, not decreasing.
    ///
    /// # Errors
    ///
    /// [`Error::Problem`] when offsets are negative, decrease, or are not equally many; [`Error::Tensor`] when the
    /// device has no room.
    pub fn new(
        device: &Device,
        cu_seqlens_q: &[i32],
        cu_seqlens_k: &[i32],
    ) -> Result<CuSeqlens, Error> {
        let q = Packed::new(device, "cu_seqlens_q", cu_seqlens_q)?;
        let k = Packed::new(device, "cu_seqlens_k", cu_seqlens_k)?;
        if cu_seqlens_k.len() != cu_seqlens_q.len() {
            let reason = format!(
                "it has {} offsets, cu_seqlens_q has {}: pass batch + 1 of each",
                cu_seqlens_k.len(),
                cu_seqlens_q.len()
            );
            return Err(invalid("cu_seqlens_k", reason).into());
        }
        Ok(CuSeqlens { q, k })
    }

    /// Lets only the first `seqused_q[b]` queries and `seqused_k[b]` keys of entry b take part, so that sequences may
    /// be shorter than the room they have; `None` for all of them.
    ///
    /// # Errors
    ///
    /// [`Error::Problem`] when there are not as many numbers as entries or one is negative or beyond its entry;
    /// [`Error::Tensor`] when the device has no room.
    pub fn seqused(
        mut self,
        seqused_q: Option<&[i32]>,
        seqused_k: Option<&[i32]>,
    ) -> Result<CuSeqlens, Error> {
        self.q.limit("seqused_q", seqused_q)?;
        self.k.limit("seqused_k", seqused_k)?;
        Ok(self)
    }

    /// Entries of the batch.
    pub fn batch(&self) -> usize {
        self.q.entries.len()
    }

    /// Most query rows of any entry.
    pub fn max_seqlen_q(&self) -> usize {
        self.q.longest()
    }

    /// Most keys of any entry.
    pub fn max_seqlen_k(&self) -> usize {
        self.k.longest()
    }

    /// First row and number of rows of each entry, of the queries and of the keys.
    pub fn entries(&self) -> impl Iterator<Item = [(usize, usize); 2]> {
        let pairs = self.q.entries.iter().zip(&self.k.entries);
        pairs.map(|(&q, &k)| [q, k])
    }

    /// Addresses and extents, without the owner.
    pub fn as_raw(&self) -> RawSequences {
        let seqused = |side: &Packed| side.seqused.as_ref().map(Tensor::device_ptr);
        RawSequences {
            batch: self.batch(),
            max_seqlen_q: self.max_seqlen_q(),
            max_seqlen_k: self.max_seqlen_k(),
            cu_seqlens_q: self.q.cu_seqlens.device_ptr(),
            cu_seqlens_k: self.k.cu_seqlens.device_ptr(),
            seqused_q: seqused(&self.q),
            seqused_k: seqused(&self.k),
        }
    }

    /// Checks that the tensors have all rows, and are where the offsets are.
    fn check<T: AttentionElement>(
        &self,
        [q, k, v]: [&Tensor<T, 3>; 3],
    ) -> Result<(), ProblemError> {
        let device = Some(self.q.cu_seqlens.device());
        on_one_device(
            q.device(),
            [
                ("cu_seqlens", device),
                ("k", Some(k.device())),
                ("v", Some(v.device())),
            ],
        )?;
        for (array, side, rows) in [
            ("cu_seqlens_q", &self.q, q.shape()[0]),
            ("cu_seqlens_k", &self.k, k.shape()[0]),
        ] {
            if side.end > rows {
                let reason = format!(
                    "it ends at row {}, the tensor has {rows}: pass the whole packed tensor",
                    side.end
                );
                return Err(invalid(array, reason));
            }
        }
        Ok(())
    }
}

impl Attention {
    /// Computes attention of packed sequences, each one for itself: `q` `[total_q, num_heads, head_dim]`, `k` and `v`
    /// `[total_k, num_heads_k, head_dim]`. Masks are aligned in each sequence; slopes per batch entry, bias and
    /// dropout know an entry by its index in `sequences`.
    ///
    /// # Errors
    ///
    /// As [`forward`](Attention::forward); [`ProblemError::Sequences`] when the tensors have fewer rows than
    /// `sequences` says.
    pub fn forward_varlen<T: AttentionElement>(
        &self,
        inputs: [&Tensor<T, 3>; 3],
        sequences: &CuSeqlens,
    ) -> Result<ForwardVarlen<T>, Error> {
        sequences.check(inputs)?;
        let [q, k, v] = inputs.map(|x| x.with_batch());
        self.check(q.shape(), k.shape(), v.shape())?;
        let (device, [_, total_q, num_heads, _]) = (q.device(), q.shape());
        let (out, lse) = match sequences.q.covers(total_q) {
            true => (
                Tensor::unspecified(device, q.shape())?,
                Tensor::unspecified(device, [1, num_heads, total_q])?,
            ),
            false => {
                let lse = vec![f32::NEG_INFINITY; num_heads * total_q];
                (
                    Tensor::zeros(device, q.shape())?,
                    Tensor::from_slice(device, [1, num_heads, total_q], &lse)?,
                )
            }
        };
        let args = self.packed_arguments([&q, &k, &v], &out, &lse, sequences)?;
        let variant = attention::launch_and_wait(device, &args)?;
        Ok(ForwardVarlen {
            out: out.without_batch(),
            lse: lse.without_batch(),
            variant,
        })
    }

    /// Gradients for packed sequences: as [`backward`](Attention::backward), with tensors as those of
    /// [`forward_varlen`](Attention::forward_varlen) and `d_lse` `[num_heads, total_q]`.
    ///
    /// # Errors
    ///
    /// As [`backward`](Attention::backward); [`ProblemError::Sequences`] when the tensors have fewer rows than
    /// `sequences` says.
    pub fn backward_varlen<T: AttentionElement>(
        &self,
        inputs: [&Tensor<T, 3>; 3],
        forward: &ForwardVarlen<T>,
        d_out: &Tensor<T, 3>,
        d_lse: Option<&Tensor<f32, 2>>,
        sequences: &CuSeqlens,
    ) -> Result<GradientsVarlen<T>, Error> {
        sequences.check(inputs)?;
        let [q, k, v] = inputs.map(|x| x.with_batch());
        self.check(q.shape(), k.shape(), v.shape())?;
        let device = q.device();
        let others = [
            ("d_out", Some(d_out.device())),
            ("d_lse", d_lse.map(Tensor::device)),
        ];
        on_one_device(device, others)?;
        let mut gradients = Gradients {
            d_q: sequences.q.gradient_like(&q)?,
            d_k: sequences.k.gradient_like(&k)?,
            d_v: sequences.k.gradient_like(&v)?,
            d_bias: match &self.bias {
                Some(bias) => Some(bias.unspecified_like(device)?),
                None => None,
            },
            variants: Vec::new(),
        };
        let (out, lse) = (forward.out.with_batch(), forward.lse.with_batch());
        let args = RawBackward {
            d_out: d_out.with_batch().as_raw(),
            d_lse: d_lse.map(|d_lse| d_lse.with_batch().as_raw()),
            ..RawBackward::into_gradients(
                self.packed_arguments([&q, &k, &v], &out, &lse, sequences)?,
                &mut gradients,
            )
        };
        let variants = gradients::launch_and_wait(device, args)?;
        Ok(GradientsVarlen {
            d_q: gradients.d_q.without_batch(),
            d_k: gradients.d_k.without_batch(),
            d_v: gradients.d_v.without_batch(),
            d_bias: gradients.d_bias,
            variants,
        })
    }

    fn packed_arguments<T: AttentionElement>(
        &self,
        inputs: [&Tensor<T>; 3],
        out: &Tensor<T>,
        lse: &Tensor<f32, 3>,
        sequences: &CuSeqlens,
    ) -> Result<RawForward, ProblemError> {
        let slopes: Option<RawTensor<2>> = self.raw_slopes(sequences.batch());
        Ok(RawForward {
            sequences: Some(sequences.as_raw()),
            alibi_slopes: slopes,
            ..self.arguments(inputs, out, lse)?
        })
    }
}

impl Packed {
    fn new(device: &Device, array: &'static str, offsets: &[i32]) -> Result<Packed, Error> {
        let Some((&first, rest)) = offsets.split_first() else {
            return Err(invalid(array, "it is empty: pass batch + 1 offsets".into()).into());
        };
        if first < 0 {
            let reason = format!("it begins at {first}: offsets are rows, 0 or more");
            return Err(invalid(array, reason).into());
        }
        let mut entries = Vec::with_capacity(rest.len());
        for (b, (&begin, &end)) in offsets.iter().zip(rest).enumerate() {
            if end < begin {
                let reason = format!(
                    "entry {b} would begin at row {begin} and end at {end}: offsets must not decrease"
                );
                return Err(invalid(array, reason).into());
            }
            // Not negative: not below `first`.
            entries.push((begin as usize, (end - begin) as usize));
        }
        Ok(Packed {
            cu_seqlens: Tensor::from_slice(device, [offsets.len()], offsets)?,
            seqused: None,
            end: offsets[offsets.len() - 1] as usize,
            entries,
        })
    }

    fn limit(&mut self, array: &'static str, seqused: Option<&[i32]>) -> Result<(), Error> {
        let Some(seqused) = seqused else {
            return Ok(());
        };
        if seqused.len() != self.entries.len() {
            let reason = format!(
                "it has {} numbers for {} entries: pass one for each",
                seqused.len(),
                self.entries.len()
            );
            return Err(invalid(array, reason).into());
        }
        for (b, (&used, entry)) in seqused.iter().zip(&mut self.entries).enumerate() {
            match usize::try_from(used) {
                Ok(used) if used <= entry.1 => entry.1 = used,
                _ => {
                    let reason = format!("entry {b} has {} rows, {used} cannot be used", entry.1);
                    return Err(invalid(array, reason).into());
                }
            }
        }
        self.seqused = Some(Tensor::from_slice(
            self.cu_seqlens.device(),
            [seqused.len()],
            seqused,
        )?);
        Ok(())
    }

    fn longest(&self) -> usize {
        self.entries
            .iter()
            .map(|(_, rows)| *rows)
            .max()
            .unwrap_or(0)
    }

    /// Whether each of `total` rows belongs to an entry.
    fn covers(&self, total: usize) -> bool {
        self.entries.iter().map(|(_, rows)| rows).sum::<usize>() == total
    }

    /// Memory for the gradient of `x`; zeros where kernels do not write.
    fn gradient_like<T: AttentionElement>(&self, x: &Tensor<T>) -> Result<Tensor<T>, TensorError> {
        match self.covers(x.shape()[1]) {
            true => Tensor::unspecified(x.device(), x.shape()),
            false => Tensor::zeros(x.device(), x.shape()),
        }
    }
}

fn invalid(array: &'static str, reason: String) -> ProblemError {
    ProblemError::Sequences { array, reason }
}

#[cfg(test)]
mod tests;
