//! The command as a user meets it: exit codes, files, messages.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{assert_code, flash_attention, folder, text};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

const PARAGRAPH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/data/minilm_layer3_paragraph.safetensors"
);
const SENTENCES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/data/minilm_layer5_sentences_varlen.safetensors"
);

/// Writes q, k and v of one shape and type, filled with the byte 0x11.
fn write_inputs(path: &Path, tensors: &[(&str, Dtype, &[usize])]) {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, dtype, shape)| vec![0x11; shape.iter().product::<usize>() * dtype.bitsize() / 8])
        .collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, dtype, shape), data)| {
            (
                *name,
                TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
            )
        });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

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

/// Neither an output nor a temporary file is left.
fn assert_only_file(folder: &Path, name: &str) {
    let left: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [name]);
}

fn assert_refused(run: &Output, message: &str) {
    assert_code(run, 2);
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.contains(message), "want {message:?}, got {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(run.stdout.is_empty(), "{:?}", run.stdout);
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
    assert_refused(
        &flash_attention(&["attend", SENTENCES]),
        "q has shape [175, 12, 32]",
    );
    assert_refused(&flash_attention(&["dance"]), "dance");
    assert_refused(
        &flash_attention(&[]),
        "error: name a command: attend, profile, kernels or doctor (see --help)",
    );
}

#[test]
fn a_gpu_that_cannot_be_used_is_an_error_not_a_fallback() {
    let run = flash_attention(&["attend", PARAGRAPH, "--device", "cuda:63"]);
    assert_refused(&run, "cuda:63");
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(
        stderr.contains("--device emulated") && !stderr.contains("::"),
        "{stderr}"
    );
}

#[test]
fn a_picture_shows_the_weights_of_the_chosen_head() {
    let folder = folder("picture");
    let mut pictures = Vec::new();
    for head in ["0", "7"] {
        let picture = folder.join(format!("{head}.svg"));
        let arguments = [
            "attend",
            PARAGRAPH,
            "--device",
            "reference",
            "--causal",
            "--picture",
            text(&picture),
            "--head",
            head,
        ];
        assert_code(&flash_attention(&arguments), 0);
        let svg = fs::read_to_string(&picture).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(
            svg.contains(&format!("Attention weights of head {head}, causal"))
                && svg.contains("key position")
        );
        pictures.push(svg);
    }
    assert_ne!(pictures[0].lines().nth(6), None);
    assert!(pictures[0].replace("head 0", "") != pictures[1].replace("head 7", ""));
}

#[test]
fn a_picture_of_more_than_2_to_the_26_weights_is_refused_before_anything_is_computed() {
    let folder = folder("huge_picture");
    let input = folder.join("in.safetensors");
    let long: &[usize] = &[1, 8193, 1, 8];
    write_inputs(
        &input,
        &["q", "k", "v"].map(|name| (name, Dtype::F16, long)),
    );
    let picture = folder.join("weights.svg");
    let run = flash_attention(&["attend", text(&input), "--picture", text(&picture)]);
    assert_refused(
        &run,
        "seqlen_q 8193 * seqlen_k 8193 = 67125249 weights is too large, at most 2^26 = 67108864",
    );
    assert_only_file(&folder, "in.safetensors");
}

#[test]
fn output_and_picture_cannot_be_one_file_under_any_spelling() {
    let folder = folder("one_file");
    let (plain, detour) = (folder.join("a.svg"), folder.join("../one_file/a.svg"));
    for other in [&plain, &detour] {
        let run = attend_to("-o", &plain, &["--picture", text(other)]);
        assert_refused(&run, "are the same file: give each its own name");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// Runs on the reference, which is fast enough for tests about files.
fn attend_to(option: &str, path: &Path, more: &[&str]) -> Output {
    let arguments = [
        "attend",
        PARAGRAPH,
        "--device",
        "reference",
        option,
        text(path),
    ];
    flash_attention(&[&arguments[..], more].concat())
}

#[cfg(unix)]
mod unix {
    //! Pipes, links and permissions. No test may touch a device: a broken command would destroy it.

    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn only_regular_files_are_replaced() {
        let folder = folder("not_regular");
        let (pipe, link, subfolder) = (
            folder.join("pipe.svg"),
            folder.join("link.svg"),
            folder.join("folder.svg"),
        );
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        symlink("pipe.svg", &link).unwrap();
        fs::create_dir(&subfolder).unwrap();
        for option in ["-o", "--picture"] {
            for path in [&pipe, &link] {
                let run = attend_to(option, path, &[]);
                assert_refused(&run, "must be a regular file or a new name");
            }
            assert_refused(&attend_to(option, &subfolder, &[]), "is a folder");
        }
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    }

    #[test]
    fn a_symbolic_link_stays_and_its_target_is_replaced() {
        let folder = folder("symbolic_link");
        fs::create_dir(folder.join("elsewhere")).unwrap();
        let (link, target) = (folder.join("link"), folder.join("elsewhere/target"));
        symlink("elsewhere/target", &link).unwrap();
        assert_refused(
            &attend_to("-o", &link, &[]),
            "is a link without a target: create the target or remove the link",
        );
        fs::write(&target, "old").unwrap();
        assert_code(&attend_to("-o", &link, &[]), 0);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(SafeTensors::deserialize(&fs::read(&target).unwrap()).is_ok());
        assert_only_file(&folder.join("elsewhere"), "target");
    }

    #[test]
    fn permissions_of_a_replaced_file_stay_and_a_new_file_has_those_of_any_new_file() {
        let folder = folder("permissions");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let (new, ordinary) = (folder.join("new"), folder.join("ordinary"));
        fs::write(&ordinary, "").unwrap();
        assert_code(&attend_to("-o", &new, &[]), 0);
        assert_eq!(mode(&new), mode(&ordinary));
        for kept in [0o600, 0o664, 0o755] {
            fs::set_permissions(&new, fs::Permissions::from_mode(kept)).unwrap();
            assert_code(&attend_to("-o", &new, &[]), 0);
            assert_eq!(mode(&new), kept);
        }
    }

    /// A pipe whose reader has left, as that of `head` once it has its lines.
    fn broken_pipe() -> Stdio {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer.into()
    }

    #[test]
    fn a_reader_that_leaves_early_costs_neither_files_nor_the_exit_code() {
        let folder = folder("broken_pipe");
        let (out, ptx) = (folder.join("out"), folder.join("ptx"));
        let attend = [
            "attend",
            PARAGRAPH,
            "--device",
            "reference",
            "--check",
            "-o",
        ];
        for arguments in [
            &["doctor"][..],
            &["kernels", "--emit-ptx", text(&ptx)],
            &[&attend[..], &[text(&out)]].concat(),
        ] {
            let run = Command::new(env!("CARGO_BIN_EXE_flash-attention"))
                .args(arguments)
                .stdout(broken_pipe())
                .output()
                .unwrap();
            assert_code(&run, 0);
            assert!(run.stderr.is_empty(), "{run:?}");
        }
        assert!(SafeTensors::deserialize(&fs::read(&out).unwrap()).is_ok());
        let written = fs::read_dir(&ptx).unwrap().count();
        assert_eq!(written, flash_attention::kernels().count());
    }

    #[test]
    fn a_closed_stderr_changes_no_exit_code() {
        let run = Command::new(env!("CARGO_BIN_EXE_flash-attention"))
            .arg("dance")
            .stderr(broken_pipe())
            .output()
            .unwrap();
        assert_code(&run, 2);
    }

    #[test]
    fn stdout_that_cannot_be_written_is_one_line_and_exit_code_2() {
        let stdout = folder("full_disk").join("stdout");
        // A file size limit of 0 fails like a full disk.
        let run = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" kernels"])
            .arg(env!("CARGO_BIN_EXE_flash-attention"))
            .stdout(fs::File::create(stdout).unwrap())
            .output()
            .unwrap();
        assert_refused(&run, "error: cannot write to standard output");
    }
}

#[test]
fn kernels_lists_and_writes_every_entry() {
    let folder = folder("kernels").join("new/folder");
    let run = flash_attention(&["kernels", "--emit-ptx", text(&folder)]);
    assert_code(&run, 0);
    let stdout = String::from_utf8(run.stdout).unwrap();
    for kernel in flash_attention::kernels() {
        let entry = kernel.variant.entry;
        assert!(stdout.contains(entry), "{entry}");
        let written = fs::read_to_string(folder.join(format!("{entry}.ptx"))).unwrap();
        assert!(
            written == kernel.ptx && written.contains(&format!(".entry {entry}")),
            "{entry}"
        );
    }
}

#[test]
fn doctor_reports_every_part_and_succeeds_on_any_machine() {
    let run = flash_attention(&["doctor"]);
    assert_code(&run, 0);
    let stdout = String::from_utf8(run.stdout).unwrap();
    for part in [
        "kernel compiler",
        "ptxas",
        "nvdisasm",
        "libcuda.so.1",
        "device emulated",
    ] {
        // A driver that was found is named by its path, which ends in the library's name.
        assert!(stdout.contains(part), "{part} is missing in {stdout}");
    }
}
