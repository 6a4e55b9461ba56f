//! A hub's settings and state in a file, and back: see `ironhub/shard/v1/backup.proto` for what it looks like.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::{GroupId, HubSettings, Timestamp, group_of};
use prost::Message;
use proto::shard::v1::{
    self, BackupEnd, BackupFrame, BackupHeader, BackupRow, BackupRows, ExportGroupRequest, backup_frame::Part,
    command::Operation, command_result::Outcome, shard_client::ShardClient as Stub,
};
use tokio::sync::mpsc;
use tonic::{Streaming, transport::Channel};

use crate::{SettingsError, ShardClient, Unavailable};

const FORMAT: u32 = 1;
/// One frame of a backup at most: a page of rows, the last of which may be the largest there is.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of rows in one command.
const COMMAND_BYTES_MAX: usize = 256 << 10;

/// Pieces that wait for whoever writes them.
const PIECES_MAX: usize = 2;

type Piece = Result<Bytes, BackupError>;
/// A backup on its way.
pub type Pieces = mpsc::Receiver<Piece>;

/// Why a backup is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    #[error("the hub has no settings yet")]
    NotInitialized,
    #[error("a group could not be read to its end: {0}")]
    Lost(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a part of a backup was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not a backup, or not one of this version.
    #[error("{0}")]
    Format(String),
    /// Only a hub without devices takes the beginning of a backup.
    #[error("the hub has {0} devices: a backup is restored into an empty hub")]
    NotEmpty(u64),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a backup is not sent any further.
enum Stopped {
    NobodyListens,
    Failed(BackupError),
}

impl From<mpsc::error::SendError<Piece>> for Stopped {
    fn from(_: mpsc::error::SendError<Piece>) -> Self {
        Self::NobodyListens
    }
}

impl From<BackupError> for Stopped {
    fn from(error: BackupError) -> Self {
        Self::Failed(error)
    }
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub rows: u64,
    /// The rows that the backup says it has, once its end has come.
    pub expected_rows: Option<u64>,
    /// The settings came too.
    pub settings: bool,
}

impl ShardClient {
    /// Everything a backup keeps, in pieces; it was begun at that time. Each group as of one moment, one after the other. A
    /// backup that cannot be read to its end ends in an error.
    pub async fn backup(&self, begun: Timestamp) -> Result<Pieces, BackupError> {
        let settings = self.get_settings().await?.ok_or(BackupError::NotInitialized)?;
        let time = begun.unix_microseconds();
        let header = Part::Header(BackupHeader { format: FORMAT, time, settings: Some((&settings).into()) });
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let client = self.clone();
        tokio::spawn(async move {
            let told = pieces.clone();
            if let Err(Stopped::Failed(error)) = client.send_backup(header, pieces).await {
                // Who does not listen any more need not know.
                let _ = told.send(Err(error)).await;
            }
        });
        Ok(receiver)
    }

    async fn send_backup(&self, header: Part, pieces: mpsc::Sender<Piece>) -> Result<(), Stopped> {
        pieces.send(Ok(frame(header))).await?;
        let mut count = 0;
        for group in GroupId::devices(self.groups()) {
            let mut pages = self.export(group).await.map_err(BackupError::from)?;
            while let Some(rows) = pages.message().await.map_err(|status| BackupError::Lost(status.to_string()))? {
                count += rows.rows.len() as u64;
                pieces.send(Ok(frame(Part::Rows(rows)))).await?;
            }
        }
        Ok(pieces.send(Ok(frame(Part::End(BackupEnd { rows: count })))).await?)
    }

    async fn export(&self, group: GroupId) -> Result<Streaming<BackupRows>, Unavailable> {
        let request = ExportGroupRequest { group: group.0 };
        self.ask_leader(group, move |mut stub: Stub<Channel>| async move { stub.export_group(request).await }).await
    }

    /// Takes whole frames of a backup in, in their order or again. The header, which replaces the settings, may come last.
    pub async fn restore(&self, mut frames: Bytes) -> Result<Restored, RestoreError> {
        let mut restored = Restored::default();
        while frames.has_remaining() {
            match parse(&mut frames)? {
                Part::Header(header) => {
                    self.restore_settings(header).await?;
                    restored.settings = true;
                }
                Part::Rows(rows) => {
                    restored.rows += rows.rows.len() as u64;
                    self.restore_rows(rows.rows).await?;
                }
                Part::End(end) => restored.expected_rows = Some(end.rows),
            }
        }
        Ok(restored)
    }

    /// Refuses a hub that has devices: rows of a backup are for an empty one.
    pub async fn require_empty(&self) -> Result<(), RestoreError> {
        match self.statistics().await?.total_device_count {
            0 => Ok(()),
            devices => Err(RestoreError::NotEmpty(devices)),
        }
    }

    async fn restore_rows(&self, rows: Vec<BackupRow>) -> Result<(), RestoreError> {
        let mut by_group: BTreeMap<GroupId, Vec<BackupRow>> = BTreeMap::new();
        for row in rows {
            let device_id = row.device_id.parse().map_err(|_| format("a row of no device"))?;
            by_group.entry(group_of(&device_id, self.groups())).or_default().push(row);
        }
        for (group, rows) in by_group {
            for rows in commands(rows) {
                match self.inner.command(group, Operation::RestoreRows(v1::RestoreRows { rows })).await? {
                    Outcome::Done(_) => {}
                    Outcome::Error(error) => return Err(format(&error.detail)),
                    _ => return Err(Unavailable::Protocol("a command's outcome is of another kind").into()),
                }
            }
        }
        Ok(())
    }

    async fn restore_settings(&self, header: BackupHeader) -> Result<(), RestoreError> {
        if header.format != FORMAT {
            return Err(format(&format!("a backup of format {}: {FORMAT} is expected", header.format)));
        }
        let settings = header.settings.ok_or_else(|| format("a backup without settings"))?;
        HubSettings::try_from(settings.clone()).map_err(|error| format(&error.to_string()))?;
        let current = self.get_settings().await?.ok_or(Unavailable::Protocol("the hub has no settings"))?;
        let command = v1::RestoreSettings { expected_revision: current.revision, settings: Some(settings) };
        self.change_settings(Operation::RestoreSettings(command)).await?;
        Ok(())
    }
}

/// Pieces that an entry can hold; a single larger row goes alone.
fn commands(rows: Vec<BackupRow>) -> Vec<Vec<BackupRow>> {
    let mut commands: Vec<Vec<BackupRow>> = Vec::new();
    let mut bytes = COMMAND_BYTES_MAX;
    for row in rows {
        let length = row.key.len() + row.value.len();
        match commands.last_mut() {
            Some(last) if bytes + length <= COMMAND_BYTES_MAX => {
                bytes += length;
                last.push(row);
            }
            _ => {
                bytes = length;
                commands.push(vec![row]);
            }
        }
    }
    commands
}

fn frame(part: Part) -> Bytes {
    let message = BackupFrame { part: Some(part) };
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(4 + length);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message.encode_to_vec());
    frame.freeze()
}

fn parse(frames: &mut Bytes) -> Result<Part, RestoreError> {
    let length = frames.try_get_u32().map_err(|_| format("a part of a backup that is cut off"))? as usize;
    if length > FRAME_BYTES_MAX || length > frames.len() {
        return Err(format("not a part of a backup, or one that is cut off"));
    }
    let frame = BackupFrame::decode(frames.split_to(length)).map_err(|_| format("not a part of a backup"))?;
    frame.part.ok_or_else(|| format("a part of a newer backup"))
}

fn format(what: &str) -> RestoreError {
    RestoreError::Format(what.to_owned())
}
