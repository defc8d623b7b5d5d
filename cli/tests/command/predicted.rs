//! `profile --static`: predictions for the kernels for Hopper.

use std::process::Command;

use flash_attention::{Arch, kernels};
use kernel_builder::tools::find;

use crate::common::{assert_code, assert_refused, flash_attention};

#[test]
fn predictions_stand_beside_those_for_flash_attention_3() {
    let run = flash_attention(&["profile", "--static"]);
    if ["ptxas", "nvdisasm"]
        .iter()
        .any(|tool| find(tool).is_none())
    {
        return assert_refused(&run, "brings it");
    }
    assert_code(&run, 0);
    let table = String::from_utf8(run.stdout).unwrap();
    assert!(table.contains("predicted, not measured"), "{table}");
    let rows = |name: &str| -> Vec<Vec<&str>> {
        let words = table.lines().map(|line| line.split_whitespace().collect());
        let words = words.filter(|words: &Vec<&str>| words.first() == Some(&name));
        words.collect()
    };
    // Head dimension, tile, instructions, stalls, per MFLOP, then the parts of the multiprocessor.
    let reference = rows("FlashAttention-3");
    let d128 = reference.iter().find(|row| row[1..3] == ["128", "128x128"]);
    let expected = [
        "469", "1017", "432.0", "2048", "1056", "396", "400", "938", "1792", "tensor", "229376",
    ];
    assert_eq!(d128.unwrap()[3..14], expected);
    for kernel in kernels().filter(|kernel| kernel.spec.arch == Arch::Sm90a) {
        let (entry, is_bf16) = (kernel.spec.entry, kernel.spec.entry.contains("_bf16_"));
        assert_eq!(
            rows(entry).len(),
            usize::from(is_bf16),
            "{entry} in\n{table}"
        );
    }
}

#[test]
fn predictions_take_no_problem_and_need_the_tools() {
    for option in ["--causal", "--backward"] {
        let run = flash_attention(&["profile", "--static", option]);
        assert_refused(&run, "--static");
    }
    let run = Command::new(env!("CARGO_BIN_EXE_flash-attention"))
        .args(["profile", "--static"])
        .env_clear()
        .env("PTXAS", "/no/such/ptxas")
        .output()
        .unwrap();
    assert_refused(&run, "/no/such/ptxas");
}
