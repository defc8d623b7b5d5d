//! FlashAttention's own test grid, forward and backward (its rows `output`, `causal`, `bwd_overflow` and
//! `bwd_transpose`), against the f64 reference.
//!
//! Lengths, head dimensions, types, masks and kinds of head sharing are those of the grid, ALiBi, softcap, dropout, bias
//! and deterministic mode beside them; batch and heads are smaller, because the emulator runs on few cores. Options come
//! in turns (`common/rotation.rs`): at each head dimension every option meets both types. Lengths up to 256 take part in
//! 24 cases per head dimension, those up to 512 in 6, those around 1024 in 3; on the device that passes as sm_90a, those
//! without ALiBi, bias and dropout, for which it has no kernels of its own.
//! `FLASH_ATTENTION_FULL=1` runs 24 options at each pair of lengths, and 2048.

use crate::common::{Case, DTYPES, GradientsOnHost, Training, devices, is_full_run, rotated};
use crate::forward::{CAUSAL_LENGTHS, OUTPUT_LENGTHS};
use flash_attention::Dtype::F16;
use flash_attention::rule::Tolerance;
use flash_attention::{Buffer, Device, Gradients, Tensor, bf16};

/// FlashAttention's tolerance for gradients, but for those of the grid `output`.
const TWICE: Tolerance = Tolerance {
    multiplier: 2.0,
    slack: 1e-5,
};

/// How many cases of the grid have these lengths.
fn repetitions(longest: usize) -> usize {
    match longest {
        _ if is_full_run() => 24,
        0..=256 => 6,
        257..=512 => 3,
        513..=1024 => 1,
        _ => 0,
    }
}

fn output_grid(head_dim: usize) {
    let devices = devices();
    let mut number = head_dim / 8;
    for (seqlen_q, seqlen_k) in OUTPUT_LENGTHS {
        for _ in 0..repetitions(seqlen_q.max(seqlen_k)) {
            let case = rotated(seqlen_q, seqlen_k, head_dim, number);
            case.assert_gradients_exact(&devices);
            number += 1;
        }
    }
}

fn causal_grid(head_dim: usize) {
    let devices = devices();
    let swapped = CAUSAL_LENGTHS.map(|(seqlen_q, seqlen_k)| (seqlen_k, seqlen_q));
    let lengths = CAUSAL_LENGTHS.into_iter().chain(swapped);
    for (i, (seqlen_q, seqlen_k)) in lengths.enumerate() {
        let is_selected = i % 2 == head_dim / 32 % 2 && seqlen_q.max(seqlen_k) < 1000;
        if is_selected || is_full_run() {
            let case = Case::new(DTYPES[i / 2 % 2], seqlen_q, seqlen_k, head_dim)
                .heads(3, 3)
                .seed(i as u64);
            let case = match i / 2 % 3 {
                2 => case.window(Some(i * 29), Some(0)),
                _ => case.causal(true),
            };
            case.assert_gradients_within(&devices, TWICE);
        }
    }
}

macro_rules! grid_tests {
    ($($head_dim:literal: $output:ident, $causal:ident;)*) => { $(
        #[test]
        fn $output() {
            output_grid($head_dim);
        }

        #[test]
        fn $causal() {
            causal_grid($head_dim);
        }
    )* };
}

grid_tests! {
    32: output_grid_is_exact_at_head_dim_32, causal_grid_is_exact_at_head_dim_32;
    40: output_grid_is_exact_at_head_dim_40, causal_grid_is_exact_at_head_dim_40;
    64: output_grid_is_exact_at_head_dim_64, causal_grid_is_exact_at_head_dim_64;
    80: output_grid_is_exact_at_head_dim_80, causal_grid_is_exact_at_head_dim_80;
    96: output_grid_is_exact_at_head_dim_96, causal_grid_is_exact_at_head_dim_96;
    128: output_grid_is_exact_at_head_dim_128, causal_grid_is_exact_at_head_dim_128;
    160: output_grid_is_exact_at_head_dim_160, causal_grid_is_exact_at_head_dim_160;
    192: output_grid_is_exact_at_head_dim_192, causal_grid_is_exact_at_head_dim_192;
    224: output_grid_is_exact_at_head_dim_224, causal_grid_is_exact_at_head_dim_224;
    256: output_grid_is_exact_at_head_dim_256, causal_grid_is_exact_at_head_dim_256;
}

#[test]
fn large_scores_do_not_overflow_backward() {
    // FlashAttention's bwd_overflow and its tolerance.
    let devices = devices();
    let tolerance = Tolerance {
        multiplier: 5.0,
        slack: 1e-3,
    };
    for head_dim in [16, 32, 64, 128, 256] {
        for seqlen in [1, 2, 5, 17, 128] {
            for is_causal in [false, true] {
                let case = Case::new(F16, seqlen, seqlen, head_dim)
                    .batch(2)
                    .heads(5, 5);
                let case = case
                    .spread(5.0, 3.0)
                    .spread_of_values(3.0)
                    .causal(is_causal);
                case.assert_gradients_within(&devices, tolerance);
            }
        }
    }
}

/// `data`, row-major of `shape`, as a view of memory in which batch and seqlen have changed places.
fn transposed(device: &Device, shape: [usize; 4], data: &[bf16]) -> Tensor<bf16> {
    let [batch, seqlen, heads, head_dim] = shape;
    let row = heads * head_dim;
    let rows = (0..seqlen).flat_map(|i| (0..batch).map(move |b| (b * seqlen + i) * row));
    let moved: Vec<bf16> = rows.flat_map(|at| data[at..at + row].to_vec()).collect();
    let buffer = Buffer::from_slice(device, &moved).unwrap();
    let strides = [row, batch * row, head_dim, 1].map(|stride| stride as i64);
    Tensor::from_buffer(&buffer, 0, shape, strides).unwrap()
}

#[test]
fn a_transposed_gradient_of_the_output_gives_the_same_bits() {
    // FlashAttention's bwd_transpose.
    for device in devices() {
        for (i, seqlen) in [97, 128, 200, 256].into_iter().enumerate() {
            for head_dim in [64, 128] {
                let case = Case::new(flash_attention::Dtype::Bf16, seqlen, seqlen, head_dim)
                    .batch(3)
                    .causal(i % 2 == 0)
                    .deterministic();
                let d_out = transposed(&device, case.q_shape(), &case.d_out());
                let got: Training<bf16> = case.train_with(&device, &d_out);
                assert!(got == case.train(&device), "{case:?}");
                case.assert_training_rule(&got, TWICE);
            }
        }
    }
}

/// Row-major tensors `[batch, seqlen, heads, head_dim]` side by side: `[batch, seqlen, parts, heads, head_dim]`.
fn pack<const PARTS: usize>(
    device: &Device,
    [batch, seqlen, heads, head_dim]: [usize; 4],
    parts: [&[bf16]; PARTS],
) -> Tensor<bf16, 5> {
    let row = heads * head_dim;
    let rows = (0..batch * seqlen).flat_map(|i| parts.map(|part| part[i * row..][..row].to_vec()));
    let data: Vec<bf16> = rows.flatten().collect();
    Tensor::from_slice(device, [batch, seqlen, PARTS, heads, head_dim], &data).unwrap()
}

/// Differentiates `case` with these tensors and compares with that of contiguous ones, bit by bit.
fn assert_packed_gradients(
    case: Case,
    device: &Device,
    inputs: [&Tensor<bf16>; 3],
    [d_q, d_k, d_v]: [Tensor<bf16>; 3],
) {
    let case = case.deterministic();
    let attention = case.attention(device);
    let [q, k, v] = inputs;
    let forward = attention.forward(q, k, v).unwrap();
    let d_out = Tensor::from_slice(device, case.q_shape(), &case.d_out::<bf16>()).unwrap();
    let mut gradients = Gradients {
        d_q,
        d_k,
        d_v,
        d_bias: None,
        variants: Vec::new(),
    };
    attention
        .backward_into(inputs, &forward, &d_out, None, &mut gradients)
        .unwrap();
    let d = [&gradients.d_q, &gradients.d_k, &gradients.d_v];
    let got = GradientsOnHost::read(d, None);
    let want = case.train::<bf16>(device);
    assert!(got == want.gradients, "{case:?}");
    case.assert_training_rule(&want, TWICE);
}

fn packed_case(i: usize, seqlen_q: usize, seqlen_k: usize) -> Case {
    let head_dim = [32, 40, 64, 96, 128, 256][i % 6];
    let case = Case::new(flash_attention::Dtype::Bf16, seqlen_q, seqlen_k, head_dim);
    let case = case.batch(2).seed(i as u64).causal(i % 2 == 1);
    match i % 4 {
        2 => case.dropout(0.17),
        3 => case.window(Some(40), Some(9)),
        _ => case,
    }
}

#[test]
fn gradients_may_be_views_of_a_packed_d_qkv() {
    for device in devices() {
        for (i, seqlen) in [97, 128, 200, 257, 65, 384].into_iter().enumerate() {
            let case = packed_case(i, seqlen, seqlen).heads(3, 3);
            let [q, k, v] = case.inputs::<bf16>();
            let qkv = pack(&device, case.q_shape(), [&q, &k, &v]);
            let d_qkv = Tensor::<bf16, 5>::zeros(&device, qkv.shape()).unwrap();
            let [q, k, v] = [0, 1, 2].map(|part| qkv.select(2, part).unwrap());
            let d = [0, 1, 2].map(|part| d_qkv.select(2, part).unwrap());
            assert_packed_gradients(case, &device, [&q, &k, &v], d);
        }
    }
}

#[test]
fn gradients_may_be_views_of_a_packed_d_kv() {
    for device in devices() {
        for (i, (seqlen_q, seqlen_k)) in [(97, 128), (200, 113), (64, 257), (1, 70)]
            .into_iter()
            .enumerate()
        {
            let case = packed_case(i + 1, seqlen_q, seqlen_k).heads(4, 2);
            let [q, k, v] = case.inputs::<bf16>();
            let q = Tensor::from_slice(&device, case.q_shape(), &q).unwrap();
            let kv = pack(&device, case.k_shape(), [&k, &v]);
            let d_q = Tensor::zeros(&device, case.q_shape()).unwrap();
            let d_kv = Tensor::<bf16, 5>::zeros(&device, kv.shape()).unwrap();
            let [k, v] = [0, 1].map(|part| kv.select(2, part).unwrap());
            let [d_k, d_v] = [0, 1].map(|part| d_kv.select(2, part).unwrap());
            assert_packed_gradients(case, &device, [&q, &k, &v], [d_q, d_k, d_v]);
        }
    }
}
