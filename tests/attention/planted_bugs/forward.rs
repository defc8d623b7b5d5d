//! A forward pass on memory of its own: its parameters, its launch, its results judged by the rule.

use super::{Caught, maps, run_kernel};
use crate::common::Case;
use abi::{Flash1Params, FwdParams, KernelVariant, RowValues, ScoreParams, Sequences, Strided};
use flash_attention::{AttentionElement, Kernel, rule};
use ptx_emulator::{GlobalMemory, Module, Options};

/// Elements as bytes.
pub fn bytes_of<T: AttentionElement>(data: &[T]) -> Vec<u8> {
    data.iter()
        .flat_map(|x| x.to_bits().to_le_bytes())
        .collect()
}

/// The first `len` elements at `ptr`.
pub fn read<T: AttentionElement>(memory: &GlobalMemory, ptr: u64, len: usize) -> Vec<T> {
    let mut bytes = vec![0; 2 * len];
    memory.read(ptr, &mut bytes).unwrap();
    let words = bytes.as_chunks().0.iter();
    words
        .map(|&word| T::from_bits(u16::from_le_bytes(word)))
        .collect()
}

/// Puts `data` on the device, with as many bytes behind it as `spare` elements have, which are NaN.
pub fn upload_matrix<T: AttentionElement>(memory: &GlobalMemory, data: &[T], spare: usize) -> u64 {
    let mut bytes = bytes_of(data);
    bytes.extend(bytes_of(&vec![T::from_f64(f64::NAN); spare]));
    let ptr = memory.alloc(bytes.len()).unwrap();
    memory.write(ptr, &bytes).unwrap();
    ptr
}

/// Query rows of a tile.
const fn tile_rows(variant: KernelVariant) -> Option<u32> {
    match variant {
        KernelVariant::Forward(v) => Some(v.block_m),
        KernelVariant::Backward(v) => Some(v.block_m),
        // FlashAttention-1 computes a head per block.
        KernelVariant::Baseline(_) => None,
        KernelVariant::HopperForward(v) => Some(v.block_m),
        KernelVariant::HopperBackward(v) => Some(v.block_m),
    }
}

/// Puts the inputs of `case`, one batch entry and one head, on the device, with room for the results. Matrices have `spare`
/// rows more than the sequences in them.
pub fn upload<T: AttentionElement>(
    memory: &GlobalMemory,
    case: &Case,
    spare: usize,
    variant: KernelVariant,
) -> FwdParams {
    let spare_elements = spare * case.head_dim;
    let [q, k, v] = case
        .inputs::<T>()
        .map(|x| upload_matrix(memory, &x, spare_elements));
    let strided = |ptr| Strided {
        ptr,
        batch_stride: 0,
        row_stride: case.head_dim as i64,
        head_stride: 0,
    };
    let bound = |bound: Option<usize>| bound.map_or(u32::MAX, |bound| bound as u32);
    let (rows_q, rows_k) = (case.seqlen_q + spare, case.seqlen_k + spare);
    let seqused = |seqlen: usize| match spare {
        0 => 0,
        _ => {
            let ptr = memory.alloc(4).unwrap();
            memory.write(ptr, &(seqlen as u32).to_le_bytes()).unwrap();
            ptr
        }
    };
    FwdParams {
        q: strided(q),
        k: strided(k),
        v: strided(v),
        out: strided(memory.alloc(rows_q * case.head_dim * 2).unwrap()),
        lse: RowValues {
            ptr: memory.alloc(rows_q * 4).unwrap(),
            batch_stride: 0,
            head_stride: 0,
        },
        sequences: Sequences {
            cu_seqlens_q: 0,
            cu_seqlens_k: 0,
            seqused_q: seqused(case.seqlen_q),
            seqused_k: seqused(case.seqlen_k),
        },
        scores: PLAIN_SCORES,
        softmax_scale: case
            .softmax_scale
            .unwrap_or(1.0 / (case.head_dim as f32).sqrt()),
        seqlen_q: rows_q as u32,
        seqlen_k: rows_k as u32,
        head_dim: case.head_dim as u32,
        num_heads: 1,
        heads_per_group: 1,
        m_blocks: tile_rows(variant).map_or(1, |rows| (rows_q as u32).div_ceil(rows)),
        window_left: bound(case.window.left),
        window_right: if case.is_causal {
            0
        } else {
            bound(case.window.right)
        },
        is_top_left: u32::from(case.is_top_left),
    }
}

const PLAIN_SCORES: ScoreParams = ScoreParams {
    alibi_slopes: 0,
    alibi_batch_stride: 0,
    bias: Strided {
        ptr: 0,
        batch_stride: 0,
        row_stride: 0,
        head_stride: 0,
    },
    dropout_seed: 0,
    dropout_offset: 0,
    dropout_threshold: abi::dropout::RANGE,
    dropout_scale: 1.0,
    softcap: 0.0,
    bias_is_f32: 0,
};

/// The parameter of a forward kernel for `problem`.
fn params(memory: &GlobalMemory, variant: KernelVariant, problem: FwdParams) -> Vec<u8> {
    match variant {
        KernelVariant::Forward(_) => problem.as_bytes().to_vec(),
        KernelVariant::HopperForward(v) => maps::forward(v, problem).as_bytes().to_vec(),
        KernelVariant::Baseline(_) => {
            let floats = |count| memory.alloc(4 * count as usize).unwrap();
            let params = Flash1Params {
                problem,
                out: floats(problem.seqlen_q * problem.head_dim),
                row_sum: floats(problem.seqlen_q),
                row_max: floats(problem.seqlen_q),
            };
            params.as_bytes().to_vec()
        }
        KernelVariant::Backward(_) | KernelVariant::HopperBackward(_) => {
            panic!("{} is no forward kernel", variant.entry())
        }
    }
}

/// Runs a text in the place of a forward kernel, on `blocks` blocks or as many as there are tiles. Returns how many
/// instructions its warps have executed.
pub fn run<T: AttentionElement>(
    (victim, module): (&Kernel, &Module),
    (case, spare): (&Case, usize),
    blocks: Option<u32>,
    options: &Options,
) -> Result<u64, Caught> {
    let memory = GlobalMemory::new();
    let problem = upload::<T>(&memory, case, spare, victim.variant);
    let params = params(&memory, victim.variant, problem);
    let blocks = blocks.unwrap_or(problem.m_blocks);
    let instructions = run_kernel((victim, module), &memory, (blocks, &params), options)?;
    match holds_the_rule::<T>(&memory, case, &problem) {
        true => Ok(instructions),
        false => Err(Caught::ByRule),
    }
}

fn holds_the_rule<T: AttentionElement>(
    memory: &GlobalMemory,
    case: &Case,
    params: &FwdParams,
) -> bool {
    let out: Vec<T> = read(memory, params.out.ptr, case.seqlen_q * case.head_dim);
    let mut lse = vec![0; case.seqlen_q * 4];
    memory.read(params.lse.ptr, &mut lse).unwrap();
    let lse = lse.as_chunks().0.iter();
    let lse: Vec<f32> = lse.map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let [q, k, v] = case.inputs::<T>();
    rule::check(&case.spec(), [&q, &k, &v], &out, &lse)
        .unwrap()
        .passed()
}
