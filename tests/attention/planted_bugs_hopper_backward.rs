//! As `planted_bugs_backward`, for the main backward kernels of sm_90a, whose warpgroups meet at barriers in shared memory.

use crate::common::Case;
use crate::planted_bugs::{Caught, kernel, upload};
use abi::{BwdParams, HopperBwdParams, HopperBwdVariant, KernelVariant, RowValues, Strided};
use flash_attention::reference::{self, Gradients};
use flash_attention::rule::{GradientSlices, compare_gradients};
use flash_attention::{Dtype, Kernel, f16};
use ptx_emulator::{
    GlobalMemory, Launch, Module, Options, Sanitizers, TensorFill, TensorInterleave,
    TensorL2Promotion, TensorMap, TensorSwizzle, TensorTile, TensorType, for_each_seed, launch,
};

const VICTIMS: [&str; 4] = [
    "flash_bwd_sm90_f16_hdim64",
    "flash_bwd_sm90_f16_hdim96",
    "flash_bwd_sm90_f16_hdim128",
    "flash_bwd_sm90_f16_hdim192",
];

/// A case, what the forward pass left of it, and its gradients.
struct Problem {
    case: Case,
    /// Blocks that share the key tiles; `None` for one block per tile.
    n_stride: Option<u32>,
    out: Vec<u8>,
    lse: Vec<u8>,
    exact: Gradients,
    low: Gradients,
}

impl Problem {
    fn new(case: Case, n_stride: Option<u32>) -> Problem {
        let [q, k, v] = case.inputs::<f16>();
        let (spec, d_out) = (case.spec(), case.d_out::<f16>());
        let forward = reference::forward(&spec, &q, &k, &v).unwrap();
        let out = forward.out.into_iter().map(f16::from_f64);
        let lse = forward.lse.into_iter().map(|lse| lse as f32);
        Problem {
            case,
            n_stride,
            out: out.flat_map(f16::to_le_bytes).collect(),
            lse: lse.flat_map(f32::to_le_bytes).collect(),
            exact: reference::backward(&spec, &q, &k, &v, &d_out, None).unwrap(),
            low: reference::backward_low_precision(&spec, &q, &k, &v, &d_out, None).unwrap(),
        }
    }

    /// Ragged tiles cut by the diagonal, in a block each; whole tiles before ragged ones, and key tiles that no query
    /// sees, in one block.
    fn all(victim: &HopperBwdVariant) -> [Problem; 3] {
        let case = |seqlen_q, seqlen_k| {
            Case::new(Dtype::F16, seqlen_q, seqlen_k, victim.head_dim as usize).heads(1, 1)
        };
        [
            Problem::new(case(300, 140).causal(true), None),
            Problem::new(case(300, 140), Some(1)),
            Problem::new(case(40, 300).causal(true).top_left(), Some(1)),
        ]
    }

    /// What the kernels are told.
    fn params(&self, memory: &GlobalMemory, victim: &'static HopperBwdVariant) -> BwdParams {
        let case = &self.case;
        let forward = upload(memory, case, KernelVariant::HopperBackward(victim));
        memory.write(forward.out.ptr, &self.out).unwrap();
        memory.write(forward.lse.ptr, &self.lse).unwrap();
        let matrix = |seqlen| Strided {
            ptr: memory.alloc(seqlen * case.head_dim * 2).unwrap(),
            ..forward.q
        };
        let d_out = matrix(case.seqlen_q);
        let bytes: Vec<u8> = case
            .d_out::<f16>()
            .into_iter()
            .flat_map(f16::to_le_bytes)
            .collect();
        memory.write(d_out.ptr, &bytes).unwrap();
        let d_q = matrix(case.seqlen_q);
        let n_blocks = forward.seqlen_k.div_ceil(victim.block_n);
        let rows = (forward.m_blocks * victim.block_m) as usize;
        BwdParams {
            forward,
            d_out,
            d_q,
            d_k: matrix(case.seqlen_k),
            d_v: matrix(case.seqlen_k),
            d_bias: d_q,
            d_lse: RowValues {
                ptr: 0,
                ..forward.lse
            },
            row_statistics: memory.alloc(12 * rows).unwrap(),
            dq_accum: memory.alloc(4 * rows * victim.head_dim as usize).unwrap(),
            dq_slice_stride: 0,
            scratch_tiles: forward.m_blocks,
            tile_rows: victim.block_m,
            tile_cols: victim.head_dim,
            n_blocks,
            n_stride: self.n_stride.unwrap_or(n_blocks),
            dq_slices: 1,
            dq_lane_stride: 4,
            dq_element_stride: 1,
            batch: 1,
            bias_n_blocks: 0,
            bias_m_blocks: 0,
            bias_heads: 0,
            bias_batch: 0,
            num_heads_k: 1,
        }
    }

    fn holds_the_rule(&self, memory: &GlobalMemory, params: &BwdParams) -> bool {
        let read = |matrix: &Strided, seqlen: usize| -> Vec<f16> {
            let mut bytes = vec![0; seqlen * self.case.head_dim * 2];
            memory.read(matrix.ptr, &mut bytes).unwrap();
            let elements = bytes.as_chunks().0.iter();
            elements.map(|&bytes| f16::from_le_bytes(bytes)).collect()
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

/// The map of a contiguous matrix of one head of one batch entry.
fn map(matrix: &Strided, rows: u32, head_dim: u32, tile: abi::TensorBox) -> abi::TensorMap {
    let row_bytes = u64::from(2 * head_dim);
    let map = TensorMap::encode_tiled(&TensorTile {
        data_type: TensorType::F16,
        address: matrix.ptr,
        dims: &[u64::from(head_dim), u64::from(rows), 1, 1],
        strides: &[row_bytes; 3],
        box_dims: &[tile.cols, tile.rows, 1, 1],
        element_strides: &[1; 4],
        interleave: TensorInterleave::None,
        swizzle: match tile.cols {
            64 => TensorSwizzle::B128,
            32 => TensorSwizzle::B64,
            _ => TensorSwizzle::B32,
        },
        l2_promotion: TensorL2Promotion::B128,
        fill: TensorFill::Zero,
    });
    let words = map.unwrap().as_bytes().as_chunks().0.to_owned();
    abi::TensorMap(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
}

/// A main kernel, the problems that it is run on, and the kernels around it.
struct Victim {
    kernel: Kernel,
    variant: &'static HopperBwdVariant,
    problems: [Problem; 3],
    around: [(Kernel, Module); 2],
}

impl Victim {
    fn new(entry: &str) -> Victim {
        let victim = kernel(entry);
        let KernelVariant::HopperBackward(variant) = victim.variant else {
            panic!("{entry} is a backward kernel for Hopper")
        };
        let around = ["flash_bwd_delta_sm80_f16", "flash_bwd_dq_sm80_f16"].map(kernel);
        Victim {
            kernel: victim,
            variant,
            problems: Problem::all(variant),
            around: around.map(|kernel| (kernel, Module::parse(kernel.ptx).unwrap())),
        }
    }

    /// Runs `module` in the place of the main kernel on one problem.
    fn run_on(&self, module: &Module, problem: &Problem, options: &Options) -> Result<(), Caught> {
        let memory = GlobalMemory::new();
        let params = problem.params(&memory, self.variant);
        let forward = &params.forward;
        let (q_box, kv_box) = (self.variant.query_box(), self.variant.key_box());
        let [q, d_out] = [&forward.q, &params.d_out]
            .map(|matrix| map(matrix, forward.seqlen_q, forward.head_dim, q_box));
        let [k, v] = [&forward.k, &forward.v]
            .map(|matrix| map(matrix, forward.seqlen_k, forward.head_dim, kv_box));
        let hopper = HopperBwdParams {
            q,
            k,
            v,
            d_out,
            backward: params,
            reserved: [0; 2],
        };
        let [(delta, delta_module), (dq, dq_module)] = &self.around;
        let query_tiles = forward.m_blocks;
        for (kernel, module, blocks, bytes) in [
            (delta, delta_module, query_tiles, params.as_bytes()),
            (&self.kernel, module, params.n_stride, hopper.as_bytes()),
            (dq, dq_module, query_tiles, params.as_bytes()),
        ] {
            let launch_of = Launch {
                grid: [blocks, 1, 1],
                block: [kernel.spec.threads, 1, 1],
                cluster: None,
                dynamic_shared_bytes: kernel.spec.shared_bytes,
                params: bytes,
            };
            let kernel = module.kernel(kernel.spec.entry).unwrap();
            launch(kernel, &memory, &launch_of, options)
                .map_err(|fault| Caught::ByFault(Box::new(fault)))?;
        }
        match problem.holds_the_rule(&memory, &params) {
            true => Ok(()),
            false => Err(Caught::ByRule),
        }
    }

    /// Runs a text in the place of the main kernel on every problem until one tells.
    fn run(&self, ptx: &str, options: &Options) -> Option<Caught> {
        let module = Module::parse(ptx).unwrap();
        let mut problems = self.problems.iter();
        problems.find_map(|problem| self.run_on(&module, problem, options).err())
    }

    /// The same under a few schedules.
    fn run_by_seeds(&self, ptx: &str, sanitizers: Sanitizers) -> Option<Caught> {
        let run = |schedule| {
            let options = Options {
                schedule,
                sanitizers,
                ..Options::default()
            };
            self.run(ptx, &options).map_or(Ok(()), Err)
        };
        for_each_seed(0..4, run).err().map(|failure| failure.error)
    }
}

/// Every sanitizer, blocks and warps in order.
fn sanitized() -> Options<'static> {
    Options {
        sanitizers: Sanitizers::ALL,
        ..Options::default()
    }
}

#[test]
fn the_unchanged_kernels_are_not_accused() {
    for entry in VICTIMS {
        let victim = Victim::new(entry);
        let caught = victim.run(victim.kernel.ptx, &Options::default());
        assert!(caught.is_none(), "{entry}: {caught:?}");
        let caught = victim.run(victim.kernel.ptx, &sanitized());
        assert!(caught.is_none(), "{entry}: {caught:?}");
        let caught = victim.run_by_seeds(victim.kernel.ptx, Sanitizers::ALL);
        assert!(caught.is_none(), "{entry}: {caught:?}");
    }
}
