//! Snapshots: a view of the group's rows until another replica needs them, then sorted files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::GroupId;
use rocksdb::SstFileWriter;

use super::{StoreError, Table, View, database::Database};

/// A file takes no more rows once it is this large.
const FILE_BYTES: u64 = 64 << 20;

/// What openraft calls a snapshot.
#[derive(Debug)]
pub enum SnapshotData {
    /// The rows of this node, as they were.
    View(View),
    /// The rows of another node, as files that were received whole.
    Files(ReceivedFiles),
}

/// Files of sorted rows in a folder of their own, which goes away with them.
#[derive(Debug)]
pub struct ReceivedFiles {
    directory: PathBuf,
    files: Vec<PathBuf>,
}

impl ReceivedFiles {
    /// An empty folder.
    pub fn create(directory: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, files: Vec::new() })
    }

    /// The path of one more file; the order does not matter. Names are numbers, so none leads out of the folder.
    pub fn next_file(&mut self) -> &Path {
        let path = self.directory.join(format!("{}.sst", self.files.len()));
        self.files.push(path);
        self.files.last().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl Drop for ReceivedFiles {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, directory = %self.directory.display(), "cannot remove the files of a snapshot");
        }
    }
}

/// Writes all rows of the view to files. Blocks for as long as that takes.
pub fn write_files(view: &View, directory: PathBuf) -> Result<ReceivedFiles, StoreError> {
    let options = view.database().file_options();
    let mut files = ReceivedFiles::create(directory)?;
    let mut current: Option<SstFileWriter<'_>> = None;
    view.for_each(|key, value| {
        let mut writer = match current.take() {
            Some(writer) => writer,
            None => {
                let writer = SstFileWriter::create(options);
                writer.open(files.next_file())?;
                writer
            }
        };
        writer.put(key, value)?;
        if writer.file_size() >= FILE_BYTES {
            writer.finish()?;
        } else {
            current = Some(writer);
        }
        Ok(())
    })?;
    if let Some(mut writer) = current {
        writer.finish()?;
    }
    Ok(files)
}

/// Makes a snapshot the state of the group. Blocks for as long as that takes.
pub(super) fn install(
    database: &Arc<Database>,
    group: GroupId,
    snapshot: SnapshotData,
    scratch: PathBuf,
) -> Result<Table, StoreError> {
    let received = match snapshot {
        SnapshotData::Files(files) => files,
        SnapshotData::View(view) => write_files(&view, scratch)?,
    };
    database.replace_state(group, received.files.clone())
}
