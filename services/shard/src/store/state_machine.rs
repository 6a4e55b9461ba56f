use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use model::GroupId;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageError, StorageIOError,
    storage::RaftStateMachine,
};
use prost::Message;
use proto::{
    raft::v1::{AppliedState, Proposal},
    shard::v1::CommandResult,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Effects, SnapshotData, Staged, StoreError, Table, Transaction, View, database::Database, snapshot};
use crate::{
    raft::{Entry, LogId, NodeId, SnapshotMeta, StoredMembership, TypeConfig, convert},
    state::{self, Effect},
};

/// Applies the log of one group to its rows.
pub struct StateMachine {
    group: GroupId,
    database: Arc<Database>,
    table: Arc<ArcSwap<Table>>,
    applied: Applied,
    effects: Arc<Effects>,
    closed: DropGuard,
}

#[derive(Clone, Default)]
struct Applied {
    log_id: Option<LogId>,
    membership: StoredMembership,
}

impl Applied {
    fn read(stored: AppliedState) -> Result<Self, StoreError> {
        Ok(Self {
            log_id: convert::optional_log_id(stored.log_id)?,
            membership: convert::stored_membership(stored.membership)?,
        })
    }

    fn to_proto(&self) -> AppliedState {
        AppliedState {
            log_id: self.log_id.as_ref().map(convert::log_id_to_proto),
            membership: Some(convert::stored_membership_to_proto(&self.membership)),
        }
    }

    fn snapshot_meta(&self) -> SnapshotMeta {
        let snapshot_id = self.log_id.map(|log_id| log_id.to_string()).unwrap_or_default();
        SnapshotMeta { last_log_id: self.log_id, last_membership: self.membership.clone(), snapshot_id }
    }
}

impl StateMachine {
    /// Opens the state of a group. Effects of what is applied go to `effects`.
    pub fn open(group: GroupId, database: Arc<Database>, effects: Arc<Effects>) -> Result<Self, StoreError> {
        let table = database.state(group)?;
        let applied = Applied::read(table.applied()?)?;
        let table = Arc::new(ArcSwap::from_pointee(table));
        let closed = CancellationToken::new().drop_guard();
        Ok(Self { group, database, table, applied, effects, closed })
    }

    /// Where the group's current rows are found, now and after a snapshot replaced them.
    pub fn table(&self) -> Arc<ArcSwap<Table>> {
        self.table.clone()
    }

    /// Cancelled once it is gone and writes nothing more.
    pub fn closed(&self) -> CancellationToken {
        self.closed.token().clone()
    }

    /// Applies entries in one batch.
    fn apply_all(&mut self, entries: impl Iterator<Item = Entry>) -> Result<Vec<Vec<CommandResult>>, StoreError> {
        let table = self.table.load_full();
        let mut rows = Transaction::new(&*table);
        let mut applied = self.applied.clone();
        let mut results = Vec::new();
        let mut effects = Vec::new();
        for entry in entries {
            let index = entry.log_id.index;
            applied.log_id = Some(entry.log_id);
            results.push(match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Vec::new()
                }
                EntryPayload::Normal(proposal) => apply_one(&mut rows, index, proposal, &mut effects)?,
            });
        }
        table.write(rows.into_changes(), &applied.to_proto())?;
        self.applied = applied;
        self.effects.send(effects);
        Ok(results)
    }

    fn view(&self) -> Result<(SnapshotMeta, View), StoreError> {
        let view = self.table.load().view()?;
        Ok((Applied::read(view.applied()?)?.snapshot_meta(), view))
    }

    async fn install(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), StoreError> {
        let table = snapshot::install(&self.database, self.group, snapshot).await?;
        let applied = Applied::read(table.applied()?)?;
        if applied.log_id != meta.last_log_id {
            let (found, expected) = (applied.log_id, meta.last_log_id);
            return Err(StoreError::Corrupt(format!("the snapshot goes to {found:?}, announced was {expected:?}")));
        }
        self.applied = applied;
        self.table.store(Arc::new(table));
        tracing::info!(group = %self.group, snapshot = %meta.snapshot_id, "the state of another replica was taken over");
        Ok(())
    }
}

fn apply_one(
    rows: &mut Transaction<'_>,
    index: u64,
    proposal: Bytes,
    effects: &mut Vec<(u64, Effect)>,
) -> Result<Vec<CommandResult>, StoreError> {
    let proposal = Proposal::decode(proposal)
        .map_err(|error| StoreError::Corrupt(format!("the proposal of entry {index}: {error}")))?;
    let applied = state::apply(rows, index, proposal)?;
    effects.extend(applied.effects.into_iter().map(|effect| (index, effect)));
    Ok(applied.results)
}

fn failed(error: &StoreError) -> StorageError<NodeId> {
    tracing::error!(%error, "the state of a group cannot be written or read; the group stops");
    StorageIOError::write_state_machine(AnyError::new(error)).into()
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError<NodeId>> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<CommandResult>>, StorageError<NodeId>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.apply_all(entries.into_iter()).map_err(|error| failed(&error))
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { snapshot: self.view() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError<NodeId>> {
        Ok(Box::new(SnapshotData::Staged(Staged::new(&self.database))))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError<NodeId>> {
        self.install(meta, *snapshot).await.map_err(|error| failed(&error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError<NodeId>> {
        if self.applied.log_id.is_none() {
            return Ok(None);
        }
        let (meta, view) = self.view().map_err(|error| failed(&error))?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(SnapshotData::View(Arc::new(view))) }))
    }
}

/// "Builds" the snapshot that the state on disk already is.
pub struct SnapshotBuilder {
    snapshot: Result<(SnapshotMeta, View), StoreError>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<NodeId>> {
        let built = std::mem::replace(&mut self.snapshot, Err(StoreError::Closing));
        let (meta, view) = built.map_err(|error| failed(&error))?;
        Ok(Snapshot { meta, snapshot: Box::new(SnapshotData::View(Arc::new(view))) })
    }
}
