//! Writing so that a kill or a power cut leaves either what was there or what was to be there: every file and folder that a
//! resumed run relies on goes through here.
//!
//! A file is written under `.NAME.tmp` beside its place, synced, renamed, and its folder is synced. What a kill leaves under a
//! temporary name is overwritten by the next write to that place and read by nobody.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {doing}: {source}", path.display())]
pub struct FileError {
    pub path: PathBuf,
    pub doing: &'static str,
    pub source: io::Error,
}

type Result<T> = std::result::Result<T, FileError>;

fn fail(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.to_path_buf();
    move |source| FileError { path, doing, source }
}

/// A file under a temporary name beside its place. [`AtomicFile::commit`] syncs and renames it; dropped before that, it
/// is removed.
pub struct AtomicFile {
    path: PathBuf,
    tmp: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    pub fn create(path: &Path) -> Result<Self> {
        let tmp = temporary(path)?;
        let file = File::create(&tmp).map_err(fail(&tmp, "create"))?;
        Ok(Self { path: path.into(), tmp, file: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.as_mut().map_or(Ok(()), |f| f.write_all(bytes)).map_err(fail(&self.path, "write"))
    }

    pub fn seek(&mut self, at: u64) -> Result<()> {
        let done = self.file.as_mut().map_or(Ok(0), |f| f.seek(SeekFrom::Start(at)));
        done.map(drop).map_err(fail(&self.path, "write"))
    }

    pub fn commit(mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            let file = file.into_inner().map_err(|e| fail(&self.path, "write")(e.into_error()))?;
            file.sync_all().map_err(fail(&self.path, "sync"))?;
        }
        fs::rename(&self.tmp, &self.path).map_err(fail(&self.path, "rename the finished file to"))?;
        self.tmp.clear();
        sync_parent(&self.path);
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.tmp.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.tmp);
        }
    }
}

/// Writes a whole file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.commit()
}

/// An empty folder under a temporary name, to be filled and given to [`commit_dir`].
pub fn begin_dir(target: &Path) -> Result<PathBuf> {
    let tmp = temporary(target)?;
    if tmp.exists() {
        fs::remove_dir_all(&tmp).map_err(fail(&tmp, "remove"))?;
    }
    fs::create_dir_all(&tmp).map_err(fail(&tmp, "create"))?;
    Ok(tmp)
}

/// Puts a folder whose files were written by this module at its place, instead of what is there.
pub fn commit_dir(tmp: &Path, target: &Path) -> Result<()> {
    if target.exists() {
        remove_dir(target)?;
    }
    fs::rename(tmp, target).map_err(fail(target, "rename the finished folder to"))?;
    sync_parent(target);
    Ok(())
}

/// Removes a folder; under its own name it is never there in part.
pub fn remove_dir(path: &Path) -> Result<()> {
    let tmp = temporary(path)?.with_extension("old.tmp");
    if tmp.exists() {
        fs::remove_dir_all(&tmp).map_err(fail(&tmp, "remove"))?;
    }
    fs::rename(path, &tmp).map_err(fail(path, "remove"))?;
    fs::remove_dir_all(&tmp).map_err(fail(&tmp, "remove"))
}

/// Removes what a kill left under temporary names in `dir`, where the name began with `prefix`.
pub fn clean(dir: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(fail(dir, "list"))? {
        let entry = entry.map_err(fail(dir, "list"))?;
        let name = entry.file_name();
        let stale = name.to_str().is_some_and(|n| n.starts_with(&format!(".{prefix}")) && n.ends_with(".tmp"));
        if stale {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(fail(&path, "remove"))?;
        }
    }
    Ok(())
}

/// The name of a file or folder in the making. It has no part that varies, so that a second try overwrites what a kill left.
fn temporary(path: &Path) -> Result<PathBuf> {
    let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file: give a file name");
    let name = path.file_name().ok_or_else(nameless).map_err(fail(path, "create"))?;
    Ok(path.with_file_name(format!(".{}.tmp", name.to_string_lossy())))
}

/// A rename is durable once its folder is synced; where folders cannot be opened (Windows) it is as good as it gets.
fn sync_parent(path: &Path) {
    let parent = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    if let Some(Ok(folder)) = parent.map(File::open) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_as_it_was_and_leftovers_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cells.json");
        write(&path, b"first").unwrap();
        // As a kill would leave it: longer than what comes next.
        fs::write(dir.path().join(".cells.json.tmp"), b"half of something longer").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write(b"sec").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        file.write(b"ond").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        drop(AtomicFile::create(&path).unwrap());
        assert_eq!(names(dir.path()), ["cells.json"]);
        let error = write(&dir.path().join("no/such/folder"), b"").unwrap_err().to_string();
        assert!(error.contains(".folder.tmp: cannot create"), "{error}");
        assert!(write(Path::new("/"), b"").unwrap_err().to_string().contains("names no file"));
    }

    #[test]
    fn a_folder_appears_whole_and_goes_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("checkpoint-3");
        for text in ["first", "second"] {
            // What a kill left in an earlier try is no part of the next.
            fs::create_dir_all(dir.path().join(".checkpoint-3.tmp/stale")).unwrap();
            let tmp = begin_dir(&target).unwrap();
            write(&tmp.join("a"), text.as_bytes()).unwrap();
            commit_dir(&tmp, &target).unwrap();
            assert_eq!((names(&target), fs::read(target.join("a")).unwrap()), (vec!["a".into()], text.into()));
        }
        assert_eq!(names(dir.path()), ["checkpoint-3"]);
        fs::create_dir_all(dir.path().join(".checkpoint-2.old.tmp")).unwrap();
        fs::write(dir.path().join(".checkpoint-1.tmp"), "").unwrap();
        fs::write(dir.path().join(".other.tmp"), "").unwrap();
        clean(dir.path(), "checkpoint-").unwrap();
        assert_eq!(names(dir.path()), [".other.tmp", "checkpoint-3"]);
        remove_dir(&target).unwrap();
        assert_eq!(names(dir.path()), [".other.tmp"]);
    }
}
