//! The whole suite in seconds, so that it cannot rot between two runs that count.

use std::fs;

use bench_suite::measure::{self, Part, Plan};
use bench_suite::render;
use bench_suite::results::Results;

#[test]
fn a_quick_run_measures_every_part_and_renders_it() {
    let results = measure::run(&Plan::quick()).unwrap();
    let works = |start: &str| {
        results
            .comparisons
            .iter()
            .filter(|c| c.work.starts_with(start))
            .count()
    };
    // Forward once, and watched on each architecture.
    assert_eq!((works("forward"), works("backward")), (3, 1));
    for timing in results
        .comparisons
        .iter()
        .flat_map(|comparison| &comparison.timings)
    {
        let spread = timing.seconds;
        assert!(0.0 < spread.min && spread.min <= spread.median && spread.median <= spread.max);
    }
    // Two passes, with and without a mask, on two architectures.
    assert_eq!(results.traffic.len(), 8);
    assert!(
        results
            .traffic
            .iter()
            .all(|pass| pass.hbm_bytes >= pass.compulsory_bytes)
    );
    assert!(
        results
            .kernels
            .iter()
            .any(|kernel| kernel.hottest_loop.is_some())
    );

    let folder = tempfile::tempdir().unwrap();
    results.write(folder.path()).unwrap();
    assert_eq!(Results::read(folder.path()).unwrap(), results);
    let written = render::write(folder.path(), &bench_suite::repository()).unwrap();
    let names = written
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["peers.svg", "growth-hbm.svg", "growth-time.svg", "table.md"]
    );
    let page = fs::read_to_string(folder.path().join("table.md")).unwrap();
    assert!(page.contains("its numbers mean nothing"), "{page}");
    assert!(page.contains("Compilation was not measured"), "{page}");
}

#[test]
fn traffic_of_standard_attention_grows_faster_than_that_of_flash_attention() {
    let plan = Plan {
        parts: vec![Part::Growth],
        ..Plan::quick()
    };
    let results = measure::run(&plan).unwrap();
    let growth = results.growth.unwrap();
    let exponents: Vec<f64> = growth
        .algorithms
        .iter()
        .map(|a| a.hbm_exponent.unwrap())
        .collect();
    let [standard, flash1, flash2] = exponents[..] else {
        panic!("{exponents:?}")
    };
    assert!(standard > 1.5, "{standard}");
    assert!(
        (flash1 - 1.0).abs() < 0.1 && (flash2 - 1.0).abs() < 0.1,
        "{flash1}, {flash2}"
    );
    assert!(results.comparisons.is_empty() && results.traffic.is_empty());
}
