//! Stored MQTT sessions, connection states and settings.

use proto::raft::v1::{PresenceRow, RecordPresence};

use super::*;
use crate::state::{changes_nothing, connected_after, subscriptions};

fn stored(group: &Group, device_id: &str) -> Result<Option<Vec<(String, u32)>>, StoreError> {
    let principal = (&principal(device_id, None)).try_into().unwrap_or_else(|_| unreachable!());
    let stored = subscriptions(&group.rows, &principal)?;
    Ok(stored.map(|all| all.into_iter().map(|it| (it.filter, it.quality_of_service)).collect()))
}

fn unsubscribe(device_id: &str, filters: &[&str]) -> Operation {
    Operation::Unsubscribe(v1::Unsubscribe {
        principal: Some(principal(device_id, None)),
        connection_id: None,
        filters: filters.iter().map(|filter| (*filter).into()).collect(),
        interests: 0,
    })
}

fn clear(device_id: &str) -> Operation {
    Operation::ClearSession(v1::ClearSession { principal: Some(principal(device_id, None)) })
}

#[test]
fn a_session_begins_with_the_first_filter_and_stays_until_cleared() -> Tested {
    let mut group = Group::default();
    let d1 = || principal("d1", None);
    assert_eq!(code(group.command(subscribe(d1(), &[("a", 1)]))?), Some(Code::DeviceNotFound));
    group.put(device("d1"), ABSENT)?;
    let of_module = subscribe(principal("d1", Some("m")), &[("a", 1)]);
    assert_eq!(code(group.command(of_module)?), Some(Code::ModuleNotFound));
    assert_eq!(stored(&group, "d1")?, None);
    group.command(subscribe(d1(), &[("a", 1), ("b", 0)]))?;
    group.command(subscribe(d1(), &[("b", 1)]))?;
    assert_eq!(stored(&group, "d1")?, Some(vec![("a".into(), 1), ("b".into(), 1)]));
    group.command(unsubscribe("d1", &["a", "b", "c"]))?;
    assert_eq!(stored(&group, "d1")?, Some(vec![]));
    group.command(clear("d1"))?;
    assert_eq!(stored(&group, "d1")?, None);
    assert_eq!(group.command(clear("d1"))?, DONE);
    assert_eq!(group.command(unsubscribe("d1", &["a"]))?, DONE);
    assert_eq!(stored(&group, "d1")?, None);
    Ok(())
}

#[test]
fn a_session_has_at_most_fifty_filters() -> Tested {
    let mut group = Group::default();
    group.put(device("d1"), ABSENT)?;
    let names: Vec<_> = (0..51).map(|number| format!("f{number}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert_eq!(group.command(subscribe(principal("d1", None), all.get(..50).unwrap_or_default()))?, DONE);
    let one_more = group.command(subscribe(principal("d1", None), all.get(50..).unwrap_or_default()))?;
    assert_eq!(code(one_more), Some(Code::TooManySubscriptions));
    assert_eq!(stored(&group, "d1")?.map(|filters| filters.len()), Some(50));
    Ok(())
}

#[test]
fn what_changes_nothing_is_known_before_it_is_proposed() -> Tested {
    let mut group = Group::default();
    group.put(device("d1"), ABSENT)?;
    let d1 = || principal("d1", None);
    let nothing = |group: &Group, operation: &Operation| changes_nothing(&group.rows, operation, 0);
    assert!(nothing(&group, &clear("d1"))? && nothing(&group, &unsubscribe("d1", &["a"]))?);
    assert!(nothing(&group, &subscribe(d1(), &[]))?, "of a connection with CleanSession 1 nothing is stored");
    group.command(subscribe(d1(), &[("a", 1)]))?;
    assert!(nothing(&group, &subscribe(d1(), &[("a", 1)]))? && nothing(&group, &unsubscribe("d1", &["b"]))?);
    for changing in [subscribe(d1(), &[("a", 0)]), subscribe(d1(), &[("b", 1)]), unsubscribe("d1", &["a"]), clear("d1")]
    {
        assert!(!nothing(&group, &changing)?, "{changing:?}");
    }
    Ok(())
}

#[test]
fn connection_states_are_written_for_registered_principals_only() -> Tested {
    let mut group = Group::default();
    for device_id in ["d1", "d2"] {
        group.put(device(device_id), ABSENT)?;
    }
    let row = |device_id, connected| PresenceRow {
        principal: Some(principal(device_id, None)),
        presence: Some(v1::Presence { connected, last_activity_time: 7, ..v1::Presence::default() }),
    };
    let rows = vec![row("d1", true), row("nobody", true), row("d2", false)];
    assert_eq!(group.kind(Kind::RecordPresence(RecordPresence { rows }))?, DONE);
    let (connected, next) = connected_after(&group.rows, None, 100)?;
    let connected: Vec<_> = connected.iter().map(|row| row.principal.to_string()).collect();
    assert_eq!((connected, next), (vec!["d1".to_owned()], None));
    let (_, next) = connected_after(&group.rows, None, 1)?;
    let (rest, end) = connected_after(&group.rows, next, 2)?;
    assert_eq!((rest, end), (vec![], None));
    let Answer::Device(read) = group.device("d1")? else { panic!("not found") };
    assert!(read.presence.is_some_and(|presence| presence.connected && presence.last_activity_time == 7));
    Ok(())
}
