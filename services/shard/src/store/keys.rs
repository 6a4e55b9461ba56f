//! Every key that the store itself writes. On disk for ever.
//!
//! Table `log`: version, table, and then
//!
//! | table | row | value |
//! |---|---|---|
//! | `m` | | `StoreMark`: format, node id, groups, whether bootstrapped |
//! | `g` | group (4 bytes big-endian) | generation of the group's state, 8 bytes big-endian |
//! | `v` | group | `Vote` |
//! | `p` | group | `LogId`, the last one purged |
//! | `f` | group | `LogId`, the least that a candidate must have: of a replica that was wiped |
//! | `e` | group, index (8 bytes big-endian) | `Entry` |
//!
//! Table `state-{group}-{generation}`: 0x00 is `AppliedState`; every other first byte belongs to
//! [`crate::state::keys`].

use model::GroupId;

/// What the keys below mean; a store of another format is not opened.
pub const FORMAT: u32 = 1;

const VERSION: u8 = 1;
const MARK: u8 = b'm';
const GENERATION: u8 = b'g';
const VOTE: u8 = b'v';
const PURGED: u8 = b'p';
const VOTE_FLOOR: u8 = b'f';
const ENTRY: u8 = b'e';

/// The table of all logs.
pub const LOG: &str = "log";

/// In a group's state: the last applied entry and the membership.
pub const APPLIED: [u8; 1] = [0x00];

/// What is true of the whole store.
pub const fn mark() -> [u8; 2] {
    [VERSION, MARK]
}

/// The generation of a group's state that counts.
pub fn generation(group: GroupId) -> [u8; 6] {
    of_group(GENERATION, group)
}

/// The newest vote of a group.
pub fn vote(group: GroupId) -> [u8; 6] {
    of_group(VOTE, group)
}

/// The last purged log id of a group.
pub fn purged(group: GroupId) -> [u8; 6] {
    of_group(PURGED, group)
}

/// What the log of a candidate must reach to get the vote of a replica that was wiped.
pub fn vote_floor(group: GroupId) -> [u8; 6] {
    of_group(VOTE_FLOOR, group)
}

/// An entry of a group's log; `u64::MAX` is the exclusive end of the group's entries.
pub fn entry(group: GroupId, index: u64) -> [u8; 14] {
    let mut key = [0; 14];
    key[..6].copy_from_slice(&of_group(ENTRY, group));
    key[6..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The table of one generation of a group's state.
pub fn state(group: GroupId, generation: u64) -> String {
    format!("state-{}-{generation}", group.0)
}

fn of_group(table: u8, group: GroupId) -> [u8; 6] {
    let [a, b, c, d] = group.0.to_be_bytes();
    [VERSION, table, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_on_disk_never_change() {
        let group = GroupId(0x0102_0304);
        assert_eq!(mark(), [1, b'm']);
        assert_eq!(vote(group), [1, b'v', 1, 2, 3, 4]);
        assert_eq!(purged(group), [1, b'p', 1, 2, 3, 4]);
        assert_eq!(generation(group), [1, b'g', 1, 2, 3, 4]);
        assert_eq!(vote_floor(group), [1, b'f', 1, 2, 3, 4]);
        assert_eq!(entry(group, 0x0506), [1, b'e', 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 5, 6]);
        assert_eq!(state(GroupId(3), 7), "state-3-7");
    }

    #[test]
    fn entries_sort_by_group_and_index() {
        let sorted =
            [entry(GroupId(1), 255), entry(GroupId(1), 256), entry(GroupId(1), u64::MAX), entry(GroupId(2), 0)];
        assert!(sorted.is_sorted());
    }
}
