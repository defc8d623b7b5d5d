//! `profile`: the table, the JSON, the page, the comparison, the refusals.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{
    PARAGRAPH, SENTENCES, assert_code, assert_refused, flash_attention, folder, text,
};

/// A problem that takes a moment.
const SMALL: &str = "1,140,90,2,1,32";

/// Standard output of a profile that succeeds.
fn profile(arguments: &[&str]) -> String {
    let run = flash_attention(&[&["profile"], arguments].concat());
    assert_code(&run, 0);
    String::from_utf8(run.stdout).unwrap()
}

/// The JSON of a profile of `SMALL`.
fn json(path: &Path, more: &[&str]) -> Value {
    profile(&[&["--shape", SMALL, "--json", text(path)], more].concat());
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn total(document: &Value) -> &Value {
    &document["launches"][0]["counters"]["total"]
}

#[test]
fn kernels_for_hopper_are_counted_on_a_device_that_passes_as_one() {
    let shape = ["--shape", "1,140,90,2,1,128", "--device", "emulated:sm_90a"];
    let table = profile(&shape);
    for part in [
        "flash_fwd_sm90_bf16_",
        "of 384 threads",
        "mbarrier",
        "bulk copy",
        "bulk loads",
        "bulk writes",
        "operands of wgmma",
    ] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    let run = flash_attention(&["profile", "--shape", SMALL, "--device", "reference"]);
    assert_refused(&run, "use --device emulated");
    let run = flash_attention(&["profile", "--shape", SMALL, "--device", "cuda:0"]);
    assert_refused(&run, "profile watches the emulated device, not cuda:0");
}

#[test]
fn the_table_says_what_was_counted() {
    let table = profile(&[
        "--shape", SMALL, "--dtype", "f16", "--causal", "--scale", "0.5",
    ]);
    for part in [
        "random numbers, f16, batch 1, seqlen_q 140, seqlen_k 90, num_heads 2, num_heads_k 1, head_dim 32, causal, \
         softmax_scale 0.5",
        "40.00 MiB in sets of 16 lines",
        "flash_fwd_sm80_f16_hdim32: 4 blocks of 128 threads",
        "tensor core",
        "multi-function unit",
        "arrivals at barriers",
        "tensor core FLOPs",
        "cp.async",
        "ldmatrix",
        "hottest lines",
    ] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    // k is 90 rows of one head of 32 elements of 2 bytes, read once; lse is 2 heads of 140 rows.
    let row = |name: &str| {
        let row = table
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let row = row.unwrap_or_else(|| panic!("no row {name:?} in\n{table}"));
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("k "), "k 5.62 KiB 5.62 KiB 0 B 0 B");
    assert_eq!(row("lse "), "lse 0 B 0 B 1.09 KiB 1.09 KiB");
}

#[test]
fn a_file_is_profiled_as_attend_would_compute_it() {
    let table = profile(&[PARAGRAPH]);
    assert!(
        table.contains("minilm_layer3_paragraph.safetensors, f16"),
        "{table}"
    );
    assert!(table.contains("flash_fwd_sm80_f16_hdim32:"), "{table}");
}

#[test]
fn a_backward_pass_is_three_kernels_with_names_for_all_memory() {
    let table = profile(&[
        "--shape",
        SMALL,
        "--backward",
        "--window",
        "-1,9",
        "--top-left",
    ]);
    assert!(
        table.contains("head_dim 32, window -1,9, top-left, backward\n"),
        "{table}"
    );
    let kernels: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("kernel     ")?.split(':').next())
        .collect();
    assert_eq!(
        kernels,
        [
            "flash_bwd_delta_sm80_bf16",
            "flash_bwd_sm80_bf16_hdim32",
            "flash_bwd_dq_sm80_bf16"
        ]
    );
    for name in ["out", "lse", "d_out", "d_q", "d_k", "d_v", "workspace"] {
        let row = |line: &&str| line.split_whitespace().next() == Some(name);
        assert!(table.lines().any(|line| row(&line)), "{name} in\n{table}");
    }
    assert!(!table.contains("unnamed"), "{table}");
}

#[test]
fn a_file_without_d_out_has_no_backward_pass_and_packed_files_have_no_profile() {
    for (arguments, message) in [
        (&[PARAGRAPH, "--backward"][..], "no tensor d_out"),
        (&[SENTENCES], "the file has packed ones: name another"),
        (&["--shape", SMALL, "--deterministic"], "--backward"),
        (&["--shape", SMALL, "--seed", "1"], "--dropout-p <P>"),
        (&["--shape", SMALL, "--top-left"], "add causal, a window"),
    ] {
        let run = flash_attention(&[&["profile"], arguments].concat());
        assert_refused(&run, message);
    }
}

#[test]
fn json_is_the_same_in_every_run_and_compares_as_unchanged() {
    let folder = folder("profile_json");
    let (first, second) = (folder.join("first.json"), folder.join("second.json"));
    let document = json(&first, &[]);
    assert_eq!(document["schema"], "flash-attention/profile/1");
    assert_eq!(document["problem"]["dtype"], "bf16");
    assert_eq!(
        document["launches"][0]["entry"],
        "flash_fwd_sm80_bf16_hdim32"
    );
    assert!(total(&document)["operations"]["tensor_flops"].as_u64() > Some(0));
    assert_eq!(json(&second, &[]), document);
    let table = profile(&["--shape", SMALL, "--compare", text(&first)]);
    let (_, comparison) = table.split_once("changed since").unwrap();
    assert!(comparison.contains("nothing"), "{comparison}");
}

#[test]
fn options_reach_the_counters() {
    let folder = folder("profile_options");
    let read = |name: &str, l2: &str| {
        let document = json(&folder.join(name), &["--l2", l2]);
        let hbm = &document["launches"][0]["counters"]["hbm"];
        (hbm["read_bytes"].as_u64(), hbm["min_read_bytes"].as_u64())
    };
    let (unbounded, least) = read("unbounded", "unbounded");
    assert_eq!(unbounded, least);
    let (small, same) = read("small", "4096");
    assert!(small > least && same == least, "{small:?}, {least:?}");

    let instructions = |name: &str, more: &[&str]| {
        let document = json(&folder.join(name), more);
        total(&document)["instructions"].clone()
    };
    let plain = instructions("plain", &[]);
    assert_ne!(instructions("causal", &["--causal"]), plain);
    // The kernel prepares q for a negative scale.
    assert_ne!(instructions("negative", &["--scale", "-1"]), plain);
    assert_ne!(instructions("window", &["--window", "9,9"]), plain);
    assert_ne!(instructions("softcap", &["--softcap", "9"]), plain);
    let dropout = ["--dropout-p", "0.5", "--seed", "3"];
    assert_ne!(instructions("dropout", &dropout), plain);
}

#[test]
fn a_comparison_shows_the_largest_changes_first_and_marks_hotter_lines() {
    let folder = folder("profile_compare");
    let old = folder.join("old.json");
    json(&old, &[]);
    let longer = "1,140,190,2,1,32";
    let table = profile(&["--shape", longer, "--compare", text(&old)]);
    let (_, comparison) = table.split_once("changed since the profile of ").unwrap();
    assert!(comparison.starts_with("random numbers, bf16, batch 1, seqlen_q 140, seqlen_k 90"));
    let row = |name: &str| {
        comparison
            .lines()
            .find(|line| line.trim_start().starts_with(name))
    };
    // 5760 bytes of keys become 12160.
    let keys = row("bytes read of k").unwrap();
    assert!(
        keys.contains("5,760") && keys.contains("12,160") && keys.contains("+111.1 %"),
        "{keys}"
    );
    assert_eq!(row("bytes read of q"), None, "{comparison}");
    assert!(row("hotter").is_some(), "{comparison}");
    let totals = comparison
        .lines()
        .skip(2)
        .take_while(|line| !line.contains("of a line"));
    let percents: Vec<f64> = totals
        .filter_map(|line| line.rsplit("  ").next()?.trim().strip_suffix(" %"))
        .map(|percent| percent.parse::<f64>().unwrap().abs())
        .collect();
    assert!(
        percents.len() > 5 && percents.is_sorted_by(|a, b| a >= b),
        "{percents:?}"
    );
    // The other way round, the same lines are cooler.
    let new = folder.join("new.json");
    profile(&["--shape", longer, "--json", text(&new)]);
    let table = profile(&["--shape", SMALL, "--compare", text(&new)]);
    let (_, comparison) = table.split_once("changed since").unwrap();
    assert!(
        comparison.contains("-52.6 %") && !comparison.contains("hotter"),
        "{comparison}"
    );
}

#[test]
fn the_page_needs_nothing_else_and_shows_charts_and_source() {
    let folder = folder("profile_html");
    let path = folder.join("page.html");
    let table = profile(&["--shape", SMALL, "--html", text(&path)]);
    assert!(
        table.contains(&format!("wrote      {}", text(&path))),
        "{table}"
    );
    let page = fs::read_to_string(&path).unwrap();
    for part in [
        "<svg role=\"img\" aria-label=\"Warp instructions by class\"",
        "<svg role=\"img\" aria-label=\"Bytes between L2 and device memory\"",
        "Bank conflicts by source line",
        "prefers-color-scheme: dark",
        "<tr style=\"--heat:1.000\">",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    for foreign in [
        "http:", "https:", "<script", "<link", "<img", "@import", "url(",
    ] {
        assert!(!page.contains(foreign), "{foreign:?} in the page");
    }
    let opened = |tag: &str| page.matches(&format!("<{tag}")).count();
    let closed = |tag: &str| page.matches(&format!("</{tag}>")).count();
    for tag in ["svg", "table", "tr", "details", "section", "pre"] {
        assert!(opened(tag) > 0 && opened(tag) == closed(tag), "{tag}");
    }
}

#[test]
fn an_empty_output_is_no_error() {
    let folder = folder("profile_empty");
    let path = folder.join("empty.html");
    let table = profile(&["--shape", "1,0,5,1,1,8", "--html", text(&path)]);
    assert!(table.contains("none, the output is empty"), "{table}");
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("Nothing was launched"), "{page}");
}

#[test]
fn what_cannot_be_profiled_is_refused_with_the_way_out() {
    let missing = "/no/such/folder/out.json";
    for (arguments, message) in [
        (&[][..], "--shape"),
        (&["a.safetensors", "--shape", SMALL], "cannot be used with"),
        (&["no.safetensors"], "cannot read no.safetensors"),
        (&["no.safetensors", "--dtype", "f16"], "cannot be used with"),
        (
            &["--shape", "1,2,3"],
            "expected six numbers: batch, seqlen_q",
        ),
        (&["--shape", "1,2,3,4,x,6"], "expected six numbers"),
        (
            &["--shape", "1,2,3,4,3,8"],
            "num_heads 4 must be a multiple of num_heads_k 3",
        ),
        (&["--shape", "1,2,3,4,4,7"], "positive multiple of 8"),
        (&["--shape", "1,2147483647,3,4,4,8"], "at most 2^28"),
        (&["--shape", SMALL, "--dtype", "f32"], "f16, bf16"),
        (
            &["--shape", SMALL, "--l2", "big"],
            "a number of bytes or unbounded",
        ),
        (
            &["--shape", SMALL, "--l2", "1000"],
            "positive multiple of 128 bytes times the ways",
        ),
        (&["--shape", SMALL, "--softmax-scale", "nan"], "finite"),
        (
            &["--shape", SMALL, "--json", missing],
            "its folder must exist",
        ),
        (
            &["--shape", SMALL, "--compare", missing],
            "cannot read /no/such",
        ),
    ] {
        let run = flash_attention(&[&["profile"], arguments].concat());
        assert_code(&run, 2);
        let stderr = String::from_utf8(run.stderr).unwrap();
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(run.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn only_profiles_of_this_version_are_compared_and_a_refusal_leaves_files_alone() {
    let folder = folder("profile_schema");
    let (good, out) = (folder.join("good.json"), folder.join("out.json"));
    json(&good, &[]);
    let good = fs::read_to_string(&good).unwrap();
    fs::write(&out, "as it was").unwrap();
    for (name, contents, message) in [
        ("text", "hello", "it is not JSON"),
        ("cut", &good[..good.len() / 2], "it is not JSON"),
        ("other", "{\"a\": 1}", "it has no \"schema\""),
        (
            "newer",
            &good.replace("profile/1", "profile/2"),
            "its schema is \"flash-attention/profile/2\", this command reads \"flash-attention/profile/1\"",
        ),
        (
            "incomplete",
            "{\"schema\": \"flash-attention/profile/1\"}",
            "it is no complete flash-attention/profile/1: missing field",
        ),
    ] {
        let path = folder.join(name);
        fs::write(&path, contents).unwrap();
        let compare = ["--compare", text(&path), "--json", text(&out)];
        let run = flash_attention(&[&["profile", "--shape", SMALL], &compare[..]].concat());
        assert_code(&run, 2);
        let stderr = String::from_utf8(run.stderr).unwrap();
        assert!(stderr.contains(message), "{name}: {stderr}");
        assert_eq!(fs::read_to_string(&out).unwrap(), "as it was", "{name}");
    }
    let page = folder.join("./out.json");
    let both = ["--json", text(&out), "--html", text(&page)];
    let run = flash_attention(&[&["profile", "--shape", SMALL], &both[..]].concat());
    assert_code(&run, 2);
    assert!(
        String::from_utf8(run.stderr)
            .unwrap()
            .contains("are the same file")
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), "as it was");
}

#[test]
fn a_profile_may_replace_the_one_it_is_compared_with() {
    let folder = folder("profile_replace");
    let path = folder.join("profile.json");
    let old = json(&path, &[]);
    let arguments = ["--causal", "--compare", text(&path), "--json", text(&path)];
    let table = profile(&[&["--shape", SMALL], &arguments[..]].concat());
    assert!(table.contains("changed since"), "{table}");
    let new: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_ne!(new, old);
}
