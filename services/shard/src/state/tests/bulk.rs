//! Many changes in one command, and new keys (rest §4, §5).

use proto::shard::v1::{identity_change::Operation as Change, identity_change_result::Outcome as Changed};

use super::*;

fn changes(operations: Vec<Change>) -> Operation {
    let changes = operations.into_iter().map(|operation| v1::IdentityChange { operation: Some(operation) });
    Operation::ChangeIdentities(v1::ChangeIdentities { changes: changes.collect() })
}

fn put(identity: DeviceIdentity, kind: precondition::Kind) -> Change {
    Change::PutDevice(v1::PutDevice { identity: Some(identity), precondition: condition(kind), twin: None })
}

fn with_keys(device_id: &str) -> DeviceIdentity {
    let keys = v1::SymmetricKeys { primary: "one".into(), secondary: "two".into() };
    let authentication = Some(v1::Authentication { kind: Some(authentication::Kind::Sas(keys)) });
    DeviceIdentity { authentication, ..device(device_id) }
}

fn regenerate(device_id: &str, module_id: Option<&str>) -> Change {
    let principal = Some(principal(device_id, module_id));
    Change::RegenerateKeys(v1::RegenerateKeys { principal, primary: Some("new".into()), secondary: None })
}

/// The code of each refusal; `None` for what was done.
fn codes(outcome: Outcome) -> Vec<Option<Code>> {
    let Outcome::Changes(answer) = outcome else { return vec![code(outcome)] };
    let code = |result: v1::IdentityChangeResult| match result.outcome {
        Some(Changed::Error(error)) => Some(error.code()),
        _ => None,
    };
    answer.results.into_iter().map(code).collect()
}

#[test]
fn each_change_stands_for_itself_and_their_order_is_kept() -> Tested {
    let mut group = Group::default();
    group.put(device("there"), ABSENT)?;
    let delete = v1::DeleteDevice { device_id: "there".into(), precondition: condition(PRESENT) };
    let module = v1::PutModule { identity: Some(module("new", "m")), precondition: condition(ABSENT), twin: None };
    let outcome = group.command(changes(vec![
        put(device("there"), ABSENT),
        put(device("new"), ABSENT),
        Change::PutModule(module),
        put(device("missing"), PRESENT),
        Change::DeleteDevice(delete),
        put(device("there"), ABSENT),
    ]))?;
    let expected = [Some(Code::DeviceAlreadyExists), None, None, Some(Code::DeviceNotFound), None, None];
    assert_eq!(codes(outcome), expected);
    assert_eq!(group.statistics()?, (2, 2, 0, 1));
    Ok(())
}

#[test]
fn conditions_of_import_modes() -> Tested {
    let absent_or = |etag| precondition::Kind::AbsentOrEtag(v1::AbsentOrEtag { etag });
    for (stored, kind, expected) in [
        (false, precondition::Kind::Anything(v1::Empty {}), None),
        (true, precondition::Kind::Anything(v1::Empty {}), None),
        (false, absent_or(Some(1)), None),
        (false, absent_or(None), None),
        (true, absent_or(Some(1)), None),
        (true, absent_or(Some(2)), Some(Code::PreconditionFailed)),
        (true, absent_or(None), Some(Code::PreconditionFailed)),
    ] {
        let mut group = Group::default();
        if stored {
            group.put(device("d1"), ABSENT)?;
        }
        assert_eq!(codes(group.command(changes(vec![put(device("d1"), kind)]))?), [expected], "{stored} {kind:?}");
        let delete = group.command(delete_device("d1", kind))?;
        assert_eq!(code(delete), Some(Code::Invalid), "no delete creates");
    }
    Ok(())
}

#[test]
fn a_bulk_command_sent_again_changes_nothing() -> Tested {
    let mut group = Group::default();
    let id = CommandId { incarnation: 1, sequence: 1, lowest_unanswered: 1 };
    let command = changes(vec![put(device("d1"), ABSENT), put(device("d1"), ABSENT)]);
    let first = group.with_id(id, command.clone())?;
    assert_eq!(codes(first.clone()), [None, Some(Code::DeviceAlreadyExists)]);
    assert_eq!(group.with_id(id, command)?, first);
    assert_eq!(group.statistics()?, (1, 1, 0, 0));
    Ok(())
}

#[test]
fn new_keys_replace_what_they_name_and_are_told_to_connections() -> Tested {
    let mut group = Group::default();
    let before = etag(&group.put(with_keys("d1"), ABSENT)?);
    group.put(device("no-keys"), ABSENT)?;
    let outcome = group.command(changes(vec![
        regenerate("d1", None),
        regenerate("no-keys", None),
        regenerate("d1", Some("m")),
        regenerate("d2", None),
    ]))?;
    let expected = [None, Some(Code::NoSymmetricKeys), Some(Code::ModuleNotFound), Some(Code::DeviceNotFound)];
    assert_eq!(codes(outcome.clone()), expected);
    let keys = v1::SymmetricKeys { primary: "new".into(), secondary: "two".into() };
    let Outcome::Changes(answer) = outcome else { panic!("refused") };
    assert_eq!(answer.results.first().and_then(|it| it.outcome.clone()), Some(Changed::Keys(keys.clone())));
    let Answer::Device(stored) = group.device("d1")? else { panic!("lost") };
    assert!(stored.etag > before);
    assert_eq!(stored.authentication.and_then(|it| it.kind), Some(authentication::Kind::Sas(keys)));
    let device_id = "d1".parse().unwrap_or_else(|_| unreachable!());
    assert_eq!(group.effects, [Effect::IdentityChanged(::model::Principal::device(device_id))]);
    Ok(())
}

#[test]
fn a_command_has_a_bound() -> Tested {
    let mut group = Group::default();
    let many = (0..101).map(|number| put(device(&format!("d{number}")), ABSENT)).collect();
    assert_eq!(codes(group.command(changes(many))?), [Some(Code::Invalid)]);
    assert_eq!(group.statistics()?, (0, 0, 0, 0));
    Ok(())
}
