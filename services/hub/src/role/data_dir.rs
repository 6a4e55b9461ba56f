//! The data folder: one process at a time, for the owner only.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::files;

/// An opened data folder. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder when it is missing and takes its lock.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        files::make_folder(path)?;
        let path = path.canonicalize().with_context(|| format!("cannot reach the data folder {}", path.display()))?;
        let lock = lock(&path)?;
        let opened = Self { path, _lock: lock };
        files::make_folder(&opened.certificates())?;
        Ok(opened)
    }

    /// The folder itself, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates that the hub makes itself.
    pub fn certificates(&self) -> PathBuf {
        self.path.join("certificates")
    }

    /// Addresses and connection strings, for the programs of the owner.
    pub fn hub_json(&self) -> PathBuf {
        hub_json(&self.path)
    }
}

/// Where a data folder has its `hub.json`.
pub fn hub_json(data_dir: &Path) -> PathBuf {
    data_dir.join("hub.json")
}

fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write to the data folder {}", data_dir.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => anyhow::bail!(in_use(data_dir, &mut file)),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display()))?,
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}

fn in_use(data_dir: &Path, lock: &mut File) -> String {
    let mut text = String::new();
    let process = match lock.take(20).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(id) => format!("process {id}"),
        None => "another process".to_owned(),
    };
    format!(
        "the data folder {} is in use by {process}; stop that one, or give this one a folder of its own with --data-dir",
        data_dir.display()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_one_is_refused_and_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn only_the_owner_can_enter() {
        let folder = tempfile::tempdir().unwrap();
        let opened = DataDir::open(&folder.path().join("data")).unwrap();
        for path in [folder.path().join("data"), opened.certificates()] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }
}
