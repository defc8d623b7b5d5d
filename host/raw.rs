//! Attention on memory that somebody else owns: device pointers and a stream, for callers with allocators of their own.

use abi::{Dtype, KernelVariant};

use crate::backend::RawStream;
use crate::device::Device;
use crate::dispatch;
use crate::error::Error;
use crate::launch;
use crate::options::Options;
use crate::problem::Problem;

/// A strided tensor in device memory that this library neither owns nor frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawTensor<const N: usize = 4> {
    /// Device address of the element whose indices are all zero. Ignored when an extent of `shape` is 0.
    pub ptr: u64,
    /// Extents; `[batch, seqlen, heads, head_dim]` for Q, K, V and O, `[batch, num_heads, seqlen_q]` for LSE.
    pub shape: [usize; N],
    /// Elements (not bytes) from one index to the next; zero and negative ones are allowed on inputs.
    pub strides: [i64; N],
}

/// A bias in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawBias {
    /// `[batch or 1, num_heads or 1, seqlen_q, seqlen_k]`, the last dimension contiguous.
    pub tensor: RawTensor,
    /// Type of its elements, that of q; `None` for f32.
    pub dtype: Option<Dtype>,
}

/// Packed sequences in device memory: rows of entry b of the batch are `cu_seqlens[b] .. cu_seqlens[b + 1]` of its
/// tensor, of which the first `seqused[b]` take part.
///
/// Kernels trust what these arrays say; [`CuSeqlens`](crate::CuSeqlens) checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSequences {
    /// Entries of the batch.
    pub batch: usize,
    /// Most query rows of any entry.
    pub max_seqlen_q: usize,
    /// Most keys of any entry.
    pub max_seqlen_k: usize,
    /// i32 `[batch + 1]`, not decreasing, at least 0 and at most the rows of q.
    pub cu_seqlens_q: u64,
    /// i32 `[batch + 1]`, not decreasing, at least 0 and at most the rows of k.
    pub cu_seqlens_k: u64,
    /// i32 `[batch]`, at most the entry's rows; `None` when all are used.
    pub seqused_q: Option<u64>,
    /// i32 `[batch]`, at most the entry's rows; `None` when all are used.
    pub seqused_k: Option<u64>,
}

/// Arguments of [`forward_raw`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawForward {
    /// Type of the elements of `q`, `k`, `v` and `out`.
    pub dtype: Dtype,
    /// Queries, `[batch, seqlen_q, num_heads, head_dim]`; packed sequences are `[1, total_q, num_heads, head_dim]`.
    pub q: RawTensor,
    /// Keys, `[batch, seqlen_k, num_heads_k, head_dim]`; packed sequences are `[1, total_k, num_heads_k, head_dim]`.
    pub k: RawTensor,
    /// Values, shaped as the keys.
    pub v: RawTensor,
    /// Output, shaped as the queries; strides that keep its elements apart. Rows of packed sequences that belong to
    /// no entry are not written.
    pub out: RawTensor,
    /// Log-sum-exp of each row, f32 `[batch, num_heads, seqlen_q]`, without gaps.
    pub lse: RawTensor<3>,
    /// Masks, scale, softcap, dropout.
    pub options: Options,
    /// ALiBi slopes, f32 `[batch, num_heads]`, the heads contiguous; stride 0 along a batch that shares them.
    pub alibi_slopes: Option<RawTensor<2>>,
    /// Bias of the scores.
    pub bias: Option<RawBias>,
    /// How q and k are cut into sequences; `None` when all have one length.
    pub sequences: Option<RawSequences>,
    /// Stream to enqueue on; null for the default one. The emulated device accepts null only.
    pub stream: RawStream,
}

impl RawForward {
    /// Plain attention of contiguous or strided tensors on the default stream.
    pub fn new(
        dtype: Dtype,
        [q, k, v]: [RawTensor; 3],
        out: RawTensor,
        lse: RawTensor<3>,
    ) -> RawForward {
        RawForward {
            dtype,
            q,
            k,
            v,
            out,
            lse,
            options: Options::default(),
            alibi_slopes: None,
            bias: None,
            sequences: None,
            stream: std::ptr::null_mut(),
        }
    }
}

/// Enqueues `out = softmax(scores of q and k) · v` on memory that the caller owns, and returns the kernel that was
/// chosen, or `None` when there is nothing to compute. Does not wait for the stream.
///
/// Everything that can be told from the arguments is checked, with the same errors as
/// [`Attention::forward`](crate::Attention::forward).
///
/// # Safety
///
/// Every element that the tensors describe must lie in live memory of `device`, and until the stream has
/// finished this work nobody may write the inputs or touch `out` and `lse`. The stream must belong to `device`. What
/// the arrays of `sequences` say must be as documented.
///
/// # Errors
///
/// [`Error::Problem`] for arguments that break a rule, [`Error::Dispatch`] when no kernel fits the device,
/// [`Error::Backend`] when the device refuses the launch. Nothing has been launched when it returns an error of the
/// first two kinds.
///
/// ```
/// use flash_attention::{Device, Dtype, RawForward, Tensor, f16, forward_raw};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::emulated();
/// let q = Tensor::<f16>::zeros(&device, [1, 3, 2, 16])?; // stands for memory of your own
/// let out = Tensor::<f16>::zeros(&device, [1, 3, 2, 16])?;
/// let lse = Tensor::<f32, 3>::zeros(&device, [1, 2, 3])?;
/// let args = RawForward::new(Dtype::F16, [q.as_raw(); 3], out.as_raw(), lse.as_raw());
/// // SAFETY: the tensors are alive until the end, and the emulated device has finished when the call returns.
/// unsafe { forward_raw(&device, &args)? };
/// assert!((lse.to_vec()?[0] - 3f32.ln()).abs() < 1e-6); // three keys, all scores zero
/// # Ok(())
/// # }
/// ```
pub unsafe fn forward_raw(
    device: &Device,
    args: &RawForward,
) -> Result<Option<KernelVariant>, Error> {
    let problem = Problem::new(args)?;
    if problem.has_no_rows() {
        return Ok(None);
    }
    let backend = device.backend();
    let kernel = dispatch::forward(&problem, backend.limits())?;
    // SAFETY: the caller vouches for memory and stream.
    unsafe { launch::forward(backend, &problem, kernel, args.stream)? };
    Ok(Some(kernel.into()))
}
