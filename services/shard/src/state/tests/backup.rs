//! What a backup keeps is there again, whatever the number of groups.

use proto::shard::v1::{BackupRow, RestoreRows};

use super::*;
use crate::{state::exported, store::Rows};

fn backup(group: &Group) -> Result<Vec<BackupRow>, StoreError> {
    let mut rows = Vec::new();
    for (key, value) in group.rows.scan(&[0], &[0xff], usize::MAX)? {
        rows.extend(exported(&key, &value)?);
    }
    Ok(rows)
}

fn restore(group: &mut Group, rows: Vec<BackupRow>) -> Result<Outcome, StoreError> {
    group.command(Operation::RestoreRows(RestoreRows { rows }))
}

fn send(device_id: &str) -> Operation {
    let principal = Some(v1::Principal { device_id: device_id.into(), module_id: None });
    Operation::EnqueueMessage(v1::EnqueueMessage {
        principal,
        expiry_time: 3_600_000_000,
        acknowledgement: v1::Acknowledgement::Full as i32,
        record: "m".into(),
        delivery_count_max: 10,
        feedback_seconds: 60,
    })
}

fn filled() -> Result<Group, StoreError> {
    let mut group = Group::default();
    for id in ["a", "b"] {
        group.put(device(id), ABSENT)?;
        group.command(send(id))?;
    }
    group.put(DeviceIdentity { disabled: true, ..device("c") }, ABSENT)?;
    Ok(group)
}

#[test]
fn restored_rows_are_exported_again() -> Tested {
    let original = filled()?;
    let rows = backup(&original)?;
    let mut copy = Group::default();
    assert_eq!(restore(&mut copy, rows.clone())?, DONE);
    assert_eq!(backup(&copy)?, rows);
    assert_eq!(copy.statistics()?, original.statistics()?);
    assert_eq!(copy.device("a")?, original.device("a")?);
    Ok(())
}

#[test]
fn what_is_there_stays_and_is_not_counted_twice() -> Tested {
    let rows = backup(&filled()?)?;
    let mut copy = Group::default();
    copy.put(DeviceIdentity { disabled: true, ..device("a") }, ABSENT)?;
    restore(&mut copy, rows.clone())?;
    restore(&mut copy, rows)?;
    assert!(matches!(copy.device("a")?, Answer::Device(device) if device.disabled && device.etag == 1));
    assert_eq!(copy.statistics()?, (3, 1, 2, 0));
    Ok(())
}

#[test]
fn versions_go_on_behind_the_restored_ones() -> Tested {
    let original = filled()?;
    let mut copy = Group::default();
    restore(&mut copy, backup(&original)?)?;
    let Outcome::Device(newer) = copy.put(device("d"), ABSENT)? else { panic!("not made") };
    assert_eq!(newer.etag, 4, "three identities were made before");
    Ok(())
}

#[test]
fn rows_that_no_backup_has_are_refused() -> Tested {
    let mut copy = Group::default();
    for key in [vec![0x01], vec![0x03], vec![0x20; 9], vec![0xee]] {
        let row = BackupRow { device_id: "a".into(), key: key.into(), value: "x".into() };
        assert!(matches!(restore(&mut copy, vec![row])?, Outcome::Error(_)));
    }
    Ok(())
}
