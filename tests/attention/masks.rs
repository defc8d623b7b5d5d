//! Windows and the corner that masks are aligned to, forward and backward. Causal alone is in the grids of
//! `forward.rs` and `backward.rs`.

use crate::common::{Case, DTYPES, devices};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::{Attention, Device, Mask, Tensor, Window, bf16};

/// One bound, both, none of the keys on the diagonal, windows that hide whole tiles and whole rows.
const WINDOWS: [(Option<usize>, Option<usize>); 10] = [
    (Some(0), Some(0)),
    (Some(3), None),
    (None, Some(5)),
    (Some(17), Some(40)),
    (Some(64), Some(0)),
    (Some(0), Some(63)),
    (Some(100), Some(7)),
    (None, Some(0)),
    (Some(128), None),
    (Some(100_000), Some(usize::MAX)),
];

const HEAD_DIMS: [usize; 6] = [32, 64, 96, 128, 192, 256];

/// Each window meets every head_dim class over three pairs of lengths; types alternate.
fn windowed_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (left, right)) in WINDOWS.into_iter().enumerate() {
        for (j, (seqlen_q, seqlen_k)) in
            [(113, 203), (200, 130), (129, 129)].into_iter().enumerate()
        {
            let head_dim = HEAD_DIMS[(i + 2 * j) % HEAD_DIMS.len()];
            let case = Case::new(DTYPES[(i + j) % 2], seqlen_q, seqlen_k, head_dim);
            let case = case.window(left, right).heads(2, 1).seed(i as u64);
            cases.push(match i % 3 {
                0 => case,
                1 => case.top_left(),
                _ => case.causal(i % 2 == 0),
            });
        }
    }
    cases
}

#[test]
fn windows_are_exact_forward_on_either_diagonal() {
    let devices = devices();
    for case in windowed_cases() {
        case.assert_exact(&devices);
    }
    for head_dim in HEAD_DIMS {
        let case = Case::new(F16, 300, 410, head_dim).window(Some(130), Some(5));
        case.assert_exact(&devices);
        let case = Case::new(Bf16, 410, 300, head_dim).window(Some(5), Some(130));
        case.top_left().assert_exact(&devices);
    }
}

#[test]
fn windows_are_exact_backward_on_either_diagonal() {
    let devices = devices();
    for case in windowed_cases() {
        case.assert_gradients_exact(&devices);
    }
}

#[test]
fn top_left_causal_is_exact_with_more_and_with_fewer_keys_than_queries() {
    let devices = devices();
    for (i, (seqlen_q, seqlen_k)) in [(1, 70), (70, 1), (130, 257), (257, 130), (64, 64)]
        .into_iter()
        .enumerate()
    {
        let case = Case::new(DTYPES[i % 2], seqlen_q, seqlen_k, HEAD_DIMS[i]);
        case.causal(true)
            .top_left()
            .assert_gradients_exact(&devices);
    }
}

/// Mean number of the keys that each query sees, times 8 (values are 8 times the key's number, scores are equal).
fn mean_keys(device: &Device, attention: Attention, seqlen_q: usize, seqlen_k: usize) -> Vec<f32> {
    let values = (0..seqlen_k).flat_map(|j| [bf16::from_f32(8.0 * j as f32); 8]);
    let values: Vec<bf16> = values.collect();
    let q = Tensor::<bf16>::zeros(device, [1, seqlen_q, 1, 8]).unwrap();
    let k = Tensor::<bf16>::zeros(device, [1, seqlen_k, 1, 8]).unwrap();
    let v = Tensor::from_slice(device, [1, seqlen_k, 1, 8], &values).unwrap();
    let out = attention.forward(&q, &k, &v).unwrap().out.to_vec().unwrap();
    out.chunks(8).map(|row| row[0].to_f32() / 8.0).collect()
}

#[test]
fn both_ends_of_a_window_are_included_and_count_from_the_diagonal() {
    for device in devices() {
        let window = |left, right| Attention::new().window(Some(left), Some(right));
        let means = |attention| mean_keys(&device, attention, 4, 6);
        // The diagonal goes through the last query and the last key: query 0 is at key 2.
        assert_eq!(means(window(1, 1)), [2.0, 3.0, 4.0, 4.5]);
        assert_eq!(means(window(0, 0)), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(means(window(2, 0)), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(means(window(1, 1).causal()), [1.5, 2.5, 3.5, 4.5]);
        // Or through the first query and the first key.
        assert_eq!(means(window(1, 1).top_left()), [0.5, 1.0, 2.0, 3.0]);
        assert_eq!(
            means(Attention::new().causal().top_left()),
            [0.0, 0.5, 1.0, 1.5]
        );
    }
}

#[test]
fn the_mask_of_the_options_says_what_kernels_do() {
    for device in devices() {
        for (seqlen_q, seqlen_k) in [(5, 9), (9, 5)] {
            for number in 0..24 {
                let window = Window {
                    left: [None, Some(0), Some(2)][number % 3],
                    right: [None, Some(1)][number / 3 % 2],
                };
                let mask = Mask {
                    is_causal: number / 6 % 2 == 1,
                    window,
                    is_top_left: number / 12 == 1 && number % 12 > 0,
                };
                let mut attention = Attention::new().window(window.left, window.right);
                if mask.is_causal {
                    attention = attention.causal();
                }
                if mask.is_top_left {
                    attention = attention.top_left();
                }
                let got = mean_keys(&device, attention, seqlen_q, seqlen_k);
                for (i, got) in got.into_iter().enumerate() {
                    let is_visible = |&j: &usize| mask.is_visible(i, j, seqlen_q, seqlen_k);
                    let keys: Vec<usize> = (0..seqlen_k).filter(is_visible).collect();
                    let want = keys.iter().sum::<usize>() as f32 / keys.len().max(1) as f32;
                    assert!(
                        (got - want).abs() < 0.02,
                        "{mask:?} row {i}: {got}, want {want}"
                    );
                }
            }
        }
    }
}
