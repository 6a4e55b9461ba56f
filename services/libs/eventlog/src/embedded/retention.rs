//! Which segments go: whole ones, oldest first, never the active one.

use std::{collections::VecDeque, sync::Arc};

use super::{journal::Journal, segment::Sealed};

/// A segment is sealed after this share of the retention time, so that records of a quiet log expire too.
const SEGMENTS_PER_RETENTION: i64 = 8;

/// Whether, with a retention of so many microseconds, the active segment has records so old that it should be sealed.
pub(super) fn should_seal(first_time: Option<i64>, retention: i64, now: i64) -> bool {
    let age = retention / SEGMENTS_PER_RETENTION;
    first_time.is_some_and(|time| time < now.saturating_sub(age))
}

/// How many of the oldest segments are to be removed.
pub(super) fn expired(journal: &Journal, retention: i64, bytes_max: u64, now: i64) -> usize {
    let by_time = too_old(&journal.sealed, now.saturating_sub(retention));
    let mut bytes = journal.bytes();
    let by_size = journal.sealed.iter().take_while(|sealed| {
        let over = bytes > bytes_max;
        bytes -= sealed.length;
        over
    });
    by_time.max(by_size.count())
}

fn too_old(sealed: &VecDeque<Arc<Sealed>>, cutoff: i64) -> usize {
    sealed.iter().take_while(|sealed| sealed.newest_time().is_none_or(|time| time < cutoff)).count()
}
