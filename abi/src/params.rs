//! The parameter blocks of launches. The host has checked what they say (see the field docs); kernels trust it.
//!
//! Each one is passed by value as the only kernel parameter: 8-byte fields first, then an even number of 4-byte ones,
//! so that there is no padding and every byte means something.

/// A `[batch, seqlen, heads, head_dim]` matrix in device memory, last dimension contiguous.
///
/// Strides count elements, not bytes. They are 64 bits wide so that no product of index and stride wraps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    /// Device address of element `[0, 0, 0, 0]`.
    pub ptr: u64,
    /// Elements from one batch entry to the next; 0 when sequences are packed.
    pub batch_stride: i64,
    /// Elements from one sequence position to the next.
    pub row_stride: i64,
    /// Elements from one head to the next.
    pub head_stride: i64,
}

/// Values of rows, f32, one for each query of each head: the log-sum-exp L and its gradient.
///
/// `[batch, num_heads, seqlen_q]`, or `[num_heads, total_q]` when sequences are packed. Element (batch, head, row) is
/// at `ptr + 4 * (batch * batch_stride + head * head_stride + first_row(batch) + row)`; rows are contiguous.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowValues {
    /// Device address; 0 when there are none.
    pub ptr: u64,
    /// Elements from one batch entry to the next; 0 when sequences are packed.
    pub batch_stride: u64,
    /// Elements from one head to the next.
    pub head_stride: u64,
}

/// Where the sequences of a batch begin and end when they are packed one after the other. All four are device
/// addresses of i32, and 0 when there is nothing of the kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// First query row of each batch entry, `[batch + 1]`; entry b has rows `cu_seqlens_q[b] .. cu_seqlens_q[b + 1]`.
    /// With 0 every entry has `seqlen_q` rows, `batch_stride` apart.
    pub cu_seqlens_q: u64,
    /// The same for the keys; given together with `cu_seqlens_q` or not at all.
    pub cu_seqlens_k: u64,
    /// Rows in use of each batch entry, `[batch]`: the first so many; 0 for all.
    pub seqused_q: u64,
    /// Keys in use of each batch entry, `[batch]`: the first so many; 0 for all.
    pub seqused_k: u64,
}

/// What happens between Q·Kᵀ and the softmax, and to P. Read only by variants with
/// [`ScoreKind::Any`](crate::ScoreKind::Any).
///
/// The score of query i and key j is `x = softmax_scale · q·k`, then `softcap · tanh(x / softcap)` if there is a
/// softcap, minus `slope · |i + diagonal - j|` if there are slopes (the diagonal is that of the mask), plus
/// `bias[batch, head, i, j]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreParams {
    /// Device address of the ALiBi slopes, f32, heads contiguous; 0 for none.
    pub alibi_slopes: u64,
    /// Slopes from one batch entry to the next: num_heads, or 0 when all share them.
    pub alibi_batch_stride: i64,
    /// The bias `[batch, num_heads, seqlen_q, seqlen_k]`, keys contiguous, strides 0 where it is shared, aligned to its
    /// elements; `ptr` 0 for none.
    pub bias: Strided,
    /// Philox key.
    pub dropout_seed: u64,
    /// First Philox counter of this call: head h of batch entry b uses `offset + b * num_heads + h`.
    pub dropout_offset: u64,
    /// An element of P is kept if its 16 random bits are below this: 1 ..= 65536, where 65536 keeps all.
    pub dropout_threshold: u32,
    /// What kept elements are multiplied by: 65536 / threshold.
    pub dropout_scale: f32,
    /// Bound on the scores, positive; 0 for none.
    pub softcap: f32,
    /// 1 when the bias (and its gradient) is f32, 0 when it is of the element type.
    pub bias_is_f32: u32,
}

/// Everything a forward kernel is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FwdParams {
    /// Queries, `[batch, seqlen_q, num_heads, head_dim]`.
    pub q: Strided,
    /// Keys, `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub k: Strided,
    /// Values, `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub v: Strided,
    /// Output, `[batch, seqlen_q, num_heads, head_dim]`.
    pub out: Strided,
    /// Log-sum-exp of each row.
    pub lse: RowValues,
    /// Packed sequences.
    pub sequences: Sequences,
    /// Scores beyond softmax_scale · Q·Kᵀ, and dropout.
    pub scores: ScoreParams,
    /// Factor on Q·Kᵀ before the softmax; any sign, zero allowed, finite also when multiplied by log2(e).
    pub softmax_scale: f32,
    /// Query rows per batch entry, 1 ..= 2^31 - 1; the most of any entry when sequences are packed.
    pub seqlen_q: u32,
    /// Keys per batch entry, 0 ..= 2^31 - 1; the most of any entry when sequences are packed.
    pub seqlen_k: u32,
    /// Elements per row: a multiple of 8, at most the variant's class.
    pub head_dim: u32,
    /// Query heads.
    pub num_heads: u32,
    /// Query heads that share one key head: `num_heads / num_heads_k`; 0 only in a backward pass without query heads.
    pub heads_per_group: u32,
    /// Query tiles per head: `ceil(seqlen_q / BLOCK_M)`. The grid of a forward kernel is
    /// `m_blocks * num_heads * batch` blocks along x.
    pub m_blocks: u32,
    /// Query i sees key j only if `j >= i + diagonal - window_left`; `u32::MAX` for no bound, else at most 2^31 - 1.
    pub window_left: u32,
    /// Query i sees key j only if `j <= i + diagonal + window_right`; `u32::MAX` for no bound, else at most 2^31 - 1.
    /// Causal is 0.
    pub window_right: u32,
    /// 1 when the diagonal is 0 (aligned to the top left corner); otherwise it is seqlen_k - seqlen_q, of each sequence.
    pub is_top_left: u32,
}

/// Everything the kernels of a backward pass are told, all of them the same block.
///
/// The scratch of a head is cut into tiles of BLOCK_M rows (of the main kernel): tile m of head h of batch entry b is
/// number `h * scratch_tiles + first_tile(b) + m`, with `first_tile(b) = b * m_blocks`, or
/// `cu_seqlens_q[b] / BLOCK_M + b` when sequences are packed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BwdParams {
    /// The forward pass; `out` and `lse` are its results. `m_blocks` counts tiles of the main kernel.
    pub forward: FwdParams,
    /// Gradient of the output.
    pub d_out: Strided,
    /// Gradient of q, written.
    pub d_q: Strided,
    /// Gradient of k, written; `num_heads_k` heads.
    pub d_k: Strided,
    /// Gradient of v, written; `num_heads_k` heads.
    pub d_v: Strided,
    /// Gradient of the bias, written by the bias kernel: laid out as the bias, strides 0 where it is shared.
    pub d_bias: Strided,
    /// Gradient of the log-sum-exp; `ptr` 0 for none.
    pub d_lse: RowValues,
    /// Scratch, f32 `[tiles][3 * BLOCK_M]`. First -L · log2(e) of each row of the tile; -inf for rows without a visible
    /// key and beyond the end. Then d_lse - rowsum(d_out · out), which is added to dP; 0 for those rows. Of each two
    /// rows a and b it has a, b, a, b: what a lane holds of an accumulator of dPᵀ.
    pub row_statistics: u64,
    /// Scratch, f32 `[slices][tiles][BLOCK_M / 16][head_dim class / 8][128]`: dQ / softmax_scale as the accumulator
    /// fragments (16 x 8) of each tile. Element i of lane l of a fragment is at `i * dq_element_stride + l *
    /// dq_lane_stride`.
    pub dq_accum: u64,
    /// Elements from one slice of dQ to the next; 0 when all blocks add to one slice.
    pub dq_slice_stride: u64,
    /// Tiles of one head.
    pub scratch_tiles: u32,
    /// BLOCK_M of the main kernel.
    pub tile_rows: u32,
    /// head_dim class of the main kernel.
    pub tile_cols: u32,
    /// Key tiles of the main kernel: `ceil(seqlen_k / BLOCK_N)`.
    pub n_blocks: u32,
    /// Blocks that share the key tiles of one head: block g takes tiles `g`, `g + n_stride`, ... and adds to slice g.
    /// The grid of the main kernel is `n_stride * num_heads_k * batch` blocks along x.
    pub n_stride: u32,
    /// Slices that the dQ kernel adds up: 1, or n_stride when they are apart.
    pub dq_slices: u32,
    /// Elements from one lane to the next in a fragment of dQ: 1 for the main kernels of sm_80, 4 for those of sm_90a.
    pub dq_lane_stride: u32,
    /// Elements from one element of a lane to the next there: 32, or 1 when `dq_lane_stride` is 4.
    pub dq_element_stride: u32,
    /// Batch entries.
    pub batch: u32,
    /// Key tiles of the bias kernel; its grid is `bias m_blocks * n_blocks * heads and entries of the bias` along x.
    pub bias_n_blocks: u32,
    /// Query tiles of the bias kernel.
    pub bias_m_blocks: u32,
    /// Heads of the bias: num_heads or 1.
    pub bias_heads: u32,
    /// Batch entries of the bias: batch or 1.
    pub bias_batch: u32,
    /// Key heads.
    pub num_heads_k: u32,
}

const _: () = assert!(size_of::<Strided>() == 32);
const _: () = assert!(size_of::<ScoreParams>() == 2 * 8 + 32 + 2 * 8 + 4 * 4);
const _: () =
    assert!(size_of::<FwdParams>() == 4 * 32 + 3 * 8 + 4 * 8 + size_of::<ScoreParams>() + 10 * 4);
const _: () =
    assert!(size_of::<BwdParams>() == size_of::<FwdParams>() + 5 * 32 + 3 * 8 + 3 * 8 + 14 * 4);

/// Gives parameter blocks, which must be `repr(C)` and without padding, their bytes.
macro_rules! params_as_bytes {
    ($($params:ident),*) => { $(
        impl $params {
            /// The launch's parameter buffer: PTX lays a by-value struct out as C does (PTX ISA 5.1.6, `.param`).
            pub fn as_bytes(&self) -> &[u8] {
                // SAFETY: `repr(C)` with 8-byte fields first and an even number of 4-byte fields after, and a size that
                // is the sum of the fields' (asserted): no padding, so every byte is initialised; the borrow keeps the
                // struct alive.
                unsafe {
                    core::slice::from_raw_parts(
                        (self as *const $params).cast::<u8>(),
                        core::mem::size_of::<$params>(),
                    )
                }
            }
        }
    )* };
}
pub(crate) use params_as_bytes;
params_as_bytes!(FwdParams, BwdParams);
