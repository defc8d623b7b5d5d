//! The one place where arguments are checked. A [`Problem`] that exists can be launched: shapes agree, every element
//! has a 64-bit address, and no output overlaps itself, another or an input. [`BackwardProblem`] is the same for
//! gradients.

mod backward;
mod hopper;
mod memory;
mod scores;

use abi::{Dtype, FwdParams, Sequences, Strided};

pub(crate) use backward::{BackwardKernels, BackwardPlan, BackwardProblem};
pub(crate) use hopper::{HopperForward, HopperMaps};

use crate::dispatch::{Needs, Rule, Scores};
use crate::error::ProblemError;
use crate::options::{Mask, Options, Window};
use crate::raw::{RawForward, RawSequences};
use crate::tensor_map;
use memory::{ELEMENT, F32, Memory, is_vectorizable, row_values, strided};

/// Largest head_dim that kernels exist for.
pub(crate) const MAX_HEAD_DIM: usize = 256;

/// Extents travel to the kernels as 32-bit numbers and take part in signed arithmetic there.
const MAX_EXTENT: usize = i32::MAX as usize;

/// CUDA's limit on the x extent of a grid.
const MAX_BLOCKS: u128 = i32::MAX as u128;

/// A checked forward problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub dtype: Dtype,
    pub head_dim: u32,
    /// Whether every pointer and stride of q, k, v and out is a multiple of 8 elements.
    pub is_vectorizable: bool,
    /// What happens to scores.
    scores: Scores,
    /// Entries of the batch.
    batch: u32,
    /// Extents of q and out, `[batch, rows, heads, head_dim]`: batch is 1 when sequences are packed.
    q_shape: [u32; 4],
    /// Extents of k and v.
    k_shape: [u32; 4],
    /// Everything but `m_blocks`, which depends on the variant.
    params: FwdParams,
}

impl Problem {
    /// Checks every rule; see [`ProblemError`] for them.
    pub(crate) fn new(args: &RawForward) -> Result<Problem, ProblemError> {
        let (problem, mut memory) = Problem::of_inputs(args)?;
        memory.output("out", &args.out, ELEMENT)?;
        memory.output("lse", &args.lse, F32)?;
        memory.check_apart()?;
        Ok(problem)
    }

    /// Checks everything but that `out` and `lse`, which a backward pass reads, can be written.
    fn of_inputs(args: &RawForward) -> Result<(Problem, Memory), ProblemError> {
        let softmax_scale = check_inputs(
            [args.q.shape, args.k.shape, args.v.shape],
            &args.options,
            args.alibi_slopes.is_some(),
        )?;
        let extents = Extents::new(args)?;
        check_out_shape(args)?;
        check_row_values("lse", args.lse.shape, args.q.shape)?;
        memory::check_contiguous("lse", &args.lse)?;
        let mut memory = Memory::default();
        for (tensor, raw) in [("q", &args.q), ("k", &args.k), ("v", &args.v)] {
            memory.input(tensor, raw, ELEMENT)?;
        }
        let scores = scores::params(args, &extents, &mut memory)?;
        let Window { left, right } = args.options.mask.band();
        let [_, _, num_heads, head_dim] = args.q.shape;
        let num_heads_k = args.k.shape[2];
        // Extents fit: check_inputs has compared them with MAX_EXTENT.
        let [q, k, v, out] = [args.q, args.k, args.v, args.out].map(strided);
        let params = FwdParams {
            q,
            k,
            v,
            out,
            lse: row_values(&args.lse),
            sequences: sequences(args.sequences.as_ref()),
            scores,
            softmax_scale,
            seqlen_q: extents.seqlen_q as u32,
            seqlen_k: extents.seqlen_k as u32,
            head_dim: head_dim as u32,
            num_heads: num_heads as u32,
            heads_per_group: num_heads.checked_div(num_heads_k).unwrap_or(1) as u32,
            m_blocks: 0,
            window_left: bound(left),
            window_right: bound(right),
            is_top_left: u32::from(args.options.mask.is_top_left),
        };
        let problem = Problem {
            dtype: args.dtype,
            head_dim: params.head_dim,
            is_vectorizable: [q, k, v, out].iter().all(is_vectorizable),
            scores: scores::needed(&params.scores),
            batch: extents.batch as u32,
            q_shape: args.q.shape.map(|extent| extent as u32),
            k_shape: args.k.shape.map(|extent| extent as u32),
            params,
        };
        Ok((problem, memory))
    }

    /// What a kernel must be able to do.
    pub(crate) fn needs(&self) -> Needs {
        let FwdParams { q, k, v, out, .. } = self.params;
        Needs {
            dtype: self.dtype,
            head_dim: self.head_dim,
            scores: self.scores,
            is_vectorizable: self.is_vectorizable,
            tensor_maps: self.check_maps([&q, &out], [&k, &v]),
            is_masked: [self.params.window_left, self.params.window_right] != [u32::MAX; 2],
        }
    }

    /// Whether tensor maps can describe these matrices, which are shaped as the queries and as the keys.
    fn check_maps(&self, queries: [&Strided; 2], keys: [&Strided; 2]) -> Result<(), Rule> {
        let queries = queries.map(|tensor| (tensor, self.q_shape));
        let keys = keys.map(|tensor| (tensor, self.k_shape));
        let mut matrices = queries.into_iter().chain(keys);
        matrices.try_for_each(|(tensor, shape)| tensor_map::check(tensor, shape))
    }

    /// Whether there is no query row, so that there is nothing to compute forward.
    pub(crate) fn has_no_rows(&self) -> bool {
        self.batch == 0 || self.params.num_heads == 0 || self.params.seqlen_q == 0
    }

    /// Extents of the matrix of all scores: `[batch, num_heads, seqlen_q, seqlen_k]`.
    pub(crate) fn score_shape(&self) -> [usize; 4] {
        let params = &self.params;
        [
            self.batch,
            params.num_heads,
            params.seqlen_q,
            params.seqlen_k,
        ]
        .map(|extent| extent as usize)
    }

    /// Query tiles of `block_m` rows per head.
    pub(crate) fn m_blocks(&self, block_m: u32) -> u32 {
        self.params.seqlen_q.div_ceil(block_m)
    }

    /// What a kernel is launched with that has `m_blocks * n_blocks` blocks for each query head: the parameters and
    /// the number of blocks.
    pub(crate) fn launch_params(
        &self,
        m_blocks: u32,
        n_blocks: u32,
    ) -> Result<(FwdParams, u32), ProblemError> {
        let blocks = count_blocks(&[m_blocks, n_blocks, self.params.num_heads, self.batch])?;
        let params = FwdParams {
            m_blocks,
            ..self.params
        };
        Ok((params, blocks))
    }
}

/// The product of the extents of a grid.
fn count_blocks(extents: &[u32]) -> Result<u32, ProblemError> {
    let value = extents
        .iter()
        .fold(1u128, |product, &n| product.saturating_mul(n.into()));
    if value > MAX_BLOCKS {
        return Err(ProblemError::TooLarge {
            what: "number of blocks",
            value,
            limit: MAX_BLOCKS,
        });
    }
    Ok(value as u32)
}

/// Extents of the score matrix; the longest ones when sequences are packed.
struct Extents {
    batch: usize,
    seqlen_q: usize,
    seqlen_k: usize,
}

impl Extents {
    fn new(args: &RawForward) -> Result<Extents, ProblemError> {
        let Some(sequences) = &args.sequences else {
            return Ok(Extents {
                batch: args.q.shape[0],
                seqlen_q: args.q.shape[1],
                seqlen_k: args.k.shape[1],
            });
        };
        for (tensor, batch) in [("q", args.q.shape[0]), ("k", args.k.shape[0])] {
            if batch != 1 {
                return Err(ProblemError::PackedBatch { tensor, batch });
            }
        }
        let (longest_q, longest_k) = (sequences.max_seqlen_q, sequences.max_seqlen_k);
        check_extent("batch", sequences.batch)?;
        check_at_most("max_seqlen_q", longest_q, args.q.shape[1])?;
        check_at_most("max_seqlen_k", longest_k, args.k.shape[1])?;
        let arrays = [
            ("cu_seqlens_q", Some(sequences.cu_seqlens_q)),
            ("cu_seqlens_k", Some(sequences.cu_seqlens_k)),
            ("seqused_q", sequences.seqused_q),
            ("seqused_k", sequences.seqused_k),
        ];
        for (tensor, ptr) in arrays {
            let Some(ptr) = ptr else { continue };
            if sequences.batch > 0 && (ptr == 0 || !ptr.is_multiple_of(F32)) {
                let bytes = F32;
                return Err(ProblemError::Pointer { tensor, ptr, bytes });
            }
        }
        Ok(Extents {
            batch: sequences.batch,
            seqlen_q: longest_q,
            seqlen_k: longest_k,
        })
    }
}

/// Packed sequences as kernels see them.
fn sequences(raw: Option<&RawSequences>) -> Sequences {
    Sequences {
        cu_seqlens_q: raw.map_or(0, |s| s.cu_seqlens_q),
        cu_seqlens_k: raw.map_or(0, |s| s.cu_seqlens_k),
        seqused_q: raw.and_then(|s| s.seqused_q).unwrap_or(0),
        seqused_k: raw.and_then(|s| s.seqused_k).unwrap_or(0),
    }
}

/// One side of a window as kernels see it: no sequence is longer than what 31 bits hold.
fn bound(side: Option<usize>) -> u32 {
    match side {
        Some(keys) if keys <= MAX_EXTENT => keys as u32,
        _ => u32::MAX,
    }
}

/// Checks all that concerns only the inputs' shapes and the options; returns the scale to use.
pub(crate) fn check_inputs(
    [q, k, v]: [[usize; 4]; 3],
    options: &Options,
    has_alibi: bool,
) -> Result<f32, ProblemError> {
    let [batch, seqlen_q, num_heads, head_dim] = q;
    let [_, seqlen_k, num_heads_k, _] = k;
    same("k", "q", "batch", k[0], batch)?;
    same("k", "q", "head_dim", k[3], head_dim)?;
    same("v", "k", "batch", v[0], batch)?;
    same("v", "k", "seqlen", v[1], seqlen_k)?;
    same("v", "k", "num_heads_k", v[2], num_heads_k)?;
    same("v", "k", "head_dim", v[3], head_dim)?;
    if head_dim > MAX_HEAD_DIM {
        return Err(ProblemError::HeadDimTooLarge(head_dim));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(8) {
        return Err(ProblemError::HeadDimNotMultipleOf8(head_dim));
    }
    // `is_multiple_of(0)` holds for 0 only: no key heads are fine without query heads.
    if !num_heads.is_multiple_of(num_heads_k) {
        return Err(ProblemError::HeadGroups {
            num_heads,
            num_heads_k,
        });
    }
    check_extent("batch", batch)?;
    check_extent("seqlen_q", seqlen_q)?;
    check_extent("seqlen_k", seqlen_k)?;
    check_extent("num_heads", num_heads)?;
    check_mask(&options.mask, has_alibi)?;
    if let Some(dropout) = &options.dropout {
        dropout.threshold()?;
    }
    let softmax_scale = options
        .softmax_scale
        .unwrap_or_else(|| 1.0 / (head_dim as f32).sqrt());
    scores::check_softcap(options.softcap)?;
    // The kernels fold log2(e) into the scale.
    match (softmax_scale * std::f32::consts::LOG2_E).is_finite() {
        true => Ok(softmax_scale),
        false => Err(ProblemError::ScaleNotFinite(softmax_scale)),
    }
}

fn check_mask(mask: &Mask, has_alibi: bool) -> Result<(), ProblemError> {
    let has_diagonal = mask.band() != Window::default() || has_alibi;
    match mask.is_top_left && !has_diagonal {
        true => Err(ProblemError::TopLeftWithoutMask),
        false => Ok(()),
    }
}

fn check_out_shape(args: &RawForward) -> Result<(), ProblemError> {
    same_as_queries("out", args.out.shape, args.q.shape)
}

/// Checks the shape of a tensor that has an element for each element of q.
fn same_as_queries(
    tensor: &'static str,
    shape: [usize; 4],
    q: [usize; 4],
) -> Result<(), ProblemError> {
    let names = ["batch", "seqlen", "num_heads", "head_dim"];
    (0..4).try_for_each(|i| same(tensor, "q", names[i], shape[i], q[i]))
}

/// Checks the shape of a tensor that has a value for each row and head of q.
fn check_row_values(
    tensor: &'static str,
    shape: [usize; 3],
    q: [usize; 4],
) -> Result<(), ProblemError> {
    same(tensor, "q", "batch", shape[0], q[0])?;
    same(tensor, "q", "num_heads", shape[1], q[2])?;
    same(tensor, "q", "seqlen", shape[2], q[1])
}

fn check_extent(what: &'static str, value: usize) -> Result<(), ProblemError> {
    check_at_most(what, value, MAX_EXTENT)
}

fn check_at_most(what: &'static str, value: usize, limit: usize) -> Result<(), ProblemError> {
    match value <= limit {
        true => Ok(()),
        false => Err(ProblemError::TooLarge {
            what,
            value: value as u128,
            limit: limit as u128,
        }),
    }
}

fn same(
    tensor: &'static str,
    other: &'static str,
    dimension: &'static str,
    got: usize,
    want: usize,
) -> Result<(), ProblemError> {
    match got == want {
        true => Ok(()),
        false => Err(ProblemError::Mismatch {
            tensor,
            other,
            dimension,
            got,
            want,
        }),
    }
}
