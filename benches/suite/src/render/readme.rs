//! The README's section with measured tables.

use std::fs;
use std::path::{Path, PathBuf};

use super::table::{comparisons, compilation_lines, growth_exponents, lengths};
use super::{HBM, PAGE, PEERS, TIME};
use crate::SuiteError;
use crate::results::{FILE, Results};

/// The lines before and after the section.
pub const MARKS: [&str; 2] = ["<!-- benches: cpu -->\n", "<!-- end -->\n"];

/// Where results are kept, below the root of the repository.
const FOLDER: &str = "benches/results";
/// How a folder of this suite's results is called after its date.
const SUFFIX: &str = "-cpu";

/// The folder of the newest results below `benches/results/`; `None` when there are none.
pub fn newest(repository: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(repository.join(FOLDER)).ok()?;
    let folders = folders.flatten().map(|folder| folder.path());
    folders
        .filter(|folder| folder.to_string_lossy().ends_with(SUFFIX) && folder.join(FILE).is_file())
        .max()
}

/// What stands between the marks, for results that are kept in `folder`.
pub fn section(results: &Results, folder: &Path, repository: &Path) -> String {
    let link = folder.strip_prefix(repository).unwrap_or(folder).display();
    let nvcc = results.compilation.as_ref().map(|build| &build.nvcc);
    let command = match nvcc {
        Some(builds) if !builds.is_empty() => "cargo xtask bench --nvcc",
        _ => "cargo xtask bench",
    };
    let mut text = format!(
        "On {},\n{}: medians of rounds in which all who did a work took turns, in one run of `{command}`\n\
         ([all figures]({link}/{PAGE}), [raw]({link}/{FILE})).\n",
        results.machine.summary(),
        results.date
    );
    if !results.comparisons.is_empty() {
        text += &format!("\n{}", comparisons(&results.comparisons));
        text += &format!(
            "\n![the same as bars, with lines from the fastest to the slowest round]({link}/{PEERS})\n"
        );
    }
    if let Some(compilation) = &results.compilation {
        text += &format!(
            "\nA build from nothing:\n\n{}",
            compilation_lines(compilation)
        );
    }
    if let Some(growth) = &results.growth {
        text += &format!(
            "\nGrowth, {}, {} (plots: [HBM traffic]({link}/{HBM}), [time]({link}/{TIME})):\n\n{}",
            growth.work,
            lengths(growth),
            growth_exponents(growth)
        );
    }
    text
}

/// Puts the section into the README, and returns its path.
pub(super) fn write(
    folder: &Path,
    results: &Results,
    repository: &Path,
) -> Result<PathBuf, SuiteError> {
    let path = repository.join("README.md");
    let readme = fs::read_to_string(&path).map_err(SuiteError::file(&path))?;
    let section = section(results, folder, repository);
    let replaced = replace(&readme, &section).map_err(|mark| SuiteError::Mark {
        path: path.clone(),
        mark,
    })?;
    fs::write(&path, replaced).map_err(SuiteError::file(&path))?;
    Ok(path)
}

/// The text with another section, or the mark that it lacks.
fn replace(text: &str, section: &str) -> Result<String, &'static str> {
    let (before, rest) = text.split_once(MARKS[0]).ok_or(MARKS[0].trim_end())?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or(MARKS[1].trim_end())?;
    Ok([before, MARKS[0], section, MARKS[1], after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render;
    use crate::render::sample;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- benches: cpu -->\nold\n<!-- end -->\nb\n<!-- end -->\n";
        let expected = "a\n<!-- benches: cpu -->\nnew\n<!-- end -->\nb\n<!-- end -->\n";
        assert_eq!(replace(text, "new\n").unwrap(), expected);
        assert_eq!(replace("a\n", "new\n"), Err("<!-- benches: cpu -->"));
        assert_eq!(
            replace("<!-- benches: cpu -->\n", "new\n"),
            Err("<!-- end -->")
        );
    }

    #[test]
    fn the_newest_results_are_those_of_the_last_date() {
        let repository = tempfile::tempdir().unwrap();
        let folder = |name: &str| repository.path().join(FOLDER).join(name);
        assert_eq!(newest(repository.path()), None);
        for name in ["2026-11-20-cpu", "2026-11-21-cpu", "2026-11-22-h100"] {
            sample::results().write(&folder(name)).unwrap();
        }
        fs::create_dir_all(folder("2026-11-23-cpu")).unwrap();
        assert_eq!(newest(repository.path()), Some(folder("2026-11-21-cpu")));
    }

    #[test]
    fn the_readme_changes_with_the_newest_results_and_no_others() {
        let repository = tempfile::tempdir().unwrap();
        let root = repository.path();
        let [old, new] =
            ["2026-11-20-cpu", "2026-11-21-cpu"].map(|name| root.join(FOLDER).join(name));
        sample::results().write(&old).unwrap();
        sample::results().write(&new).unwrap();
        let readme = root.join("README.md");
        let empty = MARKS.concat();
        fs::write(&readme, &empty).unwrap();

        render::write(&old, root).unwrap();
        assert_eq!(fs::read_to_string(&readme).unwrap(), empty);
        let written = render::write(&new, root).unwrap();
        assert_eq!(written.last(), Some(&readme));
        let text = fs::read_to_string(&readme).unwrap();
        assert!(
            text.contains("](benches/results/2026-11-21-cpu/table.md)"),
            "{text}"
        );
        assert!(text.contains("|  | theirs | 5.00 s |"), "{text}");
    }
}
