//! FlashAttention's own test grid (its rows `output` and `causal`) against the f64 reference.
//!
//! Lengths, head dimensions, types, masks and kinds of head sharing are those of the grid; batch and heads are
//! smaller, because the emulator and the naive reference run on few cores and the rule does not depend on them.
//! All of it runs on the emulated device as each architecture. `FLASH_ATTENTION_FULL=1` adds the lengths beyond 1024.

use crate::common::{Case, DTYPES, devices, is_full_run};
use flash_attention::{Attention, ProblemError};

/// `(num_heads, num_heads_k)`: multi-head, multi-query, grouped-query.
const HEADS: [(usize, usize); 3] = [(2, 2), (2, 1), (4, 2)];

pub const OUTPUT_LENGTHS: [(usize, usize); 10] = [
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

pub const CAUSAL_LENGTHS: [(usize, usize); 10] = [
    (1, 239),
    (3, 799),
    (127, 512),
    (127, 513),
    (113, 203),
    (128, 217),
    (113, 211),
    (108, 256),
    (256, 512),
    (1023, 1024),
];

fn is_selected(seqlen_q: usize, seqlen_k: usize) -> bool {
    is_full_run() || seqlen_q.max(seqlen_k) <= 1024
}

fn output_grid(head_dim: usize) {
    let devices = devices();
    for (seqlen_q, seqlen_k) in OUTPUT_LENGTHS {
        for combination in 0..12 {
            let (num_heads, num_heads_k) = HEADS[combination / 4];
            let case = Case::new(DTYPES[combination % 2], seqlen_q, seqlen_k, head_dim)
                .heads(num_heads, num_heads_k)
                .causal(combination / 2 % 2 == 1);
            if is_selected(seqlen_q, seqlen_k) {
                case.assert_exact(&devices);
            }
        }
    }
}

fn causal_grid(head_dim: usize) {
    let devices = devices();
    let swapped = CAUSAL_LENGTHS.map(|(seqlen_q, seqlen_k)| (seqlen_k, seqlen_q));
    for (seqlen_q, seqlen_k) in CAUSAL_LENGTHS.into_iter().chain(swapped) {
        for dtype in DTYPES {
            let case = Case::new(dtype, seqlen_q, seqlen_k, head_dim)
                .heads(3, 3)
                .causal(true)
                .seed(1);
            if is_selected(seqlen_q, seqlen_k) {
                case.assert_exact(&devices);
            }
        }
    }
}

macro_rules! grid_tests {
    ($($head_dim:literal: $output:ident, $causal:ident;)*) => {
        $(
            #[test]
            fn $output() {
                output_grid($head_dim);
            }

            #[test]
            fn $causal() {
                causal_grid($head_dim);
            }
        )*
    };
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
fn head_dims_of_the_grid_that_are_no_multiple_of_8_are_refused_with_the_way_out() {
    for head_dim in [59, 111] {
        let shape = [1, 4, 1, head_dim];
        let error = Attention::new().check(shape, shape, shape).unwrap_err();
        assert_eq!(error, ProblemError::HeadDimNotMultipleOf8(head_dim));
        assert!(error.to_string().contains("append zeros"), "{error}");
    }
}
