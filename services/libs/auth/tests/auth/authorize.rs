//! The permission table: every operation with every built-in policy, and what else stops a caller.

use auth::{Operation, Refusal, authorize, sign};
use model::{Right, Rights};

use crate::fixture::*;

/// One line per operation; the columns are the built-in policies.
const MATRIX: &str = "
    operation                 iothubowner  service  device  registryRead  registryReadWrite
    ReadDevice                yes          no       no      yes           yes
    ListDevices               yes          no       no      yes           yes
    WriteDevice               yes          no       no      no            yes
    DeleteDevice              yes          no       no      no            yes
    ReadModule                yes          no       no      yes           yes
    ListModules               yes          no       no      yes           yes
    WriteModule               yes          no       no      no            yes
    DeleteModule              yes          no       no      no            yes
    ReadRegistryStatistics    yes          yes      no      yes           yes
    ReadServiceStatistics     yes          yes      no      yes           yes
    ReadEvents                yes          yes      no      no            no
    SendTelemetry             yes          no       yes     no            no
    ReadTwin                  yes          yes      no      no            no
    WriteTwin                 yes          yes      no      no            no
    InvokeMethod              yes          yes      no      no            no
    SendDeviceBound           yes          yes      no      no            no
    PurgeDeviceBound          yes          yes      no      no            no
    ReceiveFeedback           yes          yes      no      no            no
    ReceiveFileNotifications  yes          yes      no      no            no
    ExplainIdentity           yes          yes      no      yes           yes
    ManageSettings            yes          no       no      no            no
";

fn row(operation: Operation) -> String {
    let settings = settings();
    let allowed = BUILT_IN_POLICIES.map(|(policy, _)| {
        let keys = &settings.policy(policy).unwrap().keys;
        let token = sign(HOST, &keys.primary, Some(policy), expiry());
        match authorize(&token, operation, &["devices", "d1"], &settings, &hosts(), now()) {
            Ok(authorized) => {
                assert_eq!(authorized.policy, policy);
                "yes"
            }
            Err(Refusal::MissingRight { .. }) => "no",
            Err(refusal) => panic!("{operation:?} with {policy}: {refusal}"),
        }
    });
    format!("{operation:?} {}", allowed.join(" "))
}

#[test]
fn the_matrix_of_operations_and_built_in_policies() {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let header = format!("operation {}", BUILT_IN_POLICIES.map(|(policy, _)| policy).join(" "));
    let actual: Vec<_> = std::iter::once(header).chain(Operation::all().map(row)).collect();
    let expected: Vec<_> = MATRIX.trim().lines().map(words).collect();
    assert_eq!(actual.join("\n"), expected.join("\n"), "\n{}", actual.join("\n"));
}

#[test]
fn the_refusal_names_the_policy_and_the_right() {
    let settings = settings();
    let token = sign(HOST, &settings.policy("service").unwrap().keys.primary, Some("SERVICE"), expiry());
    let refusal = authorize(&token, Operation::WriteDevice, &["devices", "d1"], &settings, &hosts(), now());
    let granted = Rights::of(&[Right::ServiceConnect]);
    let missing = Refusal::MissingRight { policy: "service".into(), granted, needed: Right::RegistryWrite };
    assert_eq!(refusal, Err(missing));
}

#[test]
fn what_else_stops_a_caller() {
    let settings = settings();
    let owner = &settings.policy("iothubowner").unwrap().keys;
    let service = &settings.policy("service").unwrap().keys;
    let try_token = |token: &str| {
        authorize(token, Operation::ReadDevice, &["devices", "d1"], &settings, &hosts(), now()).map(|_| ())
    };
    let cases = [
        (sign(HOST, &owner.secondary, Some("iothubowner"), expiry()), Ok(())),
        (sign("hub.example.test:443", &owner.primary, Some("IotHubOwner"), expiry()), Ok(())),
        (sign("hub.example.test/devices", &owner.primary, Some("iothubowner"), expiry()), Ok(())),
        (sign("hub.example.test/devices/d1", &owner.primary, Some("iothubowner"), expiry()), Ok(())),
        (
            sign("hub.example.test/devices/d2", &owner.primary, Some("iothubowner"), expiry()),
            Err(Refusal::WrongAudience("hub.example.test%2Fdevices%2Fd2".into())),
        ),
        (
            sign("evil.example.test", &owner.primary, Some("iothubowner"), expiry()),
            Err(Refusal::WrongAudience("evil.example.test".into())),
        ),
        (sign(HOST, &owner.primary, None, expiry()), Err(Refusal::NotAPolicyToken)),
        (sign(HOST, &owner.primary, Some("nobody"), expiry()), Err(Refusal::UnknownPolicy("nobody".into()))),
        (sign(HOST, &service.primary, Some("iothubowner"), expiry()), Err(Refusal::WrongSignature)),
        (sign(HOST, &owner.primary, Some("iothubowner"), seconds(1)), Err(Refusal::TokenExpired)),
    ];
    for (token, expected) in cases {
        assert_eq!(try_token(&token), expected, "{}", token.split('&').next().unwrap());
    }
}
