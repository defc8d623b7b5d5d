//! `support`: the table of the README is what the command finds out.

use std::fs;
use std::path::Path;

use crate::common::{assert_code, flash_attention};

/// Where the table stands in the README.
const MARKS: [&str; 2] = ["<!-- flash-attention support -->\n", "<!-- end -->"];

#[test]
fn the_readme_has_the_table_that_the_command_prints() {
    let run = flash_attention(&["support"]);
    assert_code(&run, 0);
    let table = String::from_utf8(run.stdout).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(MARKS[0]).unwrap();
    let (present, after) = rest.split_once(MARKS[1]).unwrap();
    if std::env::var_os("FLASH_ATTENTION_BLESS").is_some_and(|value| value == "1") {
        let readme = [before, MARKS[0], &table, MARKS[1], after].concat();
        fs::write(&path, readme).unwrap();
        return;
    }
    assert!(
        present == table,
        "README.md has\n{present}\nand the command prints\n{table}\n`cargo xtask bless` takes it over"
    );
}

#[test]
fn a_device_that_is_none_is_refused() {
    let run = flash_attention(&["support", "--devices", "emulated,tpu"]);
    assert_code(&run, 2);
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(stderr.contains("tpu"), "{stderr}");
}

#[test]
fn advice_is_for_this_command() {
    let help = flash_attention(&["support", "--help"]);
    // What a user can copy.
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("[default: emulated:sm_80,emulated:sm_90a]"));
    let run = flash_attention(&["support", "--devices", "cuda:4096"]);
    assert_code(&run, 2);
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(stderr.contains("the device emulated"), "{stderr}");
}
