//! Places in the source, what their instructions did, and what is written there.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use flash_attention::profile::{Counts, LaunchProfile};
use serde::{Deserialize, Serialize};

/// A line that instructions come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// A Rust file, as the kernels' compiler names it, or `ENTRY.ptx`.
    pub file: String,
    /// One-based.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What was counted at each place: the Rust line of an instruction where it is known, else its PTX line.
pub fn hot_lines(launches: &[LaunchProfile]) -> BTreeMap<Place, Counts> {
    let mut places: BTreeMap<Place, Counts> = BTreeMap::new();
    for launch in launches {
        for line in &launch.counters.lines {
            let (file, number) = match &line.source {
                Some((file, number)) => (file.clone(), *number),
                None => (format!("{}.ptx", launch.entry), line.line),
            };
            let place = Place { file, line: number };
            *places.entry(place).or_default() += &line.counts;
        }
    }
    places
}

/// Reads source files, each once.
pub struct Sources {
    /// The folder that the names of Rust files begin in; none when there is no source tree.
    root: Option<PathBuf>,
    files: HashMap<String, Option<Vec<String>>>,
}

impl Sources {
    /// The source tree is the current folder, or the one that this command was built in.
    pub fn find() -> Sources {
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let candidates = std::env::current_dir().ok().into_iter();
        let mut candidates = candidates.chain(built_in.map(Path::to_owned));
        Sources {
            root: candidates.find(|folder| folder.join("kernels-gpu/src").is_dir()),
            files: HashMap::new(),
        }
    }

    /// All lines of a file.
    pub fn lines(&mut self, file: &str) -> Option<&[String]> {
        if !self.files.contains_key(file) {
            let text = ptx(file).or_else(|| self.read(file));
            let lines = text.map(|text| text.lines().map(str::to_owned).collect());
            self.files.insert(file.to_owned(), lines);
        }
        self.files.get(file)?.as_deref()
    }

    /// One line.
    pub fn line(&mut self, place: &Place) -> Option<&str> {
        let index = (place.line as usize).checked_sub(1)?;
        let line = self.lines(&place.file)?.get(index)?;
        Some(line)
    }

    /// Names outside the source tree are those of the compiler's own library.
    fn read(&self, file: &str) -> Option<String> {
        let path = Path::new(file);
        let is_inside = path
            .components()
            .all(|it| matches!(it, Component::Normal(_)));
        let root = self.root.as_ref().filter(|_| is_inside)?;
        std::fs::read_to_string(root.join(path)).ok()
    }
}

/// The text of one of this library's kernels.
fn ptx(file: &str) -> Option<String> {
    let entry = file.strip_suffix(".ptx")?;
    let mut kernels = flash_attention::kernels();
    let kernel = kernels.find(|kernel| kernel.spec.entry == entry)?;
    Some(kernel.ptx.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_source_tree_and_kernels_are_read() {
        let mut sources = Sources::find();
        assert!(sources.lines("kernels-gpu/src/lib.rs").is_some());
        assert!(sources.lines("flash_fwd_sm80_f16_hdim32.ptx").is_some());
        for file in [
            "/etc/passwd",
            "../../../../../etc/passwd",
            "core/src/num/f32.rs",
            "no.ptx",
        ] {
            assert!(sources.lines(file).is_none(), "{file}");
        }
        let place = |line| Place {
            file: "kernels-gpu/src/lib.rs".to_owned(),
            line,
        };
        assert!(sources.line(&place(1)).is_some());
        for line in [0, u32::MAX] {
            assert!(sources.line(&place(line)).is_none(), "{line}");
        }
    }
}
