//! Identities (rest §1.11 §3 §6).

use super::*;

#[test]
fn preconditions_answer_as_the_table_says() -> Tested {
    use Code::*;
    let etag_of = precondition::Kind::Etag;
    let unmatchable = precondition::Kind::Unmatchable(true);
    // (stored?, precondition with the stored etag or another, refusal of a put, refusal of a delete)
    let table = [
        (false, ABSENT, None, Some(Invalid)),
        (true, ABSENT, Some(DeviceAlreadyExists), Some(Invalid)),
        (false, PRESENT, Some(DeviceNotFound), Some(DeviceNotFound)),
        (true, PRESENT, None, None),
        (false, etag_of(1), Some(DeviceNotFound), Some(DeviceNotFound)),
        (true, etag_of(1), None, None),
        (true, etag_of(99), Some(PreconditionFailed), Some(PreconditionFailed)),
        (false, unmatchable, Some(DeviceNotFound), Some(DeviceNotFound)),
        (true, unmatchable, Some(PreconditionFailed), Some(PreconditionFailed)),
    ];
    for (stored, kind, of_put, of_delete) in table {
        for (operation, expected) in [(put_device(device("d1"), kind), of_put), (delete_device("d1", kind), of_delete)]
        {
            let mut group = Group::default();
            if stored {
                assert_eq!(etag(&group.put(device("d1"), ABSENT)?), 1);
            }
            assert_eq!(code(group.command(operation.clone())?), expected, "{stored} {operation:?}");
        }
    }
    Ok(())
}

#[test]
fn a_refused_command_changes_nothing() -> Tested {
    let mut group = Group::default();
    group.put(device("d1"), ABSENT)?;
    let before = group.device("d1")?;
    group.put(DeviceIdentity { disabled: true, ..device("d1") }, precondition::Kind::Etag(99))?;
    group.put(DeviceIdentity { disabled: true, ..device("d1") }, ABSENT)?;
    assert_eq!(group.device("d1")?, before);
    assert_eq!(group.statistics()?, (1, 1, 0, 0));
    assert_eq!(group.effects, []);
    Ok(())
}

#[test]
fn etags_never_come_back() -> Tested {
    let mut group = Group::default();
    let first = etag(&group.put(device("d1"), ABSENT)?);
    group.command(delete_device("d1", PRESENT))?;
    let second = etag(&group.put(device("d1"), ABSENT)?);
    let third = etag(&group.put(device("d1"), PRESENT)?);
    assert!(first < second && second < third);
    assert_eq!(code(group.put(device("d1"), precondition::Kind::Etag(first))?), Some(Code::PreconditionFailed));
    Ok(())
}

#[test]
fn an_update_keeps_the_generation_and_dates_the_status() -> Tested {
    let mut group = Group::default();
    group.put(device("d1"), ABSENT)?;
    let update = DeviceIdentity { generation_id: "2".into(), disabled: true, ..device("d1") };
    let Outcome::Device(disabled) = group.put(update.clone(), PRESENT)? else { panic!("refused") };
    assert_eq!((disabled.generation_id.as_str(), disabled.status_updated_time), ("1", group.time));
    assert_eq!(group.statistics()?, (1, 0, 1, 0));
    let Outcome::Device(same_status) = group.put(update, PRESENT)? else { panic!("refused") };
    assert_eq!(same_status.status_updated_time, disabled.status_updated_time);
    group.command(delete_device("d1", PRESENT))?;
    let again = DeviceIdentity { generation_id: "2".into(), ..device("d1") };
    let Outcome::Device(again) = group.put(again, ABSENT)? else { panic!("refused") };
    assert_eq!((again.generation_id.as_str(), again.status_updated_time), ("2", 0));
    Ok(())
}

#[test]
fn a_deleted_device_takes_everything_with_it_and_nothing_else() -> Tested {
    let mut group = Group::default();
    for device_id in ["d", "d1", "d10"] {
        group.put(device(device_id), ABSENT)?;
        group.command(put_module(module(device_id, "m"), ABSENT))?;
        group.command(subscribe(principal(device_id, None), &[("a", 1)]))?;
        group.command(subscribe(principal(device_id, Some("m")), &[("a", 1)]))?;
    }
    group.command(delete_device("d1", PRESENT))?;
    assert_eq!(group.statistics()?, (2, 2, 0, 2));
    assert_eq!(group.effects.last(), Some(&Effect::DeviceDeleted("d1".parse().unwrap_or_else(|_| unreachable!()))));
    group.put(device("d1"), ABSENT)?;
    let subscriptions = |device_id: &str, module_id: Option<&str>| {
        let principal = (&principal(device_id, module_id)).try_into().unwrap_or_else(|_| unreachable!());
        crate::state::subscriptions(&group.rows, &principal)
    };
    for module_id in [None, Some("m")] {
        assert_eq!(subscriptions("d1", module_id)?, None);
        assert!(subscriptions("d", module_id)?.is_some() && subscriptions("d10", module_id)?.is_some());
    }
    let modules = group.read(Query::ListModules(v1::ListModules { device_id: "d1".into() }))?;
    assert_eq!(modules, Answer::Modules(v1::Modules::default()));
    Ok(())
}

#[test]
fn modules_need_their_device_and_room() -> Tested {
    let mut group = Group::default();
    let put = |group: &mut Group, number: usize| group.command(put_module(module("d1", &format!("m{number}")), ABSENT));
    assert_eq!(code(put(&mut group, 0)?), Some(Code::DeviceNotFound));
    group.put(device("d1"), ABSENT)?;
    for number in 0..50 {
        assert_eq!(code(put(&mut group, number)?), None);
    }
    assert_eq!(code(put(&mut group, 50)?), Some(Code::TooManyModules));
    assert_eq!(code(put(&mut group, 0)?), Some(Code::ModuleAlreadyExists));
    assert_eq!(code(group.command(put_module(module("d1", "m0"), PRESENT))?), None);
    assert_eq!(code(group.command(put_module(module("d1", "m99"), PRESENT))?), Some(Code::ModuleNotFound));
    assert_eq!(group.command(delete_module("d1", "m0", PRESENT))?, DONE);
    assert_eq!(code(group.command(delete_module("d1", "m0", PRESENT))?), Some(Code::ModuleNotFound));
    assert_eq!(code(put(&mut group, 50)?), None);
    assert_eq!(group.statistics()?, (1, 1, 0, 50));
    Ok(())
}

#[test]
fn edge_devices_get_their_modules_and_scope() -> Tested {
    let mut group = Group::default();
    let edge = DeviceIdentity { iot_edge: true, ..device("e1") };
    let Outcome::Device(created) = group.put(edge.clone(), ABSENT)? else { panic!("refused") };
    assert_eq!(created.device_scope.as_deref(), Some("ms-azure-iot-edge://e1-1"));
    assert_eq!(group.statistics()?, (1, 1, 0, 2));
    assert_eq!(code(group.put(edge, PRESENT)?), Some(Code::InvalidDeviceScope));
    assert_eq!(code(group.put(created.clone(), PRESENT)?), None);
    let leaf = DeviceIdentity { device_scope: created.device_scope.clone(), ..device("d1") };
    let Outcome::Device(leaf) = group.put(leaf, ABSENT)? else { panic!("refused") };
    assert_eq!(leaf.parent_scopes, Vec::from_iter(created.device_scope));
    let detached = DeviceIdentity { device_scope: Some(String::new()), ..leaf };
    let Outcome::Device(detached) = group.put(detached, PRESENT)? else { panic!("refused") };
    assert_eq!((detached.device_scope, detached.parent_scopes), (None, vec![]));
    Ok(())
}

#[test]
fn a_device_changes_between_edge_and_leaf() -> Tested {
    let mut group = Group::default();
    let edge = |device: DeviceIdentity| DeviceIdentity { iot_edge: true, ..device };
    let scope = |outcome: Outcome| match outcome {
        Outcome::Device(device) => Ok((device.device_scope, device.parent_scopes)),
        other => Err(StoreError::Corrupt(format!("{other:?}"))),
    };
    let parent = "ms-azure-iot-edge://p-1".to_owned();
    let leaf = DeviceIdentity { device_scope: Some(parent.clone()), ..device("d1") };
    assert_eq!(scope(group.put(leaf, ABSENT)?)?, (Some(parent.clone()), vec![parent.clone()]));
    let toggled = edge(DeviceIdentity { parent_scopes: vec![parent.clone()], ..device("d1") });
    let own = Some("ms-azure-iot-edge://d1-1".to_owned());
    assert_eq!(scope(group.put(toggled, PRESENT)?)?, (own.clone(), vec![parent.clone()]));
    assert_eq!(group.statistics()?, (1, 1, 0, 2));
    let nested = edge(DeviceIdentity { device_scope: own.clone(), ..device("d1") });
    let two = DeviceIdentity { parent_scopes: vec![parent.clone(), parent], ..nested.clone() };
    assert_eq!(code(group.put(two, PRESENT)?), Some(Code::InvalidDeviceScope));
    assert_eq!(scope(group.put(nested, PRESENT)?)?, (own.clone(), vec![]));
    let leaf_again = DeviceIdentity { device_scope: own, ..device("d1") };
    assert_eq!(scope(group.put(leaf_again, PRESENT)?)?, (None, vec![]), "its own scope is no parent");
    assert_eq!(group.statistics()?, (1, 1, 0, 0), "the runtime's modules are gone");
    Ok(())
}

#[test]
fn malformed_commands_are_refused() -> Tested {
    let mut group = Group::default();
    let no_authentication = DeviceIdentity { authentication: None, ..device("d1") };
    let no_precondition =
        Operation::PutDevice(v1::PutDevice { identity: Some(device("d1")), precondition: None, twin: None });
    for operation in [
        put_device(device("a/b"), ABSENT),
        put_device(device(""), ABSENT),
        put_device(no_authentication, ABSENT),
        no_precondition,
        Operation::PutDevice(v1::PutDevice::default()),
        delete_device("ü", PRESENT),
        put_module(module("d1", ""), ABSENT),
        Operation::Subscribe(v1::Subscribe::default()),
    ] {
        assert_eq!(code(group.command(operation.clone())?), Some(Code::Invalid), "{operation:?}");
    }
    assert_eq!(code(group.kind(Kind::Client(Command::default()))?), Some(Code::Invalid));
    Ok(())
}

#[test]
fn devices_are_listed_in_pages() -> Tested {
    let mut group = Group::default();
    for device_id in ["a", "b", "ba", "c"] {
        group.put(device(device_id), ABSENT)?;
    }
    let page = |limit, after: &str| match group
        .read(Query::ListDevices(v1::ListDevices { limit, after_device_id: after.into() }))?
    {
        Answer::Devices(page) => Ok(page.devices.into_iter().map(|device| device.device_id).collect::<Vec<_>>()),
        _ => Err(StoreError::Corrupt("no page".into())),
    };
    assert_eq!(page(2, "")?, ["a", "b"]);
    assert_eq!(page(2, "b")?, ["ba", "c"]);
    assert_eq!(page(0, "a")?, ["b", "ba", "c"]);
    Ok(())
}
