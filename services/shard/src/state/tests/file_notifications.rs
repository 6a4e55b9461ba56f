//! Notifications of uploaded files: one at a time, until somebody is done with it.

use super::*;

fn add(device_id: &str, blob_name: &str, expiry_time: i64) -> Operation {
    Operation::AddFileNotification(v1::AddFileNotification {
        notification: Some(v1::FileNotification {
            device_id: device_id.to_owned(),
            blob_name: blob_name.to_owned(),
            expiry_time,
            // What the sender may not say.
            number: 77,
            delivery_count: 9,
            ..v1::FileNotification::default()
        }),
    })
}

fn receive(token: u64, lock_milliseconds: u32) -> Operation {
    Operation::ReceiveFileNotification(v1::ReceiveFileNotification { lock_milliseconds, token })
}

fn settle(number: u64, token: u64, complete: bool) -> Operation {
    Operation::SettleFileNotification(v1::SettleFileNotification { number, token, complete, delivery_count_max: 2 })
}

fn number(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::FileNotification(locked) => locked.number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_goes_to_one_hand_until_it_is_settled() -> Tested {
    let mut group = Group::default();
    assert_eq!(code(group.command(add("d", "a", i64::MAX))?), Some(Code::DeviceNotFound));
    group.put(device("d"), ABSENT)?;
    assert_eq!(group.command(receive(1, 60_000))?, DONE, "there is none");
    for name in ["a", "b"] {
        assert_eq!(group.command(add("d", name, i64::MAX))?, DONE);
    }
    let (first, second) = (number(group.command(receive(1, 60_000))?), number(group.command(receive(2, 60_000))?));
    assert_eq!((first, second), (1, 2));
    let held = crate::state::file_notification(&group.rows, first, 1)?.unwrap_or_default();
    assert_eq!((held.blob_name.as_str(), held.delivery_count), ("a", 0));
    assert_eq!(crate::state::file_notification(&group.rows, first, 2)?, None, "another's");
    assert_eq!(group.command(receive(3, 60_000))?, DONE, "both are in hand");
    assert_eq!(code(group.command(settle(first, 2, true))?), Some(Code::LockLost));
    assert_eq!(group.command(settle(second, 2, true))?, DONE);
    assert_eq!(code(group.command(settle(second, 2, true))?), Some(Code::LockLost));
    assert_eq!(group.command(settle(first, 1, false))?, DONE);
    assert_eq!(number(group.command(receive(4, 60_000))?), first, "it was given back");
    assert_eq!(group.command(settle(first, 4, false))?, DONE);
    assert_eq!(group.command(receive(5, 60_000))?, DONE, "it was given back too often");
    Ok(())
}

#[test]
fn locks_and_notifications_end() -> Tested {
    let mut group = Group::default();
    group.put(device("d"), ABSENT)?;
    group.command(add("d", "a", 0))?;
    let first = number(group.command(receive(1, 1))?);
    assert_eq!(number(group.command(receive(2, 3_600_000))?), first, "the lock is over");
    assert_eq!(code(group.command(settle(first, 1, true))?), Some(Code::LockLost));
    group.kind(Kind::ExpireMessages(v1::ExpireMessages {}))?;
    assert_eq!(group.command(settle(first, 2, false))?, DONE, "not while it is in hand");
    group.kind(Kind::ExpireMessages(v1::ExpireMessages {}))?;
    assert_eq!(group.command(receive(3, 1000))?, DONE, "it has expired");
    for count in 0..1001 {
        let refused = code(group.command(add("d", "a", i64::MAX))?);
        assert_eq!(refused, (count == 1000).then_some(Code::QueueFull));
    }
    Ok(())
}
