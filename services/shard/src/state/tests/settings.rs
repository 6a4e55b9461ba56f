//! The hub's settings, section by section.

use proto::shard::v1::{
    ConsumerGroup, HubSettings, InitializeHub, Overrides, PutCertificates, PutConsumerGroups, PutOverrides,
    PutPolicies, RegisteredCertificate, SharedAccessPolicy, SymmetricKeys,
};

use super::*;

const ALL: &str = "RegistryWrite, ServiceConnect, DeviceConnect";

fn policy(name: &str, rights: &str) -> SharedAccessPolicy {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned();
    let keys = Some(SymmetricKeys { primary: key.clone(), secondary: key });
    SharedAccessPolicy { name: name.into(), keys, rights: rights.into(), etag: 0 }
}

fn certificate(name: &str) -> RegisteredCertificate {
    RegisteredCertificate { name: name.into(), der: vec![1, 2, 3].into(), ..RegisteredCertificate::default() }
}

fn consumer_group(name: &str) -> ConsumerGroup {
    ConsumerGroup { name: name.into(), ..ConsumerGroup::default() }
}

fn put_policies(expected_revision: u64, policies: Vec<SharedAccessPolicy>) -> Operation {
    Operation::PutPolicies(PutPolicies { expected_revision, policies })
}

fn put_certificates(expected_revision: u64, certificates: Vec<RegisteredCertificate>) -> Operation {
    Operation::PutCertificates(PutCertificates { expected_revision, certificates })
}

fn put_consumer_groups(expected_revision: u64, consumer_groups: Vec<ConsumerGroup>) -> Operation {
    Operation::PutConsumerGroups(PutConsumerGroups { expected_revision, consumer_groups })
}

fn put_overrides(expected_revision: u64, overrides: Overrides) -> Operation {
    Operation::PutOverrides(PutOverrides { expected_revision, overrides: Some(overrides) })
}

/// A hub with the policy `owner` at revision 1.
fn hub() -> Result<Group, StoreError> {
    let mut group = Group::default();
    let settings = HubSettings { groups: 4, policies: vec![policy("owner", ALL)], ..HubSettings::default() };
    group.command(Operation::InitializeHub(InitializeHub { settings: Some(settings) }))?;
    Ok(group)
}

fn settings(outcome: Outcome) -> HubSettings {
    match outcome {
        Outcome::Settings(settings) => settings,
        other => panic!("no settings: {other:?}"),
    }
}

#[test]
fn settings_are_made_once_and_replaced_by_revision() -> Tested {
    let mut group = Group::default();
    let initialize = |groups| {
        let settings = Some(HubSettings { revision: 7, groups, ..HubSettings::default() });
        Operation::InitializeHub(InitializeHub { settings })
    };
    let owner = || vec![policy("owner", ALL)];
    assert_eq!(code(group.command(put_policies(0, owner()))?), Some(Code::NotInitialized));
    assert_eq!(group.read(Query::GetSettings(v1::GetSettings {}))?, NOT_FOUND);
    let first = settings(group.command(initialize(4))?);
    assert!(first.created > 0, "the time of the entry");
    let expected = HubSettings { revision: 1, groups: 4, created: first.created, ..HubSettings::default() };
    assert_eq!(first, expected);
    assert_eq!(group.command(initialize(8))?, Outcome::Settings(first.clone()));
    assert_eq!(code(group.command(put_policies(0, owner()))?), Some(Code::PreconditionFailed));
    let policies = vec![SharedAccessPolicy { etag: 2, ..policy("owner", ALL) }];
    let second = HubSettings { revision: 2, policies, ..first.clone() };
    assert_eq!(group.command(put_policies(1, owner()))?, Outcome::Settings(second.clone()));
    assert_eq!(group.effects, [Effect::SettingsChanged(first), Effect::SettingsChanged(second)]);
    Ok(())
}

#[test]
fn an_etag_changes_only_with_its_own_object() -> Tested {
    let mut group = hub()?;
    let made = settings(group.command(put_policies(1, vec![policy("owner", ALL), policy("b", "DeviceConnect")]))?);
    let etags = |settings: &HubSettings| settings.policies.iter().map(|policy| policy.etag).collect::<Vec<_>>();
    assert_eq!(etags(&made), [0, 2], "the owner was there before");
    let mut policies = made.policies;
    policies[1].rights = "ServiceConnect".into();
    let changed = settings(group.command(put_policies(2, policies.clone()))?);
    assert_eq!(etags(&changed), [0, 3]);
    let certified = settings(group.command(put_certificates(3, vec![certificate("ca")]))?);
    assert_eq!((etags(&certified), certified.certificates[0].etag), (vec![0, 3], 4));
    let other =
        settings(group.command(put_certificates(4, [certified.certificates, vec![certificate("x")]].concat()))?);
    assert_eq!(other.certificates.iter().map(|it| it.etag).collect::<Vec<_>>(), [4, 5]);
    Ok(())
}

#[test]
fn a_certificate_remembers_when_it_was_made_and_changed() -> Tested {
    let mut group = hub()?;
    let made = settings(group.command(put_certificates(1, vec![certificate("ca")]))?).certificates;
    assert_eq!((made[0].created, made[0].updated), (group.time, group.time));
    let verified = RegisteredCertificate { is_verified: true, ..made[0].clone() };
    let changed = settings(group.command(put_certificates(2, vec![verified]))?).certificates;
    assert_eq!((changed[0].created, changed[0].updated), (made[0].created, group.time));
    Ok(())
}

#[test]
fn the_last_owner_cannot_go() -> Tested {
    let mut group = hub()?;
    for policies in [vec![], vec![policy("owner", "RegistryWrite, ServiceConnect")], vec![policy("a", "DeviceConnect")]]
    {
        assert_eq!(code(group.command(put_policies(1, policies))?), Some(Code::Invalid));
    }
    settings(group.command(put_policies(1, vec![policy("other", ALL)]))?);
    Ok(())
}

#[test]
fn sections_are_bounded_and_names_are_unique() -> Tested {
    let mut group = hub()?;
    let many = |count: usize| (0..count).map(|number| format!("n{number}"));
    let policies = |count| many(count).map(|name| policy(&name, ALL)).collect();
    let certificates = |count| many(count).map(|name| certificate(&name)).collect();
    let consumer_groups = |count| many(count).map(|name| consumer_group(&name)).collect();
    let too_many = [
        put_policies(1, policies(17)),
        put_certificates(1, certificates(26)),
        put_consumer_groups(1, consumer_groups(21)),
    ];
    for operation in too_many {
        assert_eq!(code(group.command(operation)?), Some(Code::QuotaExceeded));
    }
    let large = RegisteredCertificate { der: vec![0; 8193].into(), ..certificate("large") };
    let invalid = [
        put_policies(1, vec![policy("a", ALL), policy("A", ALL)]),
        put_policies(1, vec![policy("a b", ALL)]),
        put_policies(1, vec![policy("a", ALL), policy("b", "")]),
        put_certificates(1, vec![certificate("a"), certificate("A")]),
        put_certificates(1, vec![large]),
        put_consumer_groups(1, vec![consumer_group("$Default")]),
        put_consumer_groups(1, vec![consumer_group("")]),
        put_overrides(1, Overrides { message_bytes_max: Some(262_145), ..Overrides::default() }),
        put_overrides(1, Overrides { event_retention_hours: Some(0), ..Overrides::default() }),
    ];
    for operation in invalid {
        assert_eq!(code(group.command(operation.clone())?), Some(Code::Invalid), "{operation:?}");
    }
    settings(group.command(put_policies(1, policies(16)))?);
    settings(group.command(put_certificates(2, certificates(25)))?);
    settings(group.command(put_consumer_groups(3, consumer_groups(20)))?);
    let all =
        settings(group.command(put_overrides(4, Overrides { subscriptions_max: Some(9), ..Overrides::default() }))?);
    assert_eq!((all.policies.len(), all.certificates.len(), all.consumer_groups.len()), (16, 25, 20));
    assert_eq!(all.overrides, Some(Overrides { subscriptions_max: Some(9), etag: 5, ..Overrides::default() }));
    Ok(())
}
