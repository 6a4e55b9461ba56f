//! The storage against openraft's own suite, on both stores, and the rows against one suite for all.

mod key_value;

use std::{path::Path, sync::Arc};

use model::GroupId;
use openraft::{
    AnyError, BasicNode, CommittedLeaderId, EntryPayload, RaftLogReader, RaftSnapshotBuilder, StorageError,
    StorageIOError,
    storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine},
    testing::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::{
    Database, Effects, LogStore, LogWriter, MemoryRows, MemoryStore, OpenError, Options, Pages, Rows, SnapshotData,
    Staged, StateMachine, StoreError, Transaction, View, rows::Row,
};
use crate::raft::{Entry, LogId, NodeId, TypeConfig, Vote};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const GROUP: GroupId = GroupId(1);

struct Store {
    log: LogStore,
    state_machine: StateMachine,
    database: Arc<Database>,
}

fn open(folder: &Path, group: GroupId) -> Result<Store, OpenError> {
    open_with_tail(folder, group, 1 << 20)
}

fn open_with_tail(folder: &Path, group: GroupId, tail_bytes_max: usize) -> Result<Store, OpenError> {
    over(Database::open(folder, &Options::default())?, group, tail_bytes_max)
}

fn over(database: Arc<Database>, group: GroupId, tail_bytes_max: usize) -> Result<Store, OpenError> {
    let writer = LogWriter::start(database.clone())?;
    let log = LogStore::open(group, database.clone(), writer, tail_bytes_max)?;
    let state_machine = StateMachine::open(group, database.clone(), Arc::new(Effects::new(16)))?;
    Ok(Store { log, state_machine, database })
}

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<NodeId>> {
        let folder = tempfile::tempdir().map_err(|error| StorageIOError::write(AnyError::new(&error)))?;
        let store = open(folder.path(), GROUP).map_err(|error| StorageIOError::write(AnyError::new(&error)))?;
        Ok((folder, store.log, store.state_machine))
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for InMemory {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<NodeId>> {
        let database = Database::over(Arc::new(MemoryStore::default()));
        let store = database.and_then(|database| over(database, GROUP, 1 << 20));
        let store = store.map_err(|error| StorageIOError::write(AnyError::new(&error)))?;
        Ok(((), store.log, store.state_machine))
    }
}

#[test]
fn the_storage_passes_the_suite_of_openraft() -> TestResult {
    Suite::test_all(OnDisk)?;
    Ok(Suite::test_all(InMemory)?)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let log_id = LogId::new(CommittedLeaderId::new(term, 1), index);
    Entry { log_id, payload: EntryPayload::Normal(vec![7; bytes].into()) }
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: LogId::new(CommittedLeaderId::new(term, 1), index), payload: EntryPayload::Blank }
}

async fn indexes(log: &mut LogStore) -> Result<Vec<u64>, StorageError<NodeId>> {
    let entries = log.try_get_log_entries(0..u64::MAX).await?;
    Ok(entries.iter().map(|entry| entry.log_id.index).collect())
}

#[tokio::test]
async fn votes_entries_and_purge_marks_survive_a_restart() -> TestResult {
    let folder = tempfile::tempdir()?;
    {
        let mut store = open(folder.path(), GROUP)?;
        store.log.save_vote(&Vote::new_committed(3, 1)).await?;
        store.log.blocking_append((1..=20).map(|index| blank(2, index))).await?;
        store.log.truncate(blank(2, 18).log_id).await?;
        store.log.blocking_append([blank(3, 18)]).await?;
        store.log.purge(blank(2, 5).log_id).await?;
    }
    let mut store = open(folder.path(), GROUP)?;
    assert_eq!(store.log.read_vote().await?, Some(Vote::new_committed(3, 1)));
    let state = store.log.get_log_state().await?;
    assert_eq!(state.last_purged_log_id, Some(blank(2, 5).log_id));
    assert_eq!(state.last_log_id, Some(blank(3, 18).log_id));
    assert_eq!(indexes(&mut store.log).await?, (6..=18).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn logs_of_groups_do_not_touch_each_other() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut one = open(folder.path(), GROUP)?;
    let writer = LogWriter::start(one.database.clone())?;
    let mut other = LogStore::open(GroupId(2), one.database.clone(), writer, 1 << 20)?;
    one.log.blocking_append((1..=5).map(|index| blank(1, index))).await?;
    other.blocking_append((1..=3).map(|index| blank(9, index))).await?;
    one.log.truncate(blank(1, 2).log_id).await?;
    one.log.purge(blank(1, 1).log_id).await?;
    assert_eq!(indexes(&mut one.log).await?, Vec::<u64>::new());
    assert_eq!(indexes(&mut other).await?, [1, 2, 3]);
    assert_eq!(other.read_vote().await?, None);
    Ok(())
}

#[tokio::test]
async fn what_memory_forgot_comes_from_disk() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut store = open_with_tail(folder.path(), GROUP, 3000)?;
    for index in 1..=20 {
        store.log.blocking_append([entry(1, index, 1000)]).await?;
    }
    assert_eq!(indexes(&mut store.log).await?, (1..=20).collect::<Vec<_>>());
    let some = store.log.try_get_log_entries(3..=19).await?;
    assert_eq!(some, (3..=19).map(|index| entry(1, index, 1000)).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn replication_reads_about_a_megabyte_and_at_least_one_entry() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut store = open(folder.path(), GROUP)?;
    store.log.blocking_append((1..=6).map(|index| entry(1, index, 400 << 10))).await?;
    store.log.blocking_append([entry(1, 7, 3 << 20)]).await?;
    for (from, expected) in [(1, vec![1, 2]), (5, vec![5, 6]), (7, vec![7])] {
        let entries = store.log.limited_get_log_entries(from, 8).await?;
        assert_eq!(entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), expected);
    }
    Ok(())
}

#[tokio::test]
async fn the_log_knows_where_to_cut_for_a_number_of_bytes() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut store = open(folder.path(), GROUP)?;
    store.log.blocking_append((1..=16).map(|index| entry(1, index, 256 << 10))).await?;
    assert_eq!(store.log.index_before(5 << 20), None);
    assert_eq!(store.log.index_before(1 << 20), Some(12));
    store.log.purge(entry(1, 12, 0).log_id).await?;
    assert_eq!(store.log.index_before(1 << 20), None);
    assert_eq!(store.log.index_before(3 * (256 << 10)), Some(13));
    Ok(())
}

#[tokio::test]
async fn a_snapshot_replaces_the_state_of_another_replica() -> TestResult {
    let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut from = open(here.path(), GROUP)?;
    let nodes = std::collections::BTreeMap::from([(1_u64, BasicNode::new("http://one")), (2, BasicNode::new("x"))]);
    let membership = openraft::Membership::new(vec![[1, 2].into(), [1].into()], nodes);
    let mut changed = blank(1, 1);
    changed.payload = EntryPayload::Membership(membership);
    from.state_machine.apply([changed, blank(1, 2)]).await?;
    let snapshot = from.state_machine.get_snapshot_builder().await.build_snapshot().await?;
    // Applied after the snapshot was taken: not part of it.
    from.state_machine.apply([blank(1, 3)]).await?;
    let SnapshotData::View(view) = *snapshot.snapshot else { return Err("no view".into()) };

    let mut to = open(there.path(), GROUP)?;
    to.state_machine.apply([blank(1, 1)]).await?;
    let (mut pages, mut staged) = (Pages::of(view), Staged::new(&to.database));
    loop {
        // One row a page: the smallest steps that there are.
        match pages.next(1).await? {
            page if page.is_empty() => break,
            page => staged.add(page).await?,
        }
    }
    staged.finish().await?;
    to.state_machine.install_snapshot(&snapshot.meta, Box::new(SnapshotData::Staged(staged))).await?;
    let expected = (snapshot.meta.last_log_id, snapshot.meta.last_membership);
    assert_eq!(to.state_machine.applied_state().await?, expected);
    drop(to);
    let mut to = open(there.path(), GROUP)?;
    assert_eq!(to.state_machine.applied_state().await?, expected, "after a restart");
    assert!(!there.path().join("staged").exists(), "what was staged is gone");
    Ok(())
}

#[test]
fn a_second_process_is_refused_clearly() -> TestResult {
    let folder = tempfile::tempdir()?;
    let _first = Database::open(folder.path(), &Options::default())?;
    match Database::open(folder.path(), &Options::default()) {
        Err(OpenError::InUse(path)) => assert_eq!(path, folder.path()),
        other => return Err(format!("{:?}", other.map(|_| ())).into()),
    }
    Ok(())
}

#[test]
fn a_store_of_another_format_is_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mark = proto::raft::v1::StoreMark { format: 99, ..Default::default() };
    Database::open(folder.path(), &Options::default())?.write_mark(&mark)?;
    let opened = Database::open(folder.path(), &Options::default());
    assert!(matches!(opened, Err(OpenError::Format { found: 99, .. })));
    Ok(())
}

#[test]
fn a_replacement_that_did_not_finish_leaves_the_old_state() -> TestResult {
    let folder = tempfile::tempdir()?;
    {
        let database = Database::open(folder.path(), &Options::default())?;
        let table = database.state(GROUP)?;
        table.write([(vec![1], Some(vec![2]))].into(), &Default::default())?;
        // What a crash between the ingestion and the last batch leaves behind.
        database.store().create_table(&super::keys::state(GROUP, 1))?;
    }
    let database = Database::open(folder.path(), &Options::default())?;
    assert!(!database.store().tables()?.contains(&super::keys::state(GROUP, 1)));
    assert_eq!(database.state(GROUP)?.get(&[1])?, Some(vec![2]));
    Ok(())
}

/// What every implementation of `Rows` has to answer for these rows.
const ROWS: [(&[u8], &[u8]); 5] = [(b"a", b"1"), (b"b", b""), (b"b\x00", b"3"), (b"c", b"4"), (b"\xff", b"5")];

fn suite(rows: &dyn Rows) -> TestResult {
    for (key, value) in ROWS {
        assert_eq!(rows.get(key)?.as_deref(), Some(value));
    }
    assert_eq!(rows.get(b"absent")?, None);
    let keys = |from: &[u8], to: &[u8], limit| -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(rows.scan(from, to, limit)?.into_iter().map(|(key, _)| key).collect())
    };
    let all: Vec<Row> = ROWS.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(rows.scan(&[1], b"\xff\xff", usize::MAX)?, all);
    assert_eq!(keys(b"b", b"c", 10)?, [b"b".to_vec(), b"b\x00".to_vec()], "from is in, to is not");
    assert_eq!(keys(b"b", b"d", 2)?, [b"b".to_vec(), b"b\x00".to_vec()]);
    assert_eq!(keys(b"aa", b"b\x00", 10)?, [b"b".to_vec()]);
    for (from, to, limit) in [(&b"b"[..], &b"b"[..], 10), (b"c", b"b", 10), (b"a", b"z", 0), (b"d", b"e", 10)] {
        assert_eq!(keys(from, to, limit)?, Vec::<Vec<u8>>::new(), "{from:?}..{to:?} {limit}");
    }
    Ok(())
}

fn changes() -> super::Changes {
    ROWS.iter().map(|(key, value)| (key.to_vec(), Some(value.to_vec()))).collect()
}

/// The view of a table with the rows of the suite; later changes do not show in it.
fn view(folder: &TempDir) -> Result<(Arc<Database>, View), OpenError> {
    let database = Database::open(folder.path(), &Options::default())?;
    let table = database.state(GROUP)?;
    table.write(changes(), &Default::default())?;
    let view = table.view()?;
    table.write([(b"a".to_vec(), None), (b"bb".to_vec(), Some(vec![]))].into(), &Default::default())?;
    Ok((database, view))
}

#[test]
fn rows_in_memory_pass_the_suite() -> TestResult {
    let mut rows = MemoryRows::default();
    rows.write(changes());
    suite(&rows)
}

#[test]
fn rows_on_disk_pass_the_suite() -> TestResult {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path(), &Options::default())?;
    let table = database.state(GROUP)?;
    table.write(changes(), &Default::default())?;
    suite(&table)
}

#[test]
fn a_view_passes_the_suite_and_stands_still() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (database, view) = view(&folder)?;
    suite(&view)?;
    database.replace_state(GROUP, &Staged::new(&database))?;
    drop(database);
    suite(&view)
}

#[test]
fn a_transaction_passes_the_suite_over_any_base() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (_database, view) = view(&folder)?;
    suite(&Transaction::new(&view))?;
    // Half of the rows are stored, others are hidden or replaced.
    let mut base = MemoryRows::default();
    let rows: &[(&[u8], &[u8])] = &[(b"a", b"old"), (b"aaa", b"gone"), (b"b\x00", b"3"), (b"d", b""), (b"\xff", b"5")];
    base.write(rows.iter().map(|(key, value)| (key.to_vec(), Some(value.to_vec()))).collect());
    let mut transaction = Transaction::new(&base);
    transaction.delete(b"aaa");
    transaction.delete(b"d");
    transaction.delete(b"never there");
    transaction.put(b"a", b"1".to_vec());
    transaction.put(b"b", vec![]);
    transaction.put(b"c", b"4".to_vec());
    suite(&transaction)?;
    let changes = transaction.into_changes();
    base.write(changes);
    suite(&base)
}
