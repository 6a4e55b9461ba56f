//! Exact counters of the group; the hub's statistics are their sum over the groups (rest §8).

use proto::shard::v1::Statistics;

use super::{
    keys,
    rows::{Entry, get},
};
use crate::store::{Rows, StoreError};

/// The counters as stored; connected devices are counted by the leader's memory, not here.
pub fn statistics(rows: &impl Rows) -> Result<Statistics, StoreError> {
    Ok(get(rows, &keys::statistics())?.unwrap_or_default())
}

/// Changes the counters in the entry that changes what they count.
pub fn change(entry: &mut Entry<'_, '_>, change: impl FnOnce(&mut Statistics)) -> Result<(), StoreError> {
    let mut counters = statistics(entry.rows)?;
    change(&mut counters);
    entry.put(&keys::statistics(), &counters);
    Ok(())
}
