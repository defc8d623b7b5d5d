//! Attention on memory that somebody else owns: device pointers and a stream, for callers with allocators of their own.

use abi::{Dtype, FwdVariant};

use crate::backend::RawStream;
use crate::device::Device;
use crate::dispatch;
use crate::error::Error;
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

/// Arguments of [`forward_raw`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawForward {
    /// Type of the elements of `q`, `k`, `v` and `out`.
    pub dtype: Dtype,
    /// Queries, `[batch, seqlen_q, num_heads, head_dim]`.
    pub q: RawTensor,
    /// Keys, `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub k: RawTensor,
    /// Values, shaped as the keys.
    pub v: RawTensor,
    /// Output, shaped as the queries; strides that keep its elements apart.
    pub out: RawTensor,
    /// Log-sum-exp of each row, f32 `[batch, num_heads, seqlen_q]`, without gaps.
    pub lse: RawTensor<3>,
    /// Whether query i sees key j only if `j <= i + seqlen_k - seqlen_q`.
    pub is_causal: bool,
    /// Factor on Q·Kᵀ, any finite number; `None` for `1 / sqrt(head_dim)`.
    pub softmax_scale: Option<f32>,
    /// Stream to enqueue on; null for the default one. The emulated device accepts null only.
    pub stream: RawStream,
}

/// Enqueues `out = softmax(softmax_scale · q·kᵀ) · v` on memory that the caller owns, and returns the kernel that was
/// chosen, or `None` when there is nothing to compute. Does not wait for the stream.
///
/// Everything that can be told from the arguments is checked, with the same errors as
/// [`Attention::forward`](crate::Attention::forward).
///
/// # Safety
///
/// Every element that the five tensors describe must lie in live memory of `device`, and until the stream has
/// finished this work nobody may write the inputs or touch `out` and `lse`. The stream must belong to `device`.
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
/// let args = RawForward {
///     dtype: Dtype::F16,
///     q: q.as_raw(),
///     k: q.as_raw(),
///     v: q.as_raw(),
///     out: out.as_raw(),
///     lse: lse.as_raw(),
///     is_causal: false,
///     softmax_scale: None,
///     stream: std::ptr::null_mut(),
/// };
/// // SAFETY: the tensors are alive until the end, and the emulated device has finished when the call returns.
/// unsafe { forward_raw(&device, &args)? };
/// assert!((lse.to_vec()?[0] - 3f32.ln()).abs() < 1e-6); // three keys, all scores zero
/// # Ok(())
/// # }
/// ```
pub unsafe fn forward_raw(
    device: &Device,
    args: &RawForward,
) -> Result<Option<&'static FwdVariant>, Error> {
    let problem = Problem::new(args)?;
    if problem.is_empty() {
        return Ok(None);
    }
    let backend = device.backend();
    let variant = dispatch::preferred(&problem, backend.limits())?;
    let (params, blocks) = problem.launch_params(problem.m_blocks(variant.block_m), 1)?;
    // SAFETY: the caller vouches for the memory; `params` describes no element outside `args` (Problem's invariant).
    unsafe {
        backend.launch(&variant.spec(), params.as_bytes(), blocks, args.stream)?;
    }
    Ok(Some(variant))
}
