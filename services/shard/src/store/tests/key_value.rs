//! One suite for both stores, and what a crash leaves of each.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;

use super::TestResult;
use crate::store::{
    Batch, Change, KeyRange, KeyValue, KeyValueView, MemoryStore, Options, RocksStore, StoreError, rows::Row,
};

const EVERYTHING: KeyRange<'static> = (&[], &[0xff; 8]);

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.into(), value.into())
}

fn write(store: &dyn KeyValue, table: &str, changes: Vec<Change>) -> Result<(), StoreError> {
    store.write(Batch::of(table, changes), false)
}

fn rows(store: &dyn KeyValue, table: &str, range: KeyRange<'_>, limit: usize) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    store.scan(table, range, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(rows.len() < limit)
    })?;
    Ok(rows)
}

fn keys(store: &dyn KeyValue, table: &str) -> Result<String, StoreError> {
    let keys = rows(store, table, EVERYTHING, usize::MAX)?.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    Ok(String::from_utf8_lossy(&keys.join(&b' ')).into_owned())
}

fn keys_of_view(view: &dyn KeyValueView) -> Result<String, StoreError> {
    let mut keys = Vec::new();
    view.scan(EVERYTHING, &mut |key, _| {
        keys.push(key.to_vec());
        Ok(true)
    })?;
    Ok(String::from_utf8_lossy(&keys.join(&b' ')).into_owned())
}

/// What every store has to do.
fn suite(store: &dyn KeyValue) -> TestResult {
    tables_come_and_go(store)?;
    rows_are_sorted_and_ranges_kept(store)?;
    changes_are_made_in_their_order(store)?;
    views_stand_still(store)?;
    staged_rows_become_a_table(store)
}

fn tables_come_and_go(store: &dyn KeyValue) -> TestResult {
    assert_eq!(store.tables()?, Vec::<String>::new());
    store.create_table("one")?;
    store.create_table("two")?;
    assert!(store.create_table("one").is_err(), "twice");
    let mut tables = store.tables()?;
    tables.sort();
    assert_eq!(tables, ["one", "two"]);
    assert!(store.has_table("one") && !store.has_table("three"));
    write(store, "one", vec![put("a", "1")])?;
    assert_eq!((keys(store, "one")?, keys(store, "two")?), ("a".into(), String::new()), "tables share nothing");
    store.drop_table("one")?;
    store.create_table("one")?;
    assert_eq!(keys(store, "one")?, "", "a dropped table leaves nothing behind");
    assert!(store.get("three", b"a").is_err() && store.last("three", EVERYTHING).is_err());
    assert!(store.view("three").is_err() && rows(store, "three", EVERYTHING, 1).is_err());
    let half = [Batch::of("one", vec![put("a", "1")]), Batch::of("three", vec![put("a", "1")])];
    let mut both = Batch::default();
    half.into_iter().flat_map(Batch::into_parts).for_each(|(table, changes)| both.extend(&table, changes));
    assert!(store.write(both, false).is_err());
    assert_eq!(keys(store, "one")?, "", "all of a batch or nothing");
    Ok(())
}

fn rows_are_sorted_and_ranges_kept(store: &dyn KeyValue) -> TestResult {
    write(store, "one", vec![put("c", "3"), put("a", "1"), put("b", ""), put("b\0", "2")])?;
    assert_eq!(store.get("one", b"b")?, Some(Vec::new()), "an empty value is a value");
    assert_eq!(store.get("one", b"d")?, None);
    let row = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let all = [row("a", "1"), row("b", ""), row("b\0", "2"), row("c", "3")];
    assert_eq!(rows(store, "one", EVERYTHING, usize::MAX)?, all);
    assert_eq!(rows(store, "one", (b"b", b"c"), usize::MAX)?, all[1..3]);
    assert_eq!(rows(store, "one", (b"b", b"z"), 2)?, all[1..3]);
    assert_eq!(store.last("one", (b"a", b"c"))?.as_ref(), Some(&all[2]));
    for nothing in [(&b"c"[..], &b"b"[..]), (b"b", b"b"), (b"d", b"e")] {
        assert_eq!(rows(store, "one", nothing, usize::MAX)?, []);
        assert_eq!(store.last("one", nothing)?, None);
    }
    let failing = store.scan("one", EVERYTHING, &mut |_, _| Err(StoreError::Closing));
    assert_eq!(failing, Err(StoreError::Closing));
    Ok(())
}

fn changes_are_made_in_their_order(store: &dyn KeyValue) -> TestResult {
    let range = |from: &str, to: &str| Change::DeleteRange(from.into(), to.into());
    write(store, "one", vec![put("b", "new"), range("b", "c"), put("b\0", "kept"), Change::Delete(b"a".to_vec())])?;
    assert_eq!(keys(store, "one")?, "b\0 c");
    write(store, "one", vec![Change::Delete(b"never there".to_vec()), range("a", "z")])?;
    assert_eq!(keys(store, "one")?, "");
    Ok(())
}

fn views_stand_still(store: &dyn KeyValue) -> TestResult {
    write(store, "two", vec![put("a", "old"), put("b", "old")])?;
    let view = store.view("two")?;
    write(store, "two", vec![put("a", "new"), Change::Delete(b"b".to_vec()), put("c", "new")])?;
    assert_eq!((view.get(b"a")?, view.get(b"c")?), (Some(b"old".to_vec()), None));
    assert_eq!((keys_of_view(&*view)?, keys(store, "two")?), ("a b".into(), "a c".into()));
    store.drop_table("two")?;
    assert_eq!(keys_of_view(&*view)?, "a b", "even when the table is gone");
    Ok(())
}

fn staged_rows_become_a_table(store: &dyn KeyValue) -> TestResult {
    let piece = |keys: &[&str]| store.stage(keys.iter().map(|key| (key.as_bytes().to_vec(), b"v".to_vec())).collect());
    let (second, first, other) = (piece(&["c", "d"])?, piece(&["a", "b"])?, piece(&["e"])?);
    store.create_table("two")?;
    store.ingest("two", &[])?;
    store.ingest("two", &[first, second])?;
    assert_eq!(keys(store, "two")?, "a b c d");
    [first, second, other].into_iter().try_for_each(|piece| store.discard(piece))?;
    store.create_table("three")?;
    assert!(store.ingest("three", &[other]).is_err(), "it was discarded");
    store.flush()?;
    assert!(store.free_bytes()? > 0);
    Ok(())
}

#[test]
fn rocksdb_passes_the_suite() -> TestResult {
    let folder = tempfile::tempdir()?;
    suite(&RocksStore::open(folder.path(), &Options::default())?)
}

#[test]
fn memory_passes_the_suite() -> TestResult {
    suite(&MemoryStore::default())
}

#[derive(Clone, Debug)]
struct Write {
    key: u8,
    synced: bool,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    proptest::collection::vec((any::<u8>(), any::<bool>()).prop_map(|(key, synced)| Write { key, synced }), 0..20)
}

/// Makes the writes, in two tables in turns, and answers how many of them a crash has to leave.
fn make(store: &dyn KeyValue, writes: &[Write]) -> Result<usize, StoreError> {
    for (number, Write { key, synced }) in writes.iter().enumerate() {
        let table = if number % 2 == 0 { "one" } else { "two" };
        store.write(Batch::of(table, vec![Change::Put(vec![*key], vec![number as u8])]), *synced)?;
    }
    Ok(writes.iter().rposition(|write| write.synced).map_or(0, |last| last + 1))
}

type Tables = (Vec<Row>, Vec<Row>);

fn contents(store: &dyn KeyValue) -> Result<Tables, StoreError> {
    Ok((rows(store, "one", EVERYTHING, usize::MAX)?, rows(store, "two", EVERYTHING, usize::MAX)?))
}

/// The tables after the first writes and no more.
fn after(writes: &[Write]) -> Result<Tables, StoreError> {
    let store = MemoryStore::default();
    store.create_table("one")?;
    store.create_table("two")?;
    make(&store, writes)?;
    contents(&store)
}

/// A copy of the database's files as they lie on disk while it is open: what a kill leaves. The operating system still
/// has the unsynced writes then, so all of them are there.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_leaves_the_synced_writes_and_a_beginning_of_the_others(writes in writes(), left in 0_usize..20) {
        let store = MemoryStore::default();
        store.create_table("one")?;
        store.create_table("two")?;
        let synced = make(&store, &writes)?;
        prop_assert_eq!(store.unsynced_writes(), writes.len() - synced);
        let crashed = store.crash(left);
        let expected = (synced + left).min(writes.len());
        prop_assert_eq!(contents(&crashed)?, after(&writes[..expected])?);
        // What is left is on the disk from now on.
        prop_assert_eq!(contents(&crashed.crash(0))?, contents(&crashed)?);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn rocksdb_loses_no_write_to_a_kill(writes in writes()) {
        let (folder, after_kill) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let store = RocksStore::open(folder.path(), &Options::default()).map_err(|error| error.to_string());
        let store = Arc::new(store.map_err(TestCaseError::fail)?);
        store.create_table("one")?;
        store.create_table("two")?;
        make(&*store, &writes)?;
        copy(folder.path(), after_kill.path())?;
        let again = RocksStore::open(after_kill.path(), &Options::default());
        let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(contents(&again)?, after(&writes)?);
    }
}
