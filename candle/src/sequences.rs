//! How packed rows are cut into sequences.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use flash_attention::{CuSeqlens, Device, ProblemError};

use crate::error::Error;

/// Where sequences of different lengths begin in packed queries and keys, checked. Made once, used by every layer.
///
/// Entry b of the batch has query rows `seqlens_q[b] .. seqlens_q[b + 1]` and key rows
/// `seqlens_k[b] .. seqlens_k[b + 1]`.
#[derive(Clone, Debug)]
pub struct Sequences {
    pub(crate) q: Side,
    pub(crate) k: Side,
}

/// One of the two sides.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// u32 `[batch + 1]`, contiguous, on the device of the tensor it came from. A copy that nobody else can write: kernels
    /// trust it.
    pub tensor: Tensor,
    /// The same numbers, not decreasing.
    host: Arc<[i32]>,
    /// Rows of the longest sequence.
    pub longest: usize,
}

impl Sequences {
    /// Copies and checks cumulative lengths, u32 `[batch + 1]` each. Waits for their device.
    ///
    /// # Errors
    ///
    /// [`Error::ArgumentDtype`] and [`Error::Rank`] for other tensors, [`ProblemError::Sequences`] (in
    /// [`Error::Attention`]) when offsets decrease, are not equally many, or exceed `i32::MAX`.
    pub fn new(seqlens_q: &Tensor, seqlens_k: &Tensor) -> Result<Sequences, Error> {
        let (q, q_host) = read("seqlens_q", seqlens_q)?;
        let (k, k_host) = read("seqlens_k", seqlens_k)?;
        let checked = CuSeqlens::new(&Device::emulated(), &q_host, &k_host)?;
        let side = |tensor, host: Vec<i32>, longest| Side {
            tensor,
            host: host.into(),
            longest,
        };
        Ok(Sequences {
            q: side(q, q_host, checked.max_seqlen_q()),
            k: side(k, k_host, checked.max_seqlen_k()),
        })
    }

    /// Entries of the batch.
    pub fn batch(&self) -> usize {
        self.q.host.len() - 1
    }

    /// Query rows of the longest sequence.
    pub fn max_seqlen_q(&self) -> usize {
        self.q.longest
    }

    /// Key rows of the longest sequence.
    pub fn max_seqlen_k(&self) -> usize {
        self.k.longest
    }

    /// Checks what the caller says about the longest sequences.
    pub(crate) fn at_most(
        self,
        max_seqlen_q: usize,
        max_seqlen_k: usize,
    ) -> Result<Sequences, Error> {
        for (argument, got, longest) in [
            ("max_seqlen_q", max_seqlen_q, self.q.longest),
            ("max_seqlen_k", max_seqlen_k, self.k.longest),
        ] {
            if got < longest {
                return Err(Error::MaxSeqlen {
                    argument,
                    got,
                    longest,
                });
            }
        }
        Ok(self)
    }

    /// The same beside q, where kernels read it. Checks that packed tensors have all rows.
    pub(crate) fn of_tensors(
        &self,
        q: &Tensor,
        total_q: usize,
        total_k: usize,
    ) -> Result<Sequences, Error> {
        Ok(Sequences {
            q: self.q.of_tensor("seqlens_q", q, total_q)?,
            k: self.k.of_tensor("seqlens_k", q, total_k)?,
        })
    }

    /// The same on an emulated device.
    pub(crate) fn on(&self, device: &Device) -> Result<CuSeqlens, Error> {
        Ok(CuSeqlens::new(device, &self.q.host, &self.k.host)?)
    }
}

impl Side {
    fn of_tensor(&self, array: &'static str, q: &Tensor, rows: usize) -> Result<Side, Error> {
        if self.end() > rows {
            let reason = format!(
                "it ends at row {}, the tensor has {rows}: pass the whole packed tensor",
                self.end()
            );
            return Err(ProblemError::Sequences { array, reason }.into());
        }
        Ok(Side {
            tensor: self.tensor.to_device(q.device())?,
            ..self.clone()
        })
    }

    /// The last offset.
    fn end(&self) -> usize {
        self.host.last().map_or(0, |&end| end as usize)
    }

    /// Whether each of `total` rows belongs to a sequence.
    #[cfg(feature = "cuda")]
    pub fn covers(&self, total: usize) -> bool {
        self.host.first() == Some(&0) && self.end() == total
    }
}

/// A copy of the offsets, and what it holds.
fn read(argument: &'static str, seqlens: &Tensor) -> Result<(Tensor, Vec<i32>), Error> {
    if seqlens.dtype() != DType::U32 {
        return Err(Error::ArgumentDtype {
            tensor: argument,
            got: seqlens.dtype(),
            want: DType::U32,
        });
    }
    if seqlens.rank() != 1 {
        return Err(Error::Rank {
            tensor: argument,
            got: seqlens.shape().clone(),
            want: "[batch + 1]",
        });
    }
    let tensor = seqlens.detach().force_contiguous()?;
    let mut host = Vec::with_capacity(seqlens.elem_count());
    for offset in tensor.to_vec1::<u32>()? {
        host.push(i32::try_from(offset).map_err(|_| ProblemError::Sequences {
            array: argument,
            reason: format!("offset {offset} is beyond {}: split the batch", i32::MAX),
        })?);
    }
    Ok((tensor, host))
}
