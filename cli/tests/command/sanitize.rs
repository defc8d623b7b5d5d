//! `attend --sanitize`.

use crate::common::{
    PARAGRAPH, assert_code, assert_refused, attend_to, flash_attention, folder, text,
};

#[test]
fn sanitizers_pass_on_real_data_in_order_and_under_seeds_with_the_same_result() {
    let folder = folder("sanitize");
    let plain = folder.join("plain.safetensors");
    let run = flash_attention(&[
        "attend",
        PARAGRAPH,
        "--device",
        "emulated",
        "-o",
        text(&plain),
    ]);
    assert_code(&run, 0);
    for seed in [None, Some("1"), Some("18446744073709551615")] {
        let out = folder.join("sanitized.safetensors");
        let mut arguments = vec![
            "attend",
            PARAGRAPH,
            "--sanitize",
            "--check",
            "-o",
            text(&out),
        ];
        arguments.extend(seed.iter().flat_map(|seed| ["--seed", seed]));
        let run = flash_attention(&arguments);
        assert_code(&run, 0);
        let stdout = String::from_utf8(run.stdout).unwrap();
        assert!(
            stdout.contains("sanitize passed: memcheck, initcheck, racecheck, synccheck"),
            "{stdout}"
        );
        assert!(std::fs::read(&out).unwrap() == std::fs::read(&plain).unwrap());
    }
}

#[test]
fn only_the_emulated_device_can_be_sanitized() {
    let folder = folder("sanitize_devices");
    let out = folder.join("out.safetensors");
    assert_refused(
        &attend_to("-o", &out, &["--sanitize"]),
        "the reference runs none: use --device emulated",
    );
    let on_gpu = ["attend", PARAGRAPH, "--device", "cuda:0", "--sanitize"];
    assert_refused(&flash_attention(&on_gpu), "use --device emulated");
    let alone = ["attend", PARAGRAPH, "--seed", "1"];
    assert_refused(&flash_attention(&alone), "--sanitize");
}
