//! Rows of one group's state: sorted bytes to bytes.

use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::Bound,
    vec,
};

use super::StoreError;

/// One row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reads rows.
pub trait Rows {
    /// The value of a row.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first `limit` rows with `from <= key < to`, in the order of their keys.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;
}

/// Rows to write (`Some`) and to delete (`None`).
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows in memory, for tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRows {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryRows {
    /// Takes over what a transaction changed.
    pub fn write(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(range(&self.rows, from, to).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// Changes over rows that stay as they are until the changes are written, all at once.
pub struct Transaction<'r> {
    base: &'r dyn Rows,
    changes: Changes,
}

impl<'r> Transaction<'r> {
    /// Nothing changed yet.
    pub fn new(base: &'r dyn Rows) -> Self {
        Self { base, changes: Changes::new() }
    }

    /// Writes a row.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.changes.insert(key.to_vec(), Some(value));
    }

    /// Deletes a row, if it is there.
    pub fn delete(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }

    /// What is to be written.
    pub fn into_changes(self) -> Changes {
        self.changes
    }
}

impl Rows for Transaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let hidden = range(&self.changes, from, to).count();
        let base = self.base.scan(from, to, limit.saturating_add(hidden))?;
        let merged = Merge { base: base.into_iter().peekable(), changes: range(&self.changes, from, to).peekable() };
        Ok(merged.take(limit).collect())
    }
}

/// An empty iterator when the range is empty or upside down (`BTreeMap::range` panics on the latter).
fn range<'m, V>(map: &'m BTreeMap<Vec<u8>, V>, from: &[u8], to: &[u8]) -> btree_map::Range<'m, Vec<u8>, V> {
    let to = to.max(from);
    map.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
}

/// Stored rows and changes in one order; a change hides the stored row of its key.
struct Merge<'m> {
    base: Peekable<vec::IntoIter<Row>>,
    changes: Peekable<btree_map::Range<'m, Vec<u8>, Option<Vec<u8>>>>,
}

impl Iterator for Merge<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let stored_first = match (self.base.peek(), self.changes.peek()) {
                (Some((stored, _)), Some((changed, _))) => stored < *changed,
                (stored, _) => stored.is_some(),
            };
            if stored_first {
                return self.base.next();
            }
            let (key, value) = self.changes.next()?;
            self.base.next_if(|(stored, _)| stored == key);
            if let Some(value) = value {
                return Some((key.clone(), value.clone()));
            }
        }
    }
}
