//! Packed sequences that break a rule are refused before anything is launched, by an error that names the rule, the
//! value and the way out.

use crate::arguments_training::assert_starts;
use flash_attention::{Attention, CuSeqlens, Device, Error, Tensor, f16};

#[test]
fn offsets_that_make_no_sense_are_refused() {
    let device = Device::emulated();
    let refused = |q: &[i32], k: &[i32]| CuSeqlens::new(&device, q, k).unwrap_err().to_string();
    assert_starts(
        &refused(&[], &[0]),
        "cu_seqlens_q is not valid: it is empty",
    );
    assert_starts(
        &refused(&[-1, 3], &[0, 3]),
        "cu_seqlens_q is not valid: it begins at -1",
    );
    assert_starts(
        &refused(&[0, 3], &[0, 5, 4]),
        "cu_seqlens_k is not valid: entry 1 would begin at row 5 and end at 4",
    );
    assert_starts(
        &refused(&[0, 3, 4], &[0, 5]),
        "cu_seqlens_k is not valid: it has 2 offsets, cu_seqlens_q has 3: pass batch + 1 of each",
    );
    let sequences = || CuSeqlens::new(&device, &[0, 3, 4], &[0, 5, 9]).unwrap();
    let used =
        |q: Option<&[i32]>, k: Option<&[i32]>| sequences().seqused(q, k).unwrap_err().to_string();
    assert_starts(
        &used(Some(&[3]), None),
        "seqused_q is not valid: it has 1 numbers for 2 entries",
    );
    assert_starts(
        &used(None, Some(&[5, 5])),
        "seqused_k is not valid: entry 1 has 4 rows, 5 cannot be used",
    );
    assert_starts(
        &used(Some(&[-1, 1]), None),
        "seqused_q is not valid: entry 0 has 3 rows, -1 cannot",
    );
}

#[test]
fn packed_tensors_that_do_not_fit_the_offsets_are_refused() {
    let device = Device::emulated();
    let rows = |len, heads| Tensor::<f16, 3>::zeros(&device, [len, heads, 8]).unwrap();
    let sequences = CuSeqlens::new(&device, &[0, 3, 4], &[0, 5, 9]).unwrap();
    let attention = Attention::new();
    let refused = |attention: &Attention, q: &Tensor<f16, 3>, k: &Tensor<f16, 3>| {
        let error = attention.forward_varlen([q, k, k], &sequences).unwrap_err();
        assert!(matches!(error, Error::Problem(_)), "{error}");
        error.to_string()
    };
    assert_starts(
        &refused(&attention, &rows(3, 2), &rows(9, 2)),
        "cu_seqlens_q is not valid: it ends at row 4, the tensor has 3",
    );
    assert_starts(
        &refused(&attention, &rows(4, 2), &rows(8, 2)),
        "cu_seqlens_k is not valid: it ends at row 9, the tensor has 8",
    );
    assert_starts(
        &refused(&attention, &rows(4, 3), &rows(9, 2)),
        "num_heads 3 must be a multiple",
    );
    // A bias has the longest lengths, slopes the batch entries.
    let bias = attention
        .clone()
        .bias(&Tensor::<f16>::zeros(&device, [2, 1, 4, 5]).unwrap());
    assert_starts(
        &refused(&bias, &rows(4, 2), &rows(9, 2)),
        "bias and q must have the same seqlen: bias has 4, q has 3",
    );
    let slopes = Tensor::from_slice(&device, [1, 2], &[0.5f32; 2]).unwrap();
    assert_starts(
        &refused(
            &attention.alibi_per_batch(&slopes),
            &rows(4, 2),
            &rows(9, 2),
        ),
        "alibi_slopes and q must have the same batch: alibi_slopes has 1, q has 2",
    );
    let elsewhere = CuSeqlens::new(&Device::emulated(), &[0, 4], &[0, 9]).unwrap();
    let (q, k) = (rows(4, 2), rows(9, 2));
    let error = Attention::new()
        .forward_varlen([&q, &k, &k], &elsewhere)
        .unwrap_err();
    assert_starts(&error.to_string(), "cu_seqlens is on another device than q");
}
