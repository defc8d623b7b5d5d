//! Standard attention and FlashAttention-1 hold the same rule as FlashAttention-2, at the edges of their tiles too:
//! 128 x 64 for the products of standard attention, 16 x 256 (head_dim 64) and 16 x 128 (128) for FlashAttention-1.

use crate::common::{Case, DTYPES, device};
use flash_attention::baseline::{self, Algorithm, BaselineError, BaselineForward};
use flash_attention::{
    Attention, AttentionElement, Buffer, Device, Dtype, EmulatorOptions, Error, MmaNumerics,
    ProblemError, Schedule, Tensor, bf16, f16,
};

const ANCESTORS: [Algorithm; 2] = [Algorithm::Standard, Algorithm::Flash1];
const LENGTHS: [usize; 9] = [1, 3, 63, 64, 65, 113, 129, 200, 257];

fn run<T: AttentionElement>(
    algorithm: Algorithm,
    case: &Case,
    device: &Device,
) -> BaselineForward<T> {
    let [q, k, v] = case.inputs::<T>();
    let q = Tensor::from_slice(device, case.q_shape(), &q).unwrap();
    let k = Tensor::from_slice(device, case.k_shape(), &k).unwrap();
    let v = Tensor::from_slice(device, case.k_shape(), &v).unwrap();
    baseline::forward(algorithm, &case.attention(device), &q, &k, &v)
        .unwrap_or_else(|error| panic!("{} {case:?}: {error}", algorithm.name()))
}

fn assert_exact(case: Case, device: &Device) {
    for algorithm in ANCESTORS {
        match case.dtype {
            Dtype::F16 => assert_exact_in::<f16>(algorithm, &case, device),
            Dtype::Bf16 => assert_exact_in::<bf16>(algorithm, &case, device),
        }
    }
}

fn assert_exact_in<T: AttentionElement>(algorithm: Algorithm, case: &Case, device: &Device) {
    let result = run::<T>(algorithm, case, device);
    let (out, lse) = (result.out.to_vec().unwrap(), result.lse.to_vec().unwrap());
    case.assert_rule(algorithm.name(), &out, &lse);
}

#[test]
fn both_ancestors_are_exact_at_the_edges_of_their_tiles() {
    let device = device();
    for (i, length) in LENGTHS.into_iter().enumerate() {
        for (j, other) in LENGTHS.into_iter().enumerate() {
            // Each pair of lengths meets one type, head_dim and mask; each length meets all of them on either side.
            let combination = (i + j) % 8;
            let dtype = DTYPES[combination % 2];
            let case = Case::new(dtype, length, other, [64, 128][combination / 2 % 2])
                .causal(combination / 4 == 1)
                .heads(3, 3);
            assert_exact(case, &device);
        }
    }
}

#[test]
fn many_key_tiles_are_exact_with_every_type_head_dim_and_mask() {
    let device = device();
    for dtype in DTYPES {
        for head_dim in [64, 128] {
            let case = Case::new(dtype, 70, 1050, head_dim).heads(2, 1);
            assert_exact(case, &device);
            assert_exact(case.causal(true), &device);
            assert_exact(Case::new(dtype, 530, 520, head_dim).causal(true), &device);
        }
    }
}

#[test]
fn query_heads_share_key_heads() {
    let device = device();
    for (num_heads, num_heads_k) in [(4, 1), (4, 2), (6, 2)] {
        let case = Case::new(Dtype::F16, 37, 90, 64)
            .heads(num_heads, num_heads_k)
            .batch(3);
        assert_exact(case, &device);
        assert_exact(
            Case {
                dtype: Dtype::Bf16,
                head_dim: 128,
                ..case
            },
            &device,
        );
    }
}

#[test]
fn any_sign_of_the_scale_and_large_scores_are_exact() {
    let device = device();
    for scale in [-0.2, 0.0, 1.0] {
        assert_exact(Case::new(Dtype::F16, 65, 300, 64).scale(scale), &device);
        let bf16 = Case::new(Dtype::Bf16, 65, 300, 128).causal(true);
        assert_exact(bf16.scale(scale), &device);
    }
    assert_exact(
        Case::new(Dtype::F16, 65, 300, 64).spread(30.0, 30.0),
        &device,
    );
}

#[test]
fn rows_without_keys_give_zero_and_minus_infinity() {
    let device = device();
    for (seqlen_q, seqlen_k) in [(5, 2), (130, 1), (300, 129), (257, 0)] {
        let case = Case::new(Dtype::F16, seqlen_q, seqlen_k, 64).causal(true);
        assert_exact(case, &device);
        assert_exact(case.causal(false), &device);
        for algorithm in ANCESTORS {
            let result = run::<f16>(algorithm, &case, &device);
            let (out, lse) = (result.out.to_vec().unwrap(), result.lse.to_vec().unwrap());
            let hidden = seqlen_q - seqlen_k;
            let row = case.num_heads * case.head_dim;
            assert!(out[..hidden * row].iter().all(|&x| x == f16::ZERO));
            for head in lse.chunks(seqlen_q) {
                assert!(head[..hidden].iter().all(|&x| x == f32::NEG_INFINITY));
                assert!(head[hidden..].iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn an_empty_output_needs_no_kernel() {
    let device = device();
    for shape in [[0, 5, 2, 64], [2, 0, 2, 64], [2, 5, 0, 64]] {
        let q = Tensor::<f16>::zeros(&device, shape).unwrap();
        for algorithm in Algorithm::ALL {
            let result = baseline::forward(algorithm, &Attention::new(), &q, &q, &q).unwrap();
            assert_eq!((result.out.shape(), result.workspace_bytes), (shape, 0));
            assert!(result.entries.is_empty() && result.lse.to_vec().unwrap().is_empty());
        }
    }
}

#[test]
fn no_schedule_changes_a_bit_and_hardware_rounding_is_exact_too() {
    for head_dim in [64, 128] {
        let case = Case::new(Dtype::F16, 150, 300, head_dim).causal(true);
        let bits = |algorithm, options| {
            let result = run::<f16>(algorithm, &case, &Device::emulated_with(options));
            (result.out.to_vec().unwrap(), result.lse.to_vec().unwrap())
        };
        for algorithm in ANCESTORS {
            let in_order = bits(algorithm, EmulatorOptions::default());
            for seed in 1..=4 {
                let options = EmulatorOptions {
                    schedule: Schedule::Seeded(seed),
                    ..EmulatorOptions::default()
                };
                assert!(
                    bits(algorithm, options) == in_order,
                    "{algorithm:?} {case:?}, schedule seed {seed}"
                );
            }
        }
        let hardware = Device::emulated_with(EmulatorOptions {
            mma: MmaNumerics::Hardware,
            ..EmulatorOptions::default()
        });
        assert_exact(case, &hardware);
    }
}

#[test]
fn workspaces_hold_what_the_algorithms_keep_in_memory() {
    let case = Case::new(Dtype::F16, 40, 33, 64).batch(2).heads(3, 3);
    let bytes = |algorithm| run::<f16>(algorithm, &case, &device()).workspace_bytes;
    // S in f32 and P in f16, rows of 33 scores rounded up to 40.
    assert_eq!(bytes(Algorithm::Standard), 2 * 3 * 40 * 40 * (4 + 2));
    // O in f32, l and m.
    assert_eq!(bytes(Algorithm::Flash1), 2 * 3 * 40 * (64 + 2) * 4);
    assert_eq!(bytes(Algorithm::Flash2), 0);
}

#[test]
fn each_algorithm_runs_its_own_kernels() {
    let case = Case::new(Dtype::Bf16, 40, 33, 128).causal(true);
    let entries = |algorithm| run::<bf16>(algorithm, &case, &device()).entries;
    assert_eq!(
        entries(Algorithm::Standard),
        [
            "standard_scores_sm80_bf16_hdim128",
            "standard_softmax_sm80_bf16",
            "standard_output_sm80_bf16_hdim128"
        ]
    );
    assert_eq!(entries(Algorithm::Flash1), ["flash1_sm80_bf16_hdim128"]);
    assert_eq!(entries(Algorithm::Flash2), ["flash_fwd_sm80_bf16_hdim128"]);
}

#[test]
fn what_only_flash_attention_2_takes_is_refused_with_the_rule() {
    let device = device();
    let refused = |q: &Tensor<f16>| {
        let error = ANCESTORS.map(|algorithm| {
            let result = baseline::forward(algorithm, &Attention::new(), q, q, q);
            let Err(Error::Baseline(error)) = result else {
                panic!("{algorithm:?}: {result:?}");
            };
            error
        });
        assert_eq!(error[0], error[1]);
        assert!(baseline::forward(Algorithm::Flash2, &Attention::new(), q, q, q).is_ok());
        error[0].clone()
    };
    for head_dim in [32, 72, 96, 256] {
        let q = Tensor::<f16>::zeros(&device, [1, 5, 2, head_dim]).unwrap();
        let supported = vec![64, 128];
        assert_eq!(
            refused(&q),
            BaselineError::HeadDim {
                head_dim,
                supported
            }
        );
    }
    let buffer = Buffer::from_slice(&device, &[f16::ONE; 5 * 3 * 64]).unwrap();
    let (shape, want) = ([1, 5, 2, 64], [640, 128, 64, 1]);
    let got = [960, 192, 64, 1];
    let with_gaps = Tensor::from_buffer(&buffer, 0, shape, got).unwrap();
    let tensor = "q";
    assert_eq!(
        refused(&with_gaps),
        BaselineError::NotContiguous { tensor, got, want }
    );
    let unaligned = Tensor::from_buffer(&buffer, 3, shape, want).unwrap();
    let ptr = buffer.device_ptr() + 6;
    assert_eq!(
        refused(&unaligned),
        BaselineError::Alignment { tensor, ptr }
    );
}

#[test]
fn rules_of_attention_hold_for_the_ancestors() {
    let device = device();
    let tensor = |shape| Tensor::<f16>::zeros(&device, shape).unwrap();
    let (q, k) = (tensor([1, 5, 4, 64]), tensor([1, 5, 3, 64]));
    let elsewhere = Tensor::<f16>::zeros(&Device::emulated(), [1, 5, 4, 64]).unwrap();
    for algorithm in ANCESTORS {
        let error = |k, v| {
            let result = baseline::forward(algorithm, &Attention::new(), &q, k, v);
            match result.unwrap_err() {
                Error::Problem(error) => error,
                other => panic!("{other}"),
            }
        };
        assert!(matches!(error(&k, &k), ProblemError::HeadGroups { .. }));
        let tensor = "v";
        assert_eq!(error(&q, &elsewhere), ProblemError::Device { tensor });
    }
}
