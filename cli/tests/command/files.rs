//! `attend` and the file system: pictures, outputs, links, pipes.

use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::common::{
    PARAGRAPH, assert_code, assert_only_file, assert_refused, attend_to, flash_attention, folder,
    text, write_inputs,
};

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
fn a_picture_shows_what_options_do() {
    let folder = folder("picture_options");
    let draw = |name: &str, options: &[&str]| {
        let picture = folder.join(name);
        assert_code(&attend_to("--picture", &picture, options), 0);
        fs::read_to_string(&picture).unwrap()
    };
    let plain = draw("plain.svg", &[]);
    let window = draw("window.svg", &["--window", "5,-1", "--softcap", "0.5"]);
    assert!(window.contains("of head 0, window 5,-1, softcap 0.5<"));
    // Grey: what no mask allows.
    assert!(window.contains("#e6e6e6") && !plain.contains("#e6e6e6"));
    let dropout = draw("dropout.svg", &["--dropout-p", "0.5"]);
    assert_eq!(dropout.replace(", before dropout", ""), plain);
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

#[cfg(unix)]
mod unix {
    //! Pipes, links and permissions. No test may touch a device: a broken command would destroy it.

    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::process::Stdio;

    use std::process::Command;

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
