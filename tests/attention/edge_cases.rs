//! Lengths, head dimensions and numbers at the edges of what kernels are built for. One line is one case.

use crate::common::{Case, device, devices, is_full_run, sanitized};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::{Attention, Device, EmulatorOptions, MmaNumerics, Tensor, bf16, f16};

#[test]
fn lengths_from_0_to_3_are_exact_with_and_without_mask() {
    let devices = devices();
    for (seqlen_q, seqlen_k) in (0..4).flat_map(|q| (0..4).map(move |k| (q, k))) {
        // Many heads: the rule compares maxima, which need a few samples to mean something.
        let case = Case::new(F16, seqlen_q, seqlen_k, 64).heads(12, 4).batch(2);
        case.assert_exact(&devices);
        case.causal(true).assert_exact(&devices);
    }
}

#[test]
fn lengths_around_tile_multiples_are_exact() {
    let devices = devices();
    for length in [
        15, 16, 17, 31, 33, 63, 64, 65, 97, 127, 128, 129, 191, 193, 255, 256, 257,
    ] {
        Case::new(Bf16, length, 129, 64).assert_exact(&devices);
        Case::new(F16, 129, length, 64).assert_exact(&devices);
        Case::new(Bf16, length, length, 32)
            .causal(true)
            .assert_exact(&devices);
        Case::new(F16, length, length, 256)
            .heads(1, 1)
            .causal(true)
            .assert_exact(&devices);
    }
    Case::new(F16, 513, 511, 128)
        .heads(1, 1)
        .causal(true)
        .assert_exact(&devices);
    Case::new(Bf16, 1025, 513, 64)
        .heads(1, 1)
        .assert_exact(&devices);
}

#[test]
fn every_head_dim_that_is_a_multiple_of_8_is_exact() {
    let devices = devices();
    for head_dim in (8..=256).step_by(8) {
        Case::new(F16, 70, 131, head_dim).assert_exact(&devices);
        Case::new(Bf16, 131, 133, head_dim)
            .heads(2, 1)
            .causal(true)
            .assert_exact(&devices);
    }
}

#[test]
fn one_query_decodes_against_many_keys() {
    let devices = devices();
    Case::new(F16, 1, 1000, 128)
        .heads(8, 2)
        .batch(2)
        .assert_exact(&devices);
    Case::new(Bf16, 1, 777, 64)
        .heads(8, 1)
        .causal(true)
        .assert_exact(&devices);
}

#[test]
fn large_logits_do_not_overflow() {
    let devices = devices();
    for head_dim in [16, 32, 64, 128] {
        Case::new(F16, 128, 128, head_dim)
            .spread(5.0, 3.0)
            .assert_exact(&devices);
        Case::new(Bf16, 100, 200, head_dim)
            .spread(5.0, 3.0)
            .causal(true)
            .assert_exact(&devices);
    }
    Case::new(F16, 65, 130, 64)
        .spread(30.0, 30.0)
        .assert_exact(&devices);
}

#[test]
fn rows_without_keys_give_zero_and_minus_infinity() {
    for device in devices() {
        for (seqlen_q, seqlen_k) in [(5, 2), (130, 1), (300, 129), (257, 0)] {
            let case = Case::new(F16, seqlen_q, seqlen_k, 64).causal(true);
            case.assert_exact(&device);
            let (out, lse, entry) = case.run::<f16>(&device);
            let hidden = seqlen_q - seqlen_k;
            let row = case.num_heads * case.head_dim;
            assert!(
                out[..hidden * row].iter().all(|&x| x == f16::ZERO),
                "{entry} {case:?}"
            );
            for head in lse.chunks(seqlen_q) {
                assert!(
                    head[..hidden].iter().all(|&x| x == f32::NEG_INFINITY),
                    "{entry} {case:?}"
                );
                assert!(
                    head[hidden..].iter().all(|x| x.is_finite()),
                    "{entry} {case:?}"
                );
            }
        }
    }
}

#[test]
fn causal_mask_is_bottom_right_aligned() {
    // Values are the key's number and scores are equal, so each output is the mean number of the visible keys.
    for device in devices() {
        let (seqlen_q, seqlen_k) = (3, 5);
        let values: Vec<bf16> = (0..seqlen_k)
            .flat_map(|j| [bf16::from_f32(j as f32); 8])
            .collect();
        let zeros = Tensor::<bf16>::zeros(&device, [1, seqlen_q, 1, 8]).unwrap();
        let k = Tensor::<bf16>::zeros(&device, [1, seqlen_k, 1, 8]).unwrap();
        let v = Tensor::from_slice(&device, [1, seqlen_k, 1, 8], &values).unwrap();
        let out = Attention::new()
            .causal()
            .forward(&zeros, &k, &v)
            .unwrap()
            .out
            .to_vec()
            .unwrap();
        let means: Vec<f32> = out.chunks(8).map(|row| row[7].to_f32()).collect();
        assert_eq!(means, [1.0, 1.5, 2.0]);
    }
}

#[test]
fn an_empty_output_needs_no_kernel() {
    for device in devices() {
        for shape in [[0, 5, 2, 64], [2, 0, 2, 64], [2, 5, 0, 64]] {
            let q = Tensor::<f16>::zeros(&device, shape).unwrap();
            let result = Attention::new().forward(&q, &q, &q).unwrap();
            assert_eq!((result.variant, result.out.shape()), (None, shape));
            assert!(result.lse.to_vec().unwrap().is_empty());
        }
    }
}

#[test]
fn more_than_65535_blocks_compute_every_head() {
    // With one key the output is its value, whatever the scores: 66,000 different values find every lost block.
    // Kernels for Hopper have few blocks, which share tiles that other tests count.
    let device = device();
    let mut shapes = vec![[300, 1, 220, 8]];
    if is_full_run() {
        shapes.extend([
            [66_000, 1, 1, 8],
            [1, 1, 66_000, 8],
            [1, 128 * 65_600, 1, 8],
        ]);
    }
    for [batch, seqlen_q, heads, head_dim] in shapes {
        let case = Case::new(F16, seqlen_q, 1, head_dim)
            .batch(batch)
            .heads(heads, heads);
        let (out, lse, _) = case.run::<f16>(&device);
        let [_, _, v] = case.inputs::<f16>();
        for (rows, v) in out
            .chunks(seqlen_q * heads * head_dim)
            .zip(v.chunks(heads * head_dim))
        {
            assert!(
                rows.chunks(heads * head_dim).all(|row| row == v),
                "{case:?}"
            );
        }
        assert!(lse.iter().all(|x| x.is_finite()), "{case:?}");
    }
}

#[test]
fn hardware_rounding_of_mma_is_exact_too() {
    let device = Device::emulated_with(EmulatorOptions {
        mma: MmaNumerics::Hardware,
        ..sanitized()
    });
    for head_dim in [32, 64, 128] {
        Case::new(F16, 128, 300, head_dim).assert_exact(&device);
        Case::new(Bf16, 200, 190, head_dim)
            .causal(true)
            .assert_exact(&device);
    }
}
