//! Packed sequences: FlashAttention's grid of padded batches (its rows `varlen_output` and `varlen_causal`) and the
//! lengths at its edges. Each sequence is judged as attention of its own.
//!
//! The grid draws the lengths of a batch between s - 20 and s, between s / 3 and s, or takes s for all; every third batch
//! has sequences without queries, without keys, or without either. Batches are of 4 sequences, 2 where they are long.
//! Options rotate as in `backward.rs`.

use crate::common::{Alibi, Case, DTYPES, OPTIONS, Packed, device, devices, is_full_run, rotated};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::{CuSeqlens, Tensor, bf16};

const LENGTHS: [(usize, usize); 11] = [
    (1, 147),
    (113, 203),
    (128, 217),
    (113, 211),
    (108, 256),
    (256, 512),
    (512, 256),
    (1024, 1024),
    (1023, 1024),
    (1024, 1023),
    (2048, 2048),
];

/// Number `i` of a sequence of numbers below `limit`, the same for the same `seed`.
fn draw(seed: usize, i: usize, limit: usize) -> usize {
    let mixed = (seed as u64 * 31 + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 33) as usize % limit
}

/// Four lengths up to `seqlen`, by FlashAttention's three ways of padding.
fn padded(seqlen: usize, way: usize, seed: usize) -> Vec<usize> {
    let shortest = match way % 3 {
        0 => seqlen.saturating_sub(20).max(1),
        1 => (seqlen / 3).max(1),
        _ => seqlen,
    };
    (0..4)
        .map(|i| shortest + draw(seed, i, seqlen - shortest + 1))
        .collect()
}

fn lengths(seqlen_q: usize, seqlen_k: usize, number: usize) -> Vec<(usize, usize)> {
    let q = padded(seqlen_q, number, number);
    let k = padded(seqlen_k, number / 3, number + 1000);
    let mut lengths: Vec<(usize, usize)> = q.into_iter().zip(k).collect();
    match number % 9 {
        2 => lengths[3].1 = 0,
        5 => lengths[1].0 = 0,
        8 => (lengths[0], lengths[3].0) = ((0, 0), 0),
        _ => {}
    }
    lengths
}

fn grid(head_dim: usize) {
    let devices = devices();
    let mut number = head_dim / 8 + 5;
    for (seqlen_q, seqlen_k) in LENGTHS {
        let longest = seqlen_q.max(seqlen_k);
        // Quadratic cost: two lengths of the long batches, unless everything was asked for.
        let repetitions = match (longest, is_full_run()) {
            (_, true) => OPTIONS,
            (0..=256, _) => 4,
            (257..=512, _) => 2,
            (513..=1024, _) => usize::from(head_dim <= 128),
            _ => 0,
        };
        for _ in 0..repetitions {
            let case = rotated(0, 0, head_dim, number);
            number += 1;
            let lengths = lengths(seqlen_q, seqlen_k, number);
            let is_large = longest > 256 || head_dim > 128;
            let lengths = if is_large && !is_full_run() {
                &lengths[..2]
            } else {
                &lengths
            };
            Packed::new(case, lengths).assert_gradients_exact(&devices);
        }
    }
}

macro_rules! grid_tests {
    ($($head_dim:literal: $name:ident;)*) => { $(
        #[test]
        fn $name() {
            grid($head_dim);
        }
    )* };
}

grid_tests! {
    32: the_grid_of_packed_sequences_is_exact_at_head_dim_32;
    40: the_grid_of_packed_sequences_is_exact_at_head_dim_40;
    64: the_grid_of_packed_sequences_is_exact_at_head_dim_64;
    80: the_grid_of_packed_sequences_is_exact_at_head_dim_80;
    96: the_grid_of_packed_sequences_is_exact_at_head_dim_96;
    128: the_grid_of_packed_sequences_is_exact_at_head_dim_128;
    160: the_grid_of_packed_sequences_is_exact_at_head_dim_160;
    192: the_grid_of_packed_sequences_is_exact_at_head_dim_192;
    224: the_grid_of_packed_sequences_is_exact_at_head_dim_224;
    256: the_grid_of_packed_sequences_is_exact_at_head_dim_256;
}

#[test]
fn packed_sequences_are_exact_forward_with_every_mask() {
    let devices = devices();
    let lengths = [
        (70, 200),
        (1, 1),
        (129, 64),
        (0, 30),
        (40, 0),
        (0, 0),
        (33, 257),
    ];
    for (i, head_dim) in [32, 64, 96, 128, 192, 256].into_iter().enumerate() {
        let case = Case::new(DTYPES[i % 2], 0, 0, head_dim).heads(4, 2);
        Packed::new(case, &lengths).assert_exact(&devices);
        Packed::new(case.causal(true), &lengths).assert_exact(&devices);
        let windowed = case.window(Some(20), Some(30)).top_left();
        Packed::with_gaps(windowed, &lengths, 5).assert_exact(&devices);
    }
}

#[test]
fn sequences_without_rows_leave_the_others_alone() {
    let devices = devices();
    for lengths in [
        vec![(0, 0)],
        vec![(0, 40), (0, 3)],
        vec![(40, 0), (3, 0)],
        vec![(0, 5), (17, 30), (9, 0), (0, 0), (1, 1)],
    ] {
        for head_dim in [24, 64, 128] {
            let case = Case::new(F16, 0, 0, head_dim).heads(4, 2);
            Packed::new(case, &lengths).assert_gradients_exact(&devices);
            Packed::new(case.causal(true).d_lse(), &lengths).assert_gradients_exact(&devices);
        }
    }
    Packed::new(Case::new(Bf16, 0, 0, 64), &[]).assert_gradients_exact(&devices);
}

#[test]
fn rows_of_no_sequence_stay_zero_and_out_of_the_way() {
    let devices = devices();
    let lengths = [(70, 130), (0, 9), (33, 0), (129, 65)];
    for (i, gap) in [1, 3, 64].into_iter().enumerate() {
        let case = Case::new(DTYPES[i % 2], 0, 0, [64, 40, 128][i]).heads(4, 2);
        // The rule compares with 0 and -inf in all rows between, before and after the sequences.
        Packed::with_gaps(case, &lengths, gap).assert_gradients_exact(&devices);
        let case = case
            .causal(true)
            .alibi(Alibi::PerBatch)
            .dropout(0.3)
            .deterministic();
        Packed::with_gaps(case, &lengths, gap).assert_gradients_exact(&devices);
    }
}

#[test]
fn one_key_for_many_large_queries_gives_no_nan() {
    // FlashAttention's bwd_varlen_overflow.
    for device in devices() {
        for head_dim in [16, 32, 64] {
            let case = Case::new(F16, 0, 0, head_dim).heads(5, 5).spread(3.0, 3.0);
            let packed = Packed::new(case.causal(true), &[(76, 1), (34, 1), (146, 1)]);
            let gradients = packed.train::<flash_attention::f16>(&device).gradients;
            let all = [gradients.d_q, gradients.d_k, gradients.d_v].concat();
            assert!(all.iter().all(|x| x.is_finite()), "head_dim {head_dim}");
        }
    }
}

#[test]
fn a_packed_batch_equals_the_batch_bit_for_bit() {
    // Equal lengths: the same numbers in the same order, whether a batch is packed or not.
    for device in devices() {
        for (i, case) in [
            Case::new(Bf16, 70, 90, 64),
            Case::new(Bf16, 128, 128, 128)
                .causal(true)
                .alibi(Alibi::PerBatch),
            Case::new(Bf16, 65, 63, 96).dropout(0.2).d_lse(),
        ]
        .into_iter()
        .enumerate()
        {
            let case = case.batch(3).heads(2, 1).deterministic().seed(i as u64);
            let packed = Packed::new(case, &[(case.seqlen_q, case.seqlen_k); 3]);
            let (got, want) = (packed.train::<bf16>(&device), case.train::<bf16>(&device));
            assert!(got.out == want.out, "{case:?}");
            if case.has_d_lse {
                // The gradient of lse is drawn in another order.
                continue;
            }
            assert!(got.gradients == want.gradients, "{case:?}");
        }
    }
}

#[test]
fn the_counts_of_sequences_are_those_of_the_offsets() {
    let device = device();
    let sequences = CuSeqlens::new(&device, &[2, 5, 5, 12], &[0, 4, 10, 10]).unwrap();
    assert_eq!(sequences.batch(), 3);
    assert_eq!((sequences.max_seqlen_q(), sequences.max_seqlen_k()), (7, 6));
    let sequences = sequences.seqused(Some(&[3, 0, 4]), None).unwrap();
    assert_eq!(sequences.max_seqlen_q(), 4);
    let entries: Vec<_> = sequences.entries().collect();
    assert_eq!(
        entries,
        [[(2, 3), (0, 4)], [(5, 0), (4, 6)], [(5, 4), (10, 0)]]
    );
}

#[test]
fn packed_rows_may_be_strided_views() {
    for device in devices() {
        let lengths = [(40, 70), (65, 33)];
        let packed = Packed::new(Case::new(Bf16, 0, 0, 64).heads(2, 2).causal(true), &lengths);
        let want = packed.run::<bf16>(&device).out.to_vec().unwrap();
        let rows = packed.rows();
        let [q, k, v] = rows.inputs::<bf16>();
        // Heads before rows.
        let head_major = |data: &[bf16], seqlen: usize| {
            let row = |head: usize, i: usize| &data[(i * 2 + head) * 64..][..64];
            let moved: Vec<bf16> = (0..2)
                .flat_map(|head| (0..seqlen).flat_map(move |i| row(head, i).to_vec()))
                .collect();
            let buffer = flash_attention::Buffer::from_slice(&device, &moved).unwrap();
            let strides = [64, 64 * seqlen as i64, 1];
            Tensor::<bf16, 3>::from_buffer(&buffer, 0, [seqlen, 2, 64], strides).unwrap()
        };
        let q = head_major(&q, rows.seqlen_q);
        let [k, v] = [k, v].map(|x| head_major(&x, rows.seqlen_k));
        let sequences = packed.cu_seqlens(&device);
        let attention = packed.case.attention(&device);
        let result = attention.forward_varlen([&q, &k, &v], &sequences).unwrap();
        assert!(result.out.to_vec().unwrap() == want);
    }
}
