//! Activations of a real model against answers that were computed in f64 by other software (examples/data/README.md).

use std::ops::Range;

use crate::common::devices;
use approx::assert_abs_diff_eq;
use flash_attention::reference::{self, Mask, Reference, Spec};
use flash_attention::{Attention, Buffer, Forward, Tensor, f16, rule};
use safetensors::SafeTensors;

const PARAGRAPH: &[u8] = include_bytes!("../../examples/data/minilm_layer3_paragraph.safetensors");
const SENTENCES: &[u8] =
    include_bytes!("../../examples/data/minilm_layer5_sentences_varlen.safetensors");

fn bytes<const N: usize>(file: &[u8], name: &str) -> Vec<[u8; N]> {
    let file = SafeTensors::deserialize(file).unwrap();
    file.tensor(name)
        .unwrap()
        .data()
        .as_chunks::<N>()
        .0
        .to_vec()
}

fn halves(file: &[u8], name: &str) -> Vec<f16> {
    bytes(file, name)
        .into_iter()
        .map(f16::from_le_bytes)
        .collect()
}

fn floats(file: &[u8], name: &str) -> Vec<f64> {
    bytes(file, name)
        .into_iter()
        .map(|x| f64::from(f32::from_le_bytes(x)))
        .collect()
}

/// The stored log-sum-exp, head by head. The bytes in the files run over heads fastest, `[seqlen, 12]`, although the
/// headers say `[12, seqlen]`: they were written from a transposed array.
fn lse_by_head(file: &[u8], name: &str, rows: Range<usize>) -> Vec<f64> {
    let stored = floats(file, name);
    (0..12)
        .flat_map(|head| rows.clone().map(move |row| row * 12 + head))
        .map(|at| stored[at])
        .collect()
}

fn spec(seqlen: usize, is_causal: bool) -> Spec {
    Spec {
        mask: Mask {
            is_causal,
            ..Mask::default()
        },
        ..Spec::new([1, seqlen, 12, 32], [1, seqlen, 12, 32])
    }
}

fn attention(is_causal: bool) -> Attention {
    if is_causal {
        Attention::new().causal()
    } else {
        Attention::new()
    }
}

fn assert_rule(spec: &Spec, [q, k, v]: [&[f16]; 3], result: &Forward<f16>, stored: &Reference) {
    let low = reference::forward_low_precision(spec, q, k, v).unwrap();
    let (out, lse) = (result.out.to_vec().unwrap(), result.lse.to_vec().unwrap());
    let report = rule::compare(spec, &out, &lse, stored, &low).unwrap();
    assert!(report.passed(), "{:?} {spec:?}: {report}", result.variant);
}

fn stored_paragraph(is_causal: bool) -> Reference {
    let (out, lse) = if is_causal {
        ("out_causal", "lse_causal")
    } else {
        ("out", "lse")
    };
    Reference {
        out: floats(PARAGRAPH, out),
        lse: lse_by_head(PARAGRAPH, lse, 0..165),
    }
}

#[test]
fn the_reference_agrees_with_the_stored_answers() {
    let [q, k, v] = ["q", "k", "v"].map(|name| halves(PARAGRAPH, name));
    for is_causal in [false, true] {
        let stored = stored_paragraph(is_causal);
        let computed = reference::forward(&spec(165, is_causal), &q, &k, &v).unwrap();
        assert_abs_diff_eq!(
            computed.out.as_slice(),
            stored.out.as_slice(),
            epsilon = 1e-6
        );
        assert_abs_diff_eq!(
            computed.lse.as_slice(),
            stored.lse.as_slice(),
            epsilon = 1e-5
        );
    }
}

#[test]
fn a_paragraph_is_exact_with_and_without_mask() {
    for device in devices() {
        let data = ["q", "k", "v"].map(|name| halves(PARAGRAPH, name));
        let [q, k, v] = data
            .each_ref()
            .map(|x| Tensor::from_slice(&device, [1, 165, 12, 32], x).unwrap());
        for is_causal in [false, true] {
            let result = attention(is_causal).forward(&q, &k, &v).unwrap();
            assert_rule(
                &spec(165, is_causal),
                data.each_ref().map(Vec::as_slice),
                &result,
                &stored_paragraph(is_causal),
            );
        }
    }
}

#[test]
fn sentences_packed_one_after_the_other_are_exact_as_views() {
    for device in devices() {
        let data = ["q", "k", "v"].map(|name| halves(SENTENCES, name));
        let buffers = data
            .each_ref()
            .map(|x| Buffer::from_slice(&device, x).unwrap());
        let out = floats(SENTENCES, "out");
        let ends: Vec<usize> = bytes(SENTENCES, "cu_seqlens")
            .into_iter()
            .map(|x| i32::from_le_bytes(x) as usize)
            .collect();
        let row = 12 * 32;
        for sentence in ends.windows(2) {
            let (start, end) = (sentence[0], sentence[1]);
            let (seqlen, elements) = (end - start, start * row..end * row);
            let view = |buffer| {
                Tensor::<f16>::from_buffer(
                    buffer,
                    start * row,
                    [1, seqlen, 12, 32],
                    [0, row as i64, 32, 1],
                )
                .unwrap()
            };
            let [q, k, v] = buffers.each_ref().map(view);
            let result = Attention::new().forward(&q, &k, &v).unwrap();
            let stored = Reference {
                out: out[elements.clone()].to_vec(),
                lse: lse_by_head(SENTENCES, "lse", start..end),
            };
            let inputs = data.each_ref().map(|x| &x[elements.clone()]);
            assert_rule(&spec(seqlen, false), inputs, &result, &stored);
        }
    }
}
