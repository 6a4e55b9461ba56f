use std::path::PathBuf;

/// The disk failed or holds what cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the disk of the store fails: {0}")]
    Disk(String),
    #[error("the store holds what it should not: {0}")]
    Corrupt(String),
    #[error("the store is closing")]
    Closing,
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt(error.into_string()),
            _ => Self::Disk(error.into_string()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process uses the data folder {0}; stop it first, or choose another folder")]
    InUse(PathBuf),
    #[error("the data folder {place} was written by another version (format {found}, this one reads {known})")]
    Format { place: String, found: u32, known: u32 },
    #[error("the data folder belongs to node {stored}, the configuration says {configured}")]
    NodeId { stored: u64, configured: u64 },
    #[error("the hub was created with {stored} groups, the configuration says {configured}; the number never changes")]
    Groups { stored: u32, configured: u32 },
    #[error("invalid configuration: {0}")]
    Configuration(String),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("Raft group {group} does not start: {cause}")]
    Raft { group: model::GroupId, cause: String },
}
