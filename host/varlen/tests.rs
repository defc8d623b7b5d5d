use super::*;

fn reason(result: Result<CuSeqlens, Error>) -> String {
    match result {
        Err(error @ Error::Problem(ProblemError::Sequences { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_that_make_no_sense_are_refused_with_the_entry_and_the_rule() {
    let device = Device::emulated();
    let new = |q: &[i32], k: &[i32]| CuSeqlens::new(&device, q, k);
    for (result, part) in [
        (new(&[], &[0]), "cu_seqlens_q is not valid: it is empty"),
        (
            new(&[0], &[-1]),
            "cu_seqlens_k is not valid: it begins at -1",
        ),
        (
            new(&[0, 5, 4], &[0, 1, 2]),
            "entry 1 would begin at row 5 and end at 4",
        ),
        (
            new(&[0, 5], &[0, 1, 2]),
            "it has 3 offsets, cu_seqlens_q has 2",
        ),
        (
            new(&[0, 5], &[0, 1]).unwrap().seqused(Some(&[6]), None),
            "entry 0 has 5 rows, 6",
        ),
        (
            new(&[0, 5], &[0, 1]).unwrap().seqused(None, Some(&[-1])),
            "entry 0 has 1 rows, -1",
        ),
        (
            new(&[0, 5], &[0, 1]).unwrap().seqused(Some(&[1, 1]), None),
            "2 numbers for 1",
        ),
    ] {
        let reason = reason(result);
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn lengths_are_those_in_use() {
    let device = Device::emulated();
    let sequences = CuSeqlens::new(&device, &[0, 3, 3, 10], &[1, 5, 9, 9]).unwrap();
    assert_eq!((sequences.max_seqlen_q(), sequences.max_seqlen_k()), (7, 4));
    let sequences = sequences
        .seqused(Some(&[3, 0, 5]), Some(&[2, 0, 0]))
        .unwrap();
    assert_eq!((sequences.max_seqlen_q(), sequences.max_seqlen_k()), (5, 2));
    let entries: Vec<_> = sequences.entries().collect();
    assert_eq!(
        entries,
        [[(0, 3), (1, 2)], [(3, 0), (5, 0)], [(3, 5), (9, 0)]]
    );
}

#[test]
fn tensors_shorter_than_their_offsets_are_refused() {
    let device = Device::emulated();
    let sequences = CuSeqlens::new(&device, &[0, 8], &[0, 9]).unwrap();
    let x = Tensor::<half::f16, 3>::zeros(&device, [8, 1, 16]).unwrap();
    let error = Attention::new()
        .forward_varlen([&x; 3], &sequences)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cu_seqlens_k") && text.contains("ends at row 9, the tensor has 8"),
        "{text}"
    );
}
