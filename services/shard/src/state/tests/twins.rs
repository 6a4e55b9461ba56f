//! Twins as rows: versions, what devices are told, and what is left when identities go.

use ::model::Principal;

use super::*;
use crate::state::missed_deltas;

fn of(device_id: &str) -> Principal {
    (&principal(device_id, None)).try_into().unwrap_or_else(|_| unreachable!())
}

fn write(device_id: &str, expected_etag: Option<u64>, desired: &str) -> Operation {
    Operation::UpdateTwin(v1::UpdateTwin {
        principal: Some(principal(device_id, None)),
        expected_etag,
        tags: None,
        desired: Some(v1::SectionChange { replace: false, properties: desired.to_owned().into() }),
    })
}

fn report(device_id: &str, expected_version: Option<u64>, patch: &str) -> Operation {
    Operation::UpdateReported(v1::UpdateReported {
        principal: Some(principal(device_id, None)),
        connection_id: None,
        expected_version,
        patch: patch.to_owned().into(),
    })
}

fn twin(group: &Group, device_id: &str) -> Result<v1::StoredTwin, StoreError> {
    match group.read(Query::GetTwin(v1::GetTwin { principal: Some(principal(device_id, None)) }))? {
        Answer::Twin(twin) => Ok(twin.twin.unwrap_or_default()),
        _ => Err(StoreError::Corrupt("no twin".into())),
    }
}

fn versions(twin: &v1::StoredTwin) -> (u64, u64, u64) {
    let version = |section: &Option<v1::TwinSection>| section.as_ref().map_or(0, |section| section.version);
    (twin.etag, version(&twin.desired), version(&twin.reported))
}

#[test]
fn every_write_counts_where_it_belongs() -> Tested {
    let mut group = Group::default();
    assert_eq!(code(group.command(write("d1", None, "{}"))?), Some(Code::DeviceNotFound));
    group.put(device("d1"), ABSENT)?;
    assert_eq!(versions(&twin(&group, "d1")?), (1, 1, 1));
    assert_eq!(group.command(write("d1", Some(1), r#"{"a":1}"#))?, DONE);
    assert_eq!(group.command(report("d1", Some(1), r#"{"b":1}"#))?, Outcome::ReportedVersion(2));
    assert_eq!(versions(&twin(&group, "d1")?), (2, 2, 2));
    for refused in [write("d1", Some(1), "{}"), write("d1", Some(0), "{}"), report("d1", Some(1), "{}")] {
        assert_eq!(code(group.command(refused)?), Some(Code::PreconditionFailed));
    }
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(40_000));
    assert_eq!(code(group.command(write("d1", None, &large))?), Some(Code::TwinTooLarge));
    assert_eq!(code(group.command(report("d1", None, &large))?), Some(Code::TwinTooLarge));
    assert_eq!(versions(&twin(&group, "d1")?), (2, 2, 2));
    Ok(())
}

#[test]
fn a_command_sent_again_writes_once() -> Tested {
    let mut group = Group::default();
    group.put(device("d1"), ABSENT)?;
    let id = CommandId { incarnation: 9, sequence: 1, lowest_unanswered: 0 };
    for _ in 0..3 {
        assert_eq!(group.with_id(id, report("d1", None, r#"{"n":1}"#))?, Outcome::ReportedVersion(2));
    }
    assert_eq!(versions(&twin(&group, "d1")?), (1, 1, 2));
    Ok(())
}

#[test]
fn devices_are_told_every_version_and_the_newest_are_kept() -> Tested {
    let mut group = Group::default();
    group.put(device("d1"), ABSENT)?;
    for number in 2..=40 {
        group.command(write("d1", None, &format!(r#"{{"n":{number}}}"#)))?;
    }
    let told = group.effects.iter().filter_map(|effect| match effect {
        Effect::DesiredUpdated(_, delta) => Some(delta.version),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), (2..=40).collect::<Vec<_>>());
    let missed = |version| {
        let deltas = missed_deltas(&group.rows, &of("d1"), version)?;
        Ok::<_, StoreError>(deltas.map(|deltas| deltas.iter().map(|delta| delta.version).collect::<Vec<_>>()))
    };
    assert_eq!(missed(40)?, Some(vec![]));
    assert_eq!(missed(24)?, Some((25..=40).collect()));
    assert_eq!(missed(23)?, None, "older ones are forgotten");
    let last = missed_deltas(&group.rows, &of("d1"), 39)?.unwrap_or_default();
    assert_eq!(last.first().map(|delta| delta.patch.as_ref()), Some(&br#"{"$version":40,"n":40}"#[..]));
    Ok(())
}

#[test]
fn nothing_of_a_twin_outlives_its_identity() -> Tested {
    let mut group = Group::default();
    for device_id in ["d1", "d10"] {
        group.put(device(device_id), ABSENT)?;
        group.command(write(device_id, None, r#"{"a":1}"#))?;
    }
    group.command(put_module(module("d1", "m"), ABSENT))?;
    let of_module = v1::UpdateTwin {
        principal: Some(principal("d1", Some("m"))),
        desired: Some(v1::SectionChange { replace: true, properties: "{}".into() }),
        ..v1::UpdateTwin::default()
    };
    group.command(Operation::UpdateTwin(of_module))?;
    group.command(delete_device("d1", PRESENT))?;
    group.put(device("d1"), ABSENT)?;
    group.command(put_module(module("d1", "m"), ABSENT))?;
    assert_eq!(versions(&twin(&group, "d1")?), (1, 1, 1));
    assert_eq!(missed_deltas(&group.rows, &of("d1"), 0)?, None, "of version 1 nothing was told");
    assert_eq!(versions(&twin(&group, "d10")?), (2, 2, 1));
    Ok(())
}
