//! Options of attention: each one changes the output, and the output passes the check.

use std::path::Path;

use crate::common::{
    Stored, Tensors, assert_refused, checked, flash_attention, folder, random, tensors, text,
    write_tensors,
};

/// batch 2, 40 queries, 50 keys, two heads that share one key head; slopes and a bias.
fn input() -> Tensors {
    let keys = [2, 50, 1, 16];
    tensors([
        ("q", Stored::random(&[2, 40, 2, 16], 1)),
        ("k", Stored::random(&keys, 2)),
        ("v", Stored::random(&keys, 3)),
        ("alibi_slopes", Stored::floats(&[2], [0.5, 0.25])),
        (
            "bias",
            Stored::floats(&[2, 40, 50], random(&[2, 40, 50], 4)),
        ),
    ])
}

fn attend(folder: &Path, options: &[&str]) -> Tensors {
    checked(folder, "attend", &input(), options)
}

#[test]
fn every_option_changes_the_output_and_passes_the_check_on_every_device() {
    let folder = folder("every_option");
    let cases: [&[&str]; 14] = [
        &[],
        &["--causal"],
        &["--causal", "--top-left"],
        &["--window", "3,9"],
        &["--window", "-1,9"],
        &["--window=3,-1"],
        &["--window", "3,9", "--top-left"],
        &["--softmax-scale", "-0.1"],
        &["--softcap", "1.5"],
        &["--alibi"],
        &["--alibi", "--top-left"],
        &["--bias"],
        &["--dropout-p", "0.3"],
        &["--dropout-p", "0.3", "--seed", "7"],
    ];
    for device in ["emulated", "reference"] {
        let outputs: Vec<Tensors> = cases
            .iter()
            .map(|options| attend(&folder, &[options, &["--device", device][..]].concat()))
            .collect();
        for (i, output) in outputs.iter().enumerate() {
            for (j, other) in outputs[..i].iter().enumerate() {
                let (one, two) = (cases[i], cases[j]);
                assert!(output["out"] != other["out"], "{one:?} and {two:?}");
            }
        }
        // The log-sum-exp is that without dropout, up to the rounding of another kernel.
        let lse = |output: &Tensors| output["lse"].as_floats();
        let pairs = lse(&outputs[12]).into_iter().zip(lse(&outputs[0]));
        assert!(pairs.into_iter().all(|(x, y)| (x - y).abs() < 1e-4));
    }
}

#[test]
fn options_of_no_effect_have_none_and_unused_tensors_are_ignored() {
    let folder = folder("no_effect");
    let plain = attend(&folder, &[]);
    assert!(attend(&folder, &["--window=-1,-1"]) == plain);
    assert!(attend(&folder, &["--softcap", "0"]) == plain);
    let mut alone = input();
    alone.retain(|name, _| ["q", "k", "v"].contains(&name.as_str()));
    assert!(checked(&folder, "attend", &alone, &[]) == plain);
    let dropout = attend(&folder, &["--dropout-p", "0.3"]);
    let seeded = attend(&folder, &["--dropout-p", "0.3", "--seed", "0"]);
    assert!(dropout == seeded);
}

#[test]
fn options_compose() {
    let folder = folder("compose");
    let all = [
        "--causal",
        "--window",
        "20,5",
        "--softcap",
        "2",
        "--alibi",
        "--bias",
        "--dropout-p",
        "0.2",
        "--seed",
        "3",
    ];
    let output = attend(&folder, &all);
    // The seed also orders the execution under the sanitizers, which changes nothing.
    assert!(attend(&folder, &[&all[..], &["--sanitize"]].concat()) == output);
    for left_out in ["--causal", "--alibi", "--bias"] {
        let others: Vec<&str> = all.into_iter().filter(|&it| it != left_out).collect();
        assert!(attend(&folder, &others) != output, "{left_out}");
    }
}

#[test]
fn slopes_and_bias_have_every_shape_that_broadcasts() {
    let folder = folder("broadcast");
    let run = |name: &str, tensor: Stored, option: &str| {
        let mut input = input();
        input.insert(name.to_owned(), tensor);
        checked(&folder, "attend", &input, &[option])
    };
    let shared = run("alibi_slopes", Stored::floats(&[2], [0.5, 0.25]), "--alibi");
    let per_batch = |second| Stored::floats(&[2, 2], [0.5, 0.25, second, 0.25]);
    assert!(run("alibi_slopes", per_batch(0.5), "--alibi") == shared);
    assert!(run("alibi_slopes", per_batch(0.75), "--alibi") != shared);

    let matrix = random(&[40, 50], 5);
    let of = |shape: &[usize]| {
        let copies = shape.iter().product::<usize>() / matrix.len();
        Stored::floats(shape, matrix.repeat(copies))
    };
    let want = run("bias", of(&[40, 50]), "--bias");
    for shape in [
        &[1, 40, 50][..],
        &[2, 40, 50],
        &[1, 1, 40, 50],
        &[2, 1, 40, 50],
        &[1, 2, 40, 50],
        &[2, 2, 40, 50],
    ] {
        assert!(run("bias", of(shape), "--bias") == want, "{shape:?}");
    }
    let halves = Stored::halves(&[40, 50], matrix.iter().copied());
    run("bias", halves, "--bias");
}

#[test]
fn bad_options_are_refused_with_the_way_out() {
    let folder = folder("bad_options");
    let path = folder.join("in.safetensors");
    let mut input = input();
    write_tensors(&path, &input);
    let refuse = |options: &[&str], message: &str| {
        for device in ["emulated", "reference"] {
            let arguments = ["attend", text(&path), "--device", device];
            assert_refused(
                &flash_attention(&[&arguments[..], options].concat()),
                message,
            );
        }
    };
    for (options, message) in [
        (
            &["--window", "3"][..],
            "expected two numbers of keys, as in 128,0",
        ),
        (&["--window", "-2,3"], "-1 is no bound on that side"),
        (&["--window", "3,4,5"], "expected two numbers"),
        (&["--top-left"], "add causal, a window or ALiBi slopes"),
        (
            &["--softcap", "-1"],
            "softcap -1 must be a positive finite number",
        ),
        (&["--softcap", "nan"], "softcap NaN must be"),
        (&["--softcap", "x"], "invalid value 'x' for '--softcap <X>'"),
        (&["--dropout-p", "1"], "dropout probability 1 must be"),
        (&["--dropout-p", "-0.1"], "dropout probability -0.1 must be"),
        (&["--seed", "1"], "--dropout-p <P>|--sanitize"),
    ] {
        refuse(options, message);
    }
    for (name, tensor, option, message) in [
        (
            "alibi_slopes",
            Stored::floats(&[3], [1.0; 3]),
            "--alibi",
            "alibi_slopes has shape [3], must have [num_heads] = [2] or [batch, num_heads] = [2, 2]",
        ),
        (
            "alibi_slopes",
            Stored::halves(&[2], [1.0; 2]),
            "--alibi",
            "alibi_slopes has dtype F16, must be F32: convert it",
        ),
        (
            "bias",
            Stored::floats(&[40, 49], vec![0.0; 40 * 49]),
            "--bias",
            "bias has shape [40, 49], must have [batch or 1, num_heads or 1, seqlen_q, seqlen_k] = [2 or 1, 2 or 1, 40, 50]",
        ),
        (
            "bias",
            Stored::floats(&[50], [0.0; 50]),
            "--bias",
            "bias has shape [50], must have",
        ),
        (
            "bias",
            Stored::integers(&[0; 50]),
            "--bias",
            "bias has dtype I32, must be F16 or F32: convert it",
        ),
    ] {
        let right = input.insert(name.to_owned(), tensor).unwrap();
        write_tensors(&path, &input);
        refuse(&[option], message);
        input.insert(name.to_owned(), right);
    }
    for (name, option) in [("alibi_slopes", "--alibi"), ("bias", "--bias")] {
        let tensor = input.remove(name).unwrap();
        write_tensors(&path, &input);
        refuse(
            &[option],
            &format!("no tensor {name}, which {option} uses: add it or leave {option} out"),
        );
        input.insert(name.to_owned(), tensor);
    }
}
