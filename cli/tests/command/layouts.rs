//! How a file may hold q, k and v: packed into one tensor, sequences of different lengths.

use std::path::Path;

use crate::common::{
    SENTENCES, Stored, Tensors, assert_code, assert_refused, checked, flash_attention, folder,
    tensors, text, write_tensors,
};

/// Offsets of three sequences, the second one empty.
const OFFSETS: [i32; 4] = [0, 33, 33, 50];
/// `[total, heads, head_dim]`
const ROWS: [usize; 3] = [50, 2, 16];

fn qkv(shape: &[usize]) -> [Stored; 3] {
    [1, 2, 3].map(|seed| Stored::random(shape, seed))
}

fn separate([q, k, v]: [Stored; 3]) -> Tensors {
    tensors([("q", q), ("k", k), ("v", v)])
}

fn attend(folder: &Path, input: &Tensors, options: &[&str]) -> Tensors {
    checked(folder, "attend", input, options)
}

/// The file with one more tensor.
fn with(mut file: Tensors, name: &str, tensor: Stored) -> Tensors {
    file.insert(name.to_owned(), tensor);
    file
}

#[test]
fn packed_tensors_give_the_bits_of_separate_ones() {
    let folder = folder("packed");
    for (outer, has_sequences) in [(&[2, 25][..], false), (&[50], true)] {
        let shape = |inner: &[usize]| [outer, inner].concat();
        let [q, k, v] = qkv(&shape(&[2, 16]));
        let rank = outer.len();
        let packed_qkv = Stored::interleaved(&[&q, &k, &v], rank, &shape(&[3, 2, 16]));
        let packed_kv = Stored::interleaved(&[&k, &v], rank, &shape(&[2, 2, 16]));
        let files = [
            separate([q.clone(), k, v]),
            tensors([("qkv", packed_qkv)]),
            tensors([("q", q.clone()), ("kv", packed_kv)]),
        ];
        let outputs = files.map(|file| {
            let file = match has_sequences {
                true => with(file, "cu_seqlens", Stored::integers(&OFFSETS)),
                false => file,
            };
            attend(&folder, &file, &["--causal"])
        });
        assert_eq!(outputs[0]["out"].shape, q.shape);
        assert!(outputs[1] == outputs[0] && outputs[2] == outputs[0]);
    }
}

#[test]
fn sequences_are_computed_each_for_itself() {
    let folder = folder("sequences");
    let [q, k, v] = qkv(&ROWS);
    let file = with(
        separate([q.clone(), k.clone(), v.clone()]),
        "cu_seqlens",
        Stored::integers(&OFFSETS),
    );
    let options = ["--causal", "--window", "9,0"];
    let whole = attend(&folder, &file, &options);
    assert_eq!(whole["out"].shape, ROWS);
    assert_eq!(whole["lse"].shape, [2, 50]);
    let mut rows = Vec::new();
    for range in [0..33, 33..50] {
        let part = |x: &Stored| Stored {
            shape: vec![1, range.len(), 2, 16],
            data: x.data[range.start * 64..range.end * 64].to_vec(),
            ..x.clone()
        };
        let alone = separate([part(&q), part(&k), part(&v)]);
        rows.extend(attend(&folder, &alone, &options)["out"].data.clone());
    }
    assert!(whole["out"].data == rows);
    assert!(
        attend(
            &folder,
            &file,
            &[&options[..], &["--device", "reference"]].concat()
        ) != whole
    );
}

#[test]
fn queries_and_keys_may_be_cut_differently_and_used_in_part() {
    let folder = folder("cut_differently");
    let file = with(
        separate(qkv(&ROWS)),
        "cu_seqlens_q",
        Stored::integers(&OFFSETS),
    );
    // The last row of k is of no sequence.
    let offsets_k = [0, 20, 30, 49];
    let file = with(file, "cu_seqlens_k", Stored::integers(&offsets_k));
    let whole = attend(&folder, &file, &["--causal"]);
    let long = offsets_k.map(i64::from);
    let same = with(file.clone(), "cu_seqlens_k", Stored::long_integers(&long));
    assert!(attend(&folder, &same, &["--causal"]) == whole);
    let shorter = with(file.clone(), "seqused_k", Stored::integers(&[20, 10, 5]));
    assert!(attend(&folder, &shorter, &["--causal"]) != whole);
    let shorter = with(file, "seqused_q", Stored::integers(&[30, 0, 17]));
    let part = attend(&folder, &shorter, &["--causal"]);
    assert!(part["out"].data[30 * 64..33 * 64].iter().all(|&x| x == 0));
    assert!(part["out"].data[33 * 64..] == whole["out"].data[33 * 64..]);
}

#[test]
fn sequences_have_options_of_their_own() {
    let folder = folder("sequence_options");
    let file = with(
        separate(qkv(&ROWS)),
        "cu_seqlens",
        Stored::integers(&OFFSETS),
    );
    let slopes = [0.5, 0.25, 1.0, 1.0, 0.125, 0.75];
    let file = with(file, "alibi_slopes", Stored::floats(&[3, 2], slopes));
    // Extents of the longest sequence.
    let bias = Stored::random(&[3, 1, 33, 33], 6);
    let file = with(file, "bias", bias);
    for device in ["emulated", "reference"] {
        let run = |more: &[&str]| attend(&folder, &file, &[&["--device", device], more].concat());
        let outputs = [
            run(&[]),
            run(&["--alibi"]),
            run(&["--bias"]),
            run(&["--dropout-p", "0.5"]),
        ];
        for (i, output) in outputs.iter().enumerate() {
            assert!(outputs[..i].iter().all(|other| other != output), "{i}");
        }
    }
}

#[test]
fn real_sentences_pass_and_the_first_one_is_drawn() {
    let folder = folder("sentences");
    let picture = folder.join("first.svg");
    let arguments = ["attend", SENTENCES, "--check", "--picture", text(&picture)];
    let run = flash_attention(&arguments);
    assert_code(&run, 0);
    let stdout = String::from_utf8(run.stdout).unwrap();
    assert!(
        stdout.contains("batch    6 sequences, at most 55 queries and 55 keys each"),
        "{stdout}"
    );
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.contains("25 queries, 25 keys"), "{}", &svg[..600]);
}

#[test]
fn files_that_leave_something_open_are_refused_with_the_way_out() {
    let folder = folder("layout_refusals");
    let path = folder.join("in.safetensors");
    let fixed = || separate(qkv(&[1, 50, 2, 16]));
    let rows = || separate(qkv(&ROWS));
    let offsets = |numbers: &[i32]| Stored::integers(numbers);
    let cut = |numbers: &[i32]| with(rows(), "cu_seqlens", offsets(numbers));
    let packed = |shape: &[usize]| tensors([("qkv", Stored::random(shape, 1))]);
    let kv = Stored::random(&[1, 50, 2, 2, 16], 1);
    for (file, message) in [
        (
            rows(),
            "q has shape [50, 2, 16], must have 4 dimensions [batch, seqlen, heads, head_dim]; add cu_seqlens (i32 \
             [batch + 1])",
        ),
        (
            with(fixed(), "cu_seqlens", offsets(&[0, 50])),
            "must have 3 dimensions [total, heads, head_dim]; because the file has cu_seqlens: remove that",
        ),
        (
            packed(&[1, 50, 4, 2, 16]),
            "qkv has shape [1, 50, 4, 2, 16], dimension 2 must be 3",
        ),
        (
            packed(&[1, 50, 3, 32]),
            "must have 5 dimensions [batch, seqlen, 3, heads, head_dim]",
        ),
        (
            with(fixed(), "qkv", Stored::random(&[1, 50, 3, 2, 16], 1)),
            "qkv and q are both in the file, which leaves open what to use: remove one",
        ),
        (
            with(fixed(), "kv", kv.clone()),
            "kv and k are both in the file",
        ),
        (tensors([("kv", kv)]), "no tensor q"),
        (cut(&[0, 30, 20, 50]), "offsets must not decrease"),
        (cut(&[-1, 50]), "cu_seqlens_q is not valid: it begins at -1"),
        (cut(&[]), "cu_seqlens_q is not valid: it is empty"),
        (cut(&[0, 51]), "cu_seqlens_q ends at row 51, q has 50 rows"),
        (
            with(rows(), "cu_seqlens", Stored::random(&[2], 1)),
            "cu_seqlens has dtype F16, must be I32 or I64: convert it",
        ),
        (
            with(rows(), "cu_seqlens", offsets(&[0, 50]).reshaped(&[1, 2])),
            "cu_seqlens has shape [1, 2], must have 1 dimension",
        ),
        (
            with(rows(), "cu_seqlens", Stored::long_integers(&[0, 1 << 31])),
            "cu_seqlens has 2147483648, rows are at most 2147483647: split the batch",
        ),
        (
            with(rows(), "cu_seqlens_q", offsets(&[0, 50])),
            "cu_seqlens_q and cu_seqlens_k need each other",
        ),
        (
            with(cut(&[0, 50]), "cu_seqlens_k", offsets(&[0, 50])),
            "but the file has cu_seqlens_q or cu_seqlens_k as well: remove one",
        ),
        (
            with(cut(&[0, 50]), "seqused_k", offsets(&[51])),
            "seqused_k is not valid: entry 0 has 50 rows, 51 cannot be used",
        ),
        (
            with(fixed(), "seqused_k", offsets(&[5])),
            "seqused_k is about sequences of different lengths, which the file has none of: add cu_seqlens or remove",
        ),
    ] {
        write_tensors(&path, &file);
        for device in ["emulated", "reference"] {
            let run = flash_attention(&["attend", text(&path), "--device", device]);
            assert_refused(&run, message);
        }
    }
}
