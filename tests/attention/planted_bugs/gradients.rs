//! A backward pass on memory of its own, whose main kernel may be wrong. The kernels before and after it are right, so that
//! dQ can be judged as well.

use super::forward::{read, upload, upload_matrix};
use super::{Caught, kernel, maps, run_kernel};
use crate::common::Case;
use abi::{BwdParams, Dtype, KernelVariant, RowValues, Strided};
use flash_attention::reference::{self, Gradients};
use flash_attention::rule::{GradientSlices, compare_gradients};
use flash_attention::{AttentionElement, Kernel};
use ptx_emulator::{GlobalMemory, Module, Options};

/// A case, what the forward pass left of it, and its gradients.
pub struct Problem<T> {
    case: Case,
    /// Rows of the matrices behind those of the sequences.
    spare: usize,
    /// Blocks that share the key tiles; `None` for one block per tile.
    n_stride: Option<u32>,
    out: Vec<T>,
    lse: Vec<u8>,
    exact: Gradients,
    low: Gradients,
}

/// What a main kernel does to the scratch of a backward pass.
struct Tiles {
    block_m: u32,
    block_n: u32,
    head_dim: u32,
    /// From one lane, and from one element of a lane, to the next in a fragment of dQ.
    dq_strides: [u32; 2],
}

impl Tiles {
    fn of(variant: KernelVariant) -> Tiles {
        let (block_m, block_n, head_dim, dq_strides) = match variant {
            KernelVariant::Backward(v) => (v.block_m, v.block_n, v.head_dim, [1, 32]),
            KernelVariant::HopperBackward(v) => (v.block_m, v.block_n, v.head_dim, [4, 1]),
            other => panic!("{} is no backward kernel", other.entry()),
        };
        Tiles {
            block_m,
            block_n,
            head_dim,
            dq_strides,
        }
    }
}

impl<T: AttentionElement> Problem<T> {
    pub fn new(case: Case, spare: usize, n_stride: Option<u32>) -> Self {
        let [q, k, v] = case.inputs::<T>();
        let (spec, d_out) = (case.spec(), case.d_out::<T>());
        let forward = reference::forward(&spec, &q, &k, &v).unwrap();
        let lse = forward.lse.into_iter().map(|lse| lse as f32);
        Problem {
            case,
            spare,
            n_stride,
            out: forward.out.into_iter().map(T::from_f64).collect(),
            lse: lse.flat_map(f32::to_le_bytes).collect(),
            exact: reference::backward(&spec, &q, &k, &v, &d_out, None).unwrap(),
            low: reference::backward_low_precision(&spec, &q, &k, &v, &d_out, None).unwrap(),
        }
    }

    /// What the kernels are told.
    fn params(&self, memory: &GlobalMemory, variant: KernelVariant) -> BwdParams {
        let (case, tiles) = (&self.case, Tiles::of(variant));
        let mut forward = upload::<T>(memory, case, self.spare, variant);
        let spare = self.spare * case.head_dim;
        let strided = |ptr| Strided { ptr, ..forward.q };
        let matrix = |rows: u32| {
            let bytes = rows as usize * case.head_dim * 2;
            strided(memory.alloc(bytes).unwrap())
        };
        let d_out = strided(upload_matrix(memory, &case.d_out::<T>(), spare));
        let d_q = matrix(forward.seqlen_q);
        let [d_k, d_v] = [(); 2].map(|()| matrix(forward.seqlen_k));
        forward.out = strided(upload_matrix(memory, &self.out, spare));
        memory.write(forward.lse.ptr, &self.lse).unwrap();
        let n_blocks = forward.seqlen_k.div_ceil(tiles.block_n);
        let rows = (forward.m_blocks * tiles.block_m) as usize;
        BwdParams {
            forward,
            d_out,
            d_q,
            d_k,
            d_v,
            d_bias: d_q,
            d_lse: RowValues {
                ptr: 0,
                ..forward.lse
            },
            row_statistics: memory.alloc(12 * rows).unwrap(),
            dq_accum: memory.alloc(4 * rows * tiles.head_dim as usize).unwrap(),
            dq_slice_stride: 0,
            scratch_tiles: forward.m_blocks,
            tile_rows: tiles.block_m,
            tile_cols: tiles.head_dim,
            n_blocks,
            n_stride: self.n_stride.unwrap_or(n_blocks),
            dq_slices: 1,
            dq_lane_stride: tiles.dq_strides[0],
            dq_element_stride: tiles.dq_strides[1],
            batch: 1,
            bias_n_blocks: 0,
            bias_m_blocks: 0,
            bias_heads: 0,
            bias_batch: 0,
            num_heads_k: 1,
        }
    }

    fn holds_the_rule(&self, memory: &GlobalMemory, params: &BwdParams) -> bool {
        let read = |matrix: &Strided, seqlen| -> Vec<T> {
            read(memory, matrix.ptr, seqlen * self.case.head_dim)
        };
        let got = GradientSlices {
            d_q: &read(&params.d_q, self.case.seqlen_q),
            d_k: &read(&params.d_k, self.case.seqlen_k),
            d_v: &read(&params.d_v, self.case.seqlen_k),
            d_bias: None,
        };
        compare_gradients(&self.case.spec(), &got, &self.exact, &self.low)
            .unwrap()
            .passed()
    }
}

/// A main kernel and the kernels around it.
pub struct Victim {
    pub kernel: Kernel,
    around: [(Kernel, Module); 2],
}

impl Victim {
    /// The main kernel `entry` of the manifest, for matrices of type `T`.
    pub fn new<T: AttentionElement>(entry: &str) -> Victim {
        let around = match T::DTYPE {
            Dtype::F16 => ["flash_bwd_delta_sm80_f16", "flash_bwd_dq_sm80_f16"],
            Dtype::Bf16 => ["flash_bwd_delta_sm80_bf16", "flash_bwd_dq_sm80_bf16"],
        };
        let with_module = |kernel: Kernel| (kernel, Module::parse(kernel.ptx).unwrap());
        Victim {
            kernel: kernel(entry),
            around: around.map(kernel).map(with_module),
        }
    }

    /// Runs `module` in the place of the main kernel. Returns how many instructions its warps have executed.
    pub fn run<T: AttentionElement>(
        &self,
        module: &Module,
        problem: &Problem<T>,
        options: &Options,
    ) -> Result<u64, Caught> {
        let memory = GlobalMemory::new();
        let params = problem.params(&memory, self.kernel.variant);
        let run = |kernel: &Kernel, module, blocks, params: &[u8]| {
            run_kernel((kernel, module), &memory, (blocks, params), options)
        };
        let main_params = match self.kernel.variant {
            KernelVariant::HopperBackward(v) => maps::backward(v, params).as_bytes().to_vec(),
            _ => params.as_bytes().to_vec(),
        };
        let [(delta, delta_module), (dq, dq_module)] = &self.around;
        let query_tiles = params.forward.m_blocks;
        run(delta, delta_module, query_tiles, params.as_bytes())?;
        let instructions = run(&self.kernel, module, params.n_stride, &main_params)?;
        run(dq, dq_module, query_tiles, params.as_bytes())?;
        match problem.holds_the_rule(&memory, &params) {
            true => Ok(instructions),
            false => Err(Caught::ByRule),
        }
    }
}
