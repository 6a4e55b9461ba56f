//! The data folder: one process at a time, for the owner only.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use crate::files;

/// How often a folder that is in use is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

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

    /// The same; waits so long for a process that is about to end. Kubernetes replaces a pod that was deleted by force at once,
    /// and begins one that fails only after a pause.
    pub async fn open_when_free(path: &Path, patience: Duration) -> anyhow::Result<Self> {
        let deadline = Instant::now() + patience;
        let mut is_told = false;
        loop {
            match Self::open(path) {
                Err(error) if error.is::<InUse>() && Instant::now() < deadline => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "waits for the data folder");
                    }
                    sleep(LOOK_EVERY).await;
                }
                opened => return opened,
            }
        }
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
        Err(TryLockError::WouldBlock) => anyhow::bail!(InUse::by_owner_of(&mut file, data_dir)),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display()))?,
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Another process has the lock.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data folder {} is in use by {process}; stop that one, or give this one a folder of its own with --data-dir",
    data_dir.display()
)]
struct InUse {
    data_dir: PathBuf,
    process: String,
}

impl InUse {
    fn by_owner_of(lock: &mut File, data_dir: &Path) -> Self {
        let mut text = String::new();
        let id = lock.take(20).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
        let process = id.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"));
        Self { data_dir: data_dir.to_owned(), process }
    }
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

    #[tokio::test(start_paused = true)]
    async fn a_patient_one_waits_for_the_end_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let patience = Duration::from_secs(5);
        let refused = DataDir::open_when_free(folder.path(), patience).await.unwrap_err();
        assert!(refused.is::<InUse>(), "{refused}");
        let end = tokio::spawn(async move {
            sleep(patience / 2).await;
            drop(first);
        });
        DataDir::open_when_free(folder.path(), patience).await.unwrap();
        end.await.unwrap();
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
