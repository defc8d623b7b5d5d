//! Files that appear whole or not at all.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf, is_separator};

use anyhow::{Context, Result, bail};
use tempfile::{Builder, NamedTempFile};

/// A file under a temporary name in its final folder, renamed by [`commit`](OutputFile::commit) and otherwise removed.
///
/// Made before the work that fills it, so that a path that cannot be written is found out early.
pub struct OutputFile {
    temporary: NamedTempFile,
    target: PathBuf,
    /// The path as the user wrote it, for messages.
    path: PathBuf,
}

impl OutputFile {
    pub fn create(path: &Path) -> Result<OutputFile> {
        let cannot = || format!("cannot write {}", path.display());
        let target = Target::find(path)?;
        // `find` joins a name to a folder, so that there always is one.
        let folder = target.path.parent().unwrap_or(Path::new("."));
        let temporary = temporary_in(folder).with_context(cannot)?;
        if let Some(permissions) = target.permissions {
            let file = temporary.as_file();
            file.set_permissions(permissions).with_context(cannot)?;
        }
        Ok(OutputFile {
            temporary,
            target: target.path,
            path: path.to_owned(),
        })
    }

    pub fn commit(mut self, contents: &[u8]) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        self.temporary.write_all(contents).with_context(cannot)?;
        let persisted = self.temporary.persist(&self.target);
        persisted
            .map_err(|error| error.error)
            .with_context(cannot)?;
        Ok(())
    }

    /// Whether both would replace one file, under whatever names.
    pub fn is_same_file(&self, other: &OutputFile) -> bool {
        self.target == other.target
    }

    /// The path as the user wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file that a path stands for.
struct Target {
    /// Without symbolic links, which therefore stay when the file is replaced.
    path: PathBuf,
    /// Those of the file that will be replaced.
    permissions: Option<Permissions>,
}

impl Target {
    fn find(path: &Path) -> Result<Target> {
        let shown = path.display();
        if shown.to_string().ends_with(is_separator) {
            bail!("{shown} ends in a slash, which names a folder: name a file");
        }
        let Some(name) = path.file_name() else {
            bail!("{path:?} is not the name of a file: name one");
        };
        match fs::symlink_metadata(path) {
            Ok(_) => Target::existing(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // The parent of a bare name is the empty path, which no system call accepts.
                let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
                let folder = fs::canonicalize(parent.unwrap_or(Path::new(".")))
                    .with_context(|| format!("cannot write {shown}, its folder must exist"))?;
                Ok(Target {
                    path: folder.join(name),
                    permissions: None,
                })
            }
            Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
        }
    }

    /// Renaming over a device, a pipe or a socket would destroy it, so only regular files are replaced.
    fn existing(path: &Path) -> Result<Target> {
        let shown = path.display();
        let target = fs::canonicalize(path).with_context(|| {
            format!("{shown} is a link without a target: create the target or remove the link")
        })?;
        let cannot = || format!("cannot write {shown}");
        let metadata = fs::metadata(&target).with_context(cannot)?;
        if metadata.is_dir() {
            bail!("{shown} is a folder: name a file in it");
        }
        if !metadata.is_file() {
            bail!(
                "{shown} is a device, pipe or socket, must be a regular file or a new name: write a file and copy it there"
            );
        }
        // A rename needs no permission for the file itself: without this, read-only files would be replaced.
        OpenOptions::new()
            .write(true)
            .open(&target)
            .with_context(cannot)?;
        Ok(Target {
            path: target,
            permissions: Some(metadata.permissions()),
        })
    }
}

fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".flash-attention-").suffix(".tmp");
    // As any new file, readable by whom the umask allows; the crate's default is the owner alone.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
