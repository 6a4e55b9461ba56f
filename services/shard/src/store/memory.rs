//! The store in memory, for simulated disks.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    StoreError,
    key_value::{Batch, Change, KeyRange, KeyValue, KeyValueView, Visitor, no_table},
    rows::Row,
};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;
/// Shared with the views of a moment; a write copies a table that a view still holds.
type Tables = BTreeMap<String, Arc<Table>>;

/// A disk that is only pretended: it knows what a crash would leave of what was written, and how slow and full it is.
pub struct MemoryStore {
    state: Mutex<State>,
    sync_microseconds: AtomicU64,
    free_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    /// As whoever reads sees it.
    current: Tables,
    /// As a crash leaves it at least,
    durable: Tables,
    /// and what it may leave on top: any number of these, the oldest first.
    unsynced: Vec<Batch>,
    staged: BTreeMap<u64, Vec<Row>>,
    staged_count: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let (state, sync_microseconds) = (Mutex::new(State::default()), AtomicU64::new(0));
        Self { state, sync_microseconds, free_bytes: AtomicU64::new(u64::MAX) }
    }
}

impl MemoryStore {
    /// How long a synced write takes from now on.
    pub fn set_sync_time(&self, time: Duration) {
        self.sync_microseconds.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How much space is free from now on.
    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
    }

    /// Writes that a crash may take away.
    pub fn unsynced_writes(&self) -> usize {
        self.state.lock().unsynced.len()
    }

    /// What the disk holds after a crash that left so many of the unsynced writes. Nobody may use this store any more.
    pub fn crash(&self, unsynced_left: usize) -> Self {
        let state = self.state.lock();
        let mut durable = deep_copy(&state.durable);
        state.unsynced.iter().take(unsynced_left).for_each(|batch| apply(&mut durable, batch.clone()));
        let after = State { current: deep_copy(&durable), durable, ..State::default() };
        Self {
            state: Mutex::new(after),
            sync_microseconds: AtomicU64::new(self.sync_microseconds.load(Ordering::Relaxed)),
            free_bytes: AtomicU64::new(self.free_bytes.load(Ordering::Relaxed)),
        }
    }

    fn table(&self, table: &str) -> Result<Arc<Table>, StoreError> {
        self.state.lock().current.get(table).cloned().ok_or_else(|| no_table(table))
    }
}

impl KeyValue for MemoryStore {
    fn tables(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state.lock().current.keys().cloned().collect())
    }

    fn has_table(&self, table: &str) -> bool {
        self.state.lock().current.contains_key(table)
    }

    fn create_table(&self, table: &str) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.current.contains_key(table) {
            return Err(StoreError::Corrupt(format!("the table {table} is there already")));
        }
        state.current.insert(table.to_owned(), Arc::default());
        state.durable.insert(table.to_owned(), Arc::default());
        Ok(())
    }

    fn drop_table(&self, table: &str) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.durable.remove(table);
        state.current.remove(table).map(drop).ok_or_else(|| no_table(table))
    }

    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.table(table)?.get(key).cloned())
    }

    fn scan(&self, table: &str, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let table = self.table(table)?;
        show(&table, range, visit)
    }

    fn last(&self, table: &str, range: KeyRange<'_>) -> Result<Option<Row>, StoreError> {
        let table = self.table(table)?;
        Ok(rows(&table, range).next_back().map(|(key, value)| (key.clone(), value.clone())))
    }

    fn view(&self, table: &str) -> Result<Box<dyn KeyValueView>, StoreError> {
        Ok(Box::new(MemoryView { table: self.table(table)? }))
    }

    fn write(&self, batch: Batch, synced: bool) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(missing) = batch.tables().find(|table| !state.current.contains_key(*table)) {
            return Err(no_table(missing));
        }
        apply(&mut state.current, batch.clone());
        state.unsynced.push(batch);
        if synced {
            let unsynced = std::mem::take(&mut state.unsynced);
            unsynced.into_iter().for_each(|batch| apply(&mut state.durable, batch));
        }
        Ok(())
    }

    fn stage(&self, rows: Vec<Row>) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let piece = state.staged_count;
        state.staged_count += 1;
        state.staged.insert(piece, rows);
        Ok(piece)
    }

    fn ingest(&self, table: &str, pieces: &[u64]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let mut rows = Table::new();
        for piece in pieces {
            let missing = || StoreError::Disk(format!("there is no staged piece {piece}"));
            rows.extend(state.staged.remove(piece).ok_or_else(missing)?);
        }
        let State { current, durable, .. } = &mut *state;
        for tables in [current, durable] {
            let table = tables.get_mut(table).ok_or_else(|| no_table(table))?;
            *table = Arc::new(rows.clone());
        }
        Ok(())
    }

    fn discard(&self, piece: u64) -> Result<(), StoreError> {
        self.state.lock().staged.remove(&piece);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.write(Batch::default(), true)
    }

    fn place(&self) -> String {
        "in memory".to_owned()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.free_bytes.load(Ordering::Relaxed))
    }

    fn pretended_sync_time(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.sync_microseconds.load(Ordering::Relaxed)))
    }
}

struct MemoryView {
    table: Arc<Table>,
}

impl KeyValueView for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.table.get(key).cloned())
    }

    fn scan(&self, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        show(&self.table, range, visit)
    }
}

/// `BTreeMap::range` panics on a range that is upside down.
fn rows<'t>(
    table: &'t Table,
    (from, to): KeyRange<'_>,
) -> impl DoubleEndedIterator<Item = (&'t Vec<u8>, &'t Vec<u8>)> + use<'t> {
    table.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to.max(from))))
}

fn show(table: &Table, range: KeyRange<'_>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
    for (key, value) in rows(table, range) {
        if !visit(key, value)? {
            break;
        }
    }
    Ok(())
}

/// Changes of a table that was dropped since have no meaning any more.
fn apply(tables: &mut Tables, batch: Batch) {
    for (name, changes) in batch.into_parts() {
        let Some(table) = tables.get_mut(&*name) else { continue };
        let table = Arc::make_mut(table);
        for change in changes {
            match change {
                Change::Put(key, value) => _ = table.insert(key, value),
                Change::Delete(key) => _ = table.remove(&key),
                Change::DeleteRange(from, to) => {
                    let keys: Vec<_> = rows(table, (&from, &to)).map(|(key, _)| key.clone()).collect();
                    keys.iter().for_each(|key| _ = table.remove(key));
                }
            }
        }
    }
}

/// Tables that share nothing with others, so that writes need not copy.
fn deep_copy(tables: &Tables) -> Tables {
    tables.iter().map(|(name, table)| (name.clone(), Arc::new(Table::clone(table)))).collect()
}
