#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use model::{CloudToDeviceOverrides, ETag, Right, Rights, SymmetricKey};

use super::*;
use crate::{hub::HubConsumerGroup, resource::CertificateStatus};

const OWNER: &str = "iothubowner";

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32])
}

fn hub_policy(name: &str) -> HubPolicy {
    HubPolicy {
        name: name.to_owned(),
        primary_key: key(1).as_base64().to_owned(),
        secondary_key: key(2).as_base64().to_owned(),
        rights: "RegistryRead, RegistryWrite, ServiceConnect".to_owned(),
        etag: "MQ==".to_owned(),
    }
}

fn wanted_policy(name: &str) -> WantedPolicy {
    let rights = Rights::of(&[Right::RegistryWrite, Right::ServiceConnect]);
    WantedPolicy { name: name.to_owned(), rights, primary: None, secondary: None }
}

fn actions(wanted: &Wanted, hub: &HubState, managed: Managed) -> Vec<String> {
    let status = IotHubStatus { managed, ..IotHubStatus::default() };
    let mut plan = Plan::default();
    super::plan(&mut plan, wanted, hub, &status, OWNER, Timestamp::default());
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    plan.actions.iter().map(ToString::to_string).collect()
}

#[test]
fn policies() {
    let hub = HubState { policies: vec![hub_policy("iothubowner"), hub_policy("Dashboard")], ..HubState::default() };
    let put = "changes keys or rights of the policy dashboard, RegistryWrite, ServiceConnect";
    let same = wanted_policy("dashboard");
    for (name, policy, expected) in [
        ("as it is; case does not count, and write implies read", same.clone(), vec![]),
        ("its keys are these", WantedPolicy { primary: Some(key(1)), secondary: Some(key(2)), ..same.clone() }, vec![]),
        ("another primary key", WantedPolicy { primary: Some(key(3)), ..same.clone() }, vec![put]),
        ("another secondary key", WantedPolicy { secondary: Some(key(1)), ..same.clone() }, vec![put]),
        (
            "other rights",
            WantedPolicy { rights: Rights::of(&[Right::ServiceConnect]), ..same },
            vec!["changes keys or rights of the policy dashboard, ServiceConnect"],
        ),
        ("a new one", wanted_policy("reader"), vec!["creates the policy reader with RegistryWrite, ServiceConnect"]),
    ] {
        let wanted = Wanted { policies: vec![policy], ..Wanted::default() };
        assert_eq!(actions(&wanted, &hub, Managed::default()), expected, "{name}");
    }
}

#[test]
fn only_what_came_from_the_spec_is_deleted() {
    let group = |name: &str| HubConsumerGroup { name: name.to_owned(), etag: "MQ==".to_owned() };
    let certificate = HubCertificate { name: "factory".to_owned(), ..HubCertificate::default() };
    let hub = HubState {
        policies: vec![hub_policy(OWNER), hub_policy("old"), hub_policy("by-hand")],
        certificates: vec![certificate],
        consumer_groups: vec![group("Analytics"), group("by-hand")],
        ..HubState::default()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let managed = Managed {
        policies: names(&["old", OWNER]),
        certificates: names(&["factory"]),
        consumer_groups: names(&["analytics"]),
    };
    let nothing = Wanted::default();
    assert!(actions(&nothing, &hub, Managed::default()).is_empty());
    assert_eq!(
        actions(&nothing, &hub, managed.clone()),
        [
            "deletes the policy old; who uses its keys is disconnected",
            "deletes the certificate factory; devices that it vouched for are disconnected",
            "deletes the consumer group Analytics",
        ],
        "never the policy that the operator acts by"
    );
    // Named, though what is written about it is wrong.
    let wanted = Wanted { named: managed.clone(), ..Wanted::default() };
    assert!(actions(&wanted, &hub, managed).is_empty());
}

#[test]
fn what_is_managed_is_written_down_before_and_forgotten_after() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let named = Managed { policies: names(&["new", OWNER]), ..Managed::default() };
    let managed = Managed { policies: names(&["old", "gone"]), ..Managed::default() };
    let hub = HubState { policies: vec![hub_policy(OWNER), hub_policy("old")], ..HubState::default() };
    let next = next_managed(&named, &managed, &hub, OWNER);
    assert_eq!(next.policies, ["new", "old"], "what is not there any more is forgotten");
    assert_eq!(next_managed(&named, &next, &hub, OWNER), next);
}

#[test]
fn consumer_groups() {
    let hub = HubState {
        consumer_groups: vec![HubConsumerGroup { name: "Analytics".to_owned(), etag: "MQ==".to_owned() }],
        ..HubState::default()
    };
    let wanted = Wanted { consumer_groups: vec!["analytics".to_owned(), "archive".to_owned()], ..Wanted::default() };
    assert_eq!(actions(&wanted, &hub, Managed::default()), ["creates the consumer group archive"]);
}

#[test]
fn settings_are_compared_by_what_they_mean() {
    let there = Overrides {
        event_retention_hours: Some(48),
        cloud_to_device: CloudToDeviceOverrides { default_ttl_seconds: Some(3600), ..Default::default() },
        etag: ETag(7),
        ..Overrides::default()
    };
    let hub = HubState { settings: there.clone(), settings_etag: "Nw==".to_owned(), ..HubState::default() };
    let actions = |settings| actions(&Wanted { settings, ..Wanted::default() }, &hub, Managed::default());
    assert!(actions(None).is_empty(), "nobody says anything");
    assert!(actions(Some(Overrides { etag: ETag(0), ..there.clone() })).is_empty());
    let changed = ["changes the settings of the hub"];
    assert_eq!(actions(Some(Overrides { event_retention_hours: Some(24), ..there })), changed);
    assert_eq!(actions(Some(Overrides::default())), changed, "what is missing is taken back");
}

mod certificates {
    use super::*;
    use crate::fixture::{Authority, now};

    fn registered(authority: &Authority, is_verified: bool) -> HubCertificate {
        let wanted = authority.wanted("Factory");
        HubCertificate {
            name: "Factory".to_owned(),
            etag: "MQ==".to_owned(),
            properties: crate::hub::CertificateProperties {
                thumbprint: Some(wanted.authority.thumbprint.clone()),
                is_verified,
                certificate: wanted.text,
                ..Default::default()
            },
        }
    }

    fn plan(wanted: WantedCertificate, there: Option<HubCertificate>, code: Option<&str>) -> Plan {
        let thumbprint = there.as_ref().and_then(|there| there.properties.thumbprint.clone()).unwrap_or_default();
        let hub = HubState { certificates: there.into_iter().collect(), ..HubState::default() };
        let known = CertificateStatus {
            name: "Factory".to_owned(),
            thumbprint,
            verification_code: code.map(str::to_owned),
            ..CertificateStatus::default()
        };
        let status = IotHubStatus { certificates: vec![known], ..IotHubStatus::default() };
        let wanted = Wanted { certificates: vec![wanted], ..Wanted::default() };
        let mut plan = Plan::default();
        super::super::plan(&mut plan, &wanted, &hub, &status, OWNER, now());
        plan
    }

    #[test]
    fn registered_and_verified_on_a_word() {
        let authority = Authority::new();
        let unverified = authority.wanted("factory");
        let verified = WantedCertificate { is_verified: true, ..unverified.clone() };
        let put = |wanted: &WantedCertificate, etag: Option<&str>, is_verified| {
            let (name, etag) = (wanted.name.clone(), etag.map(str::to_owned));
            vec![Action::PutCertificate { name, etag, certificate: wanted.text.clone(), is_verified }]
        };
        let actions = |wanted: &WantedCertificate, there| plan(wanted.clone(), there, None).actions;
        assert_eq!(actions(&unverified, None), put(&unverified, None, None));
        assert_eq!(actions(&verified, None), put(&verified, None, Some(true)));
        let there = registered(&authority, false);
        assert_eq!(actions(&verified, Some(there)), put(&verified, Some("MQ=="), Some(true)));
        assert!(actions(&verified, Some(registered(&authority, true))).is_empty());
        assert!(actions(&unverified, Some(registered(&authority, true))).is_empty(), "it stays verified");
        let other = registered(&Authority::new(), true);
        assert_eq!(actions(&unverified, Some(other)), put(&unverified, Some("MQ=="), None), "another certificate");
    }

    #[test]
    fn verified_by_a_proof() {
        let authority = Authority::new();
        let wanted = authority.wanted("factory");
        let there = || Some(registered(&authority, false));
        let (name, etag) = ("Factory".to_owned(), "MQ==".to_owned());
        let asked = plan(wanted.clone(), there(), None);
        assert_eq!(asked.actions, [Action::GenerateVerificationCode { name: name.clone(), etag: etag.clone() }]);
        let waits = plan(wanted.clone(), there(), Some("C0DE"));
        assert_eq!(waits, Plan::default(), "for a proof");
        let proof = authority.proof("C0DE");
        let proven = WantedCertificate { proof: Some(proof.clone()), ..wanted };
        assert_eq!(
            plan(proven.clone(), there(), Some("C0DE")).actions,
            [Action::VerifyCertificate { name, etag, proof }]
        );
        let other = plan(proven.clone(), there(), Some("0THER"));
        assert!(other.actions.is_empty() && other.problems[0].contains("verification code"), "{other:?}");
        assert_eq!(plan(proven, Some(registered(&authority, true)), Some("C0DE")), Plan::default(), "it is verified");
    }
}
