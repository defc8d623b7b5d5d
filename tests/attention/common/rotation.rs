//! How the grids combine options: not all with all, but in turns.

use flash_attention::Dtype;

use super::{Alibi, BiasKind, Case, DTYPES};

/// Numbers after which every option, alone or as one of a pair, has come up once.
pub const OPTIONS: usize = 12;

/// Case `number` of a grid. Any 12 numbers in a row have every option, any 24 have it in both types; windows, the shape
/// of the bias and the sharing of heads change from one turn to the next, so that a grid in which `number` runs on sees
/// them in different company.
pub fn rotated(seqlen_q: usize, seqlen_k: usize, head_dim: usize, number: usize) -> Case {
    let turn = number / OPTIONS;
    let dtype: Dtype = DTYPES[(number + turn) % 2];
    let (num_heads, num_heads_k) = [(2, 2), (2, 1), (4, 2)][(number + turn) % 3];
    let case = Case::new(dtype, seqlen_q, seqlen_k, head_dim)
        .heads(num_heads, num_heads_k)
        .seed(number as u64);
    // Bounds of a window as FlashAttention's tests draw them: anything up to the length.
    let longest = seqlen_q.max(seqlen_k).max(100);
    let (left, right) = (number * 37 % longest, number * 61 % longest);
    match number % OPTIONS {
        0 => case,
        1 => case.causal(true),
        2 => case.window(Some(left), Some(right)),
        3 => case.softcap(50.0),
        4 => case.alibi(Alibi::PerBatch),
        5 => case.dropout(0.17),
        6 => case.bias(BiasKind::number(turn)),
        7 => case.deterministic().causal(turn.is_multiple_of(2)),
        8 => case.alibi(Alibi::Shared).dropout(0.17).causal(true),
        9 => case.softcap(15.0).bias(BiasKind::number(turn + 3)).d_lse(),
        10 => case
            .deterministic()
            .dropout(0.5)
            .window(Some(left), None)
            .top_left(),
        _ => case
            .softcap(30.0)
            .alibi(Alibi::Shared)
            .window(Some(left), Some(3))
            .d_lse(),
    }
}
