//! What the journal asks of a disk, and the disk of the operating system.
//!
//! Two disks pass the same suite: [`OsDisk`], and [`super::MemoryDisk`], which forgets what was not synced and fails on
//! request. One virtual call per write and per sync; nothing here is per record.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::OpenError;

/// Whether a call returns only once its effect survives a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Synced,
    /// After a loss of power the file may be old, missing, or garbled.
    Unsynced,
}

/// A flat folder of files.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Names of the files; leftovers of interrupted [`Disk::replace`] calls are removed first.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes or replaces a whole file: afterwards, even after a crash, it has the old or the new content. After an
    /// error, either.
    fn replace(&self, name: &str, content: &[u8], durability: Durability) -> io::Result<()>;
    /// Removes a file, durably.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bytes that can still be written to the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;
    /// On an error any part of it may be in the file.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable. After an error what was written since the last success may be lost although it
    /// can still be read, and a second call may succeed without writing it: never sync again and believe it.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the operating system, held by a file lock.
#[derive(Debug)]
pub struct OsDisk {
    directory: PathBuf,
    /// Open for the directory's own fsync.
    handle: File,
    /// The lock ends with this handle.
    _lock: File,
}

const LOCK: &str = "lock";
const NEW: &str = ".new";

impl OsDisk {
    /// Makes the folder when missing and locks it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process, or another log in this one, holds it.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Disk(directory.display().to_string(), error);
        fs::create_dir_all(directory).map_err(failed)?;
        let handle = File::open(directory).map_err(failed)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(LOCK));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(directory.display().to_string())),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        if let Some(parent) = directory.canonicalize().map_err(failed)?.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Ok(Self { directory: directory.to_owned(), handle, _lock: lock })
    }

    fn write_new(&self, path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        match durability {
            Durability::Synced => file.sync_all(),
            Durability::Unsynced => Ok(()),
        }
    }
}

impl Disk for OsDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.ends_with(NEW) {
                fs::remove_file(self.directory.join(name))?;
            } else if name != LOCK {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.directory.join(name))?))
    }

    fn replace(&self, name: &str, content: &[u8], durability: Durability) -> io::Result<()> {
        let new = self.directory.join(format!("{name}{NEW}"));
        let written = self.write_new(&new, content, durability);
        if let Err(error) = written.and_then(|()| fs::rename(&new, self.directory.join(name))) {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        match durability {
            Durability::Synced => self.handle.sync_all(),
            Durability::Unsynced => Ok(()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))?;
        self.handle.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::fstatvfs(&self.handle)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, position)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether the error says that there is no room, rather than that the disk is broken.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
