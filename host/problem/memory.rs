//! Where tensors lie: element addresses, alignment, and outputs that would overwrite something.

use abi::{RowValues, Strided};

use crate::error::ProblemError;
use crate::layout;
use crate::raw::RawTensor;

/// Bytes of an element of q, k, v, their gradients, and the output.
pub(super) const ELEMENT: u64 = 2;
/// Bytes of a row value, and of an element of an f32 bias.
pub(super) const F32: u64 = 4;

/// The tensors of a call, inputs first.
#[derive(Default)]
pub(super) struct Memory {
    inputs: Vec<Placed>,
    outputs: Vec<Placed>,
}

/// A tensor with at least one element.
struct Placed {
    tensor: &'static str,
    ptr: u64,
    shape: Vec<usize>,
    strides: Vec<i64>,
    bytes: u64,
    /// First and last byte.
    range: (u64, u64),
}

impl Memory {
    /// A tensor that is read.
    pub(super) fn input<const N: usize>(
        &mut self,
        tensor: &'static str,
        raw: &RawTensor<N>,
        bytes: u64,
    ) -> Result<(), ProblemError> {
        self.inputs.extend(place(tensor, raw, bytes)?);
        Ok(())
    }

    /// A tensor that is written: its elements must lie apart.
    pub(super) fn output<const N: usize>(
        &mut self,
        tensor: &'static str,
        raw: &RawTensor<N>,
        bytes: u64,
    ) -> Result<(), ProblemError> {
        let placed = place(tensor, raw, bytes)?;
        if !layout::elements_are_distinct(&raw.shape, &raw.strides) {
            return Err(ProblemError::OverlapsItself {
                tensor,
                shape: raw.shape.to_vec(),
                strides: raw.strides.to_vec(),
            });
        }
        self.outputs.extend(placed);
        Ok(())
    }

    /// Checks that no output shares memory with anything else.
    pub(super) fn check_apart(&self) -> Result<(), ProblemError> {
        for (i, output) in self.outputs.iter().enumerate() {
            let others = self.inputs.iter().chain(&self.outputs[..i]);
            if let Some(other) = others.into_iter().find(|other| !are_apart(output, other)) {
                return Err(ProblemError::Aliased {
                    output: output.tensor,
                    other: other.tensor,
                });
            }
        }
        Ok(())
    }
}

/// Whether two tensors provably share no byte: their ranges are apart, or they are views that interleave row by row,
/// as those of a packed buffer do.
fn are_apart(a: &Placed, b: &Placed) -> bool {
    if a.range.0 > b.range.1 || b.range.0 > a.range.1 {
        return true;
    }
    let distance = i128::from(b.ptr) - i128::from(a.ptr);
    let bytes = i128::from(a.bytes);
    a.bytes == b.bytes
        && distance % bytes == 0
        && layout::views_interleave(
            (&a.shape, &a.strides),
            (&b.shape, &b.strides),
            distance / bytes,
        )
}

/// Checks address and last stride; `None` when the tensor has no element.
fn place<const N: usize>(
    tensor: &'static str,
    raw: &RawTensor<N>,
    bytes: u64,
) -> Result<Option<Placed>, ProblemError> {
    let stride = raw.strides[N - 1];
    if raw.shape[N - 1] > 1 && stride != 1 {
        return Err(ProblemError::LastStride { tensor, stride });
    }
    let Some((low, high)) = layout::span(&raw.shape, &raw.strides) else {
        return Ok(None);
    };
    if raw.ptr == 0 || !raw.ptr.is_multiple_of(bytes) {
        return Err(ProblemError::Pointer {
            tensor,
            ptr: raw.ptr,
            bytes,
        });
    }
    let (shape, strides) = (raw.shape.to_vec(), raw.strides.to_vec());
    let address = |offset: i128| {
        offset
            .saturating_mul(bytes.into())
            .saturating_add(raw.ptr.into())
    };
    match (
        u64::try_from(address(low)),
        u64::try_from(address(high).saturating_add(i128::from(bytes) - 1)),
    ) {
        (Ok(first), Ok(last)) => Ok(Some(Placed {
            tensor,
            ptr: raw.ptr,
            shape,
            strides,
            bytes,
            range: (first, last),
        })),
        _ => Err(ProblemError::AddressRange {
            tensor,
            shape,
            strides,
        }),
    }
}

/// Checks that row values have no gaps.
pub(super) fn check_contiguous(
    tensor: &'static str,
    raw: &RawTensor<3>,
) -> Result<(), ProblemError> {
    let want = layout::contiguous_strides(&raw.shape);
    match significant(&raw.shape, want) == significant(&raw.shape, raw.strides) {
        true => Ok(()),
        false => Err(ProblemError::LseStrides {
            tensor,
            got: raw.strides,
            want,
        }),
    }
}

/// Strides with 0 where only index 0 exists: what such a stride says never matters.
pub(super) fn significant<const N: usize>(shape: &[usize; N], strides: [i64; N]) -> [i64; N] {
    std::array::from_fn(|i| if shape[i] > 1 { strides[i] } else { 0 })
}

/// A `[batch, seqlen, heads, head_dim]` tensor as kernels see it.
pub(super) fn strided(raw: RawTensor) -> Strided {
    let [batch_stride, row_stride, head_stride, _] = significant(&raw.shape, raw.strides);
    Strided {
        ptr: raw.ptr,
        batch_stride,
        row_stride,
        head_stride,
    }
}

/// A `[batch, heads, seqlen_q, seqlen_k]` tensor as kernels see it.
pub(super) fn bias_strided(raw: RawTensor) -> Strided {
    let [batch_stride, head_stride, row_stride, _] = significant(&raw.shape, raw.strides);
    Strided {
        ptr: raw.ptr,
        batch_stride,
        row_stride,
        head_stride,
    }
}

/// Contiguous row values `[batch, heads, rows]` as kernels see them.
pub(super) fn row_values(raw: &RawTensor<3>) -> RowValues {
    let [batch_stride, head_stride, _] =
        significant(&raw.shape, layout::contiguous_strides(&raw.shape));
    RowValues {
        ptr: raw.ptr,
        batch_stride: batch_stride as u64,
        head_stride: head_stride as u64,
    }
}

/// Whether every address that a kernel copies 16 bytes at a time from is a multiple of 16.
pub(super) fn is_vectorizable(tensor: &Strided) -> bool {
    tensor.ptr.is_multiple_of(16)
        && [tensor.batch_stride, tensor.row_stride, tensor.head_stride]
            .iter()
            .all(|s| s % 8 == 0)
}
