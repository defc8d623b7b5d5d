//! `grad`: gradients of every input, in its layout.

use std::path::Path;

use safetensors::Dtype;

use crate::common::{
    Stored, Tensors, assert_only_file, assert_refused, checked, flash_attention, folder, random,
    tensors, text, write_tensors,
};

/// batch 2, 40 queries, 50 keys, two heads that share one key head.
fn input() -> Tensors {
    let keys = [2, 50, 1, 16];
    tensors([
        ("q", Stored::random(&[2, 40, 2, 16], 1)),
        ("k", Stored::random(&keys, 2)),
        ("v", Stored::random(&keys, 3)),
        ("d_out", Stored::random(&[2, 40, 2, 16], 4)),
        ("alibi_slopes", Stored::floats(&[2], [0.5, 0.25])),
        ("bias", Stored::random(&[2, 40, 50], 5)),
    ])
}

fn grad(folder: &Path, input: &Tensors, options: &[&str]) -> Tensors {
    checked(folder, "grad", input, options)
}

#[test]
fn gradients_have_the_shapes_and_types_of_their_inputs() {
    let folder = folder("grad_shapes");
    for device in ["emulated", "reference"] {
        let input = input();
        let output = grad(&folder, &input, &["--device", device, "--bias"]);
        let names: Vec<&str> = output.keys().map(String::as_str).collect();
        assert_eq!(names, ["d_bias", "d_k", "d_q", "d_v", "lse", "out"]);
        for name in ["q", "k", "v", "bias"] {
            let (got, want) = (&output[&format!("d_{name}")], &input[name]);
            assert_eq!((got.dtype, &got.shape), (want.dtype, &want.shape), "{name}");
        }
        // out and lse are those of attend.
        let forward = checked(&folder, "attend", &input, &["--device", device, "--bias"]);
        assert!(forward["out"] == output["out"] && forward["lse"] == output["lse"]);
        let mut floats = input;
        let bias = random(&[1, 1, 40, 50], 6);
        floats.insert("bias".to_owned(), Stored::floats(&[1, 1, 40, 50], bias));
        let output = grad(&folder, &floats, &["--device", device, "--bias"]);
        assert_eq!(output["d_bias"].dtype, Dtype::F32);
        assert_eq!(output["d_bias"].shape, [1, 1, 40, 50]);
    }
}

#[test]
fn every_option_changes_the_gradients_and_passes_the_check() {
    let folder = folder("grad_options");
    let cases: [&[&str]; 9] = [
        &[],
        &["--causal"],
        &["--causal", "--top-left"],
        &["--window", "3,9"],
        &["--softmax-scale=-0.1"],
        &["--softcap", "1.5"],
        &["--alibi"],
        &["--bias"],
        &["--dropout-p", "0.3"],
    ];
    let outputs = cases.map(|options| grad(&folder, &input(), options));
    for (i, output) in outputs.iter().enumerate() {
        for (j, other) in outputs[..i].iter().enumerate() {
            for name in ["d_q", "d_k", "d_v"] {
                assert!(
                    output[name] != other[name],
                    "{name} of {:?} and {:?}",
                    cases[i],
                    cases[j]
                );
            }
        }
    }
}

#[test]
fn the_gradient_of_the_log_sum_exp_reaches_q_and_k_but_not_v() {
    let folder = folder("grad_lse");
    let plain = grad(&folder, &input(), &[]);
    let mut input = input();
    let d_lse = Stored::floats(&[2, 2, 40], random(&[2, 2, 40], 7));
    input.insert("d_lse".to_owned(), d_lse);
    let output = grad(&folder, &input, &[]);
    assert!(output["d_q"] != plain["d_q"] && output["d_k"] != plain["d_k"]);
    assert!(output["d_v"] == plain["d_v"]);
}

#[test]
fn deterministic_gradients_are_the_same_under_every_order() {
    let folder = folder("grad_deterministic");
    let run = |more: &[&str]| grad(&folder, &input(), &[&["--deterministic"], more].concat());
    let output = run(&[]);
    for seed in ["1", "2"] {
        assert!(run(&["--sanitize", "--seed", seed]) == output, "{seed}");
    }
}

#[test]
fn packed_inputs_get_packed_gradients() {
    let folder = folder("grad_packed");
    for (outer, has_sequences) in [(&[2, 25][..], false), (&[50], true)] {
        let shape = |inner: &[usize]| [outer, inner].concat();
        let [q, k, v, d_out] = [1, 2, 3, 4].map(|seed| Stored::random(&shape(&[2, 16]), seed));
        let (in_three, in_two) = (shape(&[3, 2, 16]), shape(&[2, 2, 16]));
        let rank = outer.len();
        let pack = |parts: &[&Stored], shape: &[usize]| Stored::interleaved(parts, rank, shape);
        let run = |mut file: Tensors| {
            file.insert("d_out".to_owned(), d_out.clone());
            if has_sequences {
                file.insert("cu_seqlens".to_owned(), Stored::integers(&[0, 33, 50]));
            }
            grad(&folder, &file, &["--deterministic"])
        };
        let three = run(tensors([
            ("q", q.clone()),
            ("k", k.clone()),
            ("v", v.clone()),
        ]));
        let two = run(tensors([
            ("q", q.clone()),
            ("kv", pack(&[&k, &v], &in_two)),
        ]));
        let one = run(tensors([("qkv", pack(&[&q, &k, &v], &in_three))]));
        let [d_q, d_k, d_v] = ["d_q", "d_k", "d_v"].map(|name| &three[name]);
        assert!(two["d_q"] == *d_q && two["d_kv"] == pack(&[d_k, d_v], &in_two));
        assert!(one["d_qkv"] == pack(&[d_q, d_k, d_v], &in_three));
        assert_eq!(two.len(), 4);
        assert_eq!(one.len(), 3);
    }
}

#[test]
fn sequences_have_gradients_of_their_own() {
    let folder = folder("grad_sequences");
    let rows = [50, 2, 16];
    let file = tensors([
        ("q", Stored::random(&rows, 1)),
        ("k", Stored::random(&rows, 2)),
        ("v", Stored::random(&rows, 3)),
        ("d_out", Stored::random(&rows, 4)),
        ("d_lse", Stored::floats(&[2, 50], random(&[2, 50], 5))),
        ("cu_seqlens", Stored::integers(&[0, 33, 33, 50])),
        ("seqused_k", Stored::integers(&[30, 0, 17])),
        ("bias", Stored::random(&[1, 2, 33, 30], 6)),
    ]);
    for device in ["emulated", "reference"] {
        let options = [
            "--causal",
            "--bias",
            "--dropout-p",
            "0.2",
            "--device",
            device,
        ];
        let output = grad(&folder, &file, &options);
        assert_eq!(output["d_bias"].shape, [1, 2, 33, 30]);
        // Keys 30 to 32 are not used.
        for name in ["d_k", "d_v"] {
            let row = |i: usize| &output[name].data[i * 64..(i + 1) * 64];
            assert!((30..33).all(|i| row(i).iter().all(|&x| x == 0)));
            assert!(row(29).iter().any(|&x| x != 0));
        }
    }
}

#[test]
fn missing_and_wrong_gradients_of_the_output_are_refused() {
    let folder = folder("grad_refusals");
    let path = folder.join("in.safetensors");
    let output = folder.join("out.safetensors");
    let mut input = input();
    let right = input.remove("d_out").unwrap();
    let mut refuse = |name: &str, tensor: Option<Stored>, message: &str| {
        match tensor {
            Some(tensor) => input.insert(name.to_owned(), tensor),
            None => input.remove(name),
        };
        write_tensors(&path, &input);
        for device in ["emulated", "reference"] {
            let arguments = ["grad", text(&path), "-o", text(&output), "--device", device];
            assert_refused(&flash_attention(&arguments), message);
        }
    };
    refuse(
        "d_out",
        None,
        "no tensor d_out, the gradient of out: the file needs it with shape [2, 40, 2, 16], has",
    );
    refuse(
        "d_out",
        Some(Stored::random(&[2, 40, 32], 1)),
        "d_out has shape [2, 40, 32], must have [2, 40, 2, 16]",
    );
    refuse(
        "d_out",
        Some(Stored::floats(&[2, 40, 2, 16], vec![0.0; 2560])),
        "d_out has dtype F32, must be F16: convert it",
    );
    input.insert("d_out".to_owned(), right);
    let mut refuse = |tensor: Stored, message: &str| {
        input.insert("d_lse".to_owned(), tensor);
        write_tensors(&path, &input);
        assert_refused(&flash_attention(&["grad", text(&path)]), message);
    };
    refuse(
        Stored::floats(&[2, 40, 2], vec![0.0; 160]),
        "d_lse has shape [2, 40, 2], must have [2, 2, 40]",
    );
    refuse(
        Stored::random(&[2, 2, 40], 1),
        "d_lse has dtype F16, must be F32: convert it",
    );
    assert_only_file(&folder, "in.safetensors");
}
