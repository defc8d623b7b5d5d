//! A checked backward problem, and how it is cut into launches.

use abi::{BwdParams, BwdVariant, FwdParams, KernelVariant, RowValues, Strided};

use super::memory::{self, ELEMENT, F32, is_vectorizable, row_values, strided};
use super::{
    Extents, HopperMaps, Problem, check_row_values, count_blocks, same, same_as_queries, scores,
};
use crate::dispatch::{MainKernel, Needs, Scores};
use crate::error::ProblemError;
use crate::raw_backward::RawBackward;

/// Blocks that deterministic mode spreads the key tiles over: about as many as a large GPU has multiprocessors. Part
/// of the result's bits, so it does not depend on the device.
const DETERMINISTIC_BLOCKS: u32 = 128;

/// Arrays of a workspace begin at multiples of this many bytes.
const WORKSPACE_ALIGNMENT: u64 = 256;

/// A checked backward problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardProblem {
    problem: Problem,
    d_out: Strided,
    d_q: Strided,
    d_k: Strided,
    d_v: Strided,
    d_lse: RowValues,
    /// The gradient of the bias, and extents of the bias.
    d_bias: Option<(Strided, [u32; 4])>,
    num_heads_k: u32,
    /// Rows of q, of all packed sequences together.
    total_q: u32,
    is_packed: bool,
    is_deterministic: bool,
    workspace: u64,
}

/// The kernels of a backward pass. All take the same parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardKernels {
    pub delta: &'static BwdVariant,
    pub main: MainKernel,
    pub convert_dq: &'static BwdVariant,
    /// When the gradient of a bias is asked for.
    pub bias: Option<&'static BwdVariant>,
}

/// Parameters, launches in order, and the workspace that they need.
pub(crate) struct BackwardPlan {
    pub params: BwdParams,
    /// Kernels and their blocks.
    pub launches: Vec<(KernelVariant, u32)>,
    /// What the main kernel copies tiles by, if it is one for Hopper.
    pub maps: Option<HopperMaps>,
    pub workspace_bytes: u64,
}

impl BackwardProblem {
    /// Checks every rule; see [`ProblemError`] for them.
    pub(crate) fn new(args: &RawBackward) -> Result<BackwardProblem, ProblemError> {
        let forward = &args.forward;
        let (problem, mut memory) = Problem::of_inputs(forward)?;
        memory.input("out", &forward.out, ELEMENT)?;
        memory.input("lse", &forward.lse, F32)?;
        same_as_queries("d_out", args.d_out.shape, forward.q.shape)?;
        memory.input("d_out", &args.d_out, ELEMENT)?;
        let mut d_lse = RowValues {
            ptr: 0,
            batch_stride: 0,
            head_stride: 0,
        };
        if let Some(raw) = &args.d_lse {
            check_row_values("d_lse", raw.shape, forward.q.shape)?;
            memory::check_contiguous("d_lse", raw)?;
            memory.input("d_lse", raw, F32)?;
            d_lse = row_values(raw);
        }
        let names = ["batch", "seqlen", "num_heads", "head_dim"];
        for (tensor, gradient, of, input) in [
            ("d_q", &args.d_q, "q", &forward.q),
            ("d_k", &args.d_k, "k", &forward.k),
            ("d_v", &args.d_v, "v", &forward.v),
        ] {
            (0..4)
                .try_for_each(|i| same(tensor, of, names[i], gradient.shape[i], input.shape[i]))?;
            memory.output(tensor, gradient, ELEMENT)?;
        }
        let d_bias = d_bias(args, &mut memory)?;
        memory.check_apart()?;
        let [d_out, d_q, d_k, d_v] = [args.d_out, args.d_q, args.d_k, args.d_v].map(strided);
        Ok(BackwardProblem {
            problem,
            d_out,
            d_q,
            d_k,
            d_v,
            d_lse,
            d_bias,
            num_heads_k: forward.k.shape[2] as u32,
            total_q: forward.q.shape[1] as u32,
            is_packed: forward.sequences.is_some(),
            is_deterministic: forward.options.is_deterministic,
            workspace: args.workspace,
        })
    }

    /// What a kernel must be able to do that reads or writes `tensors`.
    fn needs(&self, tensors: &[&Strided]) -> Needs {
        Needs {
            is_vectorizable: tensors.iter().all(|tensor| is_vectorizable(tensor)),
            ..self.problem.needs()
        }
    }

    /// What the delta kernel must be able to do.
    pub(crate) fn delta_needs(&self) -> Needs {
        Needs {
            scores: Scores::Plain,
            ..self.needs(&[&self.problem.params.out, &self.d_out])
        }
    }

    /// What the main kernel must be able to do.
    pub(crate) fn main_needs(&self) -> Needs {
        let FwdParams { q, k, v, .. } = &self.problem.params;
        Needs {
            tensor_maps: self.problem.check_maps([q, &self.d_out], [k, v]),
            ..self.needs(&[q, k, v, &self.d_out, &self.d_k, &self.d_v])
        }
    }

    /// What the kernel that converts dQ must be able to do.
    pub(crate) fn convert_dq_needs(&self) -> Needs {
        Needs {
            scores: Scores::Plain,
            ..self.needs(&[&self.d_q])
        }
    }

    /// What the bias kernel must be able to do; `None` when its gradient is not asked for.
    pub(crate) fn bias_needs(&self) -> Option<Needs> {
        let FwdParams { q, k, v, .. } = &self.problem.params;
        self.d_bias.map(|_| self.needs(&[q, k, v, &self.d_out]))
    }

    /// Cuts the problem into launches of `kernels`.
    pub(crate) fn plan(&self, kernels: &BackwardKernels) -> Result<BackwardPlan, ProblemError> {
        let main = MainTiles::of(kernels.main);
        let (batch, num_heads) = (self.problem.batch, self.problem.params.num_heads);
        let m_blocks = self.problem.m_blocks(main.block_m);
        let (forward, query_tiles) = self.problem.launch_params(m_blocks, 1)?;
        let n_blocks = forward.seqlen_k.div_ceil(main.block_n);
        let n_stride = self.n_stride(n_blocks);
        let scratch_tiles = self.scratch_tiles(main.block_m)?;
        let slices = match self.is_deterministic {
            true => n_stride.max(1),
            false => 1,
        };
        let tiles = u128::from(scratch_tiles) * u128::from(num_heads);
        let workspace = Workspace::new(tiles, &main, slices)?;
        let mut params = BwdParams {
            forward,
            d_out: self.d_out,
            d_q: self.d_q,
            d_k: self.d_k,
            d_v: self.d_v,
            d_bias: self.d_bias.map_or(self.d_q, |(d_bias, _)| d_bias),
            d_lse: self.d_lse,
            row_statistics: self.workspace,
            dq_accum: self.workspace + workspace.row_bytes,
            dq_slice_stride: if slices > 1 {
                workspace.slice_bytes / 4
            } else {
                0
            },
            scratch_tiles,
            tile_rows: main.block_m,
            tile_cols: main.head_dim,
            n_blocks,
            n_stride,
            dq_slices: slices,
            dq_lane_stride: main.dq_strides[0],
            dq_element_stride: main.dq_strides[1],
            batch,
            bias_n_blocks: 0,
            bias_m_blocks: 0,
            bias_heads: 0,
            bias_batch: 0,
            num_heads_k: self.num_heads_k,
        };
        let key_blocks = count_blocks(&[n_stride, self.num_heads_k, batch])?;
        let mut launches = vec![
            (KernelVariant::Backward(kernels.delta), query_tiles),
            (kernels.main.into(), key_blocks),
            (KernelVariant::Backward(kernels.convert_dq), query_tiles),
        ];
        launches.extend(self.bias_launch(kernels, &mut params)?);
        launches.retain(|(_, blocks)| *blocks > 0);
        Ok(BackwardPlan {
            params,
            launches,
            maps: self.maps(kernels.main),
            workspace_bytes: workspace.bytes,
        })
    }

    /// Tiles of the scratch of one head.
    fn scratch_tiles(&self, block_m: u32) -> Result<u32, ProblemError> {
        let batch = u64::from(self.problem.batch);
        let tiles = match self.is_packed {
            true => u64::from(self.total_q / block_m) + batch,
            false => u64::from(self.problem.m_blocks(block_m)) * batch,
        };
        count_blocks(&[u32::try_from(tiles).unwrap_or(u32::MAX)])
    }

    /// The launch of the kernel for the gradient of the bias, if there is one, and its part of the parameters.
    fn bias_launch(
        &self,
        kernels: &BackwardKernels,
        params: &mut BwdParams,
    ) -> Result<Option<(KernelVariant, u32)>, ProblemError> {
        let (Some(variant), Some((_, [batch, heads, rows, keys]))) = (kernels.bias, self.d_bias)
        else {
            return Ok(None);
        };
        params.bias_m_blocks = rows.div_ceil(variant.block_m);
        params.bias_n_blocks = keys.div_ceil(variant.block_n);
        (params.bias_heads, params.bias_batch) = (heads, batch);
        let grid = [params.bias_m_blocks, params.bias_n_blocks, heads, batch];
        let blocks = count_blocks(&grid)?;
        Ok(Some((KernelVariant::Backward(variant), blocks)))
    }

    fn maps(&self, main: MainKernel) -> Option<HopperMaps> {
        match main {
            MainKernel::Ampere(_) => None,
            MainKernel::Hopper(variant) => Some(self.problem.backward_maps(variant, &self.d_out)),
        }
    }

    /// Blocks that share the key tiles of a head.
    fn n_stride(&self, n_blocks: u32) -> u32 {
        let heads = u64::from(self.problem.batch) * u64::from(self.num_heads_k);
        if !self.is_deterministic || heads == 0 {
            return n_blocks;
        }
        let share = u64::from(DETERMINISTIC_BLOCKS).div_ceil(heads);
        u64::from(n_blocks).min(share) as u32
    }
}

/// Tiles of a main kernel, its head_dim class, and how the elements of a fragment of dQ lie in the accumulator.
struct MainTiles {
    block_m: u32,
    block_n: u32,
    head_dim: u32,
    /// From lane to lane, and from one element of a lane to the next.
    dq_strides: [u32; 2],
}

impl MainTiles {
    fn of(kernel: MainKernel) -> MainTiles {
        match kernel {
            MainKernel::Ampere(v) => MainTiles {
                block_m: v.block_m,
                block_n: v.block_n,
                head_dim: v.head_dim,
                dq_strides: [1, 32],
            },
            // A lane adds its four elements at once.
            MainKernel::Hopper(v) => MainTiles {
                block_m: v.block_m,
                block_n: v.block_n,
                head_dim: v.head_dim,
                dq_strides: [4, 1],
            },
        }
    }
}

/// Sizes of the arrays of a workspace.
struct Workspace {
    /// Bytes of the row statistics.
    row_bytes: u64,
    /// Bytes of one slice of dQ.
    slice_bytes: u64,
    bytes: u64,
}

impl Workspace {
    fn new(tiles: u128, main: &MainTiles, slices: u32) -> Result<Workspace, ProblemError> {
        let aligned = |bytes: u128| bytes.next_multiple_of(WORKSPACE_ALIGNMENT.into());
        let rows = tiles * u128::from(main.block_m);
        let row_bytes = aligned(12 * rows);
        let slice_bytes = aligned(4 * rows * u128::from(main.head_dim));
        let value = row_bytes + u128::from(slices) * slice_bytes;
        let limit = isize::MAX as u128;
        if value > limit {
            let what = "size of the workspace in bytes";
            return Err(ProblemError::TooLarge { what, value, limit });
        }
        Ok(Workspace {
            row_bytes: row_bytes as u64,
            slice_bytes: slice_bytes as u64,
            bytes: value as u64,
        })
    }
}

/// Checks the gradient of the bias, if it is asked for.
fn d_bias(
    args: &RawBackward,
    memory: &mut memory::Memory,
) -> Result<Option<(Strided, [u32; 4])>, ProblemError> {
    let Some(d_bias) = &args.d_bias else {
        return Ok(None);
    };
    let Some(bias) = &args.forward.bias else {
        return Err(ProblemError::NoBias);
    };
    let extents = Extents::new(&args.forward)?;
    scores::check_bias("d_bias", d_bias, &args.forward, &extents)?;
    let names = ["batch", "num_heads", "seqlen_q", "seqlen_k"];
    let (shape, want) = (d_bias.tensor.shape, bias.tensor.shape);
    (0..4).try_for_each(|i| same("d_bias", "bias", names[i], shape[i], want[i]))?;
    if d_bias.dtype != bias.dtype {
        return Err(ProblemError::BiasGradientDtype);
    }
    memory.output("d_bias", &d_bias.tensor, scores::bias_bytes(d_bias))?;
    // Extents fit: they are those of the scores, which of_inputs has compared.
    let strided = memory::bias_strided(d_bias.tensor);
    Ok(Some((strided, shape.map(|extent| extent as u32))))
}

#[cfg(test)]
mod tests;
