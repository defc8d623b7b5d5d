//! The README says what was measured, not what somebody remembers.

use std::fs;

use bench_suite::render::{MARKS, newest, section};
use bench_suite::repository;
use bench_suite::results::Results;

#[test]
fn the_readme_has_the_tables_of_the_newest_results() {
    let root = repository();
    let folder = newest(&root).expect("there are results in benches/results");
    let results = Results::read(&folder).unwrap();
    assert!(!results.is_quick, "{} is of a quick run", folder.display());
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, rest) = readme.split_once(MARKS[0]).unwrap();
    let (present, _) = rest.split_once(MARKS[1]).unwrap();
    let measured = section(&results, &folder, &root);
    assert!(
        present == measured,
        "README.md has\n{present}\nand the results are\n{measured}\n`cargo xtask bench -- --render {}` takes them over",
        folder.display()
    );
}
