//! `attend`: results, options, refused input.

use std::fs;

use safetensors::{Dtype, SafeTensors};

use crate::common::{
    PARAGRAPH, assert_code, assert_only_file, assert_refused, flash_attention, folder, text,
    write_inputs,
};

#[test]
fn attend_writes_out_and_lse_and_passes_the_check_on_every_device() {
    let folder = folder("attend_writes");
    for device in ["auto", "emulated", "reference"] {
        let out = folder.join(format!("{device}.safetensors"));
        let run = flash_attention(&[
            "attend",
            PARAGRAPH,
            "-o",
            text(&out),
            "--device",
            device,
            "--check",
            "--causal",
        ]);
        assert_code(&run, 0);
        let stdout = String::from_utf8(run.stdout).unwrap();
        assert!(
            stdout.contains("passed") && stdout.contains("bound"),
            "{stdout}"
        );
        let bytes = fs::read(&out).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (out, lse) = (file.tensor("out").unwrap(), file.tensor("lse").unwrap());
        assert_eq!(
            (out.dtype(), out.shape()),
            (Dtype::F16, [1, 165, 12, 32].as_slice())
        );
        assert_eq!(
            (lse.dtype(), lse.shape()),
            (Dtype::F32, [1, 12, 165].as_slice())
        );
    }
}

#[test]
fn options_change_the_output_and_negative_scales_need_no_equals_sign() {
    let folder = folder("options_change");
    let mut outputs = Vec::new();
    for (name, options) in [
        ("plain", &[][..]),
        ("causal", &["--causal"]),
        ("scaled", &["--softmax-scale", "-0.1"]),
        ("equals", &["--softmax-scale=-0.1"]),
    ] {
        let out = folder.join(name);
        let mut arguments = vec![
            "attend",
            PARAGRAPH,
            "-o",
            text(&out),
            "--device",
            "reference",
        ];
        arguments.extend(options);
        assert_code(&flash_attention(&arguments), 0);
        outputs.push(fs::read(out).unwrap());
    }
    assert!(outputs[0] != outputs[1] && outputs[0] != outputs[2] && outputs[1] != outputs[2]);
    assert!(outputs[2] == outputs[3]);
}

#[test]
fn bad_input_exits_2_with_one_line_and_no_output() {
    let folder = folder("bad_input");
    let input = folder.join("in.safetensors");
    let output = folder.join("out.safetensors");
    let good: &[usize] = &[1, 4, 2, 16];
    let of = |q: (Dtype, &'static [usize]), k: (Dtype, &'static [usize])| {
        vec![("q", q.0, q.1), ("k", k.0, k.1), ("v", k.0, k.1)]
    };
    for (tensors, message) in [
        (
            vec![("q", Dtype::F16, good), ("k", Dtype::F16, good)],
            "in.safetensors: no tensor v",
        ),
        (
            vec![("q", Dtype::F16, good), ("v", Dtype::F16, good)],
            "in.safetensors: no tensor k",
        ),
        (vec![("k", Dtype::F16, good)], "in.safetensors: no tensor q"),
        (
            of((Dtype::F32, &[1, 4, 2, 16]), (Dtype::F32, &[1, 4, 2, 16])),
            "q has dtype F32, must be F16 or BF16",
        ),
        (
            of((Dtype::F16, &[1, 4, 2, 16]), (Dtype::BF16, &[1, 4, 2, 16])),
            "k has dtype BF16, q has F16",
        ),
        (
            of((Dtype::F16, &[1, 4, 2, 16]), (Dtype::F16, &[2, 4, 2, 16])),
            "k and q must have the same batch",
        ),
        (
            of((Dtype::F16, &[1, 4, 2, 20]), (Dtype::F16, &[1, 4, 2, 20])),
            "head_dim 20 is not supported",
        ),
        (
            of((Dtype::BF16, &[1, 4, 3, 16]), (Dtype::BF16, &[1, 4, 2, 16])),
            "num_heads 3 must be a multiple",
        ),
        (
            of((Dtype::F16, &[4, 2, 16]), (Dtype::F16, &[4, 2, 16])),
            "must have 4 dimensions",
        ),
    ] {
        write_inputs(&input, &tensors);
        for device in ["emulated", "reference"] {
            let run = flash_attention(&[
                "attend",
                text(&input),
                "-o",
                text(&output),
                "--device",
                device,
            ]);
            assert_refused(&run, message);
        }
    }
    fs::write(&input, b"this is no safetensors file").unwrap();
    assert_refused(
        &flash_attention(&["attend", text(&input), "-o", text(&output)]),
        "is not a safetensors file",
    );
    assert_only_file(&folder, "in.safetensors");
}

#[test]
fn bad_arguments_exit_2_with_one_line() {
    let missing = ["attend", "no-such-file.safetensors"];
    assert_refused(
        &flash_attention(&missing),
        "cannot read no-such-file.safetensors",
    );
    for (arguments, message) in [
        (
            &["--softmax-scale", "NaN"][..],
            "invalid value 'NaN' for '--softmax-scale <X>': must be a finite number",
        ),
        (
            &["--softmax-scale", "abc"],
            "invalid value 'abc' for '--softmax-scale",
        ),
        (
            &["--softmax-scale", "1e39"],
            "invalid value '1e39' for '--softmax-scale <X>': must be a finite number of at most 2.35e38",
        ),
        (
            &["--softmax-scale=-3e38"],
            "invalid value '-3e38' for '--softmax-scale <X>': must be a finite number",
        ),
        (
            &["--device", "cuda"],
            "expected auto, emulated, reference or cuda:N",
        ),
        (
            &["--device", "tpu"],
            "expected auto, emulated, reference or cuda:N",
        ),
        (
            &["--device", "emulated:sm_75"],
            "may end in :sm_80 or :sm_90a",
        ),
        (&["--picture", "weights.bmp"], "must end in .svg"),
        (&["--picture", "svg"], "must end in .svg"),
        (&["--picture", "weights.svg/"], "ends in a slash"),
        (&["-o", "no-such-folder/"], "ends in a slash"),
        (&["-o", ".."], "is not the name of a file"),
        (&["-o", ""], "a value is required for '--output <FILE>'"),
        (
            &["--picture", "weights.svg", "--head", "12"],
            "head 12 does not exist: q has 12 heads",
        ),
        (&["--head", "1"], "--picture"),
        (
            &["-o", "no-such-folder/out.safetensors"],
            "cannot write no-such-folder/out.safetensors",
        ),
    ] {
        let run = flash_attention(&[&["attend", PARAGRAPH], arguments].concat());
        assert_refused(&run, message);
    }
    assert_refused(&flash_attention(&["dance"]), "dance");
    assert_refused(
        &flash_attention(&[]),
        "error: name a command: attend, grad, profile, growth, kernels, support or doctor (see --help)",
    );
}

#[test]
fn the_architecture_in_the_name_of_a_device_chooses_the_kernels() {
    for (device, named, kernel) in [
        ("emulated", "emulated", "flash_fwd_sm80_"),
        ("emulated:sm_80", "emulated", "flash_fwd_sm80_"),
        ("emulated:sm_90a", "emulated:sm_90a", "flash_fwd_sm90_"),
    ] {
        let arguments = [
            "attend",
            PARAGRAPH,
            "--device",
            device,
            "--check",
            "--sanitize",
        ];
        let run = flash_attention(&arguments);
        assert_code(&run, 0);
        let stdout = String::from_utf8(run.stdout).unwrap();
        for line in [
            &format!("device   {named}\n"),
            &format!("kernel   {kernel}"),
        ] {
            assert!(
                stdout.contains(line.as_str()),
                "{line:?} is not in {stdout}"
            );
        }
    }
}

#[test]
fn a_gpu_that_cannot_be_used_is_an_error_not_a_fallback() {
    let run = flash_attention(&["attend", PARAGRAPH, "--device", "cuda:63"]);
    assert_refused(&run, "cuda:63");
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(
        stderr.contains("use the device emulated") && !stderr.contains("::"),
        "{stderr}"
    );
}
