//! Where things live: the group of a device and the event-log partition of a device.
//!
//! Both functions are on disk for ever: the golden vectors below must never change.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::DeviceId;

/// Number of a Raft group: 0 is the `hub` group (settings), 1..=N are the device groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The group that holds the hub's settings.
    pub const HUB: Self = Self(0);

    /// All device groups of a hub that was created with `groups` of them.
    pub fn devices(groups: u32) -> impl Iterator<Item = Self> + Clone {
        (1..=groups).map(Self)
    }
}

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::HUB { f.write_str("hub") } else { write!(f, "{}", self.0) }
    }
}

/// The device group that holds the device, its modules and all that belongs to them.
pub fn group_of(device_id: &DeviceId, groups: u32) -> GroupId {
    let hash = xxh3_64_with_seed(device_id.as_str().as_bytes(), 0);
    GroupId(1 + (hash % u64::from(groups.max(1))) as u32)
}

/// A partition of a topic of the event log, numbered from 0.
pub type EventPartition = u32;

/// The partition that all events of the device go to, so that their order holds.
pub fn event_partition(device_id: &DeviceId, partitions: u32) -> EventPartition {
    /// Differs from the group's seed, so that a group does not map onto one partition.
    const SEED: u64 = 0x6576_656e_7473; // "events"
    let hash = xxh3_64_with_seed(device_id.as_str().as_bytes(), SEED);
    (hash % u64::from(partitions.max(1))) as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal ids")]
mod tests {
    use super::*;

    /// Id, group of 4, group of 16, partition of 4, partition of 32. Data on disks was placed by these.
    const GOLDEN: [(&str, u32, u32, u32, u32); 6] = [
        ("d1", 3, 3, 3, 7),
        ("dev-1", 1, 1, 1, 9),
        ("thermostat-7", 3, 3, 2, 26),
        ("a@b", 3, 11, 3, 23),
        ("$edge'(x)", 3, 15, 1, 25),
        ("x", 2, 2, 3, 3),
    ];

    #[test]
    fn placement_never_changes() {
        for (id, of_4, of_16, partition_of_4, partition_of_32) in GOLDEN {
            let id: DeviceId = id.parse().unwrap();
            assert_eq!((group_of(&id, 4), group_of(&id, 16)), (GroupId(of_4), GroupId(of_16)), "{id}");
            let partitions = (event_partition(&id, 4), event_partition(&id, 32));
            assert_eq!(partitions, (partition_of_4, partition_of_32), "{id}");
        }
    }
}
