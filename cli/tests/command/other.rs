//! `kernels` and `doctor`.

use std::fs;

use crate::common::{assert_code, flash_attention, folder, text};

#[test]
fn kernels_lists_and_writes_every_entry() {
    let folder = folder("kernels").join("new/folder");
    let run = flash_attention(&["kernels", "--emit-ptx", text(&folder)]);
    assert_code(&run, 0);
    let stdout = String::from_utf8(run.stdout).unwrap();
    for kernel in flash_attention::kernels() {
        let entry = kernel.spec.entry;
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
